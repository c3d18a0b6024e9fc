"""The HTML report in Debian's Chromium: what it shows, asks for, and refuses to run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from chromium import PROGRAM, Browser, Page, browser
from helpers.report_runs import simulated_runs

from metabench_py.bundle import load_bundle
from metabench_py.reconstruction.result import Flag
from metabench_py.report.html_report import write_report
from metabench_py.report.run_values import PairOfRuns, Pairs, ReportRun

HOSTILE = "<script>alert(1)</script>"
NAMES = {
    HOSTILE: -0.5,
    "meta-llama__Llama-3-8B": 0.7,
    "\"><img src=x onerror=alert(2)><svg onload=alert(3)>": 0.0,
    "a" * 200: 1.2,
}  # fmt: skip
Load = Callable[..., Page]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of reports: of one LLM, of several, of one with hostile text everywhere."""
    folder = tmp_path_factory.mktemp("reports")
    runs = simulated_runs(load_bundle(), NAMES)
    write_report(folder / "one.html", [runs[1]])
    pairs = [
        PairOfRuns(a.label, b.label, dict.fromkeys(a.result.scores, (1.0, -1.0, 3.0)),
                   dict.fromkeys(a.result.scores, 0.8))
        for a in runs for b in runs if a is not b
    ]  # fmt: skip
    write_report(folder / "several.html", runs, pairs=Pairs(tuple(pairs), 0.95))
    write_report(folder / "hostile.html", [_hostile(runs[0])], title=HOSTILE)
    return folder


def _hostile(run: ReportRun) -> ReportRun:
    break_out = f"</script>{HOSTILE}<!--"
    result = replace(
        run.result,
        model=break_out,
        flags=(Flag("mixed-runs", HOSTILE), Flag(HOSTILE, "javascript:alert(4)")),
        logs={HOSTILE: {"file": break_out, "metric": HOSTILE, "filter": HOSTILE}},
        engine={"irt": HOSTILE, "second_stage": HOSTILE},
        software={HOSTILE: break_out},
    )
    return replace(run, result=result, label=break_out)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.fail("Chromium is absent: sh tests/system/install-tools.sh")
    with browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture
def load(running: Browser, reports: Path) -> Iterator[Load]:
    opened: list[Page] = []

    def load(name: str, **options: Any) -> Page:
        opened.append(Page(running, (reports / name).as_uri(), **options))
        return opened[-1]

    yield load
    for page in opened:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["one.html", "several.html", "hostile.html"])
def test_it_is_shown_without_complaint(
    load: Load, reports: Path, tmp_path: Path, name: str, width: int, scheme: str
) -> None:
    page = load(name, width=width, scheme=scheme)
    # Also with everything unfolded.
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.screenshot(tmp_path / "page.png")
    assert page.complaints() == []
    assert page.requests() == [(reports / name).as_uri()]
    assert page.run("document.documentElement.scrollWidth") == width
    assert page.low_contrast() == []
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) > 600) == (scheme == "light")
    assert page.run("document.querySelectorAll('svg').length") >= 7
    if os.environ.get("METABENCH_SCREENSHOTS"):
        folder = Path(os.environ["METABENCH_SCREENSHOTS"])
        (tmp_path / "page.png").replace(folder / f"{Path(name).stem}-{width}-{scheme}.png")


@pytest.mark.parametrize("scripts", [True, False])
def test_hostile_names_are_shown_and_do_not_run(load: Load, scripts: bool) -> None:
    for name in ("hostile.html", "several.html"):
        page = load(name, scripts=scripts)
        assert page.complaints() == []
        assert page.run("document.scripts.length") == 2
        assert page.run("document.images.length") == 0
        assert HOSTILE in page.run("document.body.innerText")
    page = load("hostile.html")
    assert HOSTILE in page.run("document.title")
    saved = json.loads(page.run("document.getElementById('results').textContent"))
    assert saved[0]["flags"][0]["detail"] == HOSTILE


def test_the_policy_stops_what_escaping_would_have_missed(load: Load) -> None:
    page = load("one.html")
    page.run(
        """
        const bad = document.createElement('script');
        bad.textContent = 'document.title = "taken over"';
        document.body.append(bad);
        document.body.insertAdjacentHTML('beforeend',
          '<img src="https://example.org/x.png" onerror="document.title = 1">'
          + '<p style="color: red" id="styled">x</p>');
        fetch('https://example.org/').catch(() => {});
        """
    )
    assert "taken over" not in page.run("document.title")
    told = json.dumps(page.complaints())
    for directive in ("script-src", "img-src", "style-src", "connect-src"):
        assert directive in told or "default-src" in told, directive
    assert page.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(255, 0, 0)"
    answered = [one["response"]["url"] for one in page.told("Network.responseReceived")]
    assert not any("example.org" in address for address in answered)


