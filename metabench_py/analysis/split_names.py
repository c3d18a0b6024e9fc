"""Which results are of the same split of the LLMs, told by who was held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class SplitParts:
    """LLMs that a result held out, and its others."""

    test: set[str]
    rest: set[str]

    def agrees(self, other: SplitParts) -> bool:
        """Whether both may be of one split: no LLM is held out in one and not in the other."""
        apart = self.test & other.rest or other.test & self.rest
        return not apart and bool(self.test & other.test or not (self.test or other.test))


class SplitLetters:
    """Names for splits that nobody named: A, B, ... in the order of appearance."""

    def __init__(self) -> None:
        self._known: list[SplitParts] = []

    def of(self, parts: SplitParts) -> str:
        """Name the split of a result."""
        for number, known in enumerate(self._known):
            if known.agrees(parts):
                known.test.update(parts.test)
                known.rest.update(parts.rest)
                return _letter(number)
        self._known.append(parts)
        return _letter(len(self._known) - 1)


def _letter(number: int) -> str:
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("A") + last)


def parts_of(table: DataFrame, column: str) -> SplitParts:
    """Read who is held out: a table's column ``name``, and ``test`` in another."""
    test = (table[column] == "test").to_numpy()
    names = table["name"].astype(str).to_numpy()
    return SplitParts(set(names[test]), set(names[~test]))
