#!/usr/bin/env bash
# .ci/setup.sh VENV: makes the development environment in VENV. Called by the Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

python=
for name in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python3.14; do
    [ -n "$name" ] || continue
    # A version manager's shim may exist for a version that is not there: only one that starts counts.
    if "$name" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and was not found." >&2
    echo "Debian 12 or newer: sudo apt-get install python3 python3-venv. Elsewhere: set PYTHON=/path/to/python3.11" >&2
    exit 1
fi

if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian keeps both in a package of their own
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        .ci/packages.sh "no-such-command:python$version-venv"
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$python cannot make virtual environments: sudo apt-get install python$version-venv" >&2
            exit 1
        fi
    fi
    echo "setting up $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