def test_it_can_be_read_without_scripts(load: Load) -> None:
    page = load("several.html", scripts=False)
    assert page.complaints() == []
    text = page.run("document.body.innerText")
    for told in ("Comparison", "Grand score", "What to know first", "most surprising answers"):
        assert told in text or "No flags" in text
    controls = "[...document.querySelectorAll('button, input, select')]"
    assert page.run(f"{controls}.length") > 0
    visible = page.run(f"{controls}.filter((one) => one.checkVisibility()).length")
    assert visible == 0, "a control that does nothing is shown"
    page.run("document.querySelector('summary').click()")
    assert page.run("document.querySelector('details').open") is True
    figures = (
        "[...document.querySelectorAll('svg')].every((s) => s.getBoundingClientRect().height > 80)"
    )
    assert page.run(figures) is True


def test_sorting_searching_and_curves(load: Load) -> None:
    page = load("one.html")
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    table = "document.getElementById('run-1-arc-items')"
    column = f"[...{table}.tBodies[0].rows].map((r) => Number(r.cells[2].dataset.value))"
    press = f"{table}.tHead.rows[0].cells[2].querySelector('button').click()"
    page.run(press)
    falling = page.run(column)
    assert falling == sorted(falling, reverse=True)
    assert page.run(f"{table}.tHead.rows[0].cells[2].getAttribute('aria-sort')") == "descending"
    page.run(press)
    assert page.run(column) == sorted(falling)
    rows = f"[...{table}.tBodies[0].rows].filter((r) => !r.hidden)"
    shown = f"{rows}.map((r) => r.cells[0].textContent)"
    first = page.run(shown)[0]
    tools = "document.querySelector('[data-table=run-1-arc-items]')"
    page.run(
        f"const find = {tools}.querySelector('input'); find.value = {json.dumps(first)};"
        "find.dispatchEvent(new Event('input'))"
    )
    found = page.run(shown)
    assert first in found
    assert all(first in one for one in found)
    page.run(
        "find.value = ''; find.dispatchEvent(new Event('input'));"
        f"const show = {tools}.querySelector('select'); show.value = 'wrong';"
        "show.dispatchEvent(new Event('change'))"
    )
    assert set(page.run(f"{rows}.map((r) => r.dataset.answer)")) == {"0"}
    drawn = "document.querySelector('#run-1-arc-ability .curve').getAttribute('d')"
    assert page.run(drawn) == ""
    page.run(f"{table}.querySelector('td.pick button').click()")
    curve = page.run(drawn)
    assert len(curve.split("L")) == 81
    heights = [float(point.split(",")[1]) for point in re.split("[ML]", curve)[1:]]
    assert 14 <= min(heights) <= max(heights) <= 150
    page.run(f"{table}.querySelector('td.pick button').click()")
    assert page.run(drawn) == ""
    assert page.complaints() == []


def test_everything_can_be_reached_by_keyboard(load: Load) -> None:
    page = load("one.html")
    seen = []
    for _ in range(40):
        page.key("Tab", 9)
        seen.append(
            page.run("document.activeElement.tagName + '.' + document.activeElement.className")
        )
    assert seen[0] == "A.skip"
    assert {"BUTTON.", "SUMMARY.", "DIV.scroll"} <= set(seen)
    page.run("document.querySelector('summary').focus()")
    page.key("Enter", 13)
    assert page.run("document.querySelector('details').open") is True
    focus = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(focus) == "solid"


def test_reader_software_finds_its_way(load: Load) -> None:
    page = load("several.html")
    levels = page.run(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.run("document.documentElement.lang") == "en"
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    nodes = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]
    ]
    images = [name for role, name in nodes if role in ("image", "img")]
    assert len(images) == page.run("document.querySelectorAll('svg').length")
    assert all(re.search(r"\d", name) for name in images), "a figure does not tell its numbers"
    for role in ("button", "link", "searchbox", "combobox", "table", "columnheader"):
        named = [name for found, name in nodes if found == role]
        assert all(named), role
    assert {role for role, _ in nodes} >= {"main", "navigation", "rowheader", "columnheader"}


def test_it_can_be_printed(load: Load) -> None:
    page = load("one.html", scheme="dark")
    sheet = page.pdf()
    assert sheet.startswith(b"%PDF")
    n_pages = len(re.findall(rb"/Type\s*/Page\b", sheet))
    assert 4 <= n_pages <= 20
    page.call("Emulation.setEmulatedMedia", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    rows = "[...document.querySelectorAll('#run-1-gsm8k-items tbody tr')]"
    assert page.run(f"{rows}.length") == 249
    printed = f"{rows}.filter((r) => getComputedStyle(r).display !== 'none')"
    assert page.run(f"{printed}.length") == 25


def test_a_server_is_asked_for_nothing_else(running: Browser, reports: Path) -> None:
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(reports))

        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = Page(running, f"http://127.0.0.1:{server.server_port}/several.html")
        assert page.complaints() == []
        page.close()
        server.shutdown()
    assert asked == ["/several.html"]
