"""JSON full texts: S2ORC in both its shapes, CORD-19 and unarXive, and lines of citing sentences.

Each format is a thin adapter to one shape: the paper, its references by key, and paragraphs with spans. Their values
may be anything; what is not of the expected type counts as missing.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from corpus.cocitations.full_text import CitingSentence, FullText, FullTextError, FullTextReport, Reference, reference
from corpus.cocitations.markers import OUTSIDE, Span, checked_full_text
from corpus.identifiers import ID_KINDS, IdKind, citation_key, parsed_citation_key
from corpus.readers.fields import year_of
from corpus.text.plain import clean

ADVICE = "Give JATS XML, S2ORC, CORD-19, unarXive, or lines of citing sentences; compressed or not."
SENTENCES = "citing sentences"

Record = Mapping[str, Any]

_MAX_TITLE_CHARS = 2_000  # a longer text is no title, and every sentence that cites it would carry it
_MAX_DATE_CHARS = 100
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
    return checked_full_text(paper, _paragraphs(record), _references(record), report)


def _s2orc(record: Record, report: FullTextReport) -> FullText:
    parse = next((found for key in _PARSES if (found := _object(record, key))), record)
    return checked_full_text(_s2orc_paper(record), _paragraphs(parse), _references(parse), report)


def _paragraphs(record: Record) -> Iterator[tuple[str, list[Span]]]:
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
    return checked_full_text(
        _s2orc_paper(record, title=title),
        _annotated_paragraphs(annotations, text, report),
        _annotated_references(_object(listed, "annotations"), str(list_text)),
        report,
    )


def _annotated_paragraphs(annotations: Record, text: str, report: FullTextReport) -> list[tuple[str, list[Span]]]:
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
    return checked_full_text(paper, (_without_braces(text, numbers) for text in texts), references, report)


def _without_braces(text: str, numbers: Mapping[str, int]) -> tuple[str, list[Span]]:
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
