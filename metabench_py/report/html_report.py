"""The HTML report: one file that needs no other, and no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from metabench_py import __version__
from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES
from metabench_py.errors import InputError
from metabench_py.report import html_tables as tables
from metabench_py.report.drawing import ability_figure, compare_figure, score_figure
from metabench_py.report.flag_words import words_for
from metabench_py.report.html_tables import name, number
from metabench_py.report.markup import Child, Markup, clean, code, csp_hash, data, el, escape, join
from metabench_py.report.run_values import SURPRISING, ItemAnswer, Pairs, ReportRun, item_answers
from metabench_py.storage import write_text

MOST_RUNS = 200
# More runs than these get the most surprising items alone, more than those one figure alone.
_ALL_ITEMS, _ALL_FIGURES = 5, 12
_FEW_ITEMS = 25
_TOP = 10


def write_report(
    path: Path, runs: Sequence[ReportRun], *, title: str | None = None, pairs: Pairs | None = None
) -> None:
    """Write the report of one or several runs, atomically.

    Parameters
    ----------
    runs
        Their labels differ.
    title
        Of the page; tells the LLM if left out.
    pairs
        Differences of the runs, where they are known.

    Raises
    ------
    InputError
        There are no runs or too many.
    """
    write_text(path, render_report(runs, title=title, pairs=pairs))


def render_report(
    runs: Sequence[ReportRun], *, title: str | None = None, pairs: Pairs | None = None
) -> str:
    """Make the page's text; see `write_report`. The same runs give the same text."""
    if not 1 <= len(runs) <= MOST_RUNS:
        raise InputError(
            f"A report shows 1 to {MOST_RUNS} results, not {len(runs)}; choose some of them.",
            n_runs=len(runs),
        )
    several = len(runs) > 1
    title = title or (f"{len(runs)} LLMs" if several else runs[0].label)
    anchors = [f"run-{i}" for i in range(1, len(runs) + 1)]
    whole = len(runs) <= _ALL_ITEMS
    body = join(
        el("a", "Skip to the scores", href="#content", class_="skip"),
        el(
            "header",
            el("p", "metabench report", class_="muted"),
            el("h1", name(title)),
            _contents(runs, anchors) if several else None,
            _save(),
        ),
        el(
            "main",
            _comparison(runs, anchors, pairs) if several else None,
            *(
                _run(run, anchor, name(run.label) if several else "In short", whole)
                for run, anchor in zip(runs, anchors, strict=True)
            ),
            id="content",
        ),
        el("footer", el("p", f"Made by metabench-py {__version__}.", class_="muted")),
        data("results", [run.result.to_dict() for run in runs]),
    )
    return _page(title, body)


