"""The order of texts by R's ICU, whatever the locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metabench_py.calibration.ordering import sorted_names
from metabench_py.rbridge.collation import icu_order

pytestmark = pytest.mark.usefixtures("needs_r")


def test_golden_orders(golden: Path) -> None:
    case = json.loads((golden / "pipeline" / "split" / "collation.json").read_text())
    assert sorted_names(case["input"], "icu") == case["sort_locale"]
    assert sorted_names(case["input"], "c") == case["sort_codepoint"]


def test_texts_of_all_kinds() -> None:
    assert sorted_names(["é", "z", "e", "Ä", "a", "中"], "icu") == ["a", "Ä", "e", "é", "z", "中"]
    assert icu_order([]).tolist() == []
    assert icu_order(["b"]).tolist() == [0]
    # Equal to the collator: in the order given.
    assert icu_order(["b", "a", "b", "a"]).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_locale_does_not_matter_and_is_left_alone(locale: str) -> None:
    code = (
        "from metabench_py.rbridge.collation import icu_order\n"
        "from metabench_py.rbridge import call\n"
        "print(icu_order(['Org41', 'org41', 'a-b', 'a_b', 'B', 'b']).tolist())\n"
        "import rpy2.rinterface as ri\n"
        "print(list(ri.baseenv['sort'](ri.StrSexpVector(['b', 'B', 'a']))))\n"
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith("LC_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "LC_ALL": locale}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    order, after = done.stdout.splitlines()
    assert order == "[3, 2, 5, 4, 1, 0]"
    assert after == ("['B', 'a', 'b']" if locale == "C" else "['a', 'b', 'B']")
