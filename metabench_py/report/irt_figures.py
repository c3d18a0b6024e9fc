"""Figures of items and tests: curves, information, expected scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metabench_py.benchmarks import TITLES
from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.report.canvas import (
    BAND,
    BENCHMARK_COLOURS,
    COLOURS,
    INK,
    MARKERS,
    MUTED,
    SEQUENTIAL,
    new_figure,
    note,
    panels,
    quiet,
    styled,
)

_THETA = np.linspace(-4.0, 4.0, 401)
_ABILITY = "Ability θ"
_COLUMNS = 3


@styled
def item_model_figure(items: Sequence[tuple[str, float, float]]) -> Any:
    """Draw curves and information of a few items, to explain the model.

    Parameters
    ----------
    items
        Label, slope a and intercept d of two-parameter items; six at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(7.6, 3.4)
    left, right = figure.subplots(1, 2)
    styles = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
    for (label, a, d), colour, style in zip(items, COLOURS, styles, strict=False):
        one = ItemParameters((label,), *(np.array([v]) for v in (a, d, 0.0, 1.0)))
        options = {"color": colour, "linestyle": style, "linewidth": 1.8}
        left.plot(_THETA, probability(one, _THETA)[:, 0], label=label, **options)
        right.plot(_THETA, information(one, _THETA)[:, 0], **options)
    left.legend(loc="upper left")
    left.set_ylim(-0.02, 1.02)
    right.set_ylim(bottom=0.0)
    quiet(left, "Item characteristic curves", _ABILITY, "P(right | θ)", grid="both")
    quiet(right, "Item information", _ABILITY, "Fisher information I(θ)", grid="both")
    for axes in (left, right):
        axes.set_xlim(-4.0, 4.0)
    return figure


@styled
def icc_figure(banks: Mapping[str, ItemParameters]) -> Any:
    """Draw every item's curve, a panel a benchmark, shaded by its slope.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return _item_panels(banks, probability, "P(right | θ)", top=1.0)


@styled
def item_information_figure(banks: Mapping[str, ItemParameters]) -> Any:
    """Draw every item's Fisher information on a logarithmic scale, a panel a benchmark.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return _item_panels(banks, information, "Fisher information I(θ)", top=None)


def _item_panels(banks: Mapping[str, ItemParameters], curve: Any, y: str, top: float | None) -> Any:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    figure, grid = panels(len(banks), _COLUMNS, 3.1, 2.6, extra=0.2, sharex=True, sharey=True)
    slopes = np.abs(np.concatenate([bank.a1 for bank in banks.values()]))
    low, high = (float(v) for v in np.quantile(slopes[slopes > 0], [0.02, 0.98]))
    scale = LogNorm(low, max(high, 1.001 * low), clip=True)
    shade = colormaps[SEQUENTIAL].reversed()
    for axes, (name, bank) in zip(grid, banks.items(), strict=False):
        values = curve(bank, _THETA)
        for i in np.argsort(np.abs(bank.a1), kind="stable"):
            falls = bank.a1[i] < 0
            axes.plot(
                _THETA, values[:, i], linewidth=1.1 if falls else 0.7, alpha=0.8,
                color=COLOURS[1] if falls else shade(scale(float(bank.a1[i]))),
                linestyle="--" if falls else "-", zorder=3 if falls else 2,
            )  # fmt: skip
        title = f"{TITLES.get(name, name)} ({len(bank.items)} items)"
        quiet(axes, title, _ABILITY, y, grid="both")
        axes.label_outer()
        axes.set_xlim(-4.0, 4.0)
        if top is not None:
            axes.set_ylim(-0.02, 1.02 * top)
        else:
            axes.set_yscale("log")
            axes.set_ylim(1e-2, 1.5 * float(max(curve(b, _THETA).max() for b in banks.values())))
            axes.minorticks_off()
    bar = figure.colorbar(ScalarMappable(scale, shade), ax=grid, shrink=0.7, pad=0.01, aspect=30)
    bar.set_label("Slope a, logits per unit of θ (dashed: a < 0)", color=MUTED, fontsize=9)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 7, 10, 15, 20) if low <= t <= high]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.minorticks_off()
    bar.ax.tick_params(length=0, labelsize=8, colors=INK)
    bar.outline.set_visible(False)
    return figure


