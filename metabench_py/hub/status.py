"""Sums up a ledger for people and programs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.hub.ledger import Ledger
from metabench_py.hub.sources import PART_OF_CONFIG, PARTS

STATES = ("done", "failed", "absent", "gated", "refused", "invalid")


def summarise(ledger: Ledger) -> dict[str, Any]:
    """Count states by benchmark; list what is not there, and what was a choice.

    Returns
    -------
    dict
        ``files`` (benchmark -> state -> n), ``models``, ``leaderboard`` and ``details``
        (state -> n), ``errors`` and ``notes`` (model, config, state, text, time).
    """
    files: dict[str, Counter[str]] = {}
    for config, counts in ledger.counts().items():
        part = PART_OF_CONFIG.get(config)
        if part is not None:
            files.setdefault(part.benchmark, Counter()).update(counts)
    errors, notes = [], []
    models = Counter[str]()
    for row in ledger.models().values():
        models["done" if row.state == "listed" else row.state] += 1
        if row.state != "listed":
            errors.append(_entry(row.name, "", row.state, row.error, row.time))
    for part_row in ledger.parts(p.config for b in BENCHMARKS for p in PARTS[b]):
        at = (part_row.model, part_row.config, part_row.state)
        if part_row.state != "done":
            errors.append(_entry(*at, part_row.error, part_row.time))
        elif part_row.note:
            notes.append(_entry(*at, f"{part_row.path}: {part_row.note}", part_row.time))
    documents: dict[str, Counter[str]] = {}
    for kind in ("leaderboard", "details"):
        documents[kind] = Counter()
        for document in ledger.documents(kind):
            documents[kind][document.state] += 1
            if document.state != "done":
                errors.append(_entry(document.key, kind, document.state, document.error, ""))
    return {
        "files": {b: dict(files[b]) for b in BENCHMARKS if b in files},
        "models": dict(models),
        **{kind: dict(counts) for kind, counts in documents.items()},
        "errors": errors,
        "notes": notes,
    }


def _entry(model: str, config: str, state: str, text: str, time: str) -> dict[str, str]:
    return {"model": model, "config": config, "state": state, "text": text, "time": time}
