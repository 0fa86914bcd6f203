"""JSON records as papers: the shapes of Semantic Scholar, S2ORC and OpenAlex, and our own."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from corpus.identifiers import doi_of, pmid_of
from corpus.io.json_values import json_type
from corpus.paper import Paper
from corpus.readers.fields import WEB, YEARS, clean_paper, join_paragraphs, names_of, topics_of, url_of, year_of
from corpus.text.markup import plain
from corpus.text.plain import clean

# Keys that only the shapes of services have. A record with none of them is read as ours, strictly.
_FOREIGN_KEYS = frozenset(
    {
        *("paperId", "paper_id", "corpusid", "corpusId", "externalIds", "externalids", "pubmed_id", "s2fieldsofstudy"),
        *("abstract_inverted_index", "authorships", "display_name", "publication_year", "primary_location"),
    }
)
_OWN_ID_KEYS = ("id", "_id", "doc_id", "docid", "docno", "pid", "cord_uid")  # as document collections call them
_ID_KEYS = ("paperId", "paper_id", "corpusid", "corpusId", *_OWN_ID_KEYS)
_YEAR_KEYS = ("year", "publication_year", "publicationDate", "publicationdate", "publication_date", "publish_time")
_TOPIC_KEYS = (
    *("mesh", "keywords", "topics", "fieldsOfStudy", "s2FieldsOfStudy", "s2fieldsofstudy", "mag_field_of_study"),
)
_OPENALEX = "https://openalex.org/"


class RecordError(Exception):
    """Why one record gives no paper."""


def json_paper(record: object) -> Paper:
    """The paper in a JSON value; title and abstract may be empty. Raises RecordError."""
    if not isinstance(record, dict):
        raise RecordError(f"the record is {json_type(record)}; it should be an object")
    if isinstance(inner := record.get("metadata"), dict) and "title" in inner:  # parsed PDFs of S2ORC and CORD-19
        record = {"paper_id": None, **inner, **record}
    return _foreign_paper(record) if _FOREIGN_KEYS & record.keys() else _own_paper(record)


# Our own shape


def _own_paper(record: dict[str, Any]) -> Paper:
    return clean_paper(
        title=_text(record, "title"),
        year=_year(record),
        doi=clean(_text(record, "doi")),
        pmid=clean(_number_text(record, "pmid")),
        own_id=next(filter(None, (clean(_number_text(record, key)) for key in _OWN_ID_KEYS)), ""),
        abstract=_own_abstract(record),
        authors=_texts(record, "authors", split=names_of),
        venue=_text(record, "venue") or _text(record, "journal"),
        url=_url(record),
        topics=_texts(record, "topics", split=topics_of) or _texts(record, "keywords", split=topics_of),
    )


def _own_abstract(record: dict[str, Any]) -> str:
    """A text, or a list of sentences. Document collections call it "text"."""
    if isinstance(record.get("abstract"), list):
        return " ".join(_texts(record, "abstract"))
    return _text(record, "abstract" if "abstract" in record else "text")


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(f"{key} is {json_type(value)}; it should be text")
    return value


def _texts(record: dict[str, Any], key: str, *, split: Callable[[str], list[str]] | None = None) -> list[str]:
    """A list of texts; or one text, split."""
    value = record.get(key)
    if value is None:
        return []
    if isinstance(value, str) and split is not None:
        return split(value)
    if not isinstance(value, list):
        raise RecordError(f"{key} is {json_type(value)}; it should be a list of texts")
    for item in value:
        if not isinstance(item, str):
            raise RecordError(f"{key} holds {json_type(item)}; it should hold texts only")
    return value


def _number_text(record: dict[str, Any], key: str) -> str:
    """A text; or a whole number, as which tables often keep a PMID."""
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(record, key)


def _year(record: dict[str, Any]) -> int | None:
    value = record.get("year")
    if value is None or isinstance(value, str):
        return year_of(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordError(f"year is {json_type(value)}; it should be a whole number")
    if value not in YEARS:
        raise RecordError(f"year is not within {YEARS[0]} to {YEARS[-1]}")
    return value


def _url(record: dict[str, Any]) -> str:
    """A web address. Cards show it as a link, and a link can also be a script."""
    url = clean(_text(record, "url"))
    if url and not url.lower().startswith(WEB):
        raise RecordError(f"url {url[:40]!r} begins with neither https:// nor http://")
    return url


# The shapes of services, which need nothing but a title


def _foreign_paper(record: dict[str, Any]) -> Paper:
    ids = {
        key.lower(): value
        for name in ("externalIds", "externalids", "ids")
        for key, value in _object(record.get(name)).items()
    }
    own_id = next((str(value) for key in _ID_KEYS if (value := record.get(key)) and isinstance(value, str | int)), "")
    location = _object(record.get("primary_location"))
    venues = (location.get("source"), *map(record.get, ("host_venue", "journal", "venue", "publicationVenue")))
    return clean_paper(
        own_id=own_id.removeprefix(_OPENALEX),
        title=plain(_first(record, "title", "display_name") or _annotated(record, "title")),
        abstract=plain(_abstract(record) or _annotated(record, "abstract")),
        authors=_authors(record),
        year=next(filter(None, (year_of(record.get(key)) for key in _YEAR_KEYS)), None),
        venue=plain(next(filter(None, map(_name, venues)), "")),
        doi=doi_of(str(_first(record, "doi") or ids.get("doi") or "")),
        pmid=pmid_of(record.get("pubmed_id") or record.get("pmid") or ids.get("pmid") or ids.get("pubmed") or ""),
        url=url_of(
            _first(record, "url") or _first(location, "landing_page_url") or (own_id if own_id.startswith(WEB) else "")
        ),
        topics=(name for key in _TOPIC_KEYS for name in map(_name, _list(record.get(key)))),
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else topics_of(value) if isinstance(value, str) else []


def _first(record: Mapping[str, Any], *keys: str) -> str:
    """The first value under the keys that is a text and not empty."""
    return next((value for key in keys if isinstance(value := record.get(key), str) and value.strip()), "")


def _name(value: object) -> str:
    """The name of a thing that is given by its name, or as an object with one."""
    if isinstance(value, str):
        return value
    return _first(_object(value), "display_name", "name", "title", "descriptor_name", "category", "keyword", "raw")


def _authors(record: dict[str, Any]) -> Iterable[str]:
    for authorship in map(_object, _list(record.get("authorships"))):  # OpenAlex
        yield _name(authorship.get("author")) or _first(authorship, "raw_author_name")
    authors = record.get("authors")
    if isinstance(authors, str):
        yield from names_of(authors)
        return
    for author in _list(authors):
        parts = _object(author)
        if family := _first(parts, "last"):  # S2ORC
            middle = " ".join(part for part in _list(parts.get("middle")) if isinstance(part, str))
            given = clean(f"{_first(parts, 'first')} {middle} {_first(parts, 'suffix')}")
            yield f"{family}, {given}" if given else family
        else:
            yield _name(author)


def _abstract(record: dict[str, Any]) -> str:
    abstract = record.get("abstract")
    if isinstance(abstract, list):  # paragraphs of S2ORC
        return join_paragraphs(part if isinstance(part, str) else _first(_object(part), "text") for part in abstract)
    if isinstance(abstract, str) and abstract.strip():
        return abstract
    words = [  # OpenAlex
        (place, word)
        for word, places in _object(record.get("abstract_inverted_index")).items()
        for place in _list(places)
        if isinstance(place, int)
    ]
    return " ".join(word for _, word in sorted(words))


def _annotated(record: dict[str, Any], name: str) -> str:
    """The title or abstract of a full text of S2ORC, which gives them as spans of its text."""
    content = _object(record.get("content")) or _object(record.get("body"))
    text, spans = _first(content, "text"), _object(content.get("annotations")).get(name)
    if isinstance(spans, str):
        try:
            spans = json.loads(spans)
        except (ValueError, RecursionError):
            return ""
    parts = []
    for span in map(_object, _list(spans)):
        try:
            start, end = int(span["start"]), int(span["end"])
        except (KeyError, TypeError, ValueError, OverflowError):  # the last for a number such as 1e999
            continue
        if 0 <= start < end:
            parts.append(text[start:end])
    return join_paragraphs(parts)
