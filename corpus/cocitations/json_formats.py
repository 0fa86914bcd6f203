"""JSON full texts: S2ORC in both its shapes, CORD-19 and unarXive, and lines of citing sentences.

Each format is a thin adapter to one shape: the paper, its references by key, and paragraphs with spans. Their values
may be anything; what is not of the expected type counts as missing.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from corpus.cocitations.full_text import (
    CitingSentence,
    FullText,
    FullTextError,
    FullTextReport,
    Paragraph,
    Reference,
    reference,
)
from corpus.cocitations.markers import (
    NO_REFERENCE,
    UNKNOWN_REFERENCE,
    Marker,
    Numbering,
    expanded_citations,
    numbers_in,
)
from corpus.identifiers import ID_KINDS, IdKind, citation_key, parsed_citation_key
from corpus.readers.fields import year_of
from corpus.text.plain import clean

ADVICE = "Give JATS XML, S2ORC, CORD-19, unarXive, or lines of citing sentences; compressed or not."
SENTENCES = "citing sentences"
NO_SPAN = "the marker has no place in its text"
OUTSIDE = "the marker lies outside its text"
NOT_FOUND = "the marker's text does not stand near its place"
TOO_LONG = "the marker is longer than markers are"
ENTANGLED = "the marker runs into too long a row of others"
BYTES = "the place was counted in bytes"
UTF_16 = "the place was counted in units of UTF-16"
MOVED = "the place was wrong; the text stood near it"

Record = Mapping[str, Any]

_MAX_TITLE_CHARS = 2_000  # a longer text is no title, and every sentence that cites it would carry it
_MAX_DATE_CHARS = 100
_MAX_MARKER_CHARS = 300  # a longer span is no marker, and would make one sentence of many
_MAX_DISTANCE = 2_000  # characters from a wrong span in which its text is searched
_MAX_CITATIONS = 100_000  # of one document; a handbook with 10,000 references has 30,000
_SPACE, _SURROGATE = re.compile(r"\s"), re.compile(r"[\ud800-\udfff]")
_MAX_SENTENCE_CITATIONS = 1_000  # a sentence of a review may cite a hundred


# Values of unknown types


def _object(record: Record, key: str) -> Record:
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def _objects(record: Record, key: str) -> Iterator[Record]:
    value = record.get(key)
    yield from (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def _text(record: Record, *keys: str) -> str:
    """The text or whole number under the first of the keys that has one; of a list, its first member counts."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
            return str(value)
        if isinstance(value, str) and (text := clean(value)):
            return text
    return ""


def _title(record: Record) -> str:
    title = _text(record, "title")
    return title if len(title) <= _MAX_TITLE_CHARS else ""


def _year(record: Record, *keys: str) -> int | None:
    return next((year for key in keys or ("year",) if (year := year_of(_text(record, key)[:_MAX_DATE_CHARS]))), None)


_ID_NAMES: dict[str, IdKind] = {
    "doi": "doi", "pmid": "pmid", "pubmed": "pmid", "pubmed_id": "pmid", "pmcid": "pmcid", "pmc_id": "pmcid",
    "pubmedcentral": "pmcid", "arxiv": "arxiv", "arxiv_id": "arxiv", "acl": "acl", "acl_id": "acl", "mag": "mag",
    "mag_id": "mag", "corpusid": "s2", "corpus_id": "s2", "openalex": "openalex", "open_alex_id": "openalex",
}  # fmt: skip


def _ids(*records: Record) -> list[tuple[IdKind, object]]:
    """The identifiers among the members of objects; services differ in "DOI" and "doi"."""
    found: list[tuple[IdKind, object]] = []
    for record in records:
        lower = {key.lower(): value for key, value in record.items() if isinstance(key, str)}
        found += [(kind, text) for name, kind in _ID_NAMES.items() if (text := _text(lower, name))]
    return found


# Which format a record has


