"""Citing sentences as JSON, one record each: the citing paper's id, the sentence, and the ids of the papers cited."""

from collections.abc import Iterator, Mapping
from typing import Any

from corpus.cocitations.full_text import CitingSentence, FullTextError, Reference
from corpus.cocitations.identifiers import KINDS, Kind, any_identifier, identifier, reference, surest
from corpus.cocitations.json_fields import objects_in, record_of, text_in, title_in, year_in

FORMAT = "citing sentences"

_MOST_CITED = 1_000  # in one sentence; a sentence of a review may cite a hundred
_LISTS: tuple[tuple[str, Kind | None], ...] = (("cited", None), ("dois", "doi"), ("pmids", "pmid"))


def is_sentence_line(record: Mapping[str, Any]) -> bool:
    """Whether a record is a citing sentence rather than a full text."""
    return isinstance(record.get("sentence"), str) and "body_text" not in record


def read_sentence_line(content: bytes | Mapping[str, Any], *, place: str = "") -> CitingSentence:
    """The sentence of a record with the keys `sentence`, `citing`, and `cited`, `dois` or `pmids`.

    Ids may be written in any guise; a number of which nothing says what it counts is an "id". `cited` may also list
    objects with an id of any kind ("doi", "pmid", …), `title` and `year`. place: stands for a citing paper that is not
    named.
    Raises FullTextError where there is no sentence, or no paper cited in it.
    """
    record = record_of(content)
    sentence = text_in(record, "sentence")
    if not sentence:
        raise FullTextError('it has no sentence. Give its text under "sentence", or drop it.')
    cited: dict[str, Reference] = {}
    for found in _cited(record):
        if found.identifiers:
            cited.setdefault(surest(found), found)
    if not cited:
        raise FullTextError('it cites nothing. Give the ids under "cited", "dois" or "pmids", or drop it.')
    if len(cited) > _MOST_CITED:
        raise FullTextError(f"it cites more than {_MOST_CITED:,} papers, as no sentence does. Drop it.")
    citing = any_identifier(text_in(record, "citing"))
    return CitingSentence(citing or place, sentence, tuple(cited.values()))


def _cited(record: Mapping[str, Any]) -> Iterator[Reference]:
    for key, kind in _LISTS:
        values = record.get(key)
        for value in values if isinstance(values, list) else ():
            said = text_in({key: value}, key)
            if found := (identifier(kind, said) if kind else "") or any_identifier(said):
                yield Reference((found,))
    for each in objects_in(record, "cited"):
        known: list[tuple[Kind, object]] = [(kind, text_in(each, kind)) for kind in KINDS]
        yield reference(known, title=title_in(each), year=year_in(each, "year"))
