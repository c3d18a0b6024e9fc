"""Scrapes item responses: plans what is missing, fetches it in parallel, writes matrices."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import DownloadError, InputError, ResponseError
from metabench_py.hub.answers import RefusedError
from metabench_py.hub.assemble import MatrixSummary, write_matrix
from metabench_py.hub.details_file import read_answers
from metabench_py.hub.ledger import FINAL, Ledger, ModelRow, PartRow
from metabench_py.hub.listing import Choice, Listing, choose_files
from metabench_py.hub.pool import Progress, run_bounded
from metabench_py.hub.sources import (
    DETAILS_ORGANISATIONS,
    PART_OF_CONFIG,
    PARTS,
    Part,
    details_repository,
)
from metabench_py.hub.transport import HubClient, Outage

LEDGER = "ledger.sqlite"
SCRATCH = ".downloads"


@dataclass(frozen=True)
class Wanted:
    """One model and the configs to get of it.

    Attributes
    ----------
    repository, revision
        Commit that the model's earlier files are from; all its files come from one commit.
    newest
        Look whether there is a newer commit.
    whole
        All configs that are wanted or there; what to take anew if the commit is another one.
    """

    model: str
    configs: tuple[str, ...]
    whole: tuple[str, ...] = ()
    repository: str = ""
    revision: str = ""
    newest: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes
    ----------
    todo
        Models of which something is missing.
    n_files, n_skipped
        Files to get; files wanted whose state is final already.
    """

    todo: tuple[Wanted, ...]
    n_files: int
    n_skipped: int


@dataclass
class Tally:
    """What a run did."""

    done: int = 0
    by_state: dict[str, int] = field(default_factory=dict)
    matrices: list[MatrixSummary] = field(default_factory=list)
    noted: int = 0

    @property
    def failed(self) -> int:
        """Files that are not there for whatever reason."""
        return sum(self.by_state.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "done": self.done,
            "not_there": dict(sorted(self.by_state.items())),
            "chosen_among_several": self.noted,
            "matrices": {
                m.benchmark: {
                    "path": m.path, "n_llms": m.n_llms, "n_items": m.n_items,
                    "n_partial": m.n_partial, "odd": list(m.odd),
                }
                for m in self.matrices
            },
        }  # fmt: skip


def plan(
    ledger: Ledger, wanted: Mapping[str, Sequence[Benchmark]], *, recheck: bool = False
) -> Plan:
    """Compare what is wanted with the ledger.

    Parameters
    ----------
    wanted
        Benchmarks by model.
    recheck
        Try again what was refused, absent or invalid, at the newest commit.
    """
    return _plan(wanted, ledger.models(), ledger.part_states(), recheck)


def plan_anew(wanted: Mapping[str, Sequence[Benchmark]]) -> Plan:
    """Plan for a folder that has no ledger yet."""
    return _plan(wanted, {}, {}, False)


def _plan(
    wanted: Mapping[str, Sequence[Benchmark]],
    models: Mapping[str, ModelRow],
    states: Mapping[tuple[str, str], str],
    recheck: bool,
) -> Plan:
    final = {"done"} if recheck else FINAL
    there: dict[str, list[str]] = {}
    for model, config in states:
        there.setdefault(model, []).append(config)
    todo: list[Wanted] = []
    n_files = n_skipped = 0
    for model, benchmarks in wanted.items():
        configs = [part.config for b in benchmarks for part in PARTS[b]]
        known = models.get(model)
        if known is not None and known.state in FINAL and not recheck:
            n_skipped += len(configs)
            continue
        missing = tuple(c for c in configs if states.get((model, c)) not in final)
        n_files += len(missing)
        n_skipped += len(configs) - len(missing)
        if missing:
            at = (known.repository, known.revision) if known is not None else ("", "")
            whole = tuple(dict.fromkeys((*configs, *there.get(model, ()))))
            todo.append(Wanted(model, missing, whole, *at, newest=recheck))
    return Plan(tuple(todo), n_files, n_skipped)


