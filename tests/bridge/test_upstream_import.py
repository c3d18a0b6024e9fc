"""Importing the original's released files through R; mirt is not needed."""

from __future__ import annotations

import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from metabench_py.benchmarks import BENCHMARKS, REDUCTIONS, TARGETS, UPSTREAM_METRIC
from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle import upstream as upstream_module
from metabench_py.bundle.pull import pull_bundle
from metabench_py.bundle.released import released_files
from metabench_py.bundle.trust import Upstream
from metabench_py.bundle.upstream import import_upstream
from metabench_py.bundle.verify import verify_bundle
from metabench_py.errors import BundleError, StorageError, TrustError
from metabench_py.rbridge import call
from metabench_py.responses import ResponseMatrix
from metabench_py.storage import git_blob_sha1

pytestmark = pytest.mark.usefixtures("needs_r")

RELEASED = released_files("B")

# Known errors of the GAMs on the original's test LLMs (score points).
RMSE = {
    "grand": 0.675,
    "arc": 1.303,
    "gsm8k": 1.677,
    "hellaswag": 1.19,
    "mmlu": 1.379,
    "truthfulqa": 1.316,
    "winogrande": 1.292,
}


@pytest.fixture(scope="module")
def source(shared_data: Path) -> Path:
    return shared_data / "upstream"


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("import") / "B"
    steps: list[tuple[int, int]] = []
    import_upstream(
        source, "B", out, trust=True, progress=lambda _, n, total: steps.append((n, total))
    )
    assert steps == [(i + 1, 19) for i in range(19)]
    return load_bundle(out)


def _copy(source: Path, target: Path) -> Path:
    """Make a folder whose files are links to the real ones, to damage single ones."""
    for path in RELEASED.paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).symlink_to(source / path)
    return target


def test_parameters_are_the_published_ones(imported: Bundle, shared_data: Path) -> None:
    compared = 0
    for benchmark, model in imported.benchmarks.items():
        about = REDUCTIONS["B"][benchmark]
        assert (model.item_type, model.score_method) == (about.item_type, about.score_method)
        assert model.metric == UPSTREAM_METRIC[benchmark]
        file = shared_data / "published" / "B" / f"items-{benchmark}.parquet"
        if not file.is_file():
            continue
        published = pq.read_table(file).to_pydict()
        assert tuple(published["item"]) == model.parameters.items
        for name in ("a1", "d", "g", "u"):
            got = getattr(model.parameters, name)
            assert np.abs(got - np.array(published[name])).max() < 1e-12
        compared += 1
    assert compared == 5
    sizes = {b: len(m.parameters.items) for b, m in imported.benchmarks.items()}
    assert sizes == {
        "arc": 100, "gsm8k": 249, "hellaswag": 58, "mmlu": 102, "truthfulqa": 136,
        "winogrande": 106,
    }  # fmt: skip
    assert imported.benchmarks["winogrande"].fit["iterations"] == 3
    assert imported.benchmarks["arc"].fit["converged"] is False


def test_linear_predictor_is_the_published_one(imported: Bundle, shared_data: Path) -> None:
    """HellaSwag's linear model is as published; its predictions are among the features."""
    model = imported.benchmarks["hellaswag"]
    responses = ResponseMatrix.load(shared_data / "llm-responses" / "B" / "hellaswag.parquet")
    features = pq.read_table(shared_data / "published" / "B" / "features.parquet").to_pydict()
    published = dict(zip(features["name"], features["hellaswag.l"], strict=True))
    values = responses.select(model.parameters.items).values
    linear = model.intercept + values @ model.weights
    known = np.array([name in published for name in responses.llms])
    wanted = np.array([published[name] for name in np.array(responses.llms)[known]])
    assert known.sum() > 4000
    assert np.abs(linear[known] - wanted).max() < 1e-9


def test_second_stage(imported: Bundle) -> None:
    assert imported.errors_kind == "test-set"
    assert tuple(imported.errors) == TARGETS
    for target, table in imported.errors.items():
        assert table.error.shape == (464,)
        assert (np.diff(table.predicted) >= 0).all()
        assert np.sqrt(np.mean(table.error**2)) == pytest.approx(RMSE[target], abs=0.01)
        assert table.group is None
    # The portable fits give what R predicted for these LLMs.
    deviation = imported.manifest["provenance"]["test_prediction_deviation"]
    assert max(deviation.values()) < 1e-9
    assert tuple(imported.population) == TARGETS


def test_the_result_is_a_sound_bundle_without_training_data(imported: Bundle) -> None:
    assert all(check.ok for check in verify_bundle(imported.path))
    assert sum(p.stat().st_size for p in imported.path.rglob("*") if p.is_file()) < 2_000_000
    # The stripped R fits are new files: nobody but the user vouches for them.
    assert imported.rds == {}
    assert imported.rds_untrusted == TARGETS
    assert tuple(load_bundle(imported.path, trust=True).rds) == TARGETS
    provenance = imported.manifest["provenance"]
    assert len(provenance["not_pinned"]) == 12
    assert "d + 1" in provenance["sub_score"]
    assert imported.manifest["licence"] == "CC BY-NC-SA 4.0"


