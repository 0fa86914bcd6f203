"""Datasets of the `ir_datasets` package by their id (beir/scifact, cord19/trec-covid, …), where it is installed.

The package downloads a dataset once, from its publisher, into a folder of its own.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from corpus.identifiers import Identifier, normalised_doi, pmid_of
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.sources.client import OFFLINE_VARIABLE, Client, is_offline
from corpus.sources.errors import PaperNotFound, SourceError, SourceRefused, SourceUnavailable
from corpus.sources.source import Page, Skipped, Source, bad_cursor, checked_query, split_records
from corpus.sources.values import as_abstract, as_text, as_title, clean_texts, family_first, first_text
from corpus.text.plain import clean

_PAGE = 500
_WEB = ("https://", "http://")


class IrDatasets(Source):
    """See `corpus.sources.source.Source`. A query is the id of a dataset; its documents are the records."""

    name = "ir_datasets"
    title = "ir_datasets"
    home = "https://ir-datasets.com/"
    help = "The id of a dataset whose documents have titles, as beir/scifact or cord19/trec-covid"
    kinds = ()

    def count(self, query: str, *, client: Client) -> int:  # noqa: ARG002
        """See Source. Without a download, where the package knows the number of documents; else 0."""
        return _count(load_dataset(query))

    def pages(
        self,
        query: str,
        *,
        client: Client,  # noqa: ARG002
        cursor: str = "",
        limit: int | None = None,  # noqa: ARG002
    ) -> Iterator[Page]:
        """See Source."""
        dataset = load_dataset(query)
        total = _count(dataset)
        if not (cursor or "0").isdigit():
            raise bad_cursor(self.title)
        start = int(cursor or 0)
        try:
            documents = islice(dataset.docs_iter(), start, None)
            while batch := list(islice(documents, _PAGE)):
                start += len(batch)
                papers, problems = split_records(map(document_paper, batch), title=self.title)
                more = len(batch) == _PAGE
                yield Page(papers=papers, problems=problems, cursor=str(start) if more else "", total=max(total, start))
                if not more:
                    return
        except SourceError:
            raise
        except (OSError, ValueError, RuntimeError, EOFError, LookupError) as error:
            # A dataset that cannot be downloaded or is damaged; errors of requests are OSErrors.
            raise SourceUnavailable(
                f"{self.title} could not read {clean(query)[:80]!r} ({type(error).__name__}). "
                "Check the network, and on ir-datasets.com whether the dataset must be downloaded by hand."
            ) from error
        yield Page(papers=(), problems=(), cursor="", total=max(total, start))

    def look_up(self, identifier: Identifier, *, client: Client) -> Paper:  # noqa: ARG002
        """See Source. Datasets are not searched for identifiers."""
        raise PaperNotFound(f"{self.title} does not look identifiers up.")


def load_dataset(query: str) -> Any:
    """A dataset whose documents have titles; nothing is downloaded yet. Raises SourceError."""
    name = checked_query(query, title=IrDatasets.title)
    if is_offline():
        raise SourceUnavailable(
            f"{IrDatasets.title} is not used, because it may download and {OFFLINE_VARIABLE} is set. Unset it."
        )
    try:
        import ir_datasets
    except ImportError as error:
        raise SourceUnavailable("The package ir-datasets is not installed. Run: pip install ir-datasets") from error
    try:
        dataset = ir_datasets.load(name)
    except KeyError as error:
        raise SourceRefused(
            f"{IrDatasets.title} has no dataset with the id {name[:80]!r}. Its catalogue is at {IrDatasets.home}."
        ) from error
    if not dataset.has_docs():
        raise SourceRefused(f"The dataset {name[:80]!r} has no documents. Choose the dataset that it is part of.")
    if "title" not in getattr(dataset.docs_cls(), "_fields", ()):
        raise SourceRefused(f"The documents of {name[:80]!r} have no titles. Choose a dataset of papers.")
    return dataset


def _count(dataset: Any) -> int:
    try:
        # From the package's catalogue: counting would download the dataset, which may take hours.
        count = dataset.metadata().get("docs", {}).get("count")
    except (AttributeError, LookupError, OSError, ValueError):
        count = None
    return count if isinstance(count, int) else 0


def document_paper(document: Any) -> Paper | Skipped:
    """A document as a paper. It keeps its own id, by which judgements name it."""

    def field(name: str) -> object:
        return getattr(document, name, None)

    number = clean(as_text(field("doc_id")))
    if not number:
        return Skipped("a document", "damaged", "no doc_id.")
    title = as_title(field("title"))
    year = year_of(first_text(field("year"), field("date")))
    doi = normalised_doi(as_text(field("doi")))
    pmid = pmid_of(first_text(field("pubmed_id"), field("pmid")))
    authors = field("authors")
    url = clean(as_text(field("url")))
    return Paper(
        id=number,
        title=title,
        abstract=_without_title(as_abstract(first_text(field("abstract"), field("text"))), title),
        authors=tuple(map(family_first, clean_texts(authors))) if isinstance(authors, list | tuple) else (),
        year=year,
        doi=doi,
        pmid=pmid,
        url=url if url.lower().startswith(_WEB) else "",
    )


def _without_title(text: str, title: str) -> str:
    """The text without the title that some datasets repeat before it."""
    return text[len(title) :].lstrip(" .:\n") if title and text.casefold().startswith(title.casefold()) else text
