"""Full texts in JATS XML, as PubMed Central and PLOS publish them, and in the older NLM DTDs.

Read are the paragraphs of the body, without abstract, captions, tables, footnotes, headings, and without the letters
and responses behind the article. The files come from strangers: no DTD is fetched, and no entity is expanded except the
named characters of HTML.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5
from typing import Any

from corpus.cocitations.full_text import FullText, FullTextError, FullTextReport, Paragraph, Reference, reference
from corpus.cocitations.markers import (
    DASH,
    NO_REFERENCE,
    UNKNOWN_REFERENCE,
    Marker,
    Numbering,
    expanded_citations,
    numbers_in,
)
from corpus.identifiers import IdKind
from corpus.io.safe_xml import PARSER_OPTIONS
from corpus.readers.fields import year_of
from corpus.text.plain import clean

ARTICLE_TAG = "{*}article"

# No running text: floats, notes, headings, and the second form of a formula.
_LEFT_OUT = frozenset(
    {
        "abstract", "annotation", "annotation-xml", "caption", "chem-struct-wrap", "fig", "fig-group", "fn", "fn-group",
        "front-stub", "glossary", "graphic", "index-term", "label", "media", "object-id", "ref-list", "sec-meta",
        "supplementary-material", "table", "table-wrap", "table-wrap-group", "tex-math", "title",
    }
)  # fmt: skip
# Hold paragraphs of their own; the surrounding text continues behind them.
_BLOCKS = frozenset(
    {"array", "boxed-text", "def-list", "disp-quote", "list", "p", "sec", "speech", "statement", "verse-group"}
)
_NOTES = frozenset({"aff", "author-notes", "corresp", "fn", "table-fn"})  # marks that link to these are no text
_INLINE_FORMULAS = frozenset({"inline-formula", "inline-graphic", "math"})
_FORMULAS = _INLINE_FORMULAS | {"chem-struct", "disp-formula", "disp-formula-group"}
_FORMULA = "formula"  # stands for one that is no short text, so that its sentence keeps its shape
_MAX_FORMULA_CHARS = 40

_CITATIONS = ("element-citation", "mixed-citation", "nlm-citation", "citation", "citation-alternatives", "product")
_TITLES = ("article-title", "chapter-title", "data-title", "part-title")
_BOOKS = frozenset({"book", "thesis", "report", "software", "data", "web", "webpage", "other"})  # titled in `source`
_KINDS: dict[str, IdKind] = {
    "doi": "doi", "pmid": "pmid", "medline": "pmid", "pmc": "pmcid", "pmcid": "pmcid", "arxiv": "arxiv",
}  # fmt: skip
_LINK_KINDS: tuple[IdKind, ...] = ("doi", "pmid", "pmcid", "arxiv")
_IDS_IN_TEXT: tuple[tuple[IdKind, re.Pattern[str]], ...] = (
    ("doi", re.compile(r"\b(10\.\d{4,9}/[^\s\"<>]{1,200})")),
    ("pmid", re.compile(r"\bPMID:?\s?(\d{1,9})\b", re.IGNORECASE)),
    ("arxiv", re.compile(r"\barXiv:\s?([a-z./-]{0,30}\d{4}\.?\d{3,5})", re.IGNORECASE)),
)
_LABEL = re.compile(r"\W*(\d{1,4})[a-z]?\W*", re.ASCII)

# Possessive: a row of dashes could be split in many ways.
_SEPARATORS = re.compile(rf"(?:[\s,;&()\[\]]|\band\b|{DASH})*+")
_ENDS_WITH_TEN = re.compile(r"(?<![\d.])10$")
_EXPONENT = re.compile(r"[-+\u2212\u2013]?\d")


def read_articles(content: bytes, *, report: FullTextReport) -> Iterator[FullText]:
    """The articles of a file, also those in an envelope such as <pmc-articleset> or OAI's.

    report: counts the markers that link to no known reference.
    Raises FullTextError where the XML is malformed, after the articles before that place, and for an <article> without
    front and body, such as HTML's.
    """
    from lxml import etree

    try:
        for _event, element in etree.iterparse(io.BytesIO(content), tag=ARTICLE_TAG, **PARSER_OPTIONS):
            yield _full_text(element, report)
            element.clear()
            while element.getprevious() is not None:  # clear() leaves an empty element per article
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise malformed_xml(error) from error


def malformed_xml(error: Any) -> FullTextError:
    """The error for an etree.XMLSyntaxError."""
    reason = clean(error.msg or "")[:200]
    return FullTextError(f"its XML is malformed or ends too early ({reason}). Download it again.")


def _full_text(article: Any, report: FullTextReport) -> FullText:
    body = _child_at(article, "body")
    if body is None and _child_at(article, "front") is None:
        raise FullTextError("its <article> has neither front nor body, so it is not JATS. Leave it out.")
    references = _reference_list(article)
    paragraphs = (_paragraph(element, references, report) for element in _paragraph_elements(body))
    return FullText(_own_reference(article), tuple(each for each in paragraphs if each.text), references.by_key)


def _paragraph_elements(element: Any) -> Iterator[Any]:
    """The paragraphs below an element; one that contains a list comes before those of the list."""
    for child in () if element is None else element:
        name = _local_name(child)
        if name == "p":
            yield child
        if name and name not in _LEFT_OUT:
            yield from _paragraph_elements(child)


# Elements and their text


@dataclass(slots=True)
class _Piece:
    """A stretch of text. rids: the ids that a citation marker links to; None for plain text.

    hidden: the ids that empty markers beside it link to.
    """

    text: str
    raised: bool = False
    rids: list[str] | None = None
    hidden: list[str] = field(default_factory=list)


def _local_name(element: Any) -> str:
    """An element's name without its namespace; "" for an entity."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _children(element: Any, *names: str) -> Iterator[Any]:
    return (child for child in (() if element is None else element) if _local_name(child) in names)


