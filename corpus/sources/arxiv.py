"""arXiv, by its Atom API. Results of over 10,000 papers are split by the day of submission."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from corpus.identifiers import Identifier, derived_id, normalised_doi
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.services import ARXIV
from corpus.sources.source import Days, Page, Skipped, Slice, Source, checked_query, pages_by_date
from corpus.sources.values import UnreadableAnswer, as_abstract, as_count, as_title, family_first, read_xml
from corpus.text.plain import clean, distinct

_ATOM = "{http://www.w3.org/2005/Atom}"
_SEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"
_OWN = "{http://arxiv.org/schemas/atom}"
_PAGE = 200  # 2,000 are allowed, but larger pages often come incomplete
_MAX_LISTED = 10_000  # 30,000 are documented; requests far into a list often fail
_FIRST_DAY = date(1986, 1, 1)  # some papers are older than arXiv
_ID = re.compile(r"/abs/(\S+?)(?:v\d+)?$")
_OPERATORS = ("AND", "OR", "ANDNOT")
_ERRORS = "/api/errors"
_FIELDED = re.compile(r"\b(?:ti|au|abs|co|jr|cat|rn|all|id|doi|submittedDate|lastUpdatedDate):", re.ASCII)


class ArXiv(Source):
    """See Source."""

    name = ARXIV.name
    title = ARXIV.title
    home = "https://arxiv.org/"
    help = "Words; or fields, as in ti:galaxy AND cat:astro-ph.GA"
    kinds = ("arxiv",)

    def count(self, query: str, *, client: Client) -> int:
        """See Source."""
        return _search(client, _written(query), None, 0, 1)[0]

    def pages(self, query: str, *, client: Client, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        """See Source."""
        written = _written(query)

        def ask(days: Days | None, start: int, size: int) -> Slice:
            count, entries = _search(client, written, days, start, size)
            return Slice(count, len(entries), lambda: map(_paper, entries))

        return pages_by_date(
            ask,
            title=self.title,
            cursor=cursor,
            first=_FIRST_DAY,
            last=datetime.now(UTC).date() + timedelta(days=1),
            max_listed=_MAX_LISTED,
            page=_PAGE if limit is None else max(1, min(_PAGE, limit)),
        )

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """See Source."""
        parameters: dict[str, str | int] = {"id_list": identifier.value, "max_results": 1}
        try:
            _, entries = client.ask(ARXIV, "query", parameters=parameters, format="xml", read=_read_entries)
        except SourceRefused as error:  # "incorrect id format"
            raise PaperNotFound(f"{self.title} has no paper with {identifier}.") from error
        for entry in entries:
            if isinstance(paper := _paper(entry), Paper):
                return paper
        raise PaperNotFound(f"{self.title} has no paper with {identifier}.")


def _written(query: str) -> str:
    """A query with fields as it is; plain words are searched in all fields and must all occur."""
    plain = checked_query(query, title=ARXIV.title)
    if _FIELDED.search(plain):
        return plain
    written: list[str] = []
    for word in re.findall(r'"[^"]+"|[()]|[^\s()"]+', plain):
        operator = word in _OPERATORS
        if written and not operator and word != ")" and written[-1] not in (*_OPERATORS, "("):
            written.append("AND")
        written.append(word if operator or word in "()" else f"all:{word}")
    return " ".join(written)


def _search(client: Client, written: str, days: Days | None, start: int, size: int) -> tuple[int, list[Any]]:
    if days is not None:
        written = f"({written}) AND submittedDate:[{days[0]:%Y%m%d}0000 TO {days[1]:%Y%m%d}2359]"
    parameters: dict[str, str | int] = {
        "search_query": written,
        "start": start,
        "max_results": size,
        "sortBy": "submittedDate",
        "sortOrder": "descending",
    }

    def read(body: bytes) -> tuple[int, list[Any]]:
        count, entries = _read_entries(body)
        if not entries and start < count and size:
            # This happens now and then; the next request succeeds.
            raise UnreadableAnswer("the page is empty although there are more papers")
        return count, entries

    return client.ask(ARXIV, "query", parameters=parameters, format="xml", read=read)


def _read_entries(body: bytes) -> tuple[int, list[Any]]:
    feed = read_xml(body)
    if feed.tag != f"{_ATOM}feed":
        raise UnreadableAnswer(f"it is XML, but a {clean(str(feed.tag))[:40]!r} and no feed")
    entries = feed.findall(f"{_ATOM}entry")
    for entry in entries:
        if _ERRORS in (entry.findtext(f"{_ATOM}id") or ""):
            said = clean(entry.findtext(f"{_ATOM}summary") or "")[:200]
            raise SourceRefused(f'arXiv could not answer (it says "{said}"). Correct the query.')
    total = feed.findtext(f"{_SEARCH}totalResults")
    if total is None:
        raise BadAnswer("it does not say how many papers there are")
    return as_count(total), entries


def _paper(entry: Any) -> Paper | Skipped:
    found = _ID.search(clean(entry.findtext(f"{_ATOM}id") or ""))
    if not found:
        return Skipped("an entry", "damaged", "no id.")
    number = found[1]
    title, year = as_title(entry.findtext(f"{_ATOM}title")), year_of(entry.findtext(f"{_ATOM}published"))
    doi = normalised_doi(entry.findtext(f"{_OWN}doi") or "")
    names = (clean(author.findtext(f"{_ATOM}name") or "") for author in entry.findall(f"{_ATOM}author"))
    return Paper(
        id=derived_id(title=title, year=year, doi=doi) if doi else f"arXiv:{number}",
        title=title,
        # Its line feeds come from the author's line breaks, not from paragraphs.
        abstract=clean(as_abstract(entry.findtext(f"{_ATOM}summary"))),
        authors=tuple(family_first(name) for name in names if name),
        year=year,
        venue=clean(entry.findtext(f"{_OWN}journal_ref") or "") or "arXiv",
        doi=doi,
        url=f"https://arxiv.org/abs/{number}",
        topics=distinct(category.get("term") or "" for category in entry.findall(f"{_ATOM}category")),
    )
