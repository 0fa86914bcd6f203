"""Citing sentences as JSON, one record each: the citing paper's id, the sentence, and the ids of the papers cited."""

from collections.abc import Iterator, Mapping
from typing import Any

from corpus.cocitations.full_text import CitingSentence, FullTextError, Reference
from corpus.cocitations.json_fields import objects_in, record_of, text_in, year_in
from corpus.identity import normalised_doi

FORMAT = "citing sentences"


def is_sentence_line(record: Mapping[str, Any]) -> bool:
    """Whether a record is a citing sentence rather than a full text."""
    return isinstance(record.get("sentence"), str) and "body_text" not in record


def read_sentence_line(content: bytes | Mapping[str, Any], *, place: str = "") -> CitingSentence:
    """The sentence of a record with the keys `sentence`, `citing`, and `cited`, `dois` or `pmids`.

    Ids may be written in any guise. `cited` may also list objects with `doi`, `pmid`, `id`, `title`, `year`. place:
    stands for a citing paper that is not named.
    Raises FullTextError where there is no sentence, or no paper cited in it.
    """
    record = record_of(content)
    sentence = text_in(record, "sentence")
    if not sentence:
        raise FullTextError('it has no sentence. Give its text under "sentence", or drop it.')
    cited = {reference.identifiers[0]: reference for reference in _cited(record) if reference.identifiers}
    if not cited:
        raise FullTextError('it cites nothing. Give the ids under "cited", "dois" or "pmids", or drop it.')
    return CitingSentence(_told(text_in(record, "citing")) or place, sentence, tuple(cited.values()))


def _cited(record: Mapping[str, Any]) -> Iterator[Reference]:
    for key, kind in (("dois", "doi"), ("pmids", "pmid"), ("cited", "")):
        values = record.get(key)
        for value in values if isinstance(values, list) else ():
            if told := text_in({key: value}, key):
                yield Reference((_told(told, kind=kind),))
    for each in objects_in(record, "cited"):
        told = [_told(text_in(each, key), kind=key) for key in ("doi", "pmid", "id")]
        yield Reference(tuple(filter(None, told)), text_in(each, "title"), year_in(each, "year"))


def _told(text: str, *, kind: str = "") -> str:
    if doi := normalised_doi(text):
        return f"doi:{doi}"
    return f"{kind or 'id'}:{text}" if text else ""
