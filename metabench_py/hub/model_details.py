"""Parameter count and architecture of a model: pure, from the Hub's answer or from the name."""

from __future__ import annotations

import json
import re
from typing import Any

# What is added to, or renewed in, the leaderboard table. `size` is in thousand millions.
COLUMNS = ("available", "merged", "flagged", "moe", "nparams", "arch", "size", "size_from")

_NUMBER = r"(\d+(?:\.\d+)?)"
_MILLIONS = {"b": 1000.0, "m": 1.0}


def describe(name: str, info: Any) -> dict[str, Any]:
    """Read the Hub's answer about a model.

    Parameters
    ----------
    info
        The client's ``ModelInfo``.

    Returns
    -------
    dict
        `COLUMNS`. The count is the safetensors metadata's total; where there is none, the
        nominal one of the name; ``size_from`` says which.
    """
    tags = {str(tag).lower() for tag in info.tags or []}
    value = from_name(name)
    total = getattr(info.safetensors, "total", None)
    if isinstance(total, int) and total > 0:
        size = total / 1e9
        value.update(nparams=short_count(total), size=round(size, 3), size_from="safetensors")
    value.update(
        available=True,
        merged="merge" in tags,
        flagged=any("flagged" in tag for tag in tags),
        moe="moe" in tags or "moe" in name.lower(),
        arch=_architecture(info.config),
    )
    return value


def from_name(name: str, available: bool = False) -> dict[str, Any]:
    """Describe a model of which there is nothing but the name."""
    millions = size_in_name(name)
    return {
        "available": available,
        "merged": False,
        "flagged": False,
        "moe": "moe" in name.lower(),
        "nparams": None if millions is None else short_count(round(millions * 1e6)),
        "arch": None,
        "size": None if millions is None else round(millions / 1000, 6),
        "size_from": None if millions is None else "name",
    }


def architecture(content: bytes) -> str | None:
    """Architecture in a ``config.json``; None if it names none."""
    try:
        return _architecture(json.loads(content))
    except ValueError:
        return None


def _architecture(config: Any) -> str | None:
    names = config.get("architectures") if isinstance(config, dict) else None
    return str(names[0]) if isinstance(names, list) and names else None


def size_in_name(name: str) -> float | None:
    """Parameters in millions that a model's name tells (``7B``, ``350m``, ``8x7B``, ``4Bx2``).

    A mixture's is the nominal product, as in the original's table. Of several the first with a B
    counts, before those with an m (``Llama2-13B-chat-0.4M`` has 13 thousand million).
    """
    text = name.rpartition("/")[2]
    for unit in "bm":
        either = f"[{unit}{unit.upper()}]"
        experts = re.search(rf"(?<!\d)(\d+)[xX]{_NUMBER}{either}(?![a-z])", text)
        if experts:
            return int(experts[1]) * float(experts[2]) * _MILLIONS[unit]
        experts = re.search(rf"{_NUMBER}{either}[xX](\d+)(?!\d)", text)
        if experts:
            return float(experts[1]) * int(experts[2]) * _MILLIONS[unit]
        # "4bit" and "2base" are words, "13bLora" is a size.
        plain = re.search(rf"(?<![\d.]){_NUMBER}{either}(?![a-z])", text)
        if plain:
            return float(plain[1]) * _MILLIONS[unit]
    return None


def short_count(n: int) -> str:
    """Write a count of parameters as the Hub does: three digits and M or B."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if n >= unit:
            return f"{n / unit:.3g}{letter}"
    return str(n)
