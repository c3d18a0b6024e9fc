#!/bin/sh
# Starts metabench-py; R, numba and matplotlib get a writable folder even in a read-only container.
set -eu

if [ -z "${TMPDIR:-}" ] && ! [ -w /tmp ]; then
    # docker run --read-only leaves /tmp read-only; the volume is what remains.
    for folder in /work /cache; do
        if [ -w "$folder" ]; then TMPDIR="$folder/.tmp" && break; fi
    done
fi
export TMPDIR="${TMPDIR:-/tmp}"
if ! mkdir -p "$TMPDIR" 2>/dev/null || ! [ -w "$TMPDIR" ]; then
    echo "metabench: no writable folder. Add --tmpfs /tmp, or mount a writable volume on /work." >&2
fi
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-$TMPDIR/numba}"
if ! [ -w "${HF_HOME%/*}" ]; then export HF_HOME="$TMPDIR/huggingface"; fi
export MPLCONFIGDIR="${MPLCONFIGDIR:-$TMPDIR/matplotlib}"

exec metabench-py "$@"
