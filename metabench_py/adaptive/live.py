"""A test of a model that answers now: rounds of items, asked by whoever can, written down each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metabench_py.adaptive.engine import Stop, batches, go_on, worth_at
from metabench_py.adaptive.exposure import Picker
from metabench_py.adaptive.settings import CatSettings
from metabench_py.adaptive.state import State
from metabench_py.adaptive.tables import ItemTables
from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import InputError, StorageError
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import MISSING
from metabench_py.storage import write_json

SCHEMA = 1
# Items by benchmark -> the model's answers: 1, 0, or -1 where it gave none.
Evaluator = Callable[[Mapping[Benchmark, Sequence[str]]], Mapping[Benchmark, Mapping[str, int]]]
_ONE = np.array([0])


@dataclass(frozen=True)
class Step:
    """After a round: items answered so far, ability and standard error (None: none yet)."""

    n_items: int
    theta: float | None
    se: float | None


@dataclass(eq=False)
class LiveTest:
    """One benchmark's test.

    Attributes
    ----------
    answers
        Items in the order asked; 1, 0, or -1 where the model gave no usable answer.
    steps
        One a round.
    stop
        Why it has ended; None while it goes on.
    """

    benchmark: Benchmark
    parameters: ItemParameters
    settings: CatSettings
    filter: Floats | None = None
    answers: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    stop: Stop | None = None

    def __post_init__(self) -> None:
        n = len(self.parameters.items)
        self._at = {item: i for i, item in enumerate(self.parameters.items)}
        self._free = np.ones((1, n), np.bool_)
        self._state = State(ItemTables.of(self.parameters), 1, n, self.settings.estimator)

    def next_items(self) -> list[str]:
        """Choose the next round's items; the same again until their answers are taken."""
        given = int(self._state.counts[0])
        # A resumed test goes on with the same draws.
        random = np.random.default_rng([self.settings.seed, len(self.steps)])
        n = len(self.parameters.items)
        picker = Picker(self.settings, random, self.filter, np.zeros(n, np.int64))
        free = self._free.copy()
        left = self.settings.longest(n) - given
        chosen: list[str] = []
        for ability, size in batches(given, self.settings):
            worth = worth_at(self._state, _ONE, free, ability, picker)
            for _ in range(size):
                if len(chosen) == left or not free.any():
                    break
                worth = np.where(free, worth, -np.inf)
                item = int(picker.pick(worth, self._state, _ONE, free)[0])
                chosen.append(self.parameters.items[item])
        return chosen

    def take(self, answers: Mapping[str, int]) -> None:
        """Take a round's answers, estimate, and see whether the test has ended.

        Raises
        ------
        InputError
            An item is not of the bank or was answered before, or an answer is not -1, 0 or 1.
        """
        for item, answer in answers.items():
            if item not in self._at or item in self.answers or answer not in (MISSING, 0, 1):
                raise InputError(
                    f"{TITLES[self.benchmark]}: {answer!r} is no answer to item {item!r} that "
                    "was wanted; begin the test anew.",
                    item=item,
                )
            self.answers[item] = answer
            at = self._at[item]
            self._free[0, at] = False
            if answer != MISSING:
                self._state.give(_ONE, np.array([at]), np.array([answer], np.int8))
        n = int(self._state.counts[0])
        if n:
            self._state.estimate(_ONE)
        theta, se = float(self._state.theta[0]), float(self._state.se[0])
        known = n > 0 and np.isfinite(se)
        self.steps.append(Step(n, theta if known else None, se if known else None))
        stop: list[Stop] = ["no items"]
        if not go_on(self._state, self.settings, _ONE, self._free, stop).size:
            self.stop = stop[0]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        last = self.steps[-1] if self.steps else Step(0, None, None)
        return {
            "theta": last.theta,
            "se": last.se,
            "n_items": last.n_items,
            "n_correct": sum(answer == 1 for answer in self.answers.values()),
            "bank": len(self.parameters.items),
            "stop": self.stop,
            "answers": [[item, answer] for item, answer in self.answers.items()],
            "rounds": [[step.n_items, step.theta, step.se] for step in self.steps],
        }