def read_record(record: object, *, place: str, report: FullTextReport) -> tuple[str, FullText | CitingSentence]:
    """The format of a JSON value, and the full text or citing sentence in it.

    place: names a citing paper without an id. report: counts the markers that were repaired or dropped.
    Raises FullTextError for any other value.
    """
    if not isinstance(record, Mapping):
        raise FullTextError(f"this is no full text in a known format. {ADVICE}")
    if isinstance(record.get("sentence"), str) and "body_text" not in record:
        return SENTENCES, _citing_sentence(record, place=place)
    if any("annotations" in _object(record, key) for key in _ANNOTATED):
        return "S2ORC", _annotated_s2orc(record, report)
    if any(isinstance(record.get(key), Mapping) for key in _PARSES):
        return "S2ORC", _s2orc(record, report)
    if "has_pdf_parse" in record and "body_text" not in record:
        raise FullTextError(
            "this is metadata of S2ORC without a full text. Give it as papers, and the PDF parses as full texts."
        )
    if not isinstance(record.get("body_text"), list):
        raise FullTextError(f"this is no full text in a known format. {ADVICE}")
    entries = _entries(record).values()
    if (
        "_source_hash" in record
        or "_source_name" in record
        or any(not _UNARXIVE_KEYS.isdisjoint(entry) for entry in entries)
    ):
        return "unarXive", _unarxive(record, report)
    # S2ORC's references say what each was linked to, even where that is nothing; CORD-19's do not.
    if "metadata" in record and not any("link" in entry for entry in entries):
        return "CORD-19", _cord19(record, report)
    return "S2ORC", _s2orc(record, report)


def _entries(record: Record) -> dict[str, Record]:
    return {key: entry for key, entry in _object(record, "bib_entries").items() if isinstance(entry, Mapping)}


# Lines of citing sentences


def _citing_sentence(record: Record, *, place: str) -> CitingSentence:
    """The sentence of a record with the keys `sentence`, `citing`, and `cited`, `dois` or `pmids`.

    Ids may have any form; one whose kind nothing tells is an "id". `cited` may also list objects with an id of any
    kind ("doi", "pmid", …), `title` and `year`.
    """
    sentence = _text(record, "sentence")
    if not sentence:
        raise FullTextError('it has no sentence. Give its text under "sentence", or drop it.')
    cited: dict[str, Reference] = {}
    for each in _cited(record):
        if each.identifiers:
            cited.setdefault(each.key, each)
    if not cited:
        raise FullTextError('it cites nothing. Give the ids under "cited", "dois" or "pmids", or drop it.')
    if len(cited) > _MAX_SENTENCE_CITATIONS:
        raise FullTextError(f"it cites more than {_MAX_SENTENCE_CITATIONS:,} papers, which no sentence does. Drop it.")
    return CitingSentence(parsed_citation_key(_text(record, "citing")) or place, sentence, tuple(cited.values()))


def _cited(record: Record) -> Iterator[Reference]:
    lists: tuple[tuple[str, IdKind | None], ...] = (("cited", None), ("dois", "doi"), ("pmids", "pmid"))
    for name, kind in lists:
        values = record.get(name)
        for value in values if isinstance(values, list) else ():
            text = _text({name: value}, name)
            if key := (citation_key(kind, text) if kind else "") or parsed_citation_key(text):
                yield Reference((key,))
    for each in _objects(record, "cited"):
        yield reference([(kind, _text(each, kind)) for kind in ID_KINDS], title=_title(each), year=_year(each))


# CORD-19 (pdf_json, pmc_json), and S2ORC's PDF parses, with the metadata in the line or apart

_PARSES = ("pdf_parse", "latex_parse", "grobid_parse")


def _cord19(record: Record, report: FullTextReport) -> FullText:
    # The id of a PDF's parse is the hash of the file, which nobody else knows.
    own_id = _text(record, "paper_id")
    kind: IdKind = "pmcid" if own_id.upper().startswith("PMC") else "id"
    paper = reference([(kind, own_id)], title=_title(_object(record, "metadata")))
    return _full_text(paper, _paragraphs(record), _references(record), report)


def _s2orc(record: Record, report: FullTextReport) -> FullText:
    parse = next((found for key in _PARSES if (found := _object(record, key))), record)
    return _full_text(_s2orc_paper(record), _paragraphs(parse), _references(parse), report)


def _paragraphs(record: Record) -> Iterator[tuple[str, list["Span"]]]:
    for paragraph in _objects(record, "body_text"):
        if isinstance(text := paragraph.get("text"), str):
            spans = _objects(paragraph, "cite_spans")
            yield text, [Span(*map(span.get, ("start", "end", "ref_id", "text"))) for span in spans]


def _references(record: Record) -> dict[str, Reference]:
    return {
        key: reference(
            [*_ids(entry, _object(entry, "other_ids")), ("s2", _text(entry, "link"))],
            title=_title(entry),
            year=_year(entry, "year", "pub_date"),
        )
        for key, entry in _entries(record).items()
    }


