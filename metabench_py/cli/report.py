"""``metabench-py report``: results as one HTML file that people look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.cli.options import Engine, Metrics, Trust
from metabench_py.errors import InputError, MetabenchError

if TYPE_CHECKING:
    from metabench_py.bundle import Bundle
    from metabench_py.logs import ModelLogs
    from metabench_py.logs.model import ModelResponses
    from metabench_py.reconstruction import Reconstruction
    from metabench_py.report.run_values import Pairs, ReportRun

_RESULT_FILES = (".json", ".jsonl")
# Pairs grow with the square of the runs, and a page is to be read.
_MOST_COMPARED = 12


def report_command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULT|MODEL...",
            help="Result files (.json, .jsonl), or models as reconstruct takes them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    results: Annotated[
        Path, typer.Option("--results", help="lm-eval's output folder: where the logs are.")
    ] = Path("harness-results"),
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            "--bundle",
            help="Folder or name; the installed one if left out. Repeatable for results of several "
            "bundles; a MODEL is scored with the first of its version.",
        ),
    ] = None,
    trust: Trust = False,
    version: Annotated[
        Literal["A", "B"] | None, typer.Option(help="Of a MODEL's logs; the bundle's if left out.")
    ] = None,
    permuted: Annotated[
        bool, typer.Option("--permuted", help="Read a MODEL's run with permuted answer options.")
    ] = False,
    engine: Engine = "auto",
    metric: Metrics = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score a MODEL although items lack an answer.")
    ] = False,
) -> None:
    """Write results as one HTML file: scores, abilities, items, flags, comparison, provenance.

    A RESULT is what reconstruct --json, --jsonl or --out, or evaluate, wrote. Its logs are looked
    for beside it and in --results; with them the report tells which answers are surprising. A
    MODEL is reconstructed first; "example" is one that ships with the package.
    """
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"--out {out}: end its name in .html.", path=str(out))
    from metabench_py.report.html_report import MOST_RUNS, write_report

    shelf = _Shelf(bundle or [], trust)
    files = [Path(one) for one in arguments if _is_result(one)]
    models = [one for one in arguments if not _is_result(one)]
    runs = [run for file in files for run in _from_file(file, results, shelf)]
    if len(runs) + len(models) > MOST_RUNS:
        raise InputError(
            f"A report shows {MOST_RUNS} results at most, and these are "
            f"{len(runs) + len(models)}; choose some of them.",
            n_runs=len(runs) + len(models),
        )
    if models:
        options = {"permuted": permuted, "metrics": metric or (), "allow_missing": allow_missing}
        runs += _from_models(models, results, shelf.for_models(version), engine, options)
    runs = _labelled(runs)
    for run in runs:
        for note in run.notes:
            typer.echo(f"Note: {run.label}: {note}", err=True)
    write_report(out, runs, title=title, pairs=_pairs(runs))
    typer.echo(f"Wrote {out}", err=True)


class _Shelf:
    """Bundles at hand: those named, and the installed ones."""

    def __init__(self, names: Sequence[str], trust: bool) -> None:
        from metabench_py.reconstruction.api import open_bundle

        self._trust = trust
        self._named = [open_bundle(name, None, trust) for name in names]
        self._installed: dict[str, Bundle | None] = {}
        # Hashes of the bundles that made results.
        self._made: set[str] = set()

    def for_result(self, result: Reconstruction) -> Bundle | None:
        """Find the very bundle that made a result."""
        from metabench_py.bundle.read import find_installed

        wanted = result.bundle.get("sha256")
        self._made.add(wanted or "")
        for one in (*self._named, self._of_version(result.version)):
            if one is not None and one.sha256 == wanted:
                return one
        path = find_installed(wanted or "")
        return None if path is None else self._open(path)

    def for_models(self, version: str | None) -> Bundle:
        """Find the bundle that models are scored with; refuse named ones that are for nothing."""
        from metabench_py.reconstruction.api import open_bundle

        fitting = [one for one in self._named if version is None or one.version == version]
        chosen = fitting[0] if fitting else open_bundle(None, version, self._trust)
        for one in self._named:
            if one.sha256 not in (chosen.sha256, *self._made):
                raise InputError(
                    f"--bundle {one.path}: models are scored with {chosen.name} alone, and no "
                    "result here is of this bundle. Leave it out, or reconstruct with it first "
                    "and report that result.",
                    path=str(one.path),
                )
        return chosen

    def _open(self, path: Path) -> Bundle:
        from metabench_py.bundle import load_bundle

        name = str(path)
        if name not in self._installed:
            self._installed[name] = load_bundle(path)
        found = self._installed[name]
        assert found is not None
        return found

    def _of_version(self, version: str) -> Bundle | None:
        if version not in self._installed:
            from metabench_py.reconstruction.api import open_bundle

            try:
                self._installed[version] = open_bundle(None, version)
            except InputError:
                self._installed[version] = None
        return self._installed[version]


def _is_result(argument: str) -> bool:
    return Path(argument).suffix in _RESULT_FILES and not Path(argument).is_dir()


def _from_file(file: Path, results: Path, shelf: _Shelf) -> list[ReportRun]:
    from metabench_py.reconstruction.read import read_results
    from metabench_py.report.run_values import ReportRun

    runs = []
    for result in read_results(file):
        bundle = shelf.for_result(result)
        if bundle is None:
            note = (
                f"The bundle of this result ({result.bundle.get('name', 'without a name')}) is not "
                "at hand, so item information and items are left out; name it with --bundle."
            )
            runs.append(ReportRun(result, result.model, notes=(note,)))
            continue
        read, note = _answers(result, bundle, (file.parent, results))
        answers = None if read is None else read.values
        runs.append(ReportRun(result, result.model, bundle, answers, (note,) if note else ()))
    return runs


def _answers(
    result: Reconstruction, bundle: Bundle, roots: Iterable[Path]
) -> tuple[ModelResponses | None, str]:
    """Read the logs that a result names; else say why its items are left out."""
    if not result.logs:
        return None, "The result was not made of logs, so its items are left out."
    found = _logs(result, roots)
    if found is None:
        return None, (
            "The logs of this result are neither beside it nor in the results folder, so its "
            "items are left out; name lm-eval's output folder with --results."
        )
    from metabench_py.reconstruction.api import LogReader

    metrics = [f"{b}={log['metric']}" for b, log in result.logs.items() if log.get("metric")]
    try:
        reader = LogReader(bundle, permuted=result.permuted, metrics=metrics, allow_missing=True)
        read = reader(found)
    except InputError as error:
        return None, f"Its items are left out: {error}"
    for benchmark in BENCHMARKS:
        ability, values = result.abilities[benchmark], read.values[benchmark]
        seen = (int((values >= 0).sum()), int((values == 1).sum()))
        if seen != (ability.n_answered, ability.n_correct):
            return None, (
                f"The logs in {found.folder.name} are not those that the result was made of (they "
                f"have other answers to {benchmark}), so its items are left out."
            )
    return read, ""


def _logs(result: Reconstruction, roots: Iterable[Path]) -> ModelLogs | None:
    """Find the folder with all the files that a result names; the result may come from anyone."""
    from metabench_py.logs.find import ModelLogs
    from metabench_py.logs.names import folder_name, parse_log_name

    names = {log.get("file") or "" for log in result.logs.values()}
    if any(PurePath(name).name != name or "\0" in name for name in names):
        return None
    below = [PurePath(one) for one in {result.model, folder_name(result.model)} if "\0" not in one]
    inside = [one for one in below if not one.is_absolute() and ".." not in one.parts]
    for root in roots:
        for folder in (root, *(root / one for one in inside)):
            try:
                there = all((folder / name).is_file() for name in names)
            except OSError:
                continue
            logs = [parse_log_name(folder / name) for name in sorted(names)]
            known = tuple(log for log in logs if log is not None)
            if there and len(known) == len(names):
                return ModelLogs(result.model, folder, known)
    return None


def _from_models(
    names: Sequence[str], results: Path, bundle: Bundle, engine: Any, options: dict[str, Any]
) -> list[ReportRun]:
    from metabench_py.cli.reconstruct import r_worker, run_all
    from metabench_py.logs import find_model
    from metabench_py.reconstruction.api import LogReader
    from metabench_py.reconstruction.choose import may_use_r
    from metabench_py.report.run_values import ReportRun

    with r_worker(engine, "auto") as worker:
        reader = LogReader(bundle, **options)
        found = [find_model(name, results) for name in names]
        read = [reader(one) for one in found]
        settings = {"engine": engine}
        if worker is not None and may_use_r(bundle, engine, "auto"):
            outcomes = worker.run(run_all, found, reader, bundle, settings)
        else:
            outcomes = run_all(found, reader, bundle, settings)
    runs = []
    for (_, result), responses in zip(outcomes, read, strict=True):
        if isinstance(result, MetabenchError):
            raise result
        runs.append(ReportRun(result, result.model, bundle, responses.values))
    return runs


def _labelled(runs: Sequence[ReportRun]) -> list[ReportRun]:
    """Give every run a name of its own: where the LLM's is not enough, what was run, a number."""
    from dataclasses import replace

    names = Counter(run.result.model for run in runs)
    seen: Counter[str] = Counter()
    labelled = []
    for run in runs:
        label = run.result.model or "(no name)"
        if names[run.result.model] > 1:
            kind = ", permuted" if run.result.permuted else ""
            label += f" ({run.result.version}{kind})"
        seen[label] += 1
        if seen[label] > 1:
            label += f" #{seen[label]}"
        labelled.append(replace(run, label=label))
    return labelled


