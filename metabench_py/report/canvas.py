"""The style of all figures, in one place: colours, fonts, quiet axes, and files without dates."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.storage import atomic_path

FORMATS = (".png", ".svg", ".pdf")
INK, MUTED, LINE, GRID, BAND = "#222222", "#595959", "#b4bac2", "#ececec", "#d9dde2"
# Okabe & Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# For those who see no colours.
MARKERS = ("o", "s", "^", "D", "v", "P")
# The paper's colour of each benchmark.
BENCHMARK_COLOURS: dict[str, str] = dict(
    zip(BENCHMARKS, ("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"), strict=True)
)
BENCHMARK_COLOURS["grand"] = "#444444"
DIVERGING, SEQUENTIAL = "PuOr", "viridis"

# What a user's matplotlibrc says must not change a figure. Text in SVG is drawn as outlines, so
# that it looks the same everywhere; PDF embeds its fonts.
STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.facecolor": "white",
    "figure.facecolor": "white",
    "savefig.facecolor": "auto",
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 10.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.solid_capstyle": "butt",
    "axes.unicode_minus": True,
    "mathtext.fontset": "dejavusans",
    "path.simplify": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "metabench-py",
}
_NO_DATES: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_DPI = 200

P = ParamSpec("P")


def styled(draw: Callable[P, Any]) -> Callable[P, Any]:
    """Make a function draw in the common style, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Any:
        from matplotlib import rc_context, rcParamsDefault

        # Deprecated settings would warn when they are set; ours are none of them.
        names = {"backend", *(n for n in rcParamsDefault if n.startswith(("toolbar", "webagg")))}
        plain = {k: v for k, v in rcParamsDefault.items() if k not in names}
        with rc_context({**plain, **STYLE}):
            return draw(*args, **kwargs)

    return inside


def check_format(path: Path) -> None:
    """Refuse a file that cannot be drawn to before any work is done.

    Raises
    ------
    InputError
        The name ends in none of `FORMATS`, or is that of a folder.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"--plot {path}: end its name in {', '.join(FORMATS)}.", path=str(path))
    if path.is_dir():
        raise InputError(f"--plot {path}: that is a folder; name a file.", path=str(path))


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure; inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(
    count: int, columns: int, width: float, height: float, extra: float = 0.0, **options: Any
) -> tuple[Any, list[Any]]:
    """Make a figure of so many panels, row by row; places left over are empty.

    Parameters
    ----------
    width, height
        Of a panel, inches.
    extra
        Height for a legend or a title, inches.
    **options
        Of ``Figure.subplots``.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(width * columns, height * rows + extra)
    grid = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid


def quiet(axes: Any, title: str, x: str, y: str, grid: str | None = None) -> None:
    """Title and labels; no box; grid lines along ``x``, ``y`` or ``both``."""
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_xlabel(x, color=MUTED, fontsize=9)
    axes.set_ylabel(y, color=MUTED, fontsize=9)
    axes.tick_params(length=0, colors=INK, labelsize=8)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(LINE)
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)


def bare(axes: Any) -> None:
    """Take the axes' lines away, for pictures of matrices."""
    for side in axes.spines.values():
        side.set_visible(False)


def note(axes: Any, text: str, corner: str = "lower right", size: float = 8.0) -> None:
    """Write numbers into a corner of a panel, on white so that points do not hide them."""
    vertical, horizontal = corner.split()
    axes.annotate(
        text,
        (0.97 if horizontal == "right" else 0.03, 0.04 if vertical == "lower" else 0.96),
        xycoords="axes fraction",
        ha=horizontal,
        va="bottom" if vertical == "lower" else "top",
        color=INK,
        fontsize=size,
        linespacing=1.35,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        zorder=6,
    )


def cloud(axes: Any, x: Floats, y: Floats, colour: str, size: float = 3.0) -> None:
    """Draw points; where there are many they are small, pale and a picture, not paths."""
    n = len(x)
    axes.plot(
        x, y, "o", color=colour, markeredgewidth=0.0,
        markersize=size * (1.0 if n <= 600 else 0.75),
        alpha=0.6 if n <= 600 else 0.35 if n <= 3000 else 0.25,
        rasterized=n > 600,
    )  # fmt: skip


def apart(sizes: Sequence[int], ratio: float = 1.45) -> list[int]:
    """Sizes that can stand side by side on a logarithmic axis, the largest among them."""
    kept: list[int] = []
    for n in sorted(set(sizes), reverse=True):
        if not kept or kept[-1] >= ratio * n:
            kept.append(n)
    return kept[::-1]


@styled
def save_figure(figure: Any, path: Path) -> None:
    """Write the figure; the file's ending is the format. The same figure gives the same bytes.

    The layout is found when a figure is first written, and kept.

    Raises
    ------
    InputError
        The file's name has no known ending.
    """
    check_format(path)
    kind = path.suffix[1:]
    if figure.get_layout_engine() is not None:
        # Each search for a layout begins at the last one, and would end a little elsewhere.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=_NO_DATES[kind])
