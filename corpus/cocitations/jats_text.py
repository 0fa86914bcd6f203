"""Elements of JATS, whatever namespace they are in, and their running text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5
from typing import Any

from lxml import etree

from corpus.text.plain import clean

# How an lxml parser reads a stranger's articles: it fetches no DTD, expands no entity and bounds what it builds.
ARTICLES: dict[str, Any] = {
    "tag": "{*}article",
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
# What is no running text, wherever it stands: floats, notes, headings, and a formula once more for programs.
LEFT_OUT = frozenset(
    {
        "abstract", "annotation", "annotation-xml", "caption", "chem-struct-wrap", "fig", "fig-group", "fn", "fn-group",
        "front-stub", "glossary", "graphic", "index-term", "label", "media", "object-id", "ref-list", "sec-meta",
        "supplementary-material", "table", "table-wrap", "table-wrap-group", "tex-math", "title",
    }
)  # fmt: skip
# What holds paragraphs of its own; the text round it goes on.
BLOCKS = frozenset(
    {"array", "boxed-text", "def-list", "disp-quote", "list", "p", "sec", "speech", "statement", "verse-group"}
)
_INLINE = frozenset({"inline-formula", "inline-graphic", "math"})
_FORMULAS = _INLINE | {"chem-struct", "disp-formula", "disp-formula-group"}
_FORMULA = "formula"  # stands for one that is no short text, so that its sentence keeps its shape
_MOST_IN_FORMULA = 40  # characters
_BRACKETS = re.compile(r"[()\[\]{}]")
_NOTES = frozenset({"aff", "author-notes", "corresp", "fn", "table-fn"})  # marks that lead to these are no text


@dataclass(slots=True)
class Piece:
    """A stretch of text. rids: what the marker refers to; None for text that is no marker.

    hidden: what the markers without a text beside it refer to.
    """

    text: str
    raised: bool
    rids: list[str] | None = None
    hidden: list[str] = field(default_factory=list)


def local_name(element: Any) -> str:
    """An element's name without its namespace; "" for an entity."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Any, name: str) -> str:
    """An attribute by its name without a namespace, as `href` of xlink:href; "" where there is none."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def children(element: Any, *names: str) -> Iterator[Any]:
    """The elements directly within one that have one of the names; none in None."""
    return (child for child in (() if element is None else element) if local_name(child) in names)


def child_at(element: Any, *path: str) -> Any:
    """The first element down a path of names; None where there is none."""
    for name in path:
        element = next(children(element, name), None)
    return element


def is_citation(element: Any) -> bool:
    """Whether an element is a reference in the text to the list of references."""
    return local_name(element) == "xref" and (element.get("ref-type") or "").lower() == "bibr"


def text_of(element: Any) -> str:
    """All the text of an element on one line: entities as characters, formulas as a word, notes left out."""
    return "" if element is None else clean("".join(piece.text for piece in pieces_of(element, raised=False)))


def pieces_of(element: Any, *, raised: bool) -> Iterator[Piece]:
    """The running text within an element, in its order, cut where a marker or a superscript begins or ends."""
    if element.text:
        yield Piece(element.text, raised)
    for child in element:
        if child.tag is etree.Entity:
            yield Piece(html5.get(f"{child.name};", child.name), raised)
        elif isinstance(child.tag, str):
            yield from _pieces_of_child(child, raised=raised)
        if child.tail:
            yield Piece(child.tail, raised)


def _pieces_of_child(child: Any, *, raised: bool) -> Iterator[Piece]:
    name = local_name(child)
    if is_citation(child):
        inner = list(pieces_of(child, raised=raised))
        text = clean("".join(piece.text for piece in inner))
        yield Piece(text, raised or any(piece.raised for piece in inner), (child.get("rid") or "").split())
    elif name in BLOCKS or name == "break":
        yield Piece(" ", raised)
    elif name in _FORMULAS:
        inline = name in _INLINE
        yield Piece(_formula(child) if inline else f" {_FORMULA} ", raised)
    elif name not in LEFT_OUT and not (name == "xref" and child.get("ref-type") in _NOTES):
        yield from pieces_of(child, raised=raised or name == "sup")


def _formula(element: Any) -> str:
    """A short formula's text, else a word. One with brackets would pass for a sentence with a marker."""
    math = next(element.iter("{*}math"), None)
    if math is not None:
        text = "".join("".join(piece.text for piece in pieces_of(math, raised=False)).split())
    else:
        text = text_of(element) if local_name(element) == "inline-formula" else ""
    return text if 0 < len(text) <= _MOST_IN_FORMULA and not _BRACKETS.search(text) else _FORMULA
