#!/bin/sh
# Makes .venv with exactly what requirements.txt names. Says what is missing before anything is half done.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
command -v "$python" >/dev/null || { echo "checkout needs Python 3.11 or newer: no $python found" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "checkout needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Set PYTHON to a newer one." >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "checkout needs Python's venv with ensurepip. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
[ -x .venv/bin/pip ] || rm -rf .venv
[ -d .venv ] || "$python" -m venv .venv
exec .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
