"""What S2ORC and CORD-19 have in common: paragraphs with spans (`body_text`), and ids of what is cited."""

from collections.abc import Iterator, Mapping
from typing import Any

from corpus.cocitations.identifiers import Kind
from corpus.cocitations.json_fields import caseless, object_in, objects_in, text_in
from corpus.cocitations.spans import Span

_KINDS: dict[str, Kind] = {
    "doi": "doi",
    "pmid": "pmid",
    "pubmed": "pmid",
    "pubmed_id": "pmid",
    "pmcid": "pmcid",
    "pmc_id": "pmcid",
    "pubmedcentral": "pmcid",
    "arxiv": "arxiv",
    "arxiv_id": "arxiv",
    "acl": "acl",
    "acl_id": "acl",
    "mag": "mag",
    "mag_id": "mag",
    "corpusid": "s2",
    "corpus_id": "s2",
    "openalex": "openalex",
}


def paragraphs_of(record: Mapping[str, Any]) -> Iterator[tuple[str, list[Span]]]:
    """The texts of a record's body, each with its citation markers."""
    for paragraph in objects_in(record, "body_text"):
        text = paragraph.get("text")
        if isinstance(text, str):
            spans = objects_in(paragraph, "cite_spans")
            yield (
                text,
                [Span(span.get("start"), span.get("end"), span.get("ref_id"), span.get("text")) for span in spans],
            )


def ids_in(record: Mapping[str, Any]) -> list[tuple[Kind, object]]:
    """The identifiers among an object's members, whatever the case of their keys."""
    plain = caseless(record)
    return [(kind, said) for key, kind in _KINDS.items() if (said := text_in(plain, key))]


def other_ids(entry: Mapping[str, Any]) -> list[tuple[Kind, object]]:
    """The identifiers of an entry in a list of references: its own, and those under `other_ids`."""
    return [*ids_in(entry), *ids_in(object_in(entry, "other_ids"))]