def _child_at(element: Any, *path: str) -> Any:
    """The first element at a path of names, or None."""
    for name in path:
        element = next(_children(element, name), None)
    return element


def _text_of(element: Any) -> str:
    """The text of an element on one line."""
    return "" if element is None else clean("".join(piece.text for piece in _pieces(element)))


def _pieces(element: Any, *, raised: bool = False) -> Iterator[_Piece]:
    """The running text of an element, cut where a marker or a superscript begins or ends."""
    if element.text:
        yield _Piece(element.text, raised)
    for child in element:
        name = _local_name(child)
        if not name:
            yield _Piece(html5.get(f"{child.name};", child.name), raised)  # an entity
        elif name == "xref" and (child.get("ref-type") or "").lower() == "bibr":
            inner = list(_pieces(child, raised=raised))
            text = clean("".join(piece.text for piece in inner))
            yield _Piece(text, raised or any(piece.raised for piece in inner), (child.get("rid") or "").split())
        elif name in _BLOCKS or name == "break":
            yield _Piece(" ", raised)
        elif name in _FORMULAS:
            yield _Piece(_inline_formula(child) if name in _INLINE_FORMULAS else f" {_FORMULA} ", raised)
        elif name not in _LEFT_OUT and not (name == "xref" and child.get("ref-type") in _NOTES):
            yield from _pieces(child, raised=raised or name == "sup")
        if child.tail:
            yield _Piece(child.tail, raised)


def _inline_formula(element: Any) -> str:
    """The text of a short formula, else a word. One with brackets would look like a citation marker."""
    math = next(element.iter("{*}math"), None)
    if math is not None:
        text = "".join("".join(piece.text for piece in _pieces(math)).split())
    else:
        text = _text_of(element) if _local_name(element) == "inline-formula" else ""
    return text if 0 < len(text) <= _MAX_FORMULA_CHARS and not re.search(r"[()\[\]{}]", text) else _FORMULA


# The list of references


@dataclass(slots=True)
class _ReferenceList:
    """by_key: the references. keys_of: by an id of the XML, the keys that it stands for."""

    by_key: dict[str, Reference] = field(default_factory=dict)
    keys_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    numbering: Numbering = field(default_factory=Numbering)

    def keys(self, rids: list[str]) -> list[str]:
        return [key for rid in rids for key in self.keys_of.get(rid, ())]


