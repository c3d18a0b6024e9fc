"""The HTML report's figures, as SVG that takes its colours from the page's style.

They are drawn narrow, so that their text can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metabench_py.benchmarks import TARGETS, TITLES, Benchmark, Target
from metabench_py.irt.model import Floats, information
from metabench_py.report.figures import density
from metabench_py.report.markup import Child, Markup, el, join
from metabench_py.report.run_values import ReportRun

_WIDTH = 400.0
_NAME = 22


@dataclass(frozen=True)
class _Scale:
    """Maps values to places along an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def score_figure(run: ReportRun, about: str) -> Markup:
    """Draw each score and its interval over the calibration LLMs' scores."""
    x = _Scale(0.0, 100.0, 100.0, 388.0)
    step, top = 42.0, 34.0
    parts: list[Child] = []
    for row, target in enumerate(TARGETS):
        score = run.result.scores[target]
        base = top + row * step
        parts.append(_ridge(run, target, x, base))
        parts.append(_text(92, base, TITLES[target], "label" + " strong" * (target == "grand")))
        parts.append(_interval(x, base - 6, score.lower, score.score, score.upper, TITLES[target]))
    bottom = top + len(TARGETS) * step - 26.0
    parts.append(_axis(x, bottom, (0, 25, 50, 75, 100), "score (shaded: the calibration LLMs)"))
    return _figure(bottom + 38.0, "Scores with their intervals", about, parts)


