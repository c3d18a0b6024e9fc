"""System tests run by ``make test-system`` alone: they need tools that it installs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what lies in this folder unless ``make test-system`` started the run."""
    if os.environ.get("METABENCH_SYSTEM_TESTS") == "1":
        # One of two workers waits for the image's downloads while the other computes.
        items.sort(key=lambda item: item.path.name != "test_image.py")
        return
    reason = pytest.mark.skip(reason="a system test: run make test-system")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(reason)
