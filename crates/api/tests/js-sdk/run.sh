#!/bin/sh
# Tries the official JavaScript SDK against the API. Says so and succeeds when there is no node or
# npm, or when the SDK cannot be installed and ARCHIPEL_REQUIRE_JS_SDK is not set.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)

skip() {
    echo "SKIPPED js-sdk: $1" >&2
    [ -z "${ARCHIPEL_REQUIRE_JS_SDK:-}" ] || exit 1
    exit 0
}

command -v node >/dev/null || skip "node is not installed"
command -v npm >/dev/null || skip "npm is not installed"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "node 20 or later is needed"

# Not beside the sources: nothing of other people's code belongs in the checkout.
work="${CARGO_TARGET_DIR:-$root/target}/js-sdk"
mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$here/sdk.test.mjs" "$work/"
(cd "$work" && npm ci --silent --no-audit --no-fund) || skip "the SDK could not be installed"

cargo build --quiet --manifest-path "$root/Cargo.toml" -p archipel-api --example serve_api
SERVE_API="${CARGO_TARGET_DIR:-$root/target}/debug/examples/serve_api"
export SERVE_API
cd "$work"
exec node --test sdk.test.mjs