def test_files_made_again_need_trust_and_r_does_not_see_them(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("R read a file that nobody vouches for")

    monkeypatch.setattr(upstream_module, "call", never)
    with pytest.raises(TrustError, match=r"12 of 19 files .*--trust") as caught:
        import_upstream(source, "B", tmp_path / "b")
    assert "gam-arc-seed=1.rds  SHA-256" in str(caught.value)
    assert "gam-grand" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_changed_byte_needs_trust(source: Path, tmp_path: Path) -> None:
    folder = _copy(source, tmp_path / "files")
    grand = folder / RELEASED.gams["grand"]
    content = bytearray(grand.read_bytes())
    content[-1] ^= 1
    grand.unlink()
    grand.write_bytes(content)
    with pytest.raises(TrustError, match="gam-grand"):
        import_upstream(folder, "B", tmp_path / "b")


def test_all_missing_files_at_once(source: Path, tmp_path: Path) -> None:
    folder = _copy(source, tmp_path / "files")
    gone = [RELEASED.lms["mmlu"], RELEASED.gams["grand"], RELEASED.reduced["arc"]]
    for path in gone:
        (folder / path).unlink()
    with pytest.raises(BundleError, match="3 of 19") as caught:
        import_upstream(folder, "B", tmp_path / "b", trust=True)
    assert set(caught.value.facts["missing"]) == set(gone)


def test_folder_of_the_other_version(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"19 of 19 .*missing"):
        import_upstream(source, "A", tmp_path / "b", trust=True)


def test_folder_without_analysis(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="must hold analysis/"):
        import_upstream(source / "analysis", "B", tmp_path / "b", trust=True)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (RELEASED.lms["arc"], RELEASED.lms["mmlu"]),
        (RELEASED.lms["arc"], RELEASED.gams["grand"]),
        (RELEASED.reduced["arc"], RELEASED.lms["arc"]),
        (RELEASED.reduced["arc"], RELEASED.reduced["winogrande"]),
    ],
)
def test_exchanged_files_are_named(source: Path, tmp_path: Path, place: str, other: str) -> None:
    folder = _copy(source, tmp_path / "files")
    (folder / place).unlink()
    (folder / place).symlink_to(source / other)
    with pytest.raises(BundleError) as caught:
        import_upstream(folder, "B", tmp_path / "b", trust=True)
    assert caught.value.facts["file"] == str(folder / place)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("damage", ["truncated", "text", "number", "null"])
def test_file_that_r_cannot_use(source: Path, tmp_path: Path, damage: str) -> None:
    folder = _copy(source, tmp_path / "files")
    file = folder / RELEASED.reduced["arc"]
    content = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        file.write_text("<html>404</html>")
    else:
        call("gam_save", fit=3.5 if damage == "number" else None, path=str(file))
    with pytest.raises(BundleError, match=r"reduced/arc-2PL.*Get the file again") as caught:
        import_upstream(folder, "B", tmp_path / "b", trust=True)
    assert caught.value.facts["file"] == str(file)


def test_existing_out_is_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError, match="exists already"):
        import_upstream(source, "B", tmp_path / "b", trust=True)
    with pytest.raises(StorageError, match="exists already"):
        import_upstream(source, "B", tmp_path / "b", trust=True, replace=True)


def test_pull_downloads_and_imports(source: Path, imported: Bundle, tmp_path: Path) -> None:
    """The whole way, from a real server that has the files under GitHub's raw paths."""
    pins = Upstream("owner/name", "abc123", {p: git_blob_sha1(source / p) for p in RELEASED.paths})
    root = tmp_path / "www"
    (root / "owner" / "name").mkdir(parents=True)
    (root / "owner" / "name" / "abc123").symlink_to(source)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            path = pull_bundle(
                "B",
                tmp_path / "pulled",
                downloads=tmp_path / "downloads",
                address=f"http://127.0.0.1:{server.server_address[1]}",
                upstream=pins,
            )
        finally:
            server.shutdown()
            thread.join()
    pulled = load_bundle(path)
    assert pulled.manifest["provenance"]["not_pinned"] == []
    assert pulled.manifest["provenance"]["commit"] == "abc123"
    for benchmark in BENCHMARKS:
        mine, theirs = pulled.benchmarks[benchmark], imported.benchmarks[benchmark]
        assert np.array_equal(mine.parameters.a1, theirs.parameters.a1)
        assert np.array_equal(mine.weights, theirs.weights)
    shutil.rmtree(tmp_path / "downloads")
