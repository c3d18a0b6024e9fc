"""The builder of markup: whatever a text holds, it stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import xml.etree.ElementTree as ET

import pytest
from helpers.markup import TEXTS, read
from hypothesis import example, given
from hypothesis import strategies as st

from metabench_py.report.markup import Markup, clean, code, csp_hash, data, el, escape, join


@given(TEXTS, TEXTS)
@example("</td><script>alert(1)</script>", '"><script>alert(1)</script>')
def test_a_text_is_never_markup(text: str, attribute: str) -> None:
    made = el("td", text, el("b", "x"), title=attribute, data_item=Markup(attribute))
    found = read(made)
    assert found.tags == ["td", "b"]
    assert found.text == clean(text) + "x"
    assert found.attributes == [("title", clean(attribute)), ("data-item", clean(attribute))]
    made.encode("utf-8")


@given(TEXTS, TEXTS)
def test_svg_is_well_formed(text: str, attribute: str) -> None:
    made = el("svg", el("title", text), el("text", text, x=1.5), aria_label=attribute)
    root = ET.fromstring(made)

    # XML reads these as one line end or as spaces.
    def plain(t: str) -> str:
        return clean(t).replace("\r\n", "\n").replace("\r", "\n")

    assert plain(root[0].text or "") == plain(text)
    assert [child.tag for child in root] == ["title", "text"]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
        max_leaves=8,
    )
)
def test_json_stays_in_its_block(value: object) -> None:
    made = data("results", value)
    found = read(made)
    assert found.tags == ["script"]
    inner = made.removeprefix('<script type="application/json" id="results">')
    inner = inner.removesuffix("</script>")
    assert not set("<>&\u2028\u2029") & set(inner)
    assert json.loads(inner) == json.loads(json.dumps(cleaned(value)))


def cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(one) for one in value]
    if isinstance(value, dict):
        return {clean(key): cleaned(one) for key, one in value.items()}
    return value


def test_nothing_and_truth() -> None:
    assert join(None, "a", 1, 2.5) == "a12.5"
    assert el("td", None, hidden=True, title=None, lang=False) == "<td hidden></td>"
    assert el("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert el("p", escape(escape("<"))) == "<p>&lt;</p>"


@pytest.mark.parametrize(
    "make",
    [
        lambda: el("script", "alert(1)"),
        lambda: el("style", "x"),
        lambda: el("a b"),
        lambda: el("p", **{"x y": 1}),
        lambda: el("p", onclick="x"),
        lambda: code("script", "'</script>'"),
        lambda: code("style", "<!-- "),
        lambda: code("p", "x"),
    ],
)
def test_no_way_around(make: object) -> None:
    with pytest.raises(ValueError, match=r"code\(\)|name|Not a text|attributes"):
        make()  # type: ignore[operator]


def test_hash_of_a_script() -> None:
    digest = base64.b64encode(hashlib.sha256(b"alert(1)").digest()).decode()
    assert csp_hash("alert(1)") == f"'sha256-{digest}'"