def scrape_responses(
    folder: Path,
    ledger: Ledger,
    client: HubClient,
    todo: Plan,
    *,
    benchmarks: Iterable[Benchmark],
    organisations: Sequence[str] = DETAILS_ORGANISATIONS,
    jobs: int = 8,
    partial: bool = False,
    progress: Progress,
) -> Tally:
    """Get what the plan says and write the matrices; the ledger knows the rest.

    A model or file that cannot be had never stops the run. Stopped at any moment, the same call
    goes on with what is missing; files in flight are lost at most.

    Raises
    ------
    DownloadError
        The Hub cannot be reached, or stopped answering.
    StorageError
        The ledger or a matrix cannot be written.
    """
    scratch = folder / SCRATCH
    tally = Tally()
    if todo.todo:
        client.check()
        scratch.mkdir(parents=True, exist_ok=True)
        _sweep(scratch)
        run = _Run(ledger, client, organisations, scratch, tally, progress)
        progress.start("responses", todo.n_files, todo.n_skipped)
        try:
            tasks: Iterator[Wanted | _Fetch] = iter(todo.todo)
            run_bounded(tasks, run.work, run.finish, jobs, client.stop)
        except DownloadError:
            # The network is gone, but what came before is worth a matrix.
            write_matrices(folder, ledger, benchmarks, partial=partial)
            raise
        finally:
            progress.stop()
            client.rest()
            _sweep(scratch)
            scratch.rmdir()
    tally.matrices = write_matrices(folder, ledger, benchmarks, partial=partial)
    return tally


def write_matrices(
    folder: Path, ledger: Ledger, benchmarks: Iterable[Benchmark], *, partial: bool = False
) -> list[MatrixSummary]:
    """Write ``<benchmark>.parquet`` of what the ledger holds, where there is anything."""
    made = (write_matrix(ledger, b, folder / f"{b}.parquet", partial=partial) for b in benchmarks)
    return [summary for summary in made if summary is not None]