def _reference_list(article: Any) -> _ReferenceList:
    """The references of an article, without those of its sub-articles. Of two with one id or number, the first."""
    found = _ReferenceList()
    entries = list(_reference_elements(article))
    labels = [_label(entry) for entry in entries]
    if not any(labels):
        labels = list(range(1, len(entries) + 1))
    for place, (entry, number) in enumerate(zip(entries, labels, strict=True), start=1):
        rid = entry.get("id") or f"#{place}"
        if rid in found.keys_of:
            rid = f"{rid}#{place}"
        citations = list(_children(entry, *_CITATIONS)) or [entry]
        keys = (rid, *(f"{rid}#{part}" for part in range(2, len(citations) + 1)))
        found.keys_of[rid] = keys
        if number is not None:
            found.numbering.keys_of.setdefault(number, keys)
            found.numbering.number_of.update(dict.fromkeys(keys, number))
        for key, citation in zip(keys, citations, strict=True):
            found.by_key[key] = _reference(citation)
            for inner in citation.iter("*"):  # some texts link to the citation in an entry, or to one of its two forms
                if inner.get("id"):
                    found.keys_of.setdefault(inner.get("id"), (key,))
    return found


def _reference_elements(element: Any) -> Iterator[Any]:
    for child in element:
        name = _local_name(child)
        if name == "ref":
            yield child
        elif name not in ("sub-article", "response"):
            yield from _reference_elements(child)


def _label(entry: Any) -> int | None:
    labels = [*_children(entry, "label")]
    labels += [label for citation in _children(entry, *_CITATIONS) for label in _children(citation, "label")]
    found = _LABEL.fullmatch(_text_of(labels[0])) if labels else None
    return int(found[1]) or None if found else None


def _own_reference(article: Any) -> Reference:
    meta = _child_at(article, "front", "article-meta")
    ids = [(_KINDS.get(each.get("pub-id-type", "").lower()), _text_of(each)) for each in _children(meta, "article-id")]
    years = [year_of(_text_of(_child_at(date, "year"))) for date in _children(meta, "pub-date")]
    title = _child_at(meta, "title-group", "article-title")
    return reference(
        [(kind, value) for kind, value in ids if kind],
        title=_text_of(title if title is not None else _child_at(meta, "article-title")),
        year=min((year for year in years if year), default=None),
    )


def _reference(citation: Any) -> Reference:
    elements = list(citation.iter("*"))
    first = {_local_name(element): element for element in reversed(elements)}
    title = next((first[name] for name in _TITLES if name in first), None)
    forms = [citation, *_children(citation, *_CITATIONS)]
    types = {form.get(name) for form in forms for name in ("publication-type", "citation-type")}
    if title is None and not types.isdisjoint(_BOOKS) and "volume" not in first:  # journals have volumes
        title = first.get("source")
    text = " ".join(citation.itertext())
    in_text = [(kind, found[1]) for kind, pattern in _IDS_IN_TEXT if (found := pattern.search(text))]
    return reference(
        [*_tagged_ids(elements), *in_text],
        title=_text_of(title).rstrip("."),
        year=year_of(_text_of(first.get("year"))),
    )


def _tagged_ids(elements: list[Any]) -> Iterator[tuple[IdKind, object]]:
    for element in elements:
        name = _local_name(element)
        if name in ("pub-id", "object-id", "article-id"):
            if kind := _KINDS.get((element.get("pub-id-type") or "").lower()):
                yield kind, _text_of(element)
        elif name in ("ext-link", "uri"):
            kind = _KINDS.get((element.get("ext-link-type") or "").lower())
            link = next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == "href"), "")
            for address in (link, _text_of(element)):
                # Of an untyped link each kind takes its own addresses; a bare number could be anything.
                kinds = (kind,) if kind else _LINK_KINDS if "/" in address else ()
                yield from ((each, address) for each in kinds)


# Paragraphs