def _s2orc_paper(record: Record, *, title: str = "") -> Reference:
    """The paper itself. title: used where the metadata have none."""
    metadata, own_id = _object(record, "metadata"), _text(record, "paper_id")
    open_access_ids = _object(_object(record, "openaccessinfo"), "externalids")
    places = (record, metadata, _object(record, "identifiers"), _object(record, "externalids"), open_access_ids)
    return reference(
        [*_ids(*places), ("s2" if citation_key("s2", own_id) else "id", own_id)],
        title=_title(record) or _title(metadata) or title,
        year=_year(record) or _year(metadata),
    )


# S2ORC in the data sets of Semantic Scholar's API: one text, and annotations with their places in it

_ANNOTATED = ("content", "body")  # where the releases have text and annotations


def _annotated_s2orc(record: Record, report: FullTextReport) -> FullText:
    content = next(_object(record, key) for key in _ANNOTATED if "annotations" in _object(record, key))
    text = content.get("text")
    if not isinstance(text, str):
        raise FullTextError('its annotations have no text. Give it under "text", or drop it.')
    annotations = _object(content, "annotations")
    listed = _object(record, "bibliography") or content
    list_text = listed.get("text") if isinstance(listed.get("text"), str) else ""
    titles = (text[start:end] for start, end, _ in _places(annotations, "title", text))
    title = next((title for title in titles if len(title) <= _MAX_TITLE_CHARS), "")
    return _full_text(
        _s2orc_paper(record, title=title),
        _annotated_paragraphs(annotations, text, report),
        _annotated_references(_object(listed, "annotations"), str(list_text)),
        report,
    )


def _annotated_paragraphs(annotations: Record, text: str, report: FullTextReport) -> list[tuple[str, list["Span"]]]:
    """The annotated paragraphs, or each line of the text where there are none. Markers outside them are counted."""
    places: list[tuple[int, int]] = []
    for start, end in sorted({(start, end) for start, end, _ in _places(annotations, "paragraph", text)}):
        if not places or start >= places[-1][1]:  # of overlapping ones the first, so that text is read once
            places.append((start, end))
    if not places:
        ends = list(accumulate(map(len, text.splitlines(keepends=True)), initial=0))
        places = [(start, end) for start, end in pairwise(ends) if text[start:end].strip()]
    starts = [start for start, _ in places]
    spans: list[list[Span]] = [[] for _ in places]
    for start, end, attributes in _places(annotations, "bibref", text):
        at = bisect_right(starts, start) - 1
        if at >= 0 and end <= places[at][1]:
            spans[at].append(Span(start - starts[at], end - starts[at], _text(attributes, "ref_id")))
        else:
            report.dropped[OUTSIDE] += 1
    return [(text[start:end], found) for (start, end), found in zip(places, spans, strict=True)]


def _annotated_references(annotations: Record, text: str) -> dict[str, Reference]:
    places = _places(annotations, "bibtitle", text)
    titles = sorted((start, end) for start, end, _ in places if end - start <= _MAX_TITLE_CHARS)
    references: dict[str, Reference] = {}
    for start, end, attributes in _places(annotations, "bibentry", text):
        if key := _text(attributes, "id"):
            at = bisect_right(titles, (start, -1))
            title = text[slice(*titles[at])] if at < len(titles) and titles[at][1] <= end else ""
            ids: list[tuple[IdKind, object]] = [*_ids(attributes), ("s2", _text(attributes, "matched_paper_id"))]
            references.setdefault(key, reference(ids, title=title, year=_year(attributes)))
    return references


def _places(annotations: Record, kind: str, text: str) -> Iterator[tuple[int, int, Record]]:
    """The places of one kind of annotation, with its attributes. The list of them is itself written as JSON."""
    listed = annotations.get(kind)
    if isinstance(listed, str) and listed.strip():
        try:
            listed = json.loads(listed)
        except (ValueError, RecursionError) as error:
            raise FullTextError(f"its annotations of {kind} are not JSON. Correct them, or drop it.") from error
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            # Some releases write places as texts.
            places = (_text(each, key) for key in ("start", "end"))
            start, end = (int(place) if place.isdecimal() and len(place) <= 12 else -1 for place in places)
            if 0 <= start < end <= len(text):
                yield start, end, _object(each, "attributes")


# unarXive (2022 and later), made from LaTeX: markers such as {{cite:…}} in the text

