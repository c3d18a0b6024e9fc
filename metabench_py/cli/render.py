"""Results as text: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from metabench_py.benchmarks import BENCHMARKS, TARGETS, TITLES
from metabench_py.reconstruction.result import Reconstruction, Score


def render(results: Sequence[Reconstruction], kind: str, one: bool) -> str:
    """Render as ``table``, ``json``, ``jsonl`` or ``csv``; for `one` model JSON is an object."""
    if kind == "csv":
        return _csv(results)
    if kind == "jsonl":
        return "\n".join(json.dumps(r.to_dict(), ensure_ascii=False) for r in results)
    if kind == "json":
        value = results[0].to_dict() if one else [r.to_dict() for r in results]
        return json.dumps(value, indent=2, ensure_ascii=False)
    return _one(results[0]) if one else _many(results)


def _one(result: Reconstruction) -> str:
    n_items = sum(a.n_items for a in result.abilities.values())
    n_answered = sum(a.n_answered for a in result.abilities.values())
    answered = f"{n_items}" if n_answered == n_items else f"{n_answered} of {n_items}"
    head = next(iter(result.scores.values())).interval_name
    ranked = any(s.percentile is not None for s in result.scores.values())
    rows = [("", "score", head, "percentile" if ranked else "", "theta", "se", "right")]
    for target in (t for t in TARGETS if t in result.scores):
        score = result.scores[target]
        rank = _rank(score)
        row = (TITLES[target], f"{score.score:.1f}", _bounds(score), rank)
        if target == "grand":
            rows.append((*row, "", "", ""))
        else:
            ability = result.abilities[target]
            right = f"{ability.n_correct}/{ability.n_answered}"
            rows.append((*row, f"{ability.theta:.2f}", f"{ability.se:.2f}", right))
    permuted = ", permuted" if result.permuted else ""
    return "\n".join(
        [
            f"{result.model}  (metabench {result.version}{permuted}, {answered} items)",
            "",
            *_columns(rows),
            "",
            _made_by(result),
        ]
    )


def _made_by(result: Reconstruction) -> str:
    engine, software = result.engine, result.software
    irt = f"mirt {software['mirt']}" if engine["irt"] == "mirt" else "the native engine"
    second = {
        "mgcv": f"mgcv {software.get('mgcv', '')}",
        "portable": "portable splines of mgcv",
        "stack": "the stack",
    }[engine["second_stage"]]
    r = f", R {software['R']}" if "R" in software else ""
    return f"Abilities by {irt}, scores by {second}{r}; bundle {result.bundle['name']}."


def _many(results: Sequence[Reconstruction]) -> str:
    targets = [t for t in TARGETS if t in results[0].scores]
    first = "grand" if targets[0] == "grand" else TITLES[targets[0]]
    rows = [("model", *(TITLES[t] for t in targets), f"{first} interval")]
    for result in results:
        scores = (f"{result.scores[t].score:.1f}" for t in targets)
        rows.append((result.model, *scores, _bounds(result.scores[targets[0]])))
    return "\n".join(_columns(rows))


def _bounds(score: Score) -> str:
    return f"{score.lower:5.1f} to {score.upper:5.1f}"


def _rank(score: Score) -> str:
    if score.percentile is None:
        return ""
    low, high = score.percentile_lower, score.percentile_upper
    bounds = "" if low is None or high is None else f" ({low:.0f}-{high:.0f})"
    return f"{score.percentile:.1f}{bounds}"


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "   ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]


def _csv(results: Sequence[Reconstruction]) -> str:
    score_keys = (
        "score", "lower", "upper", "interval", "level", "percentile", "percentile_lower",
        "percentile_upper", "se_factor",
    )  # fmt: skip
    ability_keys = (
        "theta", "se", "method", "n_items", "n_answered", "n_correct", "subscore",
        "linear_predictor",
    )  # fmt: skip
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("model", "version", "permuted", "target", *score_keys, *ability_keys))
    for result in results:
        value = result.to_dict()
        for target in result.scores:
            score = value["scores"][target]
            ability = value["abilities"][target] if target in BENCHMARKS else score
            writer.writerow(
                (
                    result.model,
                    result.version,
                    result.permuted,
                    target,
                    *(score[key] for key in score_keys),
                    *(ability.get(key) for key in ability_keys),
                )
            )
    return stream.getvalue().rstrip("\n")
