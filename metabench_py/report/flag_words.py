"""What a result's flags mean, in plain words, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metabench_py.reconstruction.result import Flag

Weight = Literal["note", "caution"]


@dataclass(frozen=True)
class Words:
    """A flag told to a reader.

    Attributes
    ----------
    weight
        ``caution`` where the scores may mislead, ``note`` where they stand as they are.
    """

    title: str
    meaning: str
    advice: str
    weight: Weight


_WORDS: dict[str, Words] = {
    "documents-unverified": Words(
        "The questions could not be checked",
        "The logs hold the answers but not the questions, so nobody can tell from them whether "
        "the LLM was asked what it should have been.",
        "Trust whoever ran it, or run lm-eval again with --log_samples and keep the full logs.",
        "note",
    ),
    "gsm8k-by-position": Words(
        "GSM8K was read by position",
        "The log has two rows a question and does not name their filters. The first row is taken, "
        "which is strict-match in the logs of that time.",
        "Nothing, if lm-eval wrote the log; a newer lm-eval names its filters.",
        "note",
    ),
    "other-metric": Words(
        "Another metric than the calibration's",
        "The items were calibrated with answers counted in another way, so abilities and scores "
        "are shifted by an amount that the intervals do not hold.",
        "Leave --metric out, unless you want to repeat someone's numbers.",
        "caution",
    ),
    "missing-items": Words(
        "Some items have no answer",
        "The scores are made of the answers that are there; the intervals are wider for it.",
        "Run lm-eval on all items for the best score.",
        "caution",
    ),
    "other-items": Words(
        "Some answers were not used",
        "The logs hold items that the bundle lacks, as where a small bundle reads the logs of a "
        "whole run.",
        "Nothing; a bundle of more items makes the intervals narrower.",
        "note",
    ),
    "nan-responses": Words(
        "The LLM gave NaN",
        "Log-likelihoods that are not numbers come of a broken run, often of half precision that "
        "overflows. They count as not answered.",
        "Run again in another precision (bfloat16 or float32).",
        "caution",
    ),
    "nan-in-run": Words(
        "The LLM gave NaN while it ran",
        "Log-likelihoods that are not numbers come of a broken run, often of half precision that "
        "overflows.",
        "Run again in another precision (bfloat16 or float32).",
        "caution",
    ),
    "older-logs": Words(
        "Older logs were left aside",
        "The folder holds several runs, and the newest log of each benchmark was read.",
        "Choose a run with --run TIME if you meant another one.",
        "note",
    ),
    "mixed-runs": Words(
        "The logs are of several runs",
        "The benchmarks were not run together. If the LLM or its settings changed in between, the "
        "scores do not belong to one LLM.",
        "Choose one run with --run TIME, or run all six benchmarks again.",
        "caution",
    ),
    "extrapolated": Words(
        "Beyond the calibration LLMs",
        "No LLM of the calibration was so far up or down in these features, so the curve that "
        "makes the score is continued beyond its data, and the interval may be too narrow.",
        "Take the score as a rough one; run the full benchmark where it matters.",
        "caution",
    ),
    "interval-from-test-errors": Words(
        "Intervals of the original's test set",
        "The bundle has the errors on the original's test LLMs only, not cross-validated ones.",
        "Take a bundle that was calibrated with metabench-py, such as the embedded one.",
        "note",
    ),
    "truncated-prompts": Words(
        "Prompts were cut",
        "Some prompts were longer than the LLM's window and lost their first examples, so it was "
        "asked something harder than other LLMs were.",
        "Compare it with LLMs of the same window only.",
        "caution",
    ),
    "limited-run": Words(
        "Only a part of the items was run",
        "The run was limited, as one does for trying out.",
        "Run again without --limit before you rely on the scores.",
        "caution",
    ),
    "run-record-unreadable": Words(
        "The record of the run cannot be read",
        "What evaluate noted about its run (cut prompts, NaN, limits) is lost.",
        "Run evaluate again if it matters how the LLM was run.",
        "note",
    ),
}


def words_for(flag: Flag) -> Words:
    """Tell of a flag; of one that this version does not know its name."""
    known = _WORDS.get(flag.flag)
    if known is not None:
        return known
    name = flag.flag.replace("-", " ")
    return Words(f"{name[:1].upper()}{name[1:]}", "", "", "caution")


def known_flags() -> frozenset[str]:
    """Names of the flags that have words."""
    return frozenset(_WORDS)