@styled
def total_information_figure(
    banks: Mapping[str, ItemParameters], abilities: Mapping[str, Floats] | None = None
) -> Any:
    """Draw the information of all items with the standard error it allows.

    Parameters
    ----------
    abilities
        Of LLMs, by benchmark, shape (n_llms,); their histogram is drawn behind. Left out: the
        prior, a standard normal distribution.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels(len(banks), _COLUMNS, 3.3, 2.7, extra=0.35)
    for axes, (name, bank) in zip(grid, banks.items(), strict=False):
        total = information(bank, _THETA).sum(axis=1)
        colour = BENCHMARK_COLOURS.get(name, COLOURS[0])
        at = None if abilities is None else abilities.get(name)
        behind = axes.twinx()
        behind.set_zorder(0)
        if at is None:
            height = np.exp(-0.5 * _THETA**2)
            behind.fill_between(_THETA, height, color=BAND, linewidth=0, label="θ ~ N(0, 1)")
        else:
            at = np.clip(at, -3.999, 3.999)
            behind.hist(at, bins=40, range=(-4.0, 4.0), color=BAND, label="LLMs")
        behind.set_ylim(0.0, 1.6 * behind.get_ylim()[1] / 1.05)
        behind.set_axis_off()
        axes.set_zorder(1)
        axes.patch.set_visible(False)
        axes.plot(_THETA, total, color=colour, linewidth=2.0, label="information (left)")
        axes.set_ylim(0.0, 1.1 * float(total.max()))
        title = f"{TITLES.get(name, name)} ({len(bank.items)} items)"
        quiet(axes, title, _ABILITY, "Test information", grid="x")
        axes.set_xlim(-4.0, 4.0)
        error = axes.twinx()
        error.set_zorder(2)
        error.plot(
            _THETA, 1.0 / np.sqrt(1.0 + total), color=INK, linewidth=1.2, linestyle="--",
            label="posterior standard error (right)",
        )  # fmt: skip
        error.set_ylim(0.0, 1.0)
        quiet(error, "", "", "Standard error of θ")
        shown = [h.get_legend_handles_labels() for h in (axes, error, behind)]
    handles = [h for some, _ in shown for h in some]
    labels = [text for _, some in shown for text in some]
    handles[0] = _plain_line()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _plain_line(label: str | None = None) -> Any:
    """Stand for lines whose colour differs by panel."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=MUTED, linewidth=2.0, label=label)


@styled
def expected_score_figure(banks: Mapping[str, ItemParameters]) -> Any:
    """Draw the expected share of right answers over the ability, with 90 % of the answer sheets.

    Given an ability, answers are independent; the band is the mean ± 1.645 standard deviations of
    the share.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, grid = panels(len(banks), _COLUMNS, 3.1, 2.6, extra=0.3, sharex=True, sharey=True)
    for axes, (name, bank) in zip(grid, banks.items(), strict=False):
        right = probability(bank, _THETA)
        mean = 100.0 * right.mean(axis=1)
        spread = 100.0 * np.sqrt((right * (1.0 - right)).sum(axis=1)) / len(bank.items)
        colour = BENCHMARK_COLOURS.get(name, COLOURS[0])
        lower, upper = (np.clip(mean + s * 1.645 * spread, 0.0, 100.0) for s in (-1, 1))
        axes.fill_between(_THETA, lower, upper, color=colour, alpha=0.2, linewidth=0)
        axes.plot(_THETA, mean, color=colour, linewidth=2.0)
        title = f"{TITLES.get(name, name)} ({len(bank.items)} items)"
        quiet(axes, title, _ABILITY, "Items right, %", grid="both")
        axes.label_outer()
        axes.set(xlim=(-4.0, 4.0), ylim=(0.0, 100.0))
        middle = int(np.argmin(np.abs(_THETA)))
        note(axes, f"at θ = 0: {mean[middle]:.0f} ± {spread[middle]:.1f} %")
    from matplotlib.patches import Patch

    band = Patch(facecolor=BAND, label="mean ± 1.645 SD (90 % of answer sheets)")
    figure.legend(
        handles=[_plain_line("expected share"), band], loc="outside upper center", ncols=2
    )
    return figure


@styled
def ability_figure(
    banks: Mapping[str, ItemParameters],
    estimates: Mapping[str, Mapping[str, tuple[float, float]]],
) -> Any:
    """Draw abilities with their standard errors over the information of the items.

    Parameters
    ----------
    estimates
        By label, then by benchmark: theta and its standard error; four labels at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.patches import Patch

    figure, grid = panels(len(banks), _COLUMNS, 3.1, 2.5, extra=0.35)
    for axes, (name, bank) in zip(grid, banks.items(), strict=False):
        total = information(bank, _THETA).sum(axis=1)
        top = float(total.max())
        axes.fill_between(_THETA, total, color=BAND, linewidth=0)
        lines = []
        for number, (label, found) in enumerate(estimates.items()):
            theta, error = found[name]
            axes.errorbar(
                theta, (1.1 + 0.13 * number) * top, xerr=error, color=COLOURS[number],
                marker=MARKERS[number], markersize=5, linewidth=2.0, label=label,
            )  # fmt: skip
            lines.append(f"{theta:.2f} ± {error:.2f}".replace("-", "\N{MINUS SIGN}"))
        note(axes, "\n".join(lines[::-1]), "upper right")
        axes.set(xlim=(-4.0, 4.0), ylim=(0.0, (1.2 + 0.13 * len(estimates)) * top))
        title = f"{TITLES.get(name, name)} ({len(bank.items)} items)"
        quiet(axes, title, "Ability θ ± standard error", "Test information", grid="x")
    handles, labels = grid[0].get_legend_handles_labels()
    handles.append(Patch(facecolor=BAND))
    labels.append("information of the items")
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