def run_live(
    tests: Sequence[LiveTest],
    ask: Evaluator,
    path: Path,
    made_with: Mapping[str, Any],
    *,
    resume: bool = False,
    restart: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> dict[str, Any]:
    """Test a model until every benchmark's test has ended.

    Parameters
    ----------
    tests
        New ones.
    ask
        Is asked the items of a round, of all benchmarks at once.
    path
        JSON file that is written after every round and taken up again with `resume`.
    made_with
        What the answers depend on, as JSON values; a test goes on only with the same.

    Returns
    -------
    dict
        What the file holds.

    Raises
    ------
    InputError
        There is an unfinished test and neither `resume` nor `restart` was said, or it was made
        with something else; an answer is none.
    """
    wanted = json.loads(json.dumps(made_with))
    if path.is_file() and not restart:
        _take_up(path, tests, wanted, resume)
        if any(test.steps for test in tests):
            say(f"Goes on after {sum(len(test.answers) for test in tests)} items")
    while open_tests := [test for test in tests if test.stop is None]:
        items = {test.benchmark: test.next_items() for test in open_tests}
        number = max(len(test.steps) for test in open_tests) + 1
        count = sum(len(chosen) for chosen in items.values())
        say(f"Round {number}: {count} items of {len(items)} benchmarks")
        answers = ask(items)
        for test in open_tests:
            test.take({item: answers[test.benchmark][item] for item in items[test.benchmark]})
        write_json(path, _content(tests, wanted))
        for test in open_tests:
            step = test.steps[-1]
            told = "" if step.theta is None else f", ability {step.theta:.2f} +- {step.se:.2f}"
            ended = "" if test.stop is None else f" (ended: {test.stop})"
            say(f"  {TITLES[test.benchmark]}: {step.n_items} items{told}{ended}")
    return _content(tests, wanted)


def _content(tests: Sequence[LiveTest], made_with: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "finished": all(test.stop is not None for test in tests),
        "made_with": dict(made_with),
        "benchmarks": {test.benchmark: test.to_dict() for test in tests},
    }


def _take_up(
    path: Path, tests: Sequence[LiveTest], made_with: Mapping[str, Any], resume: bool
) -> None:
    """Give the answers of a file to the tests, round by round."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}).", path=str(path)) from error
    except (ValueError, RecursionError):
        before = None
    anew = "give --restart to begin anew"
    if not isinstance(before, dict) or before.get("schema") != SCHEMA:
        raise InputError(f"{path} is not the file of an adaptive test; {anew}.", path=str(path))
    if not resume and not before.get("finished"):
        raise InputError(
            f"{path} holds a test that has not ended. Give --resume to go on, or --restart to "
            "begin anew.",
            path=str(path),
        )
    told = before.get("made_with")
    if told != made_with:
        changed = [key for key in made_with if not isinstance(told, dict) or
                   told.get(key) != made_with[key]]  # fmt: skip
        raise InputError(
            f"The test in {path} was made with other {', '.join(changed) or 'settings'}; give the "
            f"same arguments again, or {anew}.",
            path=str(path),
        )
    try:
        for test in tests:
            kept = before["benchmarks"][test.benchmark]
            pairs = [(str(item), int(answer)) for item, answer in kept["answers"]]
            used = 0
            for n_items, _, _ in kept["rounds"]:
                end = used
                answered = sum(answer != MISSING for _, answer in pairs[:used])
                while end < len(pairs) and (answered < n_items or pairs[end][1] == MISSING):
                    answered += pairs[end][1] != MISSING
                    end += 1
                test.take(dict(pairs[used:end]))
                used = end
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error!r}); {anew}.", path=str(path)) from error
