"""Checks that the document that was scored is the one that the model was asked about.

lm-eval builds its requests from the documents, and walks over the documents a second time to score
the answers. Its permuted tasks shuffle the answer options without a seed whenever the documents are
made; unless the data sets' cache hands back the first shuffle, the second walk sees another one,
and right and wrong mean nothing. A log shows it: ``doc_hash`` is of the document asked about,
``doc`` is the one scored.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson

# A reduced row keeps these of its document.
ITEM_KEYS = frozenset(("metabench_idx", "subject"))

UNVERIFIED = "documents-unverified"
MISMATCH = (
    "the document scored is not the one that the model was asked about (doc does not give "
    "doc_hash). lm-eval shuffled the options again between asking and scoring, as its permuted "
    "tasks do without the data sets' cache, or the log was edited: right and wrong mean nothing "
    "here. Run again with: metabench-py evaluate MODEL --permute"
)


def has_document(row: dict[str, Any]) -> bool:
    """Whether a row carries its document and the hash of the one asked about."""
    doc: dict[str, Any] = row["doc"]
    return "doc_hash" in row and not doc.keys() <= ITEM_KEYS


def document_hash(doc: Any) -> str:
    """SHA-256 that lm-eval gives a document.

    Raises
    ------
    ValueError
        It cannot be written as UTF-8 JSON.
    """
    text = json.dumps(doc, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# Documents whose hash was found right: all models have the same ones, and comparing is quicker.
_known: dict[str, Any] = {}
_MOST_KNOWN = 4096


def same_document(doc: Any, doc_hash: Any) -> bool:
    """Whether a document has this hash."""
    if not isinstance(doc_hash, str):
        return False
    if doc_hash in _known and doc == _known[doc_hash]:
        return True
    if not _has_hash(doc, doc_hash):
        return False
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[doc_hash] = doc
    return True


def _has_hash(doc: Any, doc_hash: str) -> bool:
    try:
        # orjson writes the same text for all but odd numbers, ten times as fast.
        quick = orjson.dumps(doc, option=orjson.OPT_INDENT_2)
        if hashlib.sha256(quick).hexdigest() == doc_hash:
            return True
    except TypeError:
        pass
    try:
        return bool(document_hash(doc) == doc_hash)
    except (ValueError, TypeError, RecursionError):
        return False
