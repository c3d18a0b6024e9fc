"""Tables of the HTML report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from metabench_py.benchmarks import TARGETS, TITLES, Benchmark, Target
from metabench_py.reconstruction.result import Score
from metabench_py.report.markup import Child, Markup, el, join
from metabench_py.report.run_values import SURPRISING, ItemAnswer, Pairs, ReportRun

_ANSWERS = {1: ("✓ right", "right"), 0: ("✗ wrong", "wrong"), -1: ("not answered", "muted")}


def number(value: float | None, digits: int = 1) -> str:
    """Write a number; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def name(text: str) -> Markup:
    """Write a name that may run from right to left without turning the text around it."""
    return el("bdi", text)


def table(
    head: Sequence[Child],
    rows: Iterable[Markup],
    caption: str,
    kind: str = "",
    ident: str | None = None,
) -> Markup:
    """Make a table that scrolls by itself where the screen is narrow."""
    cells = [el("th", one, scope="col", class_="pick" if one is None else None) for one in head]
    return el(
        "div",
        el(
            "table",
            el("caption", caption),
            el("thead", el("tr", *cells)),
            el("tbody", *rows),
            class_=kind or None,
            id=ident,
        ),
        class_="scroll",
        tabindex="0",
        role="group",
        aria_label=caption,
    )


def score_table(run: ReportRun) -> Markup:
    """Scores, intervals and percentiles."""
    scores = run.result.scores
    ranked = any(s.percentile is not None for s in scores.values())
    rows = []
    for target in TARGETS:
        score = scores[target]
        bounds = f"{number(score.lower)} to {number(score.upper)}"
        cells = [el("td", number(score.score)), el("td", bounds, class_="whole")]
        if ranked:
            cells.append(el("td", percentile(score)))
        strong = "strong" if target == "grand" else None
        rows.append(el("tr", el("th", TITLES[target], scope="row"), *cells, class_=strong))
    head = ["Benchmark", "Score", scores["grand"].interval_name, "Percentile"]
    return table(head[: 4 if ranked else 3], rows, "Scores, in points of 0 to 100")


def percentile(score: Score) -> Markup:
    """Percentile, with its interval where the result has one."""
    low, high = score.percentile_lower, score.percentile_upper
    if score.percentile is None or low is None or high is None:
        return join(number(score.percentile))
    return join(
        number(score.percentile), el("span", f"{number(low)} to {number(high)}", class_="sub")
    )


def ability_table(run: ReportRun) -> Markup:
    """Abilities and what they are made of."""
    rows = []
    for benchmark, ability in run.result.abilities.items():
        answered = f"{ability.n_correct} of {ability.n_answered}"
        if ability.n_answered < ability.n_items:
            answered += f" ({ability.n_items - ability.n_answered} not answered)"
        rows.append(
            el(
                "tr",
                el("th", TITLES[benchmark], scope="row"),
                el("td", number(ability.theta, 2)),
                el("td", number(ability.se, 3)),
                el("td", ability.method),
                el("td", answered, class_="whole"),
                el("td", number(ability.subscore)),
                el("td", number(ability.linear_predictor)),
            )
        )
    head = ["Benchmark", "Ability", "Standard error", "Method", "Right", "% right", "Linear"]
    return table(
        head,
        rows,
        "Abilities in standard deviations of the prior; Linear is the full score by the linear "
        "model of the answers",
    )


def item_table(
    items: Sequence[ItemAnswer], caption: str, ident: str, figure: str | None, *, titled: bool
) -> Markup:
    """Items with their answers; the rows carry what the page's script filters and draws by."""
    rows = []
    for one in items:
        told, kind = _ANSWERS[one.answer]
        residual = f"{one.residual:+.2f}" if math.isfinite(one.residual) else "-"
        label = f"{TITLES[one.benchmark]} {one.item}" if titled else one.item
        cells: list[Child] = [
            el("th", name(label), scope="row"),
            el("td", told, class_=kind),
            el("td", _probability(one.expected), data_value=_sortable(one.expected, 6)),
            el("td", residual, data_value=_sortable(abs(one.residual), 3)),
            el("td", number(one.difficulty, 2), data_value=_sortable(one.difficulty, 3)),
            el("td", number(one.a1, 2)),
            el("td", number(one.information, 2)),
        ]
        if figure is not None:
            parameters = f"{one.a1:.5g} {one.d:.5g} {one.g:.5g} {one.u:.5g}"
            button = el(
                "button",
                "curve",
                type="button",
                hidden=True,
                aria_pressed="false",
                aria_label=f"Draw the curve of item {one.item}",
                data_figure=figure,
                data_item=parameters,
            )
            cells.append(el("td", button, class_="pick"))
        row = {"data_answer": one.answer, "data_residual": residual, "data_limit": SURPRISING}
        rows.append(el("tr", *cells, **row))
    head: list[Child] = [
        "Item", "Answer", "P(right)", "Residual", "Difficulty", "Slope", "Information",
    ]  # fmt: skip
    return table(head + [None] * (figure is not None), rows, caption, "sortable items", ident)