def compare_figure(runs: Sequence[ReportRun], target: Target) -> Markup:
    """Draw one score of several runs, each with its interval, best first."""
    order = sorted(runs, key=lambda run: -_or_zero(run.result.scores[target].score))
    scores = [run.result.scores[target] for run in order]
    low = min(_or_zero(s.lower) for s in scores)
    high = max(_or_zero(s.upper) for s in scores)
    low, high = max(0.0, 5.0 * (low // 5.0)), min(100.0, 5.0 * (high // 5.0 + 1.0))
    x = _Scale(low, high if high > low else low + 5.0, 12.0, 388.0)
    step, top = 36.0, 14.0
    parts: list[Child] = []
    for row, (run, score) in enumerate(zip(order, scores, strict=True)):
        y = top + row * step
        parts.append(_text(12, y, _short(run.label), "row"))
        parts.append(_text(388, y, _number(score.score), "label"))
        parts.append(_interval(x, y + 12, score.lower, score.score, score.upper, run.label))
    bottom = top + len(order) * step
    gap = next(gap for gap in (1.0, 5.0, 10.0, 20.0) if (x.high - x.low) <= 6 * gap or gap == 20.0)
    ticks = tuple(float(t) for t in np.arange(gap * np.ceil(x.low / gap), x.high + 0.1, gap))
    parts.append(_axis(x, bottom, ticks, "points"))
    about = "; ".join(
        f"{run.label}: {_number(s.score)} ({_number(s.lower)} to {_number(s.upper)})"
        for run, s in zip(order, scores, strict=True)
    )
    return _figure(bottom + 38.0, f"{TITLES[target]} of the runs", about, parts)


def ability_figure(run: ReportRun, benchmark: Benchmark) -> Markup:
    """Draw the ability and its standard error on the information of the benchmark's items."""
    if run.bundle is None:
        return Markup("")
    ability = run.result.abilities[benchmark]
    parameters = run.bundle.benchmarks[benchmark].parameters
    far = max(4.0, float(np.ceil(abs(_or_zero(ability.theta)) + _or_zero(ability.se))))
    at = np.linspace(-far, far, 121)
    inside = information(parameters, at).sum(axis=1)
    x = _Scale(-far, far, 44.0, 388.0)
    y = _Scale(0.0, _nice(float(inside.max())), 150.0, 14.0)
    points = [f"{x(t)},{y(v)}" for t, v in zip(at, inside, strict=True)]
    area = f"M{x(-far)},150 L{' '.join(points)} L{x(far)},150 Z"
    parts: list[Child] = [el("path", d=area, class_="ridge")]
    if np.isfinite(ability.theta):
        left, right = x(ability.theta - ability.se), x(ability.theta + ability.se)
        wide = max(right - left, 2.0)
        parts.append(el("rect", x=left, y=14, width=round(wide, 1), height=136, class_="band"))
        here = x(ability.theta)
        parts.append(el("line", x1=here, x2=here, y1=14, y2=150, class_="mark"))
    for value in (0.0, y.high / 2, y.high):
        parts.append(_text(38, y(value) + 4, f"{value:g}", "label small"))
    parts.append(_rug(run, benchmark, x))
    parts.append(el("path", d="", class_="curve", fill="none"))
    ticks = tuple(float(t) for t in np.linspace(-far, far, 5))
    parts.append(_axis(x, 176.0, ticks, "ability (shaded: information of the items)"))
    at_theta = float(information(parameters, _or_zero(ability.theta)).sum())
    about = (
        f"Ability {_number(ability.theta, 2)}, standard error {_number(ability.se, 3)}; the items' "
        f"information there is {at_theta:.1f}, at most {inside.max():.1f} at ability "
        f"{at[int(inside.argmax())]:.1f}."
    )
    title = f"{TITLES[benchmark]}: ability and information"
    return _figure(214.0, title, about, parts, data_low=-far, data_high=far)


def _rug(run: ReportRun, benchmark: Benchmark, x: _Scale) -> Markup:
    """Ticks at the items' difficulties, above right answers, below wrong ones."""
    assert run.bundle is not None
    parameters = run.bundle.benchmarks[benchmark].parameters
    answers = None if run.answers is None else run.answers[benchmark]
    paths: dict[str, list[str]] = {"right": [], "wrong": [], "plain": []}
    for i, where in enumerate(parameters.difficulty):
        if not x.low <= where <= x.high:
            continue
        kind = "plain" if answers is None else {1: "right", 0: "wrong"}.get(int(answers[i]), "")
        if kind:
            at, length = (164, 8) if kind == "wrong" else (154, 8)
            paths[kind].append(f"M{x(float(where))},{at}v{length}")
    drawn = [el("path", d="".join(p), class_=f"rug {kind}") for kind, p in paths.items() if p]
    return join(*drawn)


def _ridge(run: ReportRun, target: Target, x: _Scale, base: float) -> Markup:
    line = el("line", x1=x.start, x2=x.end, y1=base, y2=base, class_="rule")
    if run.bundle is None or target not in run.bundle.population:
        return line
    at = np.linspace(0.0, 100.0, 101)
    height: Floats = density(run.bundle.population[target], run.bundle.population_levels, at)
    points = " ".join(f"{x(t)},{base - 28 * h:.1f}" for t, h in zip(at, height, strict=True))
    area = el("path", d=f"M{x.start},{base} L{points} L{x.end},{base} Z", class_="ridge")
    return join(area, line)


def _interval(
    x: _Scale, y: float, lower: float, score: float, upper: float, name: str
) -> Markup | None:
    if not all(np.isfinite(v) for v in (lower, score, upper)):
        return None
    told = f"{name}: {score:.1f} ({lower:.1f} to {upper:.1f})"
    return el(
        "g",
        el("title", told),
        el("line", x1=x(lower), x2=x(upper), y1=y, y2=y, class_="interval"),
        el("circle", cx=x(score), cy=y, r=4.5, class_="dot"),
    )


def _axis(x: _Scale, y: float, ticks: Sequence[float], label: str) -> Markup:
    parts: list[Child] = [el("line", x1=x.start, x2=x.end, y1=y, y2=y, class_="rule")]
    for tick in ticks:
        parts.append(el("line", x1=x(tick), x2=x(tick), y1=y, y2=y + 4, class_="rule"))
        parts.append(_text(x(tick), y + 16, f"{tick:g}", "tick"))
    parts.append(_text((x.start + x.end) / 2, y + 32, label, "tick muted"))
    return join(*parts)


def _figure(
    height: float, title: str, about: str, parts: Sequence[Child], **attributes: object
) -> Markup:
    # role and label: one picture with one description, not a heap of loose words.
    return el(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH:g} {height:g}",
        role="img",
        aria_label=f"{title}. {about}",
        focusable="false",
        **attributes,
    )


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return el("text", text, x=x, y=y, class_=kind)


def _short(name: str) -> str:
    """Cut the middle out of a long name: both ends tell runs apart."""
    most = 2 * _NAME
    return name if len(name) <= most else f"{name[:_NAME]}…{name[-_NAME + 1 :]}"


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "none"


def _nice(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    if not value > 0.0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= value))


def _or_zero(value: float) -> float:
    return value if np.isfinite(value) else 0.0
