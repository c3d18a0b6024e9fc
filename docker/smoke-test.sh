#!/bin/sh
# Checks a built image:  docker/smoke-test.sh IMAGE
# CONTAINER_ENGINE names the engine (docker unless told). Containers run without a network, read-only
# and as an unprivileged user; nothing is left behind.
set -eu

image="${1:?usage: docker/smoke-test.sh IMAGE}"
engine="${CONTAINER_ENGINE:-docker}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 1777 "$work"

fail() {
    echo "FAILED: $1" >&2
    exit 1
}
metabench() {
    $engine run --rm --network none --read-only --cap-drop ALL -v "$work:/work" "$image" "$@"
}
inside() {
    $engine run --rm --network none --read-only --cap-drop ALL --entrypoint sh "$image" -c "$1"
}

echo "== $image: user, labels, contents"
[ "$(inside 'id -u')" != 0 ] || fail "the image runs as root"
for label in title licenses version; do
    value=$($engine image inspect --format "{{index .Config.Labels \"org.opencontainers.image.$label\"}}" "$image")
    [ -n "$value" ] || fail "no label org.opencontainers.image.$label"
    echo "$label: $value"
done
for tool in gcc g++ gfortran make; do
    if inside "command -v $tool" >/dev/null; then fail "the compiler stage leaked: $tool"; fi
done
inside 'Rscript -e "cat(extSoftVersion()[[\"BLAS\"]])"' | grep -q openblas || fail "R does not use OpenBLAS"

echo "== metabench-py --version"
metabench --version | grep -E '^metabench-py [0-9]+\.' || fail "--version"

echo "== metabench-py doctor"
metabench doctor || fail "doctor found something broken"

echo "== metabench-py reconstruct example, by R's mgcv and by the portable fit"
metabench reconstruct example || fail "reconstruct example"
metabench reconstruct example --second-stage mgcv --out /work/mgcv.json || fail "reconstruct by mgcv"
metabench reconstruct example --second-stage portable --out /work/portable.json || fail "reconstruct without R"
$engine run --rm --network none --read-only -v "$work:/work:ro" --entrypoint python3 "$image" -c '
import json
by = {name: json.load(open(f"/work/{name}.json"))["scores"] for name in ("mgcv", "portable")}
for target, value in by["mgcv"].items():
    score, same = value["score"], by["portable"][target]["score"]
    assert 0 <= value["lower"] <= score <= value["upper"] <= 100, (target, value)
    assert abs(score - same) < 1e-6, (target, score, same)
assert len(by["mgcv"]) == 7, list(by["mgcv"])
print("seven scores, equal with and without R to 1e-6")
' || fail "the results differ or are not scores"

echo "== metabench-py reconstruct of logs that are not there"
if metabench reconstruct /work/absent 2>"$work/message"; then fail "an absent folder was accepted"; fi
grep -q 'Error: ' "$work/message" || fail "an absent folder gives no clear error: $(cat "$work/message")"

echo "== lm-evaluation-harness"
if inside 'python3 -c "import lm_eval"' 2>/dev/null; then
    inside 'python3 -c "import lm_eval, torch; print(\"lm-eval\", lm_eval.__version__, \"torch\", torch.__version__)"' ||
        fail "lm-eval is there, torch is not"
    metabench evaluate --help >/dev/null || fail "evaluate --help"
else
    echo "not in this image (HARNESS=0)"
fi
echo "All checks passed."