def filter_tools(ident: str, benchmark: Benchmark) -> Markup:
    """Search and choice for an item table; hidden until the script makes them work."""
    choices = {
        "all": "all items",
        "surprising": f"surprising ones (residual beyond {SURPRISING:g})",
        "right": "right answers",
        "wrong": "wrong answers",
        "missing": "not answered",
    }
    options = [el("option", text, value=value) for value, text in choices.items()]
    return el(
        "div",
        el(
            "label",
            "Find ",
            el("input", type="search", name="find", aria_label=f"Find {TITLES[benchmark]} items"),
        ),
        el("label", "Show ", el("select", *options, name="show")),
        el("output"),
        class_="tools filter",
        hidden=True,
        data_table=ident,
    )


def runs_table(runs: Sequence[ReportRun], anchors: Sequence[str]) -> Markup:
    """All runs, a row each; the best score of each column is strong."""
    best = {t: max(_comparable(run.result.scores[t].score) for run in runs) for t in TARGETS}
    rows = []
    for run, anchor in zip(runs, anchors, strict=True):
        cells = []
        for target in TARGETS:
            score = run.result.scores[target]
            bounds = f"{number(score.lower)} to {number(score.upper)}"
            strong = "strong" if _comparable(score.score) == best[target] else None
            cells.append(
                el(
                    "td",
                    el("span", number(score.score), class_=strong),
                    el("span", bounds, class_="sub"),
                    data_value=_sortable(score.score, 6),
                )
            )
        link = el("a", name(run.label), href=f"#{anchor}")
        rows.append(el("tr", el("th", link, scope="row", class_="name"), *cells))
    caption = f"Scores with {runs[0].result.scores['grand'].interval_name}; best in bold"
    if len({run.result.scores["grand"].interval_name for run in runs}) > 1:
        caption = "Scores with intervals of several kinds (see each run); best in bold"
    return table(["LLM", *(TITLES[t] for t in TARGETS)], rows, caption, "sortable")


def pairs_table(pairs: Pairs, target: Target) -> Markup:
    """Differences of one score."""
    rows = []
    for pair in pairs.rows:
        difference, lower, upper = pair.difference[target]
        rows.append(
            el(
                "tr",
                el("th", name(pair.first), " less ", name(pair.second), scope="row", class_="name"),
                el("td", f"{difference:+.2f}", data_value=f"{difference:.6f}"),
                el("td", f"{lower:+.2f} to {upper:+.2f}", class_="whole"),
                el("td", _chance(pair.probability[target]), class_="whole"),
            )
        )
    head = ["Pair", "Difference", f"{100 * pairs.level:g} % interval", "P(first better)"]
    return table(head, rows, f"{TITLES[target]}: first less second, in points", "sortable")


def facts(rows: Iterable[tuple[str, Child]], caption: str) -> Markup:
    """Make a table of names and what they stand for."""
    made = [el("tr", el("th", key, scope="row"), el("td", value)) for key, value in rows]
    return el("table", el("caption", caption), el("tbody", *made), class_="facts")


def _probability(value: float) -> str:
    if value < 0.005:
        return "< 0.01"
    return "> 0.99" if value > 0.995 else f"{value:.2f}"


def _chance(value: float) -> str:
    if value < 0.0005:
        return "< 0.001"
    return "> 0.999" if value > 0.9995 else f"{value:.3f}"


def _sortable(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""


def _comparable(value: float) -> float:
    return round(value, 1) if math.isfinite(value) else -math.inf