def _page(title: str, body: Markup) -> str:
    style, script = (_asset(f"report.{ending}") for ending in ("css", "js"))
    policy = (
        f"default-src 'none'; script-src {csp_hash(script)}; style-src {csp_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        # Before all that it governs.
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{title} - metabench report"),
        # An empty icon: a server is not asked for one.
        el("link", rel="icon", href="data:,"),
        code("style", style),
    )
    page = el("html", head, el("body", body, code("script", script)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _asset(file: str) -> str:
    folder = files("metabench_py.report").joinpath("assets")
    return clean(folder.joinpath(file).read_text(encoding="utf-8"))


def _contents(runs: Sequence[ReportRun], anchors: Sequence[str]) -> Markup:
    links = [("comparison", escape("Comparison"))]
    links += [(anchor, name(run.label)) for run, anchor in zip(runs, anchors, strict=True)]
    entries = [el("li", el("a", text, href=f"#{anchor}")) for anchor, text in links]
    return el("nav", el("ul", *entries), aria_label="Contents")


def _save() -> Markup:
    button = el("button", "Save the results as JSON", type="button", id="save")
    return el("div", button, class_="tools", hidden=True)


def _comparison(runs: Sequence[ReportRun], anchors: Sequence[str], pairs: Pairs | None) -> Markup:
    shown = TARGETS if len(runs) <= _ALL_FIGURES else TARGETS[:1]
    figures = [el("figure", el("figcaption", TITLES[t]), compare_figure(runs, t)) for t in shown]
    parts: list[Child] = [
        el("h2", "Comparison"),
        tables.runs_table(runs, anchors),
        el("div", *figures, class_="grid"),
    ]
    kinds = {(run.result.bundle.get("sha256"), run.result.permuted) for run in runs}
    if len(kinds) > 1:
        text = (
            "These runs are of several bundles, or some have permuted answer options: their "
            "scores stand for the same full benchmarks, but come of other items or prompts."
        )
        parts.append(el("p", text))
    if pairs is not None and pairs.rows:
        parts += [
            el("h3", "Which is better?"),
            el(
                "p",
                "The runs answered the same items, so a part of their errors is common and cancels "
                "out of the difference. Intervals that overlap above can hence still tell two "
                "LLMs apart here.",
            ),
            tables.pairs_table(pairs, "grand"),
        ]
        parts += [
            el("details", el("summary", TITLES[t]), tables.pairs_table(pairs, t))
            for t in TARGETS[1:]
        ]
    else:
        text = (
            "How likely each LLM is to be the better one is told where all runs have the same "
            f"bundle, the logs are at hand, and there are {_ALL_FIGURES} runs at most. As long as "
            "two intervals overlap, take the LLMs for equal."
        )
        parts.append(el("p", text, class_="muted"))
    return el("section", *parts, id="comparison")


def _run(run: ReportRun, anchor: str, heading: Child, whole: bool) -> Markup:
    result = run.result
    grand = result.scores["grand"]
    told = f"metabench version {result.version}"
    if result.permuted:
        told += ", permuted answer options"
    n_items = sum(a.n_items for a in result.abilities.values())
    n_answered = sum(a.n_answered for a in result.abilities.values())
    headline = [
        ("Grand score", number(grand.score)),
        (grand.interval_name, f"{number(grand.lower)} to {number(grand.upper)}"),
        ("Percentile among calibration LLMs", number(grand.percentile)),
        ("Items answered", f"{n_answered} of {n_items}"),
    ]
    ranked = grand.percentile is not None
    return el(
        "section",
        el("h2", heading),
        el("p", told, class_="muted"),
        el(
            "dl",
            *(
                el("div", el("dt", key), el("dd", value))
                for key, value in headline
                if ranked or not key.startswith("Percentile")
            ),
            class_="headline",
        ),
        *(el("p", note, class_="muted") for note in run.notes),
        _flags(run),
        _scores(run),
        _abilities(run, anchor),
        _items(run, anchor, whole),
        _provenance(run),
        id=anchor,
        class_="run",
    )


def _flags(run: ReportRun) -> Markup:
    if not run.result.flags:
        return el("p", "No flags: nothing unusual was seen in this run.")
    entries = []
    for flag in run.result.flags:
        words = words_for(flag)
        entries.append(
            el(
                "li",
                el("p", f"{words.weight.capitalize()}: {words.title}", class_="strong"),
                el("p", words.meaning) if words.meaning else None,
                el("p", flag.detail, class_="muted"),
                el("p", f"What to do: {words.advice}") if words.advice else None,
                class_=words.weight,
            )
        )
    return join(el("h3", "What to know first"), el("ul", *entries, class_="flags"))


def _scores(run: ReportRun) -> Markup:
    scores = run.result.scores
    about = "; ".join(
        f"{TITLES[t]} {number(s.score)} ({number(s.lower)} to {number(s.upper)})"
        for t, s in scores.items()
    )
    meaning = {
        "conformal": "The interval holds the score on the full benchmark for "
        f"{100 * (scores['grand'].level or 0):g} % of LLMs like those of the calibration.",
        "local-rmse": "The interval is plus and minus the typical error of LLMs with similar "
        "scores, as the original has it; it claims no coverage.",
        "theta": "The interval moves every ability by "
        f"{scores['grand'].se_factor or 1:g} of its standard errors, as the original's hidden "
        "option; it claims no coverage.",
    }.get(scores["grand"].interval)
    caption = "The percentile is the share of the calibration LLMs that score at most as much."
    return join(
        el("h3", "Scores"),
        el(
            "div",
            el("div", tables.score_table(run), el("p", meaning, caption and " ", caption)),
            el("figure", score_figure(run, about)),
            class_="pair",
        ),
    )


def _abilities(run: ReportRun, anchor: str) -> Markup:
    parts: list[Child] = [el("h3", "Abilities"), tables.ability_table(run)]
    if run.bundle is not None:
        figures = []
        for benchmark in BENCHMARKS:
            caption = el(
                "figcaption",
                TITLES[benchmark],
                el("span", class_="drawn", aria_live="polite"),
            )
            drawn = ability_figure(run, benchmark)
            figures.append(el("figure", caption, drawn, id=_figure_id(anchor, benchmark)))
        ticks = (
            "Ticks below are the items' difficulties: upper row answered right, lower row wrong."
            if run.answers is not None
            else "Ticks below are the items' difficulties."
        )
        parts += [
            el(
                "p",
                "Line and band: the ability and one standard error to each side. Where the items "
                f"have much information, an ability is measured well. {ticks}",
            ),
            el("div", *figures, class_="grid"),
        ]
    return join(*parts)


def _items(run: ReportRun, anchor: str, whole: bool) -> Markup:
    found = {b: item_answers(run, b) for b in BENCHMARKS}
    everything = [one for items in found.values() for one in items]
    if not everything:
        return Markup("")
    surprising = [one for one in everything if abs(one.residual) >= SURPRISING]
    top = sorted(surprising, key=lambda one: -abs(one.residual))[:_TOP]
    parts: list[Child] = [
        el("h3", "Items"),
        el(
            "p",
            f"{len(surprising)} of {len(everything)} answers are surprising: more than "
            f"{SURPRISING:g} standard deviations from what the LLM's ability lets expect (the "
            "residual). Right answers to hard items may be luck, or an item known by heart; wrong "
            "ones to easy items may be a parsing or prompt problem. A few are there in any run.",
        ),
    ]
    if top:
        caption = f"The {len(top)} most surprising answers"
        parts.append(tables.item_table(top, caption, f"{anchor}-top", None, titled=True))
    parts += [_benchmark_items(items, anchor, whole) for items in found.values() if items]
    return join(*parts)


def _benchmark_items(items: Sequence[ItemAnswer], anchor: str, whole: bool) -> Markup:
    benchmark = items[0].benchmark
    ident = f"{anchor}-{benchmark}-items"
    right = sum(one.answer == 1 for one in items)
    expected = sum(one.expected for one in items if one.answer >= 0)
    odd = sum(abs(one.residual) >= SURPRISING for one in items)
    shown = items if whole else items[:_FEW_ITEMS]
    caption = f"{TITLES[benchmark]}: items, surprising answers first"
    if len(shown) < len(items):
        caption += f" (the first {len(shown)} of {len(items)})"
    summary = (
        f"{TITLES[benchmark]}: {right} right ({expected:.1f} expected at the ability), "
        f"{odd} surprising, {len(items)} items"
    )
    return el(
        "details",
        el("summary", summary),
        tables.filter_tools(ident, benchmark),
        tables.item_table(shown, caption, ident, _figure_id(anchor, benchmark), titled=False),
        el("p", f"Of longer tables the first {_FEW_ITEMS} rows are printed.", class_="print"),
    )


def _provenance(run: ReportRun) -> Markup:
    result = run.result
    bundle: list[tuple[str, Child]] = [
        ("Bundle", result.bundle.get("name", "")),
        ("SHA-256", el("code", result.bundle.get("sha256", ""))),
    ]
    if run.bundle is not None:
        manifest = run.bundle.manifest
        provenance = manifest.get("provenance") or {}
        bundle.append(("Licence of the estimates", str(manifest.get("licence", ""))))
        told = {"source": "Calibrated on", "n_llms": "Calibration LLMs", "errors": "Errors"}
        for key, words in told.items():
            if isinstance(provenance, dict) and key in provenance:
                bundle.append((words, str(provenance[key])))
    engine: list[tuple[str, Child]] = [
        ("Abilities by", result.engine.get("irt", "")),
        ("Scores by", result.engine.get("second_stage", "")),
        *((key, text) for key, text in result.software.items()),
    ]
    logs: list[tuple[str, Child]] = []
    for benchmark, log in result.logs.items():
        read = f"{log.get('metric') or 'unknown metric'}"
        if log.get("filter"):
            read += f", filter {log['filter']}"
        told_log = join(el("code", name(str(log.get("file") or "-"))), f" ({read})")
        logs.append((TITLES.get(benchmark, benchmark), told_log))
    return el(
        "details",
        el("summary", "Versions and provenance"),
        tables.facts(bundle, "Where the items and their parameters come from"),
        tables.facts(engine, "What computed"),
        tables.facts(logs, "Logs that were read") if logs else None,
    )


def _figure_id(anchor: str, benchmark: str) -> str:
    return f"{anchor}-{benchmark}-ability"
