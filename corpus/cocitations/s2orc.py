"""S2ORC, in both its shapes: the releases up to 2020 (PDF parses), and the data sets of Semantic Scholar's API."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from corpus.cocitations.body_text import ids_in, other_ids, paragraphs_of
from corpus.cocitations.full_text import FullText, FullTextError, Reference
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.identifiers import Kind, identifier, reference
from corpus.cocitations.json_fields import TITLE_CHARS, object_in, parsed_json, record_of, text_in, title_in, year_in
from corpus.cocitations.spans import OUTSIDE, Span, full_text

FORMAT = "S2ORC"

_PARSES = ("pdf_parse", "latex_parse", "grobid_parse")
_ANNOTATED = ("content", "body")  # where the API's data sets have had text and annotations


def is_annotated(record: Mapping[str, Any]) -> bool:
    """Whether a record has the shape of the API's data sets: one text, and annotations by their places in it."""
    return any("annotations" in object_in(record, key) for key in _ANNOTATED)


def has_parse(record: Mapping[str, Any]) -> bool:
    """Whether a record keeps its full text a level down, beside the metadata."""
    return any(isinstance(record.get(key), Mapping) for key in _PARSES)


def is_metadata(record: Mapping[str, Any]) -> bool:
    """Whether a record is a line of S2ORC's metadata, which has no full text."""
    return "has_pdf_parse" in record and "body_text" not in record and not has_parse(record)


def read_s2orc(content: bytes | Mapping[str, Any], *, report: FullTextReport | None = None) -> FullText:
    """A paper of S2ORC in either shape, with its metadata in the line or apart.

    Its id and the `link`s of its references are Semantic Scholar's. report: counts the markers that were mended or
    dropped.
    Raises FullTextError for what is no such object.
    """
    record = record_of(content)
    if is_annotated(record):
        return _annotated(record, report=report)
    parse = next((found for key in _PARSES if (found := object_in(record, key))), record)
    references = {
        key: _reference(entry) for key, entry in object_in(parse, "bib_entries").items() if isinstance(entry, Mapping)
    }
    return full_text(_paper(record), paragraphs_of(parse), references, report=report)


def _paper(record: Mapping[str, Any], *, title: str = "") -> Reference:
    """The paper itself. title: stands where the metadata have none."""
    metadata, own_id = object_in(record, "metadata"), text_in(record, "paper_id")
    places = (record, metadata, object_in(record, "identifiers"), object_in(record, "externalids"))
    more = object_in(object_in(record, "openaccessinfo"), "externalids")
    known: list[tuple[Kind, object]] = [each for place in (*places, more) for each in ids_in(place)]
    known.append(("s2" if identifier("s2", own_id) else "id", own_id))
    title = title_in(record) or title_in(metadata) or title
    return reference(known, title=title, year=year_in(record, "year") or year_in(metadata, "year"))


def _reference(entry: Mapping[str, Any]) -> Reference:
    known = [*other_ids(entry), *_s2(entry, "link")]
    return reference(known, title=title_in(entry), year=year_in(entry, "year", "pub_date"))


def _s2(entry: Mapping[str, Any], key: str) -> list[tuple[Kind, object]]:
    return [("s2", text_in(entry, key))]


# The API's shape


def _annotated(record: Mapping[str, Any], *, report: FullTextReport | None) -> FullText:
    content = next(object_in(record, key) for key in _ANNOTATED if "annotations" in object_in(record, key))
    text = content.get("text")
    if not isinstance(text, str):
        raise FullTextError('its annotations have no text. Give it under "text", or drop it.')
    listed = object_in(record, "bibliography") or content
    list_text = listed.get("text")
    references = _annotated_references(
        object_in(listed, "annotations"), list_text if isinstance(list_text, str) else ""
    )
    annotations = object_in(content, "annotations")
    paper = _paper(record, title=next(_texts(annotations, "title", text), ""))
    return full_text(paper, _paragraphs(annotations, text, report=report), references, report=report)


def _paragraphs(
    annotations: Mapping[str, Any], text: str, *, report: FullTextReport | None
) -> list[tuple[str, list[Span]]]:
    """The annotated paragraphs; each line of the text where none are. Markers outside them all are counted."""
    places: list[tuple[int, int]] = []
    for start, end in sorted({(start, end) for start, end, _ in _places(annotations, "paragraph", text)}):
        if (
            not places or start >= places[-1][1]
        ):  # of those that lie over each other the first, so that text is read once
            places.append((start, end))
    places = places or _lines(text)
    starts = [start for start, _ in places]
    spans: list[list[Span]] = [[] for _ in places]
    for start, end, attributes in _places(annotations, "bibref", text):
        at = bisect_right(starts, start) - 1
        if at >= 0 and end <= places[at][1]:
            spans[at].append(Span(start - starts[at], end - starts[at], text_in(attributes, "ref_id")))
        elif report is not None:
            report.dropped[OUTSIDE] += 1
    return [(text[start:end], found) for (start, end), found in zip(places, spans, strict=True)]


def _annotated_references(annotations: Mapping[str, Any], text: str) -> dict[str, Reference]:
    titles = sorted(
        (start, end) for start, end, _ in _places(annotations, "bibtitle", text) if end - start <= TITLE_CHARS
    )
    references: dict[str, Reference] = {}
    for start, end, attributes in _places(annotations, "bibentry", text):
        if key := text_in(attributes, "id"):
            at = bisect_right(titles, (start, -1))
            title = text[slice(*titles[at])] if at < len(titles) and titles[at][1] <= end else ""
            known = [*ids_in(attributes), *_s2(attributes, "matched_paper_id")]
            references.setdefault(key, reference(known, title=title, year=year_in(attributes, "year")))
    return references


def _places(annotations: Mapping[str, Any], kind: str, text: str) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
    """Where a kind of annotation lies in the text, with what it says. A list of them is itself written as JSON."""
    listed = annotations.get(kind)
    if isinstance(listed, str) and listed.strip():
        listed = parsed_json(listed)
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            start, end = _place(each.get("start")), _place(each.get("end"))
            if 0 <= start < end <= len(text):
                yield start, end, object_in(each, "attributes")


def _texts(annotations: Mapping[str, Any], kind: str, text: str) -> Iterator[str]:
    return (text[start:end] for start, end, _ in _places(annotations, kind, text) if end - start <= TITLE_CHARS)


def _place(value: object) -> int:
    """A place as a number; some releases write it as a text. -1 for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _lines(text: str) -> list[tuple[int, int]]:
    places, start = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            places.append((start, start + len(line)))
        start += len(line)
    return places
