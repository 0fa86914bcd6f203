"""CORD-19's document parses (pdf_json, pmc_json): one JSON object a paper."""

from collections.abc import Mapping
from typing import Any

from corpus.cocitations.body_text import other_ids, paragraphs_of
from corpus.cocitations.full_text import FullText, Reference
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.identifiers import reference
from corpus.cocitations.json_fields import object_in, record_of, text_in, title_in, year_in
from corpus.cocitations.spans import full_text

FORMAT = "CORD-19"


def read_cord19(content: bytes | Mapping[str, Any], *, report: FullTextReport | None = None) -> FullText:
    """A paper of CORD-19: the paragraphs of its body, abstract and back matter left out.

    The id of a PDF's parse is the hash of the file, by which nobody else knows the paper: an "id". report: counts the
    markers that were mended or dropped; those that name no reference are common here.
    Raises FullTextError for what is no such object.
    """
    record = record_of(content)
    paper_id = text_in(record, "paper_id")
    paper = reference(
        [("pmcid" if paper_id.upper().startswith("PMC") else "id", paper_id)],
        title=title_in(object_in(record, "metadata")),
    )
    references = {
        key: _reference(entry) for key, entry in object_in(record, "bib_entries").items() if isinstance(entry, Mapping)
    }
    return full_text(paper, paragraphs_of(record), references, report=report)


def _reference(entry: Mapping[str, Any]) -> Reference:
    return reference(other_ids(entry), title=title_in(entry), year=year_in(entry, "year"))
