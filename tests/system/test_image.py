"""The image: built from the real Dockerfile without a Docker engine, used as a person would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers import DEFAULT_FOLDER, ROOT, Containers, Finished
from tiny_model import save_tiny_model

BASE = "localhost/metabench-base"
FULL = "localhost/metabench-test"
CORE = "localhost/metabench-test-core"
VERSION = "system-test"
READ_ONLY = ("--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")
# Podman gives a read-only container a writable /tmp; Docker does not, and neither does this.
LIKE_DOCKER = (*READ_ONLY, "--read-only-tmpfs=false")


@pytest.fixture(scope="session")
def containers() -> Containers:
    return Containers.prepare(DEFAULT_FOLDER)


@pytest.fixture(scope="session")
def base(containers: Containers) -> str:
    return containers.base_image(BASE)


@pytest.fixture(scope="session")
def image(containers: Containers, base: str) -> str:
    """The whole image, harness and PyTorch included."""
    built = containers.build(
        FULL, base, {"REQUIRE_MIRT": "0", "TORCH": "torch==2.13.0", "VERSION": VERSION}
    )
    assert built.code == 0, built.out[-4000:] + built.err[-4000:]
    return FULL


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A folder that the image's unprivileged user may write."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def podman(containers: Containers, *arguments: str, timeout: float = 600) -> Finished:
    return containers.run("podman", "run", *arguments, timeout=timeout)


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "docker" / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_build_that_cannot_install_mirt_fails_and_says_what_to_do(
    containers: Containers, image: str, base: str
) -> None:
    built = containers.build(
        "localhost/metabench-never", base, {"CRAN_MIRROR": "file:///mnt/no-such-mirror"}
    )
    assert built.code != 0
    assert "setup.R could not install mirt" in built.err
    assert "--build-arg REQUIRE_MIRT=0" in built.err
    assert containers.run("podman", "image", "exists", "localhost/metabench-never").code != 0


def test_the_smoke_test_passes(containers: Containers, image: str) -> None:
    done = containers.run("env", "CONTAINER_ENGINE=podman", "docker/smoke-test.sh", image)
    assert done.code == 0, done.out + done.err
    assert "All checks passed." in done.out
    assert f"version: {VERSION}" in done.out


def test_the_image_without_the_harness_passes_too_and_is_smaller(
    containers: Containers, image: str, base: str
) -> None:
    built = containers.build(CORE, base, {"REQUIRE_MIRT": "0", "HARNESS": "0", "VERSION": VERSION})
    assert built.code == 0, built.out[-4000:] + built.err[-4000:]
    done = containers.run("env", "CONTAINER_ENGINE=podman", "docker/smoke-test.sh", CORE)
    assert done.code == 0, done.out + done.err
    assert "not in this image (HARNESS=0)" in done.out
    assert size(containers, CORE) < size(containers, image) - 500e6


def size(containers: Containers, image: str) -> int:
    return int(containers.check("podman", "image", "inspect", "--format", "{{.Size}}", image))


def test_nothing_of_the_build_machine_is_baked_in(containers: Containers, image: str) -> None:
    history = containers.check(
        *("podman", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    )
    configuration = containers.check("podman", "image", "inspect", image)
    for word in ("PIP_CONFIG_FILE", "/mnt/pip", str(ROOT), "CRAN_MIRROR"):
        assert word not in history, word
        assert word not in configuration, word
    found = podman(
        containers,
        *READ_ONLY,
        "--entrypoint",
        "sh",
        image,
        "-c",
        "ls -A /mnt /src 2>&1; pip config list",
    )
    assert "pip.conf" not in found.out
    assert "cert" not in found.out


@pytest.mark.parametrize("mode", ["podman", "docker"])
def test_real_logs_reconstruct_in_a_locked_container(
    containers: Containers, image: str, shared_data: Path, volume: Path, mode: str
) -> None:
    logs = shared_data / "harness-results"
    done = podman(
        containers,
        *(READ_ONLY if mode == "podman" else LIKE_DOCKER),
        *("--volume", f"{logs}:/logs:ro", "--volume", f"{volume}:/work"),
        *(image, "reconstruct", "/logs", "--out", "/work/result.json"),
    )
    assert done.code == 0, done.err
    result = json.loads((volume / "result.json").read_text())
    assert result["model"] == "EleutherAI__pythia-14m"
    assert 20 < result["scores"]["grand"]["score"] < 30
    assert (volume / "result.json").stat().st_uid == 10001


def test_any_user_may_be_given(containers: Containers, image: str, volume: Path) -> None:
    done = podman(
        containers,
        *(*READ_ONLY, "--user", "4242:4242", "--volume", f"{volume}:/work"),
        *(image, "reconstruct", "example", "--second-stage", "mgcv", "--out", "/work/result.json"),
    )
    assert done.code == 0, done.err
    assert (volume / "result.json").stat().st_uid == 4242


def test_without_a_writable_folder_it_says_what_to_add(containers: Containers, image: str) -> None:
    done = podman(containers, *LIKE_DOCKER, image, "--version")
    assert "Add --tmpfs /tmp, or mount a writable volume on /work" in done.err
    assert done.out.startswith("metabench-py ")


def test_a_damaged_log_is_one_clear_error(
    containers: Containers, image: str, shared_data: Path, volume: Path
) -> None:
    source = shared_data / "harness-results" / "EleutherAI__pythia-14m"
    copied = volume / source.name
    shutil.copytree(source, copied)
    log = next(copied.glob("samples_metabench_arc_secondary_2*.jsonl"))
    log.write_bytes(log.read_bytes()[:-300])
    done = podman(
        containers, *READ_ONLY, "--volume", f"{volume}:/logs:ro", image, "reconstruct", "/logs"
    )
    assert done.code != 0
    assert log.name in done.err
    assert "Traceback" not in done.err


def test_evaluate_goes_from_a_model_to_scores_in_one_offline_container(
    containers: Containers, image: str, shared_data: Path, volume: Path
) -> None:
    model = save_tiny_model(volume / "tiny-llama", shared_data / "items" / "B")
    options = ("--version", "B", "--items", "/items", "--device", "cpu", "--batch-size", "32")
    done = podman(
        containers,
        *(*LIKE_DOCKER, "--volume", f"{shared_data}/items:/items:ro"),
        *("--volume", f"{model}:/models/tiny-llama:ro", "--volume", f"{volume}:/work"),
        *(image, "evaluate", "/models/tiny-llama", *options),
        timeout=900,
    )
    assert done.code == 0, done.out[-2000:] + done.err[-4000:]
    assert "Grand score" in done.out
    (written,) = (volume / "harness-results").glob("*/metabench-result_B.json")
    result = json.loads(written.read_text())
    assert sum(about["n_answered"] for about in result["abilities"].values()) == 751

    again = podman(
        containers,
        *(*READ_ONLY, "--volume", f"{volume}/harness-results:/logs:ro"),
        *(image, "reconstruct", "/logs", "--json"),
    )
    assert again.code == 0, again.err
    assert json.loads(again.out)["scores"] == result["scores"]


def test_compose_reconstructs_a_folder_of_logs(
    containers: Containers, image: str, shared_data: Path
) -> None:
    compose = Path(sys.executable).with_name("podman-compose")
    done = containers.run(
        *("env", f"METABENCH_IMAGE={image}", f"METABENCH_RESULTS={shared_data}/harness-results"),
        *(compose, "--file", "docker/compose.yaml", "run", "--rm", "-T", "reconstruct"),
    )
    assert done.code == 0, done.err
    assert "EleutherAI__pythia-14m" in done.out
    assert "Grand score" in done.out
