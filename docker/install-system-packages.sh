#!/bin/sh
# Installs the Debian packages that metabench-py stands on; quick when they are there.
#   install-system-packages.sh              everything, to build and to run
#   install-system-packages.sh --run-time   the first part of the list only, to run
set -eu

list="$(dirname "$0")/debian-packages.txt"
last='$'
if [ "${1:-}" = --run-time ]; then last='/^# --- to build/'; fi
packages=$(sed -n "1,${last}p" "$list" | grep -v '^#' | tr '\n' ' ')

if ! command -v dpkg-query >/dev/null 2>&1; then
    if command -v Rscript >/dev/null 2>&1; then exit 0; fi
    echo "This is not a Debian or Ubuntu machine, so nothing was installed." >&2
    echo "Install R (4.2 or later) with mgcv, a C compiler and OpenBLAS, then run again." >&2
    exit 1
fi

missing=""
for package in $packages; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
    as_root="sudo"
else
    echo "These Debian packages are missing, and this user may not install them. Have somebody run:" >&2
    echo "    apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "Installing:$missing" >&2
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
