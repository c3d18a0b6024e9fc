"""Builds HTML and SVG: what is text is escaped, whatever it holds.

Only this file makes markup of strings, so only this file needs to be right: an LLM may be named
``<script>alert(1)</script>``, and a log may hold any character.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import Any

# Not allowed in HTML or XML, or not in UTF-8 (half a surrogate pair, as JSON can hold).
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_VOID = frozenset({"meta", "link", "input", "br", "hr"})


class Markup(str):
    """Text that is markup already; all other text is escaped where it is put in."""

    __slots__ = ()


Child = Markup | str | int | float | None


def clean(text: str) -> str:
    """Replace characters that a page cannot hold by U+FFFD."""
    return _ILLEGAL.sub("\ufffd", text)


def escape(text: object) -> Markup:
    """Make text safe between tags and inside of quoted attributes; markup stays as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(clean(str(text)), quote=True))


def join(*children: Child) -> Markup:
    """One after another; None is nothing."""
    return Markup("".join(escape(child) for child in children if child is not None))


def el(tag: str, *children: Child, **attributes: object) -> Markup:
    """Make one element.

    Parameters
    ----------
    children
        Markup is put in as it is, all else as text; None is nothing.
    **attributes
        ``class_`` means class, ``aria_label`` aria-label. None and False leave an attribute out,
        True gives it without a value.

    Raises
    ------
    ValueError
        A tag or an attribute has no proper name, or a script or a style was asked for.
    """
    if tag in ("script", "style"):
        raise ValueError(f"{tag} holds no escaped text: use code() or data().")
    parts = [f"<{_name(tag)}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = _name(key.rstrip("_").replace("_", "-"))
        if name.lower().startswith("on"):
            raise ValueError(f"{name}: no code in attributes; the page's script does that.")
        parts.append(f" {name}" if value is True else f' {name}="{_quoted(value)}"')
    if tag in _VOID:
        return Markup("".join([*parts, ">"]))
    return Markup("".join([*parts, ">", join(*children), f"</{tag}>"]))


def code(tag: str, text: str) -> Markup:
    """Make a script or a style of this package's own text.

    Raises
    ------
    ValueError
        The text would end its own element.
    """
    if tag not in ("script", "style") or re.search(r"</|<!--", text):
        raise ValueError(f"Not a text for {tag}.")
    return Markup(f"<{tag}>{text}</{tag}>")


def data(name: str, value: Any) -> Markup:
    """Make a block of JSON that the page's script reads and no browser runs."""
    text = json.dumps(_cleaned(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside of a script only these could end it, or start a comment.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{_quoted(name)}">{text}</script>')


def csp_hash(text: str) -> str:
    """Hash by which a Content-Security-Policy allows one script or style."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(one) for key, one in value.items()}
    return [_cleaned(one) for one in value] if isinstance(value, list | tuple) else value


def _quoted(value: object) -> str:
    # Markup has no place in an attribute: its quotes would end it.
    return html.escape(clean(str.__str__(value) if isinstance(value, str) else str(value)))


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a tag or an attribute.")
    return text
