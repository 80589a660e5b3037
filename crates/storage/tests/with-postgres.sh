#!/bin/sh
# Runs a command with a throw-away PostgreSQL cluster behind ARCHIPEL_TEST_POSTGRES_URL.
#
#   crates/storage/tests/with-postgres.sh cargo test -p archipel-storage postgres
#
# Installs PostgreSQL from Debian packages when it is missing (root only). The cluster lives in a
# temporary directory, listens on a free loopback port, and is gone afterwards, whatever happens.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 command [argument...]" >&2; exit 2; }

find_bin() {
    for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
        [ -x "$dir/initdb" ] && { echo "$dir"; return; }
    done
    initdb=$(command -v initdb) && dirname "$(readlink -f "$initdb")"
}

if ! bin=$(find_bin) || [ -z "$bin" ]; then
    echo "with-postgres: installing postgresql" >&2
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
    bin=$(find_bin)
fi

base=$(mktemp -d)
# A PostgreSQL server refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    chown postgres "$base"
    as() { runuser -u postgres -- "$@"; }
else
    as() { "$@"; }
fi

stop() {
    as "$bin/pg_ctl" -D "$base/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$base"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
pwfile="$base/password"
(umask 077 && printf '%s' "$password" > "$pwfile") # not for the command: it builds programs
[ "$(id -u)" != 0 ] || chown postgres "$pwfile"
cd "$base"
as "$bin/initdb" -D "$base/data" -U postgres -A scram-sha-256 --pwfile="$pwfile" \
    -E UTF8 --no-locale --no-sync >"$base/initdb.log" 2>&1 || { cat "$base/initdb.log" >&2; exit 1; }

# A free port may be taken between finding and using it, so a few are tried.
started=
for _ in 1 2 3 4 5 6 7 8; do
    port=$(( $(od -An -N2 -tu2 /dev/urandom) % 20000 + 20000 ))
    options="-p $port -k $base -c listen_addresses=127.0.0.1 -c fsync=${ARCHIPEL_TEST_POSTGRES_FSYNC:-off} -c max_connections=50"
    if as "$bin/pg_ctl" -D "$base/data" -w -t 30 -l "$base/server.log" -o "$options" start \
        >/dev/null 2>&1; then
        started=yes
        break
    fi
done
[ -n "$started" ] || { cat "$base/server.log" >&2; exit 1; }
cd "$OLDPWD"

ARCHIPEL_TEST_POSTGRES_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
# For tests in which the server goes away under its clients.
ARCHIPEL_TEST_POSTGRES_RESTART="'$bin/pg_ctl' -D '$base/data' -l '$base/server.log' -m immediate -w restart"
[ "$(id -u)" != 0 ] ||
    ARCHIPEL_TEST_POSTGRES_RESTART="runuser -u postgres -- $ARCHIPEL_TEST_POSTGRES_RESTART"
export ARCHIPEL_TEST_POSTGRES_URL ARCHIPEL_TEST_POSTGRES_RESTART
"$@"
