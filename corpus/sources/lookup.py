"""All sources, and which of them are asked for an identifier, in which order."""

from collections.abc import Mapping, Sequence

from corpus.identifiers import Identifier, IdentifierKind
from corpus.paper import Paper
from corpus.sources.arxiv import ArXiv
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import PaperNotFound, SourceError, SourceUnavailable
from corpus.sources.europe_pmc import EuropePMC
from corpus.sources.ir_sets import IrDatasets
from corpus.sources.openalex import OpenAlex
from corpus.sources.pubmed import PubMed
from corpus.sources.semantic_scholar import SemanticScholar
from corpus.sources.source import Source

# In the order in which a page offers them.
SOURCES: dict[str, Source] = {
    source.name: source for source in (PubMed(), OpenAlex(), SemanticScholar(), EuropePMC(), ArXiv(), IrDatasets())
}
# First the service that holds the record itself, then those with the most abstracts.
ORDER: Mapping[IdentifierKind, Sequence[str]] = {
    "pmid": ("pubmed", "europe_pmc", "openalex", "semantic_scholar"),
    "doi": ("openalex", "europe_pmc", "semantic_scholar"),
    "pmcid": ("europe_pmc", "openalex", "semantic_scholar"),
    "arxiv": ("arxiv", "semantic_scholar"),
    "s2": ("semantic_scholar",),
}


def look_up(identifier: Identifier, *, sources: Mapping[str, Source] = SOURCES, client: Client | None = None) -> Paper:
    """The paper with an identifier, from the first service that has its title and abstract.

    Where none has an abstract: the first with a title, its abstract "". Raises PaperNotFound where every service
    answered without it; SourceUnavailable, or another SourceError, where one that may have it could not be asked.
    """
    client = client or shared_client()
    without_abstract: Paper | None = None
    failures: list[SourceError] = []
    unknown_to: list[str] = []
    for source in (sources[name] for name in ORDER[identifier.kind]):
        try:
            paper = source.look_up(identifier, client=client)
        except PaperNotFound:
            unknown_to.append(source.title)
            continue
        except SourceError as error:
            failures.append(error)
            continue
        if paper.title and paper.abstract:
            return paper
        if paper.title:
            without_abstract = without_abstract or paper
        unknown_to.append(source.title)
    if without_abstract is not None:
        return without_abstract
    names = " and ".join(filter(None, (", ".join(unknown_to[:-1]), *unknown_to[-1:])))
    no_paper = f"{names} {'has' if len(unknown_to) == 1 else 'have'} no paper with {identifier}"
    if not failures:
        raise PaperNotFound(f"{no_paper}. Check it for typing errors.")
    if not unknown_to and all(isinstance(failure, SourceUnavailable) for failure in failures):
        raise failures[0]  # most likely one cause for all
    before = f"{no_paper}, and others could not be asked. " if unknown_to else ""
    raise type(failures[0])(f"{before}{failures[0]}") from failures[0]
