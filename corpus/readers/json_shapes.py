"""JSON records as services give them: Semantic Scholar's, S2ORC's and OpenAlex's shapes, and our own."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from corpus.identifiers import derived_id
from corpus.paper import Paper
from corpus.readers.fields import WEB, YEARS, doi_of, joined_lines, names_of, pmid_of, topics_of, url_of, year_of
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

# Keys that only the shapes of others have. What has none of them is read as ours, exactly.
_FOREIGN = frozenset(
    {
        *("paperId", "paper_id", "corpusid", "corpusId", "externalIds", "externalids", "pubmed_id", "s2fieldsofstudy"),
        *("abstract_inverted_index", "authorships", "display_name", "publication_year", "primary_location"),
    }
)
_IDS = ("id", "_id", "doc_id", "docid", "docno", "pid", "cord_uid")  # as collections of documents call them
_OPENALEX = "https://openalex.org/"


class RecordError(Exception):
    """Why one record gives no paper."""


def paper_of(record: object) -> Paper:
    """The paper that a JSON value tells of; title and abstract may be empty. Raises RecordError."""
    if not isinstance(record, dict):
        raise RecordError(f"the record is {kind_of(record)}; it should be an object")
    if isinstance(inner := record.get("metadata"), dict) and "title" in inner:  # parsed PDFs of S2ORC and CORD-19
        record = {"paper_id": None, **inner, **record}
    return _foreign(record) if _FOREIGN & record.keys() else _own(record)


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


# Our own shape


def _own(record: dict[str, Any]) -> Paper:
    title, year = clean(_text(record, "title")), _year(record)
    doi, pmid = clean(_text(record, "doi")), clean(_identifier(record, "pmid"))
    own = next((found for key in _IDS if (found := clean(_identifier(record, key)))), "")
    return Paper(
        id=own or derived_id(title=title, year=year, doi=doi, pmid=pmid),
        title=title,
        abstract=clean_paragraphs(_abstract(record)),
        authors=tuple(filter(None, map(clean, _texts(record, "authors", parted=names_of)))),
        year=year,
        venue=clean(_text(record, "venue") or _text(record, "journal")),
        doi=doi,
        pmid=pmid,
        url=_url(record),
        topics=distinct(_texts(record, "topics", parted=topics_of) or _texts(record, "keywords", parted=topics_of)),
    )


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(f"{key} is {kind_of(value)}; it should be text")
    return value


def _texts(record: dict[str, Any], key: str, *, parted: Any = None) -> list[str]:
    """A list of texts; or one text, parted."""
    value = record.get(key)
    if value is None:
        return []
    if isinstance(value, str) and parted is not None:
        return list(parted(value))
    if not isinstance(value, list):
        raise RecordError(f"{key} is {kind_of(value)}; it should be a list of texts")
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) != len(value):
        stranger = next(item for item in value if not isinstance(item, str))
        raise RecordError(f"{key} holds {kind_of(stranger)}; it should hold texts only")
    return texts


def _identifier(record: dict[str, Any], key: str) -> str:
    """Text, or the whole number as which tables often keep a PMID."""
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(record, key)


def _abstract(record: dict[str, Any]) -> str:
    """A text, or a list of sentences; collections of documents call it text."""
    if isinstance(record.get("abstract"), list):
        return " ".join(_texts(record, "abstract"))
    return _text(record, "abstract" if "abstract" in record else "text")


def _year(record: dict[str, Any]) -> int | None:
    value = record.get("year")
    if value is None or isinstance(value, str):
        return year_of(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordError(f"year is {kind_of(value)}; it should be a whole number")
    if value not in YEARS:
        raise RecordError(f"year is not within {YEARS[0]} to {YEARS[-1]}")
    return value


def _url(record: dict[str, Any]) -> str:
    """A web address. Cards show it as a link, and a link can also be a script."""
    url = clean(_text(record, "url"))
    if url and not url.lower().startswith(WEB):
        raise RecordError(f"url {url[:40]!r} begins with neither https:// nor http://")
    return url


# The shapes of others, of which no part is demanded but a title


def _foreign(record: dict[str, Any]) -> Paper:
    ids = {
        key.lower(): value
        for name in ("externalIds", "externalids", "ids")
        for key, value in _object(record.get(name)).items()
    }
    text = _spans(record)
    title = clean(plain(_first(record, "title", "display_name") or text["title"]))
    year = next((year for key in _YEAR_KEYS if (year := year_of(record.get(key)))), None)
    doi = doi_of(str(_first(record, "doi") or ids.get("doi") or ""))
    pmid = pmid_of(record.get("pubmed_id") or record.get("pmid") or ids.get("pmid") or ids.get("pubmed") or "")
    own = next((str(value) for key in _ID_KEYS if (value := record.get(key)) and isinstance(value, str | int)), "")
    place = _object(record.get("primary_location"))
    return Paper(
        id=clean(own.removeprefix(_OPENALEX)) or derived_id(title=title, year=year, doi=doi, pmid=pmid),
        title=title,
        abstract=clean_paragraphs(plain(_foreign_abstract(record) or text["abstract"])),
        authors=tuple(filter(None, map(clean, _authors(record)))),
        year=year,
        venue=clean(
            plain(
                _name(place.get("source"))
                or _name(record.get("host_venue"))
                or _name(record.get("journal"))
                or _name(record.get("venue"))
                or _name(record.get("publicationVenue"))
            )
        ),
        doi=doi,
        pmid=pmid,
        url=url_of(_first(record, "url") or _first(place, "landing_page_url") or (own if own.startswith(WEB) else "")),
        topics=distinct(name for key in _TOPIC_KEYS for name in map(_name, _list(record.get(key)))),
    )


_ID_KEYS = ("paperId", "paper_id", "corpusid", "corpusId", *_IDS)
_YEAR_KEYS = ("year", "publication_year", "publicationDate", "publicationdate", "publication_date", "publish_time")
_TOPIC_KEYS = (
    *("mesh", "keywords", "topics", "fieldsOfStudy", "s2FieldsOfStudy", "s2fieldsofstudy", "mag_field_of_study"),
)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else topics_of(value) if isinstance(value, str) else []


def _first(record: Mapping[str, Any], *keys: str) -> str:
    """The first of the keys' values that is a text and not empty."""
    return next((value for key in keys if isinstance(value := record.get(key), str) and value.strip()), "")


