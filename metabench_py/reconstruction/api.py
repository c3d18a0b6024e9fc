"""From sample logs to results: one model, or many with one set-up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import BENCHMARKS, TITLES, VERSIONS, Benchmark, Version
from metabench_py.bundle.read import bundle_for_version, load_bundle
from metabench_py.bundle.schema import Bundle
from metabench_py.errors import InputError, MetabenchError
from metabench_py.logs.find import ModelLogs, find_model
from metabench_py.logs.model import ModelResponses, Wanted, read_model
from metabench_py.reconstruction.reconstructor import Reconstructor
from metabench_py.reconstruction.result import Reconstruction

DEFAULT_RESULTS = Path("harness-results")
# Models scored at once: their answers fit in the cache.
_BATCH = 250


def open_bundle(
    bundle: str | Path | None = None, version: str | None = None, trust: bool = False
) -> Bundle:
    """Load the bundle named, or else the installed one of this version.

    Raises
    ------
    BundleError
        There is no such bundle, or it is damaged.
    InputError
        The bundle is of another version.
    """
    if bundle is None and version is not None:
        if version not in VERSIONS:
            raise InputError(f"There is no version {version!r}; choose {' or '.join(VERSIONS)}.")
        return load_bundle(bundle_for_version(version), trust)
    loaded = load_bundle(bundle, trust)
    if version is not None and version != loaded.version:
        raise InputError(
            f"The bundle {loaded.name} is of version {loaded.version}, not {version}; leave the "
            f"version out, or get another bundle: metabench-py bundle pull --version {version}",
            bundle=loaded.name,
        )
    return loaded


def metrics_of(
    bundle: Bundle, overrides: Iterable[str] = (), only: Benchmark | None = None
) -> dict[Benchmark, str]:
    """Say which metric of the logs is read for each benchmark.

    Parameters
    ----------
    overrides
        ``acc`` (for all but GSM8K) or ``arc=acc`` (for one).
    only
        The one benchmark that is read; None: all six.

    Raises
    ------
    InputError
        An override names no benchmark or no metric, or is for none that is read.
    """
    metrics = {b: bundle.benchmarks[b].metric for b in BENCHMARKS}
    for text in overrides:
        name, equals, metric = text.rpartition("=")
        if not metric or (equals and name not in BENCHMARKS):
            raise InputError(
                f"--metric {text}: give a metric (acc) or one for a benchmark (arc=acc); "
                f"benchmarks are {', '.join(BENCHMARKS)}."
            )
        meant = [b for b in BENCHMARKS if b == name or (not equals and b != "gsm8k")]
        if only is not None and only not in meant:
            raise InputError(
                f"--metric {text} is not for {only}, the only benchmark read (--only); leave it "
                f"out, or give {only}={metric}."
            )
        metrics |= dict.fromkeys(meant, metric)
    return metrics


class LogReader:
    """Reads models' logs as a bundle wants them.

    A bundle of another version than B is read from the tasks without ``_secondary``, the names
    that version A has; a user's own bundle runs under these (`items tasks`).

    Parameters
    ----------
    time
        Which run is read: the start of its logs' time stamp; the newest if left out.
    only
        Read this benchmark's log alone; None: all six.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        permuted: bool = False,
        metrics: Iterable[str] = (),
        allow_missing: bool = False,
        time: str | None = None,
        only: Benchmark | None = None,
    ) -> None:
        self._version: Version = "B" if bundle.version == "B" else "A"
        self._own_tasks = (
            None
            if bundle.version in VERSIONS
            else f"those that `metabench-py items tasks {bundle.path} --out DIR` makes"
        )
        self._time = time
        self._permuted = permuted
        self._allow_missing = allow_missing
        chosen = metrics_of(bundle, metrics, only)
        read: tuple[Benchmark, ...] = BENCHMARKS if only is None else (only,)
        self._wanted = {
            b: Wanted.of(b, bundle.benchmarks[b].parameters.items, chosen[b]) for b in read
        }
        others = [b for b in read if chosen[b] != bundle.benchmarks[b].metric]
        self._flags: tuple[tuple[str, str], ...] = tuple(
            (
                "other-metric",
                f"{TITLES[b]}: {chosen[b]} is read, but the calibration LLMs were scored by "
                f"{bundle.benchmarks[b].metric}",
            )
            for b in others
        )

    def __call__(self, found: ModelLogs) -> ModelResponses:
        """Read one model; see `metabench_py.logs.read_model` for the errors."""
        read = read_model(
            found,
            self._wanted,
            self._version,
            self._permuted,
            self._allow_missing,
            self._time,
            self._own_tasks,
        )
        if not self._flags:
            return read
        return ModelResponses(
            read.model,
            read.version,
            read.permuted,
            read.values,
            read.sources,
            (*read.flags, *self._flags),
        )


def reconstruct_many(
    models: Iterable[ModelLogs], reader: LogReader, reconstructor: Reconstructor
) -> Iterator[tuple[str, Reconstruction | MetabenchError]]:
    """Reconstruct many models; yields (model, result or error) in their order.

    An unusable model gives its error and does not stop the others.
    """
    waiting: list[tuple[str, ModelResponses | MetabenchError]] = []
    for found in models:
        try:
            waiting.append((found.model, reader(found)))
        except MetabenchError as error:
            waiting.append((found.model, error))
        if len(waiting) >= _BATCH:
            yield from _score(waiting, reconstructor)
            waiting.clear()
    yield from _score(waiting, reconstructor)


def _score(
    waiting: list[tuple[str, ModelResponses | MetabenchError]], reconstructor: Reconstructor
) -> Iterator[tuple[str, Reconstruction | MetabenchError]]:
    good = [read for _, read in waiting if isinstance(read, ModelResponses)]
    results = iter(reconstructor(good))
    for name, read in waiting:
        yield name, (next(results) if isinstance(read, ModelResponses) else read)


def reconstruct(
    model: str | Path,
    version: str | None = None,
    permuted: bool = False,
    *,
    results: str | Path = DEFAULT_RESULTS,
    bundle: str | Path | Bundle | None = None,
    trust: bool = False,
    metrics: Iterable[str] = (),
    allow_missing: bool = False,
    only: Benchmark | None = None,
    **options: Any,
) -> Reconstruction:
    """Reconstruct one model's scores from its sample logs.

    Parameters
    ----------
    model
        Folder of the logs, or its name in `results`, or the model's id on the Hub, or
        ``example``.
    version
        A or B; the bundle's if left out.
    permuted
        Read the runs with permuted answer options.
    results
        lm-eval's output folder.
    bundle
        A bundle, its folder or its name; the embedded one if left out.
    trust
        Vouch for the bundle's .rds files.
    metrics
        Read other metrics than the bundle's: ``acc`` or ``arc=acc``.
    allow_missing
        Score although items lack an answer, with wider intervals.
    only
        Score this benchmark from its own log alone.
    **options
        engine, second_stage, interval, level, se_factor: see `Reconstructor`.

    Raises
    ------
    InputError
        Logs, bundle or options are not usable; its subclasses say which.
    """
    loaded = bundle if isinstance(bundle, Bundle) else open_bundle(bundle, version, trust)
    reader = LogReader(
        loaded, permuted=permuted, metrics=metrics, allow_missing=allow_missing, only=only
    )
    found = find_model(str(model), Path(results))
    result = Reconstructor(loaded, only=only, **options)([reader(found)])[0]
    if isinstance(result, MetabenchError):
        raise result
    return result
