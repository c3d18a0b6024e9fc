"""The paper's figures: all are built from small data, labelled, and the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.synergy import analyze_synergy
from metabench_py.analysis.synergy_simulation import SynergyOptions
from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.bundle import default_bundle_path, load_bundle
from metabench_py.calibration.curve import CurveOptions, CurvePoint, Estimate, ItemCurve
from metabench_py.calibration.item_orders import ITEM_ORDERS
from metabench_py.errors import InputError
from metabench_py.figures import item_studies
from metabench_py.figures.draw import kinds_of, write_figure
from metabench_py.figures.registry import FIGURES, choose
from metabench_py.figures.sources import Effort, Sources
from metabench_py.report.canvas import STYLE, styled
from tests.helpers.figure_data import N_TEST, write_figure_data

BUNDLE = load_bundle(default_bundle_path())
WITHOUT_DATA = sorted(name for name, spec in FIGURES.items() if not spec.needs)
# Each takes long; their values and figures are tested with `analyze`.
LONG = {"seeds", "logistic", "answers", "clusters"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    data = write_figure_data(tmp_path_factory.mktemp("data"))
    results = tmp_path_factory.mktemp("results")
    options = SynergyOptions(
        correlations=(0.0, 0.6), dependences=(0.2, 0.6), seeds=(1,), n_llms=120, n_items=20,
        n_tests=2,
    )  # fmt: skip
    (results / "synergy.json").write_text(json.dumps(analyze_synergy(options).to_dict()))
    (results / "curve.json").write_text(json.dumps(_curve().to_dict()))
    plain = Sources(BUNDLE).example[0].to_dict()
    random = np.random.default_rng(1)
    for version in "AB":
        many = [_moved(plain, f"model-{i}", random) for i in range(12)]
        (results / f"version-{version}.json").write_text(json.dumps(many))
    return Sources(BUNDLE, data, results, Effort(llms=60, subsets=10))


def _curve() -> ItemCurve:
    points = tuple(
        CurvePoint(
            order, n, {t: Estimate(30 / n, 25 / n, 36 / n, "bootstrap") for t in TARGETS},
            dict.fromkeys(BENCHMARKS, n / 6),
        )
        for order in ITEM_ORDERS
        for n in (12, 50, 751)
    )  # fmt: skip
    return ItemCurve(CurveOptions(orders=ITEM_ORDERS), 200, 40, 751, {}, points)


def _moved(result: dict[str, Any], name: str, random: np.random.Generator) -> dict[str, Any]:
    moved: dict[str, Any] = json.loads(json.dumps(result))
    moved["model"] = name
    for target in TARGETS:
        moved["scores"][target]["score"] += random.normal(0.0, 5.0)
    for ability in moved["abilities"].values():
        ability["theta"] += random.normal()
    return moved


@pytest.fixture(scope="module")
def figures(sources: Sources) -> dict[str, Any]:
    return {n: styled(spec.build)(sources) for n, spec in FIGURES.items() if n not in LONG}


def _numeric(text: str) -> bool:
    return any(character.isdigit() for character in text) and not any(
        character.isalpha() for character in text.replace("mathdefault", "")
    )


@pytest.mark.parametrize("name", sorted(set(FIGURES) - LONG))
def test_every_axis_with_numbers_has_a_label(name: str, figures: dict[str, Any]) -> None:
    figure = figures[name]
    figure.draw_without_rendering()
    seen = 0
    for axes in figure.axes:
        if not (axes.axison and axes.get_visible()):
            continue
        for axis in (axes.xaxis, axes.yaxis):
            if not axis.get_visible():
                continue
            ticks = [t for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            if any(_numeric(tick.get_text()) for tick in ticks):
                seen += 1
                assert axis.label.get_text(), (axes.get_title(loc="left"), axis.axis_name)
    assert seen or name == "correlations"


@pytest.mark.parametrize("name", sorted(set(FIGURES) - LONG))
def test_text_is_not_written_over_text(name: str, figures: dict[str, Any]) -> None:
    figure = figures[name]
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    titles = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes._left_title, axes.xaxis.label)
        if axes.axison and text.get_text()
    ]
    for i, one in enumerate(titles):
        for other in titles[:i]:
            assert not one.shrunk(0.98, 0.9).overlaps(other.shrunk(0.98, 0.9))


def test_held_out_panels_tell_the_number_of_llms(figures: dict[str, Any]) -> None:
    told = [text.get_text() for axes in figures["recovery-test"].axes for text in axes.texts]
    assert sum(f"n = {N_TEST}\n" in text for text in told) == len(TARGETS)
    assert sum("RMSE = " in text and "r = " in text for text in told) == len(TARGETS)


@pytest.mark.parametrize("name", ["recovery", "correlations", "item-model"])
def test_the_same_values_give_the_same_bytes(name: str, sources: Sources, tmp_path: Path) -> None:
    spec = FIGURES[name]
    together = write_figure(spec, sources, tmp_path / "together", ["svg", "pdf", "png"])
    for path in together:
        # Neither another figure of the same values nor files of other formats before change it.
        [alone] = write_figure(spec, sources, tmp_path / "alone", [path.suffix[1:]])
        first = path.read_bytes()
        assert first == alone.read_bytes()
        assert b"CreationDate" not in first
        assert b"<dc:date>" not in first


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_without_data_the_bundle_suffices(name: str) -> None:
    figure = styled(FIGURES[name].build)(Sources(BUNDLE))
    assert any(axes.has_data() for axes in figure.axes)


@pytest.mark.parametrize("name", sorted(set(FIGURES) - set(WITHOUT_DATA)))
def test_absent_data_are_named(name: str, tmp_path: Path) -> None:
    spec = FIGURES[name]
    for there in (None, tmp_path):
        with pytest.raises(InputError, match=f"The figure {name} needs ") as caught:
            write_figure(spec, Sources(BUNDLE, there, there), tmp_path, ["svg"])
        assert len(caught.value.facts["lacks"]) == len(spec.needs)
    assert list(tmp_path.iterdir()) == []


def test_settings_of_matplotlib_neither_matter_nor_change(tmp_path: Path) -> None:
    from matplotlib import rc_context, rcParams

    def draw(folder: Path) -> bytes:
        [path] = write_figure(FIGURES["item-model"], Sources(BUNDLE), folder, ["svg"])
        return path.read_bytes()

    plain = draw(tmp_path / "a")
    with rc_context({"font.size": 30.0, "svg.hashsalt": "x", "axes.facecolor": "black"}):
        assert draw(tmp_path / "b") == plain
        assert rcParams["font.size"] == 30.0
    assert rcParams["svg.hashsalt"] != STYLE["svg.hashsalt"]


def test_names_and_formats() -> None:
    assert [spec.name for spec in choose(["recovery", "factors", "recovery"])] == [
        "recovery",
        "factors",
    ]
    with pytest.raises(InputError, match="No figure 'pie'"):
        choose(["pie"])
    assert kinds_of("svg, PDF,svg") == ("svg", "pdf")
    for text in ("gif", "", "pdf,eps"):
        with pytest.raises(InputError, match="choose among pdf, png, svg"):
            kinds_of(text)


@pytest.mark.parametrize("given", [{"llms": 49}, {"subsets": 9}, {"seed": -1}])
def test_too_little_effort(given: dict[str, int]) -> None:
    with pytest.raises(InputError, match="or more"):
        Effort(**given)


def test_damaged_inputs_are_named(tmp_path: Path) -> None:
    (tmp_path / "synergy.json").write_text("{")
    with pytest.raises(InputError, match=r"synergy\.json is not readable JSON"):
        FIGURES["synergy"].build(Sources(BUNDLE, None, tmp_path))
    (tmp_path / "synergy.json").write_text("{}")
    with pytest.raises(InputError, match="is not what `analyze synergy --json` prints"):
        FIGURES["synergy"].build(Sources(BUNDLE, None, tmp_path))
    for version in "AB":
        (tmp_path / f"version-{version}.json").write_text("[]")
    with pytest.raises(InputError, match="have 0 LLMs in common"):
        FIGURES["versions"].build(Sources(BUNDLE, None, tmp_path))
    empty = [{"model": name, "scores": {}, "abilities": {}} for name in "abc"]
    for version in "AB":
        (tmp_path / f"version-{version}.json").write_text(json.dumps(empty))
    with pytest.raises(InputError, match=r"version-B\.json lacks a score or an ability"):
        FIGURES["versions"].build(Sources(BUNDLE, None, tmp_path))
    (tmp_path / "seeds").mkdir()
    with pytest.raises(InputError, match=r"seeds holds no folders"):
        FIGURES["seeds"].build(Sources(BUNDLE, None, tmp_path))
    (tmp_path / "version-A.json").write_text('[{"model": "m"}]')
    with pytest.raises(InputError, match=r"version-A\.json is not the array"):
        FIGURES["versions"].build(Sources(BUNDLE, None, tmp_path))
    (tmp_path / "llm-scores.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"llm-scores\.parquet is not a readable table"):
        FIGURES["score-distributions"].build(Sources(BUNDLE, tmp_path))
    items = tmp_path / "published" / BUNDLE.version / "items-arc.parquet"
    items.parent.mkdir(parents=True)
    pd.DataFrame({"item": ["1"]}).to_parquet(items)
    with pytest.raises(InputError, match=r"items-arc\.parquet has no column 'a1'"):
        FIGURES["item-parameters"].build(Sources(BUNDLE, tmp_path))


def test_a_small_bundle_does_not_count_the_published_features_items(sources: Sources) -> None:
    small = Sources(load_bundle("B-200"), sources.data, None)
    for one, says in ((sources, True), (small, False)):
        titles = [a.get_title(loc="left") for a in FIGURES["theta-score"].build(one).axes]
        assert [("items)" in title) for title in titles[: len(BENCHMARKS)]] == [says] * 6


def test_clusters_are_of_the_bundle_s_items_alone(sources: Sources) -> None:
    """A small bundle knows fewer items than have answers."""
    few = {b: BUNDLE.benchmarks[b].parameters.items[1:31:2] for b in BENCHMARKS}
    drawn = item_studies._some(sources, few)
    assert {name: {*one.items, *one.flat} for name, one in drawn.items()} == {
        b: set(items) for b, items in few.items()
    }