def _name(value: object) -> str:
    """What a thing is called, that is given by its name or as an object with one."""
    if isinstance(value, str):
        return value
    return _first(_object(value), "display_name", "name", "title", "descriptor_name", "category", "keyword", "raw")


def _authors(record: dict[str, Any]) -> Iterable[str]:
    for authorship in _list(record.get("authorships")):  # OpenAlex
        author = _object(authorship)
        yield _name(author.get("author")) or _first(author, "raw_author_name")
    authors = record.get("authors")
    if isinstance(authors, str):
        yield from names_of(authors)
        return
    for author in _list(authors):
        told = _object(author)
        if family := _first(told, "last"):  # S2ORC
            middle = " ".join(part for part in _list(told.get("middle")) if isinstance(part, str))
            given = clean(f"{_first(told, 'first')} {middle} {_first(told, 'suffix')}")
            yield f"{family}, {given}" if given else family
        else:
            yield _name(author)


def _foreign_abstract(record: dict[str, Any]) -> str:
    abstract = record.get("abstract")
    if isinstance(abstract, list):  # paragraphs of S2ORC
        return joined_lines(part if isinstance(part, str) else _first(_object(part), "text") for part in abstract)
    if isinstance(abstract, str) and abstract.strip():
        return abstract
    places = [
        (place, word)
        for word, positions in _object(record.get("abstract_inverted_index")).items()
        for place in _list(positions)
        if isinstance(place, int)
    ]
    return " ".join(word for _, word in sorted(places))


def _spans(record: dict[str, Any]) -> dict[str, str]:
    """Title and abstract of S2ORC's full texts, which give them as places in the text."""
    content = _object(record.get("content")) or _object(record.get("body"))
    text, annotations = _first(content, "text"), _object(content.get("annotations"))
    return {
        name: joined_lines(text[start:end] for start, end in _places(annotations.get(name)))
        for name in ("title", "abstract")
    }


def _places(spans: object) -> Iterable[tuple[int, int]]:
    if isinstance(spans, str):
        try:
            spans = json.loads(spans)
        except (ValueError, RecursionError):
            return
    for span in _list(spans):
        try:
            start, end = int(_object(span)["start"]), int(_object(span)["end"])
        except (KeyError, TypeError, ValueError, OverflowError):  # the last of a number as 1e999
            continue
        if 0 <= start < end:
            yield start, end
