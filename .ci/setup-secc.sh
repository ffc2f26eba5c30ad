#!/usr/bin/env bash
# .ci/setup-secc.sh VENV MAIN_VENV: makes the SECC's own environment in VENV, with the Python of MAIN_VENV.
# Without a package index it says so and does not stop the caller: the tests that need it say that they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-secc}
main=${2:-.venv}

[ -x "$venv/bin/python" ] || "$main/bin/python" -m venv "$venv"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement firmware/bridges/secc/requirements.txt >"$log" 2>&1; then
    echo "skipped: the SECC's environment $venv (pip failed: $(tail -n 1 "$log"))" >&2
    exit 0
fi
touch "$venv/.ready"