def _paragraph(element: Any, references: _ReferenceList, report: FullTextReport) -> Paragraph:
    """A paragraph's text with single spaces, and its citations.

    Raised markers without brackets get brackets, "cells.[12,13] Then": as plain numbers they would be no markers, and
    would hide the end of the sentence. So do numbers that directly follow a word: a style sheet raises them.
    """
    pieces = list(_pieces(element))
    for piece in pieces:
        if piece.rids is not None:
            report.dropped.update(UNKNOWN_REFERENCE for rid in piece.rids if rid not in references.keys_of)
            if not piece.rids:
                report.dropped[NO_REFERENCE] += 1
    text, markers = _joined(_with_brackets(_without_empty(pieces, references)), references)
    return Paragraph(text, expanded_citations(text, markers, references.numbering))


def _without_empty(pieces: list[_Piece], references: _ReferenceList) -> list[_Piece]:
    """The pieces without empty markers: what one links to goes to the marker beside it.

    Publishers hide the middle of a range in empty markers; one that stands alone becomes its reference's number.
    A comma separates two numbers with nothing between them.
    """
    kept: list[_Piece] = []
    beside: _Piece | None = None  # the last marker, while only separators have followed it
    waiting: list[_Piece] = []  # empty markers that no marker precedes
    for piece in [*pieces, _Piece("end")]:
        if piece.rids is None:
            if not _SEPARATORS.fullmatch(piece.text):
                for empty in waiting:
                    number = next(
                        (references.numbering.number_of.get(key) for key in references.keys(empty.rids or [])), None
                    )
                    empty.text = f"[{number}]" if number else ""
                beside, waiting = None, []
        elif piece.text:
            for empty in waiting:
                piece.hidden.extend(empty.rids or [])
            if beside is not None and beside is kept[-1] and beside.text[-1].isdigit() and piece.text[0].isdigit():
                kept.append(_Piece(", "))  # the style sheet separates them; "12" would be another number
            beside, waiting = piece, []
        elif beside is not None:
            beside.hidden.extend(piece.rids)
            continue
        else:
            waiting.append(piece)
        kept.append(piece)
    return [piece for piece in kept[:-1] if piece.text]


def _with_brackets(pieces: list[_Piece]) -> list[_Piece]:
    """The pieces, with brackets around each run of numbered markers that is raised, or directly follows a word."""
    written: list[_Piece] = []
    at = 0
    while at < len(pieces):
        last = at
        for ahead in range(at + 1, len(pieces)) if pieces[at].rids is not None else ():
            if pieces[ahead].rids is not None:
                last = ahead
            elif not _SEPARATORS.fullmatch(pieces[ahead].text):
                break
        run = pieces[at : last + 1]
        if run[0].rids is not None and _needs_brackets(run, written[-1].text[-1:] if written else ""):
            run = [_Piece("["), *run, _Piece("]")]
        written.extend(run)
        at = last + 1
    return written


def _needs_brackets(run: list[_Piece], before: str) -> bool:
    markers = [piece for piece in run if piece.rids is not None]
    if not all(numbers_in(piece.text) and piece.text[0].isdigit() for piece in markers) or before in ("[", "("):
        return False
    if any(re.search(r"[()\[\]]", piece.text) for piece in run):
        return False
    return any(piece.raised for piece in markers) or not (before or " ").isspace()


def _joined(pieces: list[_Piece], references: _ReferenceList) -> tuple[str, list[Marker]]:
    parts: list[str] = []
    markers: list[Marker] = []
    length = 0
    last = ""  # the end of the text
    space = False  # is due before the next word
    for piece in pieces:
        core = clean(piece.text)
        space = space or piece.text[:1].isspace()
        if core:
            start = length
            if space and length:
                core, start = f" {core}", length + 1
            elif piece.raised and piece.rids is None and _ENDS_WITH_TEN.search(last) and _EXPONENT.match(core):
                core = f"^{core}"  # 10<sup>5</sup> would read 105
            length += len(core)
            if piece.rids is not None:
                keys = list(dict.fromkeys(references.keys(piece.rids)))
                markers.append(Marker(start, length, keys, hidden=references.keys(piece.hidden)))
            parts.append(core)
            last = (last + core)[-4:]
            space = False
        space = space or piece.text[-1:].isspace()
    return "".join(parts), markers
