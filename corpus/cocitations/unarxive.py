"""unarXive (2022 and later): one JSON object a paper, from LaTeX, with markers such as {{cite:…}} in the text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corpus.cocitations.full_text import FullText, Reference
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.identifiers import Kind, reference
from corpus.cocitations.json_fields import object_in, objects_in, record_of, text_in, title_in, year_in
from corpus.cocitations.spans import Span, full_text

FORMAT = "unarXive"

_MARKER = re.compile(r"\{\{([a-z_]{1,20}):([^{}]{0,100})\}\}", re.IGNORECASE)
_WITHOUT_SLASH = re.compile(r"([a-z][a-z.-]{1,20}?)(\d{7})(v\d+)?", re.IGNORECASE)
_IDS: tuple[tuple[str, Kind], ...] = (
    ("doi", "doi"),
    ("pubmed_id", "pmid"),
    ("pmc_id", "pmcid"),
    ("arxiv_id", "arxiv"),
    ("open_alex_id", "openalex"),
)
_ENTRY_KEYS = ("bib_entry_raw", "contained_arXiv_ids", "contained_links")


def is_unarxive(record: Mapping[str, Any]) -> bool:
    """Whether a record that has `body_text` is one of unarXive's."""
    if "_source_hash" in record or "_source_name" in record:
        return True
    entries = object_in(record, "bib_entries").values()
    return any(isinstance(entry, Mapping) and any(key in entry for key in _ENTRY_KEYS) for entry in entries)


def read_unarxive(content: bytes | Mapping[str, Any], *, report: FullTextReport | None = None) -> FullText:
    """A paper of unarXive. Its markers become the numbers of the list of references ("[3]"), and formulas, figures
    and tables the word for what they are.

    Where a marker stands is told by the text itself, which names the reference there, and not by `cite_spans`. An entry
    of the list has no title of its own, only ids. report: counts the markers that were dropped.
    Raises FullTextError for what is no such object.
    """
    record = record_of(content)
    metadata = object_in(record, "metadata")
    paper = reference(
        [*_known(metadata), ("arxiv", _with_slash(text_in(metadata, "id") or text_in(record, "paper_id")))],
        title=title_in(metadata),
        year=_year(metadata),
    )
    references = {
        key: _reference(entry) for key, entry in object_in(record, "bib_entries").items() if isinstance(entry, Mapping)
    }
    numbers = {key: number for number, key in enumerate(references, start=1)}
    return full_text(paper, _paragraphs(record, numbers), references, report=report)


def _paragraphs(record: Mapping[str, Any], numbers: Mapping[str, int]) -> Iterator[tuple[str, Sequence[Span]]]:
    for paragraph in objects_in(record, "body_text"):
        if isinstance(text := paragraph.get("text"), str):
            yield _readable(text, numbers)


def _readable(text: str, numbers: Mapping[str, int]) -> tuple[str, list[Span]]:
    """A text with its markers written out, and where those of citations lie in it."""
    pieces: list[str] = []
    spans: list[Span] = []
    length = end = 0
    for found in _MARKER.finditer(text):
        kind, key = found[1].lower(), found[2].strip()
        # A reference that is not in the list leaves a marker that names none, as it would in print.
        word = (f"[{numbers[key]}]" if key in numbers else "[?]") if kind == "cite" else kind
        length += found.start() - end
        if kind == "cite":
            spans.append(Span(length, length + len(word), key))
        pieces += [text[end : found.start()], word]
        length += len(word)
        end = found.end()
    return "".join([*pieces, text[end:]]), spans


def _reference(entry: Mapping[str, Any]) -> Reference:
    known = [*_known(object_in(entry, "ids"))]
    known += [("arxiv", text_in(each, "id")) for each in objects_in(entry, "contained_arXiv_ids")]
    for link in objects_in(entry, "contained_links"):
        address = text_in(link, "url")
        known += [(kind, address) for kind in ("doi", "arxiv", "pmid", "pmcid") if "/" in address]
    return reference(known, title=title_in(entry), year=year_in(entry, "year"))


def _known(ids: Mapping[str, Any]) -> list[tuple[Kind, object]]:
    return [(kind, text_in(ids, key)) for key, kind in _IDS]


def _year(metadata: Mapping[str, Any]) -> int | None:
    """The year of the first version, which references give; the metadata's own date is that of its last change."""
    return next((year_in(version, "created") for version in objects_in(metadata, "versions")), None)


def _with_slash(paper_id: str) -> str:
    """An arXiv id; those of before 2007 lose their slash in names of files ("hep-th9901001")."""
    found = _WITHOUT_SLASH.fullmatch(paper_id)
    return f"{found[1]}/{found[2]}" if found else paper_id