_UNARXIVE_KEYS = frozenset({"bib_entry_raw", "contained_arXiv_ids", "contained_links"})
_UNARXIVE_MARKER = re.compile(r"\{\{([a-z_]{1,20}):([^{}]{0,100})\}\}", re.IGNORECASE)
_WITHOUT_SLASH = re.compile(r"([a-z][a-z.-]{1,20}?)(\d{7})(v\d+)?", re.IGNORECASE)


def _unarxive(record: Record, report: FullTextReport) -> FullText:
    """Citation markers become the numbers of the list of references ("[3]"), and formulas, figures and tables a word.

    The text itself names the reference of a marker; `cite_spans` is ignored.
    """
    metadata = _object(record, "metadata")
    own_id = _text(metadata, "id") or _text(record, "paper_id")
    if found := _WITHOUT_SLASH.fullmatch(own_id):  # file names of before 2007 lack the slash: "hep-th9901001"
        own_id = f"{found[1]}/{found[2]}"
    # The year of the first version, which references give; the metadata's own date is that of the last change.
    year = next((_year(version, "created") for version in _objects(metadata, "versions")), None)
    paper = reference([*_ids(metadata), ("arxiv", own_id)], title=_title(metadata), year=year)
    references = {}
    for key, entry in _entries(record).items():
        ids = _ids(_object(entry, "ids"))
        ids += [("arxiv", _text(each, "id")) for each in _objects(entry, "contained_arXiv_ids")]
        links = [_text(link, "url") for link in _objects(entry, "contained_links")]
        kinds: tuple[IdKind, ...] = ("doi", "arxiv", "pmid", "pmcid")
        ids += [(kind, link) for link in links if "/" in link for kind in kinds]
        references[key] = reference(ids, title=_title(entry), year=_year(entry))
    numbers = {key: number for number, key in enumerate(references, start=1)}
    texts = [text for each in _objects(record, "body_text") if isinstance(text := each.get("text"), str)]
    return _full_text(paper, (_without_braces(text, numbers) for text in texts), references, report)


def _without_braces(text: str, numbers: Mapping[str, int]) -> tuple[str, list["Span"]]:
    pieces: list[str] = []
    spans: list[Span] = []
    length = end = 0
    for found in _UNARXIVE_MARKER.finditer(text):
        kind, key = found[1].lower(), found[2].strip()
        word = (f"[{numbers[key]}]" if key in numbers else "[?]") if kind == "cite" else kind
        length += found.start() - end
        if kind == "cite":
            spans.append(Span(length, length + len(word), key))
        pieces += [text[end : found.start()], word]
        length += len(word)
        end = found.end()
    return "".join([*pieces, text[end:]]), spans


# Paragraphs with spans: checked against their text, repaired or dropped, their ranges expanded


@dataclass(frozen=True, slots=True)
class Span:
    """A citation marker as a file has it, unchecked. text: what should stand there; None where that is not given."""

    start: Any
    end: Any
    key: Any
    text: Any = None


def _full_text(
    paper: Reference,
    paragraphs: Iterable[tuple[str, Iterable[Span]]],
    references: Mapping[str, Reference],
    report: FullTextReport,
) -> FullText:
    """A full text of paragraphs and their spans. report: counts what is repaired or dropped.

    A span counted in bytes or in units of UTF-16 is corrected, and one whose text stands near it is moved there;
    overlapping spans become one. Numbers are those that most markers print.
    Raises FullTextError where it cites more often than any document does.
    """
    keys = _ordered(references)
    place_of = {key: place for place, key in enumerate(keys, start=1)}
    shifts: Counter[int] = Counter()  # a reference's place minus its printed number, by the markers that print one
    read: list[tuple[str, list[Marker]]] = []
    for raw, spans in paragraphs:
        text = _plain(raw)
        markers = _checked_markers(text, spans, references, report)
        for marker in markers:
            if len(numbers := numbers_in(text[marker.start : marker.end])) == 1:
                shifts[place_of[marker.keys[0]] - numbers[0]] += 1
        read.append((text, markers))
    shift = max(shifts, key=lambda shift: (shifts[shift], -abs(shift), shift), default=0)
    number_of = {key: place - shift for key, place in place_of.items()}
    numbering = Numbering(number_of, {number: (key,) for key, number in number_of.items()})
    written: list[Paragraph] = []
    cited = 0
    for text, markers in read:
        citations = expanded_citations(text, markers, numbering)
        cited += sum(len(citation.cited) for citation in citations)
        if cited > _MAX_CITATIONS:
            raise FullTextError(f"it cites more than {_MAX_CITATIONS:,} times, which no document does. Drop it.")
        written.append(Paragraph(text, citations))
    return FullText(paper, tuple(written), references)


