"""Texts that try to become markup, and a reader that sees whether they did."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import strategies as st

# All of Unicode, half surrogate pairs too, and what tries to break out.
TEXTS = st.one_of(
    st.text(st.characters()),
    st.lists(
        st.sampled_from(
            ["<script>alert(1)</script>", "</script>", "<!--", "-->", "]]>", '"', "'", "&", "&lt;",
             "<svg onload=x>", "</title>", "javascript:x", "\0", "\ud800", "\u2028", "\u202e", "`"]
        )
    ).map("".join),
)  # fmt: skip


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser's tokeniser finds them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader
