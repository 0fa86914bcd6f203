"""Semantic Scholar, by its Academic Graph API: bulk search, a thousand papers a page, and look-up by any id."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from corpus.identifiers import Identifier, IdentifierKind, derived_id, normalised_doi, pmid_of
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.sources.client import Client
from corpus.sources.errors import BadAnswer
from corpus.sources.services import SEMANTIC_SCHOLAR
from corpus.sources.source import Page, Skipped, Source, checked_query, split_records
from corpus.sources.values import (
    as_abstract,
    as_count,
    as_list,
    as_object,
    as_text,
    as_title,
    clean_texts,
    family_first,
    first_text,
    read_json,
)
from corpus.text.plain import clean, distinct

_FIELDS = "paperId,corpusId,externalIds,url,title,abstract,venue,publicationVenue,year,journal,authors,s2FieldsOfStudy"
_PREFIXES: dict[IdentifierKind, str] = {"doi": "DOI:", "pmid": "PMID:", "pmcid": "PMCID:", "arxiv": "ARXIV:", "s2": ""}


class SemanticScholar(Source):
    """See Source."""

    name = SEMANTIC_SCHOLAR.name
    title = SEMANTIC_SCHOLAR.title
    home = "https://www.semanticscholar.org/"
    help = 'Words, all of which must occur; + and, | or, - not, "a phrase", a prefix*'
    kinds = ("s2", "doi", "pmid", "pmcid", "arxiv")

    def count(self, query: str, *, client: Client) -> int:
        """See Source. The service calls it an estimate."""
        return self._ask(client, query, "", "paperId")[0]

    def pages(
        self,
        query: str,
        *,
        client: Client,
        cursor: str = "",
        limit: int | None = None,  # noqa: ARG002  # a page is always of up to 1,000
    ) -> Iterator[Page]:
        """See Source. In the order of ids, which stays the same while papers are added."""
        while True:
            total, records, token = self._ask(client, query, cursor, _FIELDS)
            papers, problems = split_records(map(_paper, records), title=self.title)
            yield Page(papers=papers, problems=problems, cursor=token, total=total)
            if not token:
                return
            cursor = token

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:
        """See Source."""
        value = identifier.value.removeprefix("PMC") if identifier.kind == "pmcid" else identifier.value
        path = f"paper/{_PREFIXES[identifier.kind]}{quote(value, safe='/:()')}"
        paper = _paper(
            client.ask(SEMANTIC_SCHOLAR, path, parameters={"fields": _FIELDS}, format="json", read=read_json)
        )
        if isinstance(paper, Skipped):
            raise BadAnswer(f"{self.title}: its record of {identifier} is damaged: {paper.reason}")
        return paper

    def _ask(self, client: Client, query: str, token: str, fields: str) -> tuple[int, list[Any], str]:
        parameters: dict[str, str | int] = {"query": checked_query(query, title=self.title), "fields": fields}
        if token:
            parameters["token"] = token
        return client.ask(SEMANTIC_SCHOLAR, "paper/search/bulk", parameters=parameters, format="json", read=_read_batch)


def _read_batch(body: bytes) -> tuple[int, list[Any], str]:
    answer = read_json(body)
    total = as_count(answer.get("total"))
    records = answer.get("data", [])  # absent where nothing matches
    if not isinstance(records, list):
        raise BadAnswer("it gives no list of papers")
    return total, records, as_text(answer.get("token"))


def _paper(value: object) -> Paper | Skipped:
    record = as_object(value)
    paper_id = clean(as_text(record.get("paperId")))
    if not paper_id:
        return Skipped("a record", "damaged", "no paperId.")
    ids = as_object(record.get("externalIds"))
    title, year = as_title(record.get("title")), year_of(record.get("year"))
    doi = normalised_doi(as_text(ids.get("DOI")))
    pmid = pmid_of(first_text(ids.get("PubMed"), ids.get("Medline")))
    arxiv = clean(as_text(ids.get("ArXiv")))
    other_id = f"arXiv:{arxiv}" if arxiv else paper_id
    venue, journal = as_object(record.get("publicationVenue")), as_object(record.get("journal"))
    return Paper(
        id=derived_id(title=title, year=year, doi=doi, pmid=pmid) if pmid or doi else other_id,
        title=title,
        abstract=as_abstract(record.get("abstract")),
        authors=tuple(
            map(family_first, clean_texts(as_object(author).get("name") for author in as_list(record.get("authors"))))
        ),
        year=year,
        venue=clean(first_text(record.get("venue"), venue.get("name"), journal.get("name"))),
        doi=doi,
        pmid=pmid,
        url=f"https://www.semanticscholar.org/paper/{quote(paper_id, safe='')}",
        topics=distinct(as_text(as_object(field).get("category")) for field in as_list(record.get("s2FieldsOfStudy"))),
    )
