"""arXiv, by its Atom API. Long results are split by the day of submission: one list reaches some 10,000 papers."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.sources.answers import Garbled, abstract_in, count_in, read_xml, title_in, year_in
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import BadAnswer, PaperNotFound, SourceRefused
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.names import family_first
from corpus.sources.service import ARXIV
from corpus.sources.source import Left, Page, understood
from corpus.sources.windows import Days, Slice, windowed_pages
from corpus.text.plain import clean, distinct

_ATOM = "{http://www.w3.org/2005/Atom}"
_SEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"
_OWN = "{http://arxiv.org/schemas/atom}"
_PAGE = 200  # of 2,000 that are allowed: larger ones often come short
_MOST_A_LIST = 10_000  # 30,000 are promised; requests far into a list fail often
_FIRST_DAY = date(1986, 1, 1)  # some papers are older than arXiv
_ID = re.compile(r"/abs/(\S+?)(?:v\d+)?$")
_OPERATORS = ("AND", "OR", "ANDNOT")
_ERRORS = "/api/errors"
_FIELDED = re.compile(r"\b(?:ti|au|abs|co|jr|cat|rn|all|id|doi|submittedDate|lastUpdatedDate):", re.ASCII)


class ArXiv:
    """See `corpus.sources.source.Source`."""

    name = ARXIV.name
    title = ARXIV.title
    home = "https://arxiv.org/"
    help = "Words; or fields, as in ti:galaxy AND cat:astro-ph.GA"
    kinds: tuple[Kind, ...] = ("arxiv",)

    def count(self, query: str, *, client: Client | None = None) -> int:
        """See Source."""
        return _search(client or shared_client(), _written(query), None, 0, 1)[0]

    def pages(
        self, query: str, *, client: Client | None = None, cursor: str = "", most: int | None = None
    ) -> Iterator[Page]:
        """See Source."""
        asked, written = client or shared_client(), _written(query)

        def ask(days: Days | None, start: int, size: int) -> Slice:
            count, entries = _search(asked, written, days, start, size)
            return Slice(count, len(entries), lambda: map(_paper, entries))

        return windowed_pages(
            ask,
            title=self.title,
            cursor=cursor,
            first=_FIRST_DAY,
            last=datetime.now(UTC).date() + timedelta(days=1),
            most_a_window=_MOST_A_LIST,
            page=_PAGE if most is None else max(1, min(_PAGE, most)),
        )

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:
        """See Source."""
        parameters: dict[str, str | int] = {"id_list": identifier.value, "max_results": 1}
        try:
            _, entries = (client or shared_client()).ask(
                ARXIV, "query", parameters=parameters, kind="xml", read=_entries_in
            )
        except SourceRefused as error:  # "incorrect id format"
            raise PaperNotFound(f"{self.title} does not know {identifier}.") from error
        for entry in entries:
            if isinstance(found := _paper(entry), Paper):
                return found
        raise PaperNotFound(f"{self.title} does not know {identifier}.")


def _written(query: str) -> str:
    """A query with fields as it is; words alone are looked for in all fields, every one of them."""
    plain = understood(query, title=ARXIV.title)
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
        count, entries = _entries_in(body)
        if not entries and start < count and size:
            # It happens now and then, and goes away.
            raise Garbled("the page is empty, though there are more papers")
        return count, entries

    return client.ask(ARXIV, "query", parameters=parameters, kind="xml", read=read)


def _entries_in(body: bytes) -> tuple[int, list[Any]]:
    feed = read_xml(body)
    if feed.tag != f"{_ATOM}feed":
        raise Garbled(f"it is XML, but a {clean(str(feed.tag))[:40]!r} and no feed")
    entries = feed.findall(f"{_ATOM}entry")
    for entry in entries:
        if _ERRORS in (entry.findtext(f"{_ATOM}id") or ""):
            said = clean(entry.findtext(f"{_ATOM}summary") or "")[:200]
            raise SourceRefused(f'arXiv could not answer (it says "{said}"). Correct the query.')
    total = feed.findtext(f"{_SEARCH}totalResults")
    if total is None:
        raise BadAnswer("it does not say how many papers there are")
    return count_in(total), entries


def _paper(entry: Any) -> Paper | Left:
    found = _ID.search(clean(entry.findtext(f"{_ATOM}id") or ""))
    if not found:
        return Left("an entry", "damaged", "no id.")
    number = found[1]
    title, year = title_in(entry.findtext(f"{_ATOM}title")), year_in(entry.findtext(f"{_ATOM}published"))
    doi = normalised_doi(entry.findtext(f"{_OWN}doi") or "")
    names = (clean(author.findtext(f"{_ATOM}name") or "") for author in entry.findall(f"{_ATOM}author"))
    return Paper(
        id=derived_id(title=title, year=year, doi=doi) if doi else f"arXiv:{number}",
        title=title,
        # Its line feeds are those of the author's own lines; a paragraph begins with two spaces.
        abstract=clean(abstract_in(entry.findtext(f"{_ATOM}summary"))),
        authors=tuple(family_first(name) for name in names if name),
        year=year,
        venue=clean(entry.findtext(f"{_OWN}journal_ref") or "") or "arXiv",
        doi=doi,
        url=f"https://arxiv.org/abs/{number}",
        topics=distinct(category.get("term") or "" for category in entry.findall(f"{_ATOM}category")),
    )
