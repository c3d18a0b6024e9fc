"""Shared fixtures: where the reference data are, and what this machine's R can do."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# The fixture `record` of the parity tests, and the table at the end of the run.
pytest_plugins = ["parity.report"]

# A busy machine is no reason to fail.
settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def _skip_or_fail(variable: str, reason: str) -> None:
    if os.environ.get(variable) == "1":
        pytest.fail(f"{reason} ({variable}=1 forbids the skip)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden numbers that travel with the tests."""
    return GOLDEN


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the reference data that are not part of the project."""
    folder = Path(os.environ.get("METABENCH_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        _skip_or_fail("METABENCH_REQUIRE_SHARED", f"reference data absent: {folder}")
    return folder


@pytest.fixture(scope="session")
def needs_r() -> None:
    """Skip where R does not load."""
    from metabench_py import rbridge

    if not rbridge.has_package("mgcv"):
        _skip_or_fail("METABENCH_REQUIRE_R", "R with mgcv is absent")


@pytest.fixture(scope="session")
def needs_catr(needs_r: None) -> None:
    """Skip where R lacks catR."""
    from metabench_py import rbridge

    if not rbridge.has_package("catR"):
        _skip_or_fail("METABENCH_REQUIRE_CATR", "R's catR is absent (CRAN only)")


@pytest.fixture(scope="session")
def needs_bayes(needs_r: None) -> None:
    """Skip where R lacks rBayesianOptimization."""
    from metabench_py import rbridge

    if not rbridge.has_package("rBayesianOptimization"):
        reason = "R's rBayesianOptimization is absent (CRAN only)"
        _skip_or_fail("METABENCH_REQUIRE_BAYES", reason)


@pytest.fixture(scope="session")
def needs_mirt() -> None:
    """Skip where R lacks mirt."""
    from metabench_py import rbridge

    if not rbridge.has_package("mirt"):
        _skip_or_fail("METABENCH_REQUIRE_MIRT", "R's mirt is absent (CRAN only; run setup.R)")


@pytest.fixture(scope="session")
def needs_caret() -> None:
    """Skip where R lacks caret."""
    from metabench_py import rbridge

    if not rbridge.has_package("caret"):
        reason = "R's caret is absent (apt-get install r-cran-caret, or run setup.R)"
        _skip_or_fail("METABENCH_REQUIRE_CARET", reason)


@pytest.fixture(scope="session")
def needs_psych() -> None:
    """Skip where R lacks psych."""
    from metabench_py import rbridge

    if not (rbridge.has_package("psych") and rbridge.has_package("GPArotation")):
        reason = "R's psych is absent (apt-get install r-cran-psych r-cran-gparotation)"
        _skip_or_fail("METABENCH_REQUIRE_PSYCH", reason)


@pytest.fixture
def needs_harness() -> None:
    """Skip where lm-evaluation-harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        _skip_or_fail("METABENCH_REQUIRE_HARNESS", "lm-eval is absent (the extra harness)")
