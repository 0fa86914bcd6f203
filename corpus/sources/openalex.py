"""OpenAlex, by its REST API. Its abstracts come as inverted indexes: word -> positions."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from corpus.identifiers import Identifier, derived_id, normalised_doi, pmid_of
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer
from corpus.sources.services import OPENALEX
from corpus.sources.source import Page, Skipped, Source, bad_cursor, checked_query, split_records
from corpus.sources.values import (
    as_abstract,
    as_count,
    as_list,
    as_object,
    as_text,
    as_title,
    family_first,
    first_text,
    read_json,
)
from corpus.text.plain import clean, distinct

_PAGE = 100  # the maximum of the service
_MAX_NUMBERED = 10_000  # records that numbered pages reach; cursors need a key
_FIELDS = (
    "id,doi,ids,display_name,publication_year,authorships,primary_location,abstract_inverted_index,topics,keywords"
)
_FILTER = "filter:"
_MAX_WORDS = 50_000


class OpenAlex(Source):
    """See Source."""

    name = OPENALEX.name
    title = OPENALEX.title
    home = "https://openalex.org/"
    help = "Words, with AND, OR and NOT; or filter: and one of OpenAlex's filters, as in filter:publication_year:2024"
    kinds = ("doi", "pmid", "pmcid")

    def count(self, query: str, *, client: Client) -> int:
        """See Source."""
        parameters = _parameters(checked_query(query, title=self.title)) | {"per_page": 1, "select": "id"}
        return client.ask(OPENALEX, "works", parameters=parameters, format="json", read=_read_list)[0]

    def pages(self, query: str, *, client: Client, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        """See Source. With a key by cursor, to the end; without one by number, to the 10,000th record."""
        size = _PAGE if limit is None else max(1, min(_PAGE, limit))
        if not cursor:
            cursor = "cursor *" if client.setting(OPENALEX.key) else f"page 1 {size}"
        while cursor:
            page = self._page(client, checked_query(query, title=self.title), cursor, size)
            yield page
            cursor = page.cursor

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """See Source."""
        path = f"works/{identifier.kind}:{quote(identifier.value, safe='/:()')}"
        record = client.ask(OPENALEX, path, parameters={"select": _FIELDS}, format="json", read=read_json)
        paper = _paper(record)
        if isinstance(paper, Skipped):
            raise BadAnswer(f"{self.title}: its record of {identifier} is damaged: {paper.reason}")
        return paper

    def _page(self, client: Client, query: str, cursor: str, size: int) -> Page:
        paging, _, position = cursor.partition(" ")
        parameters = _parameters(query) | {"select": _FIELDS}
        if paging == "cursor":
            parameters |= {"per_page": size, "cursor": position}
        else:
            try:
                # With the page size that the numbering began with.
                number, size = map(int, position.split())
            except ValueError as error:
                raise bad_cursor(self.title) from error
            parameters |= {"per_page": size, "page": number}
        total, works, following = client.ask(OPENALEX, "works", parameters=parameters, format="json", read=_read_list)
        papers, problems = split_records(map(_paper, works), title=self.title)
        notes: tuple[str, ...] = ()
        if paging == "cursor":
            following = f"cursor {following}" if following and works else ""
        elif not works or number * size >= total:
            following = ""
        elif (number + 1) * size > _MAX_NUMBERED:
            following = ""
            notes = (
                f"{self.title} gives the first {_MAX_NUMBERED:,} of {total:,} records without a key. "
                f"Set {OPENALEX.key} to get them all; a key is free.",
            )
        else:
            following = f"page {number + 1} {size}"
        return Page(papers=papers, problems=problems, cursor=following, total=total, notes=notes)


def _parameters(query: str) -> dict[str, str | int]:
    return {"filter": query.removeprefix(_FILTER).strip()} if query.startswith(_FILTER) else {"search": query}


def _read_list(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    if not isinstance(answer.get("results"), list):
        raise BadAnswer("it gives no list of results")
    meta = as_object(answer.get("meta"))
    return as_count(meta.get("count")), as_list(answer["results"]), as_text(meta.get("next_cursor"))


def _paper(work: object) -> Paper | Skipped:
    record = as_object(work)
    number = clean(as_text(record.get("id"))).rpartition("/")[2]
    if not number:
        return Skipped("a record", "damaged", "no id.")
    ids = as_object(record.get("ids"))
    title = as_title(first_text(record.get("display_name"), record.get("title")))
    year = year_of(record.get("publication_year"))
    doi = normalised_doi(first_text(record.get("doi"), ids.get("doi")))
    pmid = pmid_of(ids.get("pmid"))
    topics = [
        as_object(topic).get("display_name")
        for topic in (*as_list(record.get("topics")), *as_list(record.get("keywords")))
    ]
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid) if pmid or doi else number,
        title=title,
        abstract=as_abstract(words_in_order(record.get("abstract_inverted_index"))),
        authors=tuple(filter(None, map(_author, as_list(record.get("authorships"))))),
        year=year,
        venue=clean(as_text(as_object(as_object(record.get("primary_location")).get("source")).get("display_name"))),
        doi=doi,
        pmid=pmid,
        url=f"https://doi.org/{doi}" if doi else f"https://openalex.org/{number}",
        topics=distinct(map(as_text, topics)),
    )


def words_in_order(index: object) -> str:
    """The text of an inverted index; "" for anything else, and for one that is too large for an abstract.

    >>> words_in_order({"to": [0, 3], "be": [1, 4], "or": [2]})
    'to be or to be'
    """
    words: list[tuple[int, str]] = []
    for word, positions in as_object(index).items():
        for position in as_list(positions):
            if isinstance(position, int) and not isinstance(position, bool):
                words.append((position, word))
        if len(words) > _MAX_WORDS:
            return ""
    return " ".join(word for _, word in sorted(words, key=lambda word: word[0]))


def _author(authorship: object) -> str:
    record: Mapping[str, Any] = as_object(authorship)
    raw, shown = (
        clean(as_text(record.get("raw_author_name"))),
        as_text(as_object(record.get("author")).get("display_name")),
    )
    # Some publishers' own form says which part is the family name.
    return raw if raw.count(",") == 1 and not shown.count(",") else family_first(shown or raw)
