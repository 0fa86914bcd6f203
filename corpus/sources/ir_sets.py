"""Judged sets and others, by their `ir_datasets` id (beir/scifact, cord19/trec-covid, …), where that is installed.

The package fetches a set itself, once, from where its makers keep it, and keeps it in its own folder.
"""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.sources.answers import abstract_in, cleaned, first_text, text_in, title_in, year_in
from corpus.sources.client import OFFLINE_VARIABLE, Client
from corpus.sources.errors import PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.names import family_first
from corpus.sources.source import Left, Page, sort_out, understood
from corpus.text.plain import clean, distinct

_PAGE = 500
_WEB = ("https://", "http://")


class IrDatasets:
    """See `corpus.sources.source.Source`. A query is the id of a set; its documents are the records."""

    name = "ir_datasets"
    title = "ir_datasets"
    home = "https://ir-datasets.com/"
    help = "The id of a set whose documents have titles, as beir/scifact or cord19/trec-covid"
    kinds: tuple[Kind, ...] = ()

    def count(self, query: str, *, client: Client | None = None) -> int:  # noqa: ARG002
        """See Source. Without fetching the set, where the package knows how many documents it has."""
        return _count(load_dataset(query))

    def pages(
        self,
        query: str,
        *,
        client: Client | None = None,  # noqa: ARG002
        cursor: str = "",
        most: int | None = None,  # noqa: ARG002
    ) -> Iterator[Page]:
        """See Source."""
        dataset = load_dataset(query)
        total = _count(dataset)
        if not (cursor or "0").isdigit():
            raise SourceError(f"{self.title}: no place to go on from: {cursor[:40]!r}. Start the fetch again.")
        start = int(cursor or 0)
        try:
            documents = islice(dataset.docs_iter(), start, None)
            while batch := list(islice(documents, _PAGE)):
                start += len(batch)
                papers, problems = sort_out(map(document_paper, batch), title=self.title)
                more = len(batch) == _PAGE
                yield Page(papers=papers, problems=problems, cursor=str(start) if more else "", total=max(total, start))
                if not more:
                    return
        except SourceError:
            raise
        except (OSError, ValueError, RuntimeError, EOFError, LookupError) as error:
            # What it raises where a set cannot be fetched, or is damaged: requests' errors are OSErrors.
            raise SourceUnavailable(
                f"{self.title} could not read {clean(query)[:80]!r} ({type(error).__name__}). "
                "Check the network, and whether the set must be fetched by hand: ir-datasets.com tells."
            ) from error
        yield Page(papers=(), problems=(), cursor="", total=max(total, start))

    def look_up(self, identifier: Identifier, *, client: Client | None = None) -> Paper:  # noqa: ARG002
        """See Source. Sets are not searched for identifiers."""
        raise PaperNotFound(f"{self.title} does not look up {identifier}.")


def load_dataset(query: str) -> Any:
    """A set of the package, whose documents have titles; nothing is fetched yet. Raises SourceError."""
    name = understood(query, title=IrDatasets.title)
    if os.environ.get(OFFLINE_VARIABLE, "").strip() not in ("", "0"):
        raise SourceUnavailable(
            f"{IrDatasets.title} is not asked, because {OFFLINE_VARIABLE} is set and it may fetch. Unset it."
        )
    try:
        import ir_datasets
    except ImportError as error:
        raise SourceUnavailable("The package ir-datasets is not installed. Run: pip install ir-datasets") from error
    try:
        dataset = ir_datasets.load(name)
    except KeyError as error:
        raise SourceRefused(
            f"{IrDatasets.title} has no set with the id {name[:80]!r}. Its catalogue is at {IrDatasets.home}."
        ) from error
    if not dataset.has_docs():
        raise SourceRefused(f"The set {name[:80]!r} has no documents. Choose the one that it belongs to.")
    if "title" not in getattr(dataset.docs_cls(), "_fields", ()):
        raise SourceRefused(f"The documents of {name[:80]!r} have no titles. Choose a set of papers.")
    return dataset


def _count(dataset: Any) -> int:
    try:
        # From its catalogue; else it would fetch and count, which may take hours.
        counted = dataset.metadata().get("docs", {}).get("count")
    except (AttributeError, LookupError, OSError, ValueError):
        counted = None
    return counted if isinstance(counted, int) else 0


def document_paper(document: Any) -> Paper | Left:
    """A document of a set as a paper, under its own id."""

    def field(name: str) -> object:
        return getattr(document, name, None)

    number = clean(text_in(field("doc_id")))
    if not number:
        return Left("a document", "damaged", "no doc_id.")
    title = title_in(field("title"))
    year = year_in(first_text(field("year"), field("date")))
    doi = normalised_doi(text_in(field("doi")))
    pmid = clean(first_text(field("pubmed_id"), field("pmid")))
    pmid = pmid if pmid.isascii() and pmid.isdigit() and len(pmid) < 10 else ""
    authors = field("authors")
    url = clean(text_in(field("url")))
    return Paper(
        # Its own id: judgements name papers by it.
        id=number or derived_id(title=title, year=year, doi=doi, pmid=pmid),
        title=title,
        abstract=_without_title(abstract_in(first_text(field("abstract"), field("text"))), title),
        authors=tuple(map(family_first, cleaned(authors))) if isinstance(authors, list | tuple) else (),
        year=year,
        doi=doi,
        pmid=pmid,
        url=url if url.lower().startswith(_WEB) else "",
        topics=distinct(()),
    )


def _without_title(text: str, title: str) -> str:
    """Some sets begin a document's text with its title once more."""
    return text[len(title) :].lstrip(" .:\n") if title and text.casefold().startswith(title.casefold()) else text