@dataclass(frozen=True, eq=False)
class _Fetch:
    model: str
    part: Part
    listing: Listing
    choice: Choice


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Rows to record and tasks that follow.

    Attributes
    ----------
    n_done, n_bad, state
        Files that are there now, files that are not, and why not.
    fresh
        A model whose older rows are to be forgotten first.
    """

    model: ModelRow | None = None
    parts: tuple[PartRow, ...] = ()
    follow: tuple[_Fetch, ...] = ()
    n_done: int = 0
    n_bad: int = 0
    state: str = ""
    fresh: str = ""
    unreachable: bool = False


class _Run:
    def __init__(
        self,
        ledger: Ledger,
        client: HubClient,
        organisations: Sequence[str],
        scratch: Path,
        tally: Tally,
        progress: Progress,
    ) -> None:
        self.ledger, self.client, self.organisations = ledger, client, organisations
        self.scratch, self.tally, self.progress = scratch, tally, progress
        self.outage = Outage(client)
        # Models whose files turned out gated: no need to ask for all of them.
        self.closed: set[str] = set()
        self.lock = threading.Lock()

    def work(self, task: Wanted | _Fetch) -> _Outcome:
        return self._list(task) if isinstance(task, Wanted) else self._fetch(task)

    def _list(self, wanted: Wanted) -> _Outcome:
        model, n = wanted.model, len(wanted.configs)
        try:
            listing, fresh = self._find(wanted)
        except RefusedError as error:
            row = ModelRow(model, error.state, wanted.repository, wanted.revision, error=str(error))
            return _Outcome(row, n_bad=n, state=error.state)
        except DownloadError as error:
            row = ModelRow(model, "failed", wanted.repository, wanted.revision, error=str(error))
            return _Outcome(row, n_bad=n, state="failed", unreachable=error.facts["connection"])
        chosen = choose_files(listing)
        parts = [PART_OF_CONFIG[c] for c in (wanted.whole if fresh else wanted.configs)]
        absent = tuple(
            PartRow(
                model,
                p.config,
                "absent",
                listing.revision,
                error="neither the card nor the files know this config",
            )
            for p in parts
            if p.config not in chosen
        )
        return _Outcome(
            ModelRow(model, "listed", listing.repository, listing.revision),
            absent,
            tuple(_Fetch(model, p, listing, chosen[p.config]) for p in parts if p.config in chosen),
            n_bad=len(absent),
            state="absent",
            fresh=model if fresh else "",
        )

    def _find(self, wanted: Wanted) -> tuple[Listing, bool]:
        """Look for the model's data set; say whether it is another commit than the one known."""
        if wanted.revision and not wanted.newest:
            try:
                return self.client.listing(wanted.repository, wanted.revision), False
            except RefusedError as error:
                # A rewritten history: take what there is now, from one commit again.
                if error.state != "absent":
                    raise
        refused: RefusedError | None = None
        for organisation in self.organisations:
            try:
                listing = self.client.listing(details_repository(wanted.model, organisation))
            except RefusedError as error:
                refused = refused if refused is not None and refused.state == "gated" else error
            else:
                return listing, wanted.revision not in ("", listing.revision)
        if refused is None:
            raise InputError("No organisation to look into; name one (--org).")
        raise refused

    def _fetch(self, task: _Fetch) -> _Outcome:
        model, listing, file = task.model, task.listing, task.choice.file
        with self.lock:
            if model in self.closed:
                return _Outcome(n_bad=1, state="gated")
        # Unlike the Hub's, this name holds no slash, and no two tasks share it.
        local = self.scratch / f"{model.replace('/', '__')}.{task.part.config}.parquet"
        row = functools.partial(
            PartRow,
            model,
            task.part.config,
            revision=listing.revision,
            path=file.path,
            digest=file.digest,
            note=task.choice.note,
        )
        try:
            with self.client.body(listing.repository, listing.revision, file, local) as body:
                answers = read_answers(body, task.part.metric)
        except RefusedError as error:
            if error.state == "gated":
                with self.lock:
                    self.closed.add(model)
                known = ModelRow(model, "gated", listing.repository, listing.revision, str(error))
                return _Outcome(known, n_bad=1, state="gated")
            return _without(row(error.state, error=str(error)))
        except ResponseError as error:
            return _without(row("invalid", error=f"{file.path}: {error}"))
        except DownloadError as error:
            return _without(row("failed", error=str(error)), error.facts["connection"])
        return _Outcome(parts=(row("done", answers=answers),), n_done=1)

    def finish(self, outcomes: list[_Outcome]) -> list[_Fetch]:
        with self.ledger.transaction():
            for outcome in outcomes:
                if outcome.fresh:
                    self.ledger.forget(outcome.fresh)
                if outcome.model is not None:
                    self.ledger.put_model(outcome.model)
                for part in outcome.parts:
                    self.ledger.put_part(part)
        for outcome in outcomes:
            self._count(outcome)
        for outcome in outcomes:
            self.outage.count(outcome.unreachable)
        return [fetch for outcome in outcomes for fetch in outcome.follow]

    def _count(self, outcome: _Outcome) -> None:
        self.tally.done += outcome.n_done
        self.tally.noted += sum(bool(part.note) for part in outcome.parts)
        if outcome.n_bad:
            before = self.tally.by_state.get(outcome.state, 0)
            self.tally.by_state[outcome.state] = before + outcome.n_bad
        self.progress.advance(outcome.n_done, outcome.n_bad)


def _without(row: PartRow, unreachable: bool = False) -> _Outcome:
    return _Outcome(parts=(row,), n_bad=1, state=row.state, unreachable=unreachable)


def _sweep(scratch: Path) -> None:
    for path in scratch.iterdir():
        path.unlink(missing_ok=True)