def _pairs(runs: Sequence[ReportRun]) -> Pairs | None:
    """Compare runs of one bundle and second stage, where all their answers are at hand."""
    bundle = runs[0].bundle
    answers = {run.label: run.answers for run in runs if run.answers is not None}
    kinds = {run.bundle.sha256 if run.bundle is not None else "" for run in runs}
    if bundle is None or not 2 <= len(runs) <= _MOST_COMPARED or len(kinds) > 1:
        return None
    stages = {run.result.engine.get("second_stage") == "stack" for run in runs}
    if len(answers) < len(runs) or len(stages) > 1:
        return None
    # mgcv and the portable splines are the same fits.
    by_stack = stages.pop()
    stage = next(
        (s for s in bundle.stages.values() if isinstance(s.model, Mapping) != by_stack), None
    )
    if stage is None:
        return None
    from metabench_py.analysis.compare import compare_runs
    from metabench_py.cli.analyze.scoring import BundleScorer
    from metabench_py.report.run_values import PairOfRuns, Pairs

    compared = compare_runs(answers, BundleScorer(bundle, stage))
    rows = []
    for pair in compared.pairs:
        scores = pair.scores
        rows.append(
            PairOfRuns(
                pair.first,
                pair.second,
                {t: (scores[t].difference, scores[t].lower, scores[t].upper) for t in TARGETS},
                {t: scores[t].probability for t in TARGETS},
            )
        )
    return Pairs(tuple(rows), compared.level)
