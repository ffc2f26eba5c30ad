#!/usr/bin/env bash
# .ci/packages.sh COMMAND:PACKAGE ... : installs the Debian package of each command that is missing.
# What cannot be installed is said, and does not stop the caller: its tests say themselves that they are skipped.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

missing=()
for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "skipped: ${missing[*]} (no apt-get here: install the equivalents of these Debian packages by hand)" >&2
    exit 0
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        root=(sudo -n)
    else
        echo "skipped: ${missing[*]} (not root and no sudo without password: sudo apt-get install ${missing[*]})" >&2
        exit 0
    fi
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { "${root[@]}" apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; }
# The lists of a fresh machine are empty; refresh them only when the first attempt says so.
for package in "${missing[@]}"; do
    if install "$package" || { "${root[@]}" apt-get update >>"$log" 2>&1 && install "$package"; }; then
        echo "installed: $package"
    else
        echo "skipped: $package (apt-get failed: $(tail -n 1 "$log"))" >&2
    fi
done
