"""OpenAlex, by its REST API. Its abstracts come as lists of where each word stands."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.sources.answers import (
    abstract_in,
    count_in,
    first_text,
    list_in,
    map_in,
    read_json,
    text_in,
    title_in,
    year_in,
)
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer, SourceError
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.names import family_first
from corpus.sources.service import OPENALEX
from corpus.sources.source import Left, Page, sort_out, understood
from corpus.text.plain import clean, distinct

_PAGE = 100  # the most that it gives
_MOST_BY_NUMBER = 10_000  # records that numbered pages reach; without a key there is no other paging
_FIELDS = (
    "id,doi,ids,display_name,publication_year,authorships,primary_location,abstract_inverted_index,topics,keywords"
)
_FILTER = "filter:"
_MOST_WORDS = 50_000


class OpenAlex:
    """See `corpus.sources.source.Source`."""

    name = OPENALEX.name
    title = OPENALEX.title
    home = "https://openalex.org/"
    help = "Words, with AND, OR and NOT; or filter: and one of OpenAlex's filters, as in filter:publication_year:2024"
    kinds: tuple[Kind, ...] = ("doi", "pmid", "pmcid")

    def count(self, query: str, *, client: Client | None = None) -> int:
        """See Source."""
        parameters = _searched(understood(query, title=self.title)) | {"per_page": 1, "select": "id"}
        return (client or shared_client()).ask(OPENALEX, "works", parameters=parameters, kind="json", read=_list_in)[0]

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", most: int | None = None
    ) -> Iterator[Page]:
        """See Source. With a key by cursor, to the end; without one by number, to the 10,000th record."""
        asked = client or shared_client()
        size = _PAGE if most is None else max(1, min(_PAGE, most))
        if not cursor:
            cursor = "cursor *" if asked.setting(OPENALEX.key) else f"page 1 {size}"
        while cursor:
            page = self._page(asked, understood(query, title=self.title), cursor, size)
            yield page
            cursor = page.cursor

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """See Source."""
        path = f"works/{identifier.kind}:{_quoted(identifier.value)}"
        record = (client or shared_client()).ask(
            OPENALEX, path, parameters={"select": _FIELDS}, kind="json", read=read_json
        )
        found = _paper(record)
        if isinstance(found, Left):
            raise BadAnswer(f"{self.title}: its record of {identifier} is damaged: {found.reason}")
        return found

    def _page(self, client: Client, query: str, cursor: str, size: int) -> Page:
        how, _, where = cursor.partition(" ")
        parameters = _searched(query) | {"select": _FIELDS}
        if how == "cursor":
            parameters |= {"per_page": size, "cursor": where}
        else:
            try:
                # The size that the numbering began with: a page's number means nothing without it.
                number, size = map(int, where.split())
            except ValueError as error:
                raise SourceError(
                    f"{self.title}: no place to go on from: {where[:40]!r}. Start the fetch again."
                ) from error
            parameters |= {"per_page": size, "page": number}
        total, works, following = client.ask(OPENALEX, "works", parameters=parameters, kind="json", read=_list_in)
        papers, problems = sort_out(map(_paper, works), title=self.title)
        notes: tuple[str, ...] = ()
        if how == "cursor":
            following = f"cursor {following}" if following and works else ""
        elif not works or number * size >= total:
            following = ""
        elif (number + 1) * size > _MOST_BY_NUMBER:
            following = ""
            notes = (
                f"{self.title} gives the first {_MOST_BY_NUMBER:,} of {total:,} records without a key. "
                f"Set {OPENALEX.key} to get them all; a key is free.",
            )
        else:
            following = f"page {number + 1} {size}"
        return Page(papers=papers, problems=problems, cursor=following, total=total, notes=notes)


def _searched(query: str) -> dict[str, str | int]:
    return {"filter": query.removeprefix(_FILTER).strip()} if query.startswith(_FILTER) else {"search": query}


def _quoted(value: str) -> str:
    return quote(value, safe="/:()")


def _list_in(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    if not isinstance(answer.get("results"), list):
        raise BadAnswer("it gives no list of results")
    meta = map_in(answer.get("meta"))
    return count_in(meta.get("count")), list_in(answer["results"]), text_in(meta.get("next_cursor"))


def _paper(work: object) -> Paper | Left:
    record = map_in(work)
    number = clean(text_in(record.get("id"))).rpartition("/")[2]
    if not number:
        return Left("a record", "damaged", "no id.")
    ids = map_in(record.get("ids"))
    title = title_in(first_text(record.get("display_name"), record.get("title")))
    year = year_in(record.get("publication_year"))
    doi = normalised_doi(first_text(record.get("doi"), ids.get("doi")))
    pmid = _last_digits(ids.get("pmid"))
    topics = [
        map_in(topic).get("display_name")
        for topic in (*list_in(record.get("topics")), *list_in(record.get("keywords")))
    ]
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid) if pmid or doi else number,
        title=title,
        abstract=abstract_in(words_in_order(record.get("abstract_inverted_index"))),
        authors=tuple(filter(None, map(_author, list_in(record.get("authorships"))))),
        year=year,
        venue=clean(text_in(map_in(map_in(record.get("primary_location")).get("source")).get("display_name"))),
        doi=doi,
        pmid=pmid,
        url=f"https://doi.org/{doi}" if doi else f"https://openalex.org/{number}",
        topics=distinct(map(text_in, topics)),
    )


def words_in_order(index: object) -> str:
    """A text from an object that says where each of its words stands; "" for what is none, or too large to be one.

    >>> words_in_order({"to": [0, 3], "be": [1, 4], "or": [2]})
    'to be or to be'
    """
    places: list[tuple[int, str]] = []
    for word, positions in map_in(index).items():
        for position in list_in(positions):
            if isinstance(position, int) and not isinstance(position, bool):
                places.append((position, word))
        if len(places) > _MOST_WORDS:
            return ""
    return " ".join(word for _, word in sorted(places, key=lambda place: place[0]))


def _author(authorship: object) -> str:
    record: Mapping[str, Any] = map_in(authorship)
    raw, shown = (
        clean(text_in(record.get("raw_author_name"))),
        text_in(map_in(record.get("author")).get("display_name")),
    )
    # Some publishers' own form says which part is the family name.
    return raw if raw.count(",") == 1 and not shown.count(",") else family_first(shown or raw)


def _last_digits(value: object) -> str:
    digits = clean(text_in(value)).rstrip("/").rpartition("/")[2]
    return digits if digits.isascii() and digits.isdigit() and len(digits) < 10 else ""