def _plain(text: str) -> str:
    """A text of the same length, with blanks as its only white space, and only characters that UTF-8 can encode."""
    return text if text.isascii() and text.isprintable() else _SURROGATE.sub("\ufffd", _SPACE.sub(" ", text))


def _ordered(references: Mapping[str, Reference]) -> list[str]:
    """The keys in the order of the list: by number where all have one, because files sort them as texts."""
    numbered = [found for key in references if (found := re.fullmatch(r"([^\d]{0,40})(\d{1,6})", key, re.ASCII))]
    if len(numbered) == len(references) and len({found[1] for found in numbered}) == 1:
        return [found[0] for found in sorted(numbered, key=lambda found: int(found[2]))]
    return list(references)


def _checked_markers(
    text: str, spans: Iterable[Span], references: Mapping[str, Reference], report: FullTextReport
) -> list[Marker]:
    """The valid markers of a paragraph, in order, overlapping ones joined."""
    places = _SpanPlaces(text)
    valid: list[Marker] = []
    for span in spans:
        if not isinstance(span.key, str) or span.key not in references:
            report.dropped[UNKNOWN_REFERENCE if isinstance(span.key, str) and span.key else NO_REFERENCE] += 1
        elif isinstance(place := places.find(span), str):
            report.dropped[place] += 1
        else:
            start, end, repair = place
            report.repaired.update([repair] if repair else [])
            valid.append(Marker(start, end, [span.key]))
    apart: list[Marker] = []
    for marker in sorted(valid, key=lambda marker: (marker.start, marker.end)):
        before = apart[-1] if apart else None
        if before is None or marker.start >= before.end:
            apart.append(marker)
        elif max(marker.end, before.end) - before.start <= _MAX_MARKER_CHARS:
            before.end = max(marker.end, before.end)
            before.keys += [key for key in marker.keys if key not in before.keys]
        else:
            report.dropped[ENTANGLED] += 1
    return apart


class _SpanPlaces:
    """The places of spans in a text, in whatever unit they were counted."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted: dict[str, list[int]] = {}  # by unit, how many stand before each character

    def find(self, span: Span) -> tuple[int, int, str] | str:
        """A span's start, end and repair ("" for none), or the reason why it is dropped."""
        expected = _plain(span.text) if isinstance(span.text, str) and span.text.strip() else ""
        start, end = span.start, span.end
        if not (_is_count(start) and _is_count(end)):
            return NO_SPAN
        if (end - start if end > start else len(expected)) > _MAX_MARKER_CHARS:
            return TOO_LONG
        if 0 <= start < end <= len(self._text) and expected in ("", self._text[start:end]):
            return start, end, ""
        if not expected:
            return OUTSIDE
        if not self._text.isascii():
            for unit, repair in (("utf-8", BYTES), ("utf-16-le", UTF_16)):
                moved = self._character(unit, start), self._character(unit, end)
                if 0 <= moved[0] < moved[1] and self._text[slice(*moved)] == expected:
                    return *moved, repair
        return self._nearest(expected, start)

    def _character(self, unit: str, count: int) -> int:
        """The character that so many units precede; -1 where that is within a character, or outside."""
        if unit not in self._counted:
            size = 2 if unit == "utf-16-le" else 1
            lengths = (len(character.encode(unit)) // size for character in self._text)
            self._counted[unit] = list(accumulate(lengths, initial=0))
        counted = self._counted[unit]
        at = bisect_left(counted, count)
        return at if at < len(counted) and counted[at] == count else -1

    def _nearest(self, expected: str, start: int) -> tuple[int, int, str] | str:
        start = min(max(start, 0), len(self._text))
        # Not as a part of a longer number or word: "3" is not in "2013" or "0.3".
        before = r"(?<!\d)(?<!\d\.)" if expected[0].isdigit() else r"(?<![^\W\d_])" if expected[0].isalpha() else ""
        after = r"(?!\d|\.\d)" if expected[-1].isdigit() else r"(?![^\W\d_])" if expected[-1].isalpha() else ""
        pattern = re.compile(before + re.escape(expected) + after)
        near = pattern.finditer(self._text, max(0, start - _MAX_DISTANCE), start + _MAX_DISTANCE)
        place = min((found.start() for found in near), key=lambda each: abs(each - start), default=-1)
        return (place, place + len(expected), MOVED) if place >= 0 else NOT_FOUND


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
