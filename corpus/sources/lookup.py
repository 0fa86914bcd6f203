"""Which service is asked for which identifier, and which one next."""

from collections.abc import Mapping, Sequence

from corpus.paper import Paper
from corpus.sources.client import Client, shared_client
from corpus.sources.errors import PaperNotFound, SourceError, SourceUnavailable
from corpus.sources.identifiers import Identifier, Kind
from corpus.sources.source import Source

# Those first that hold the record itself; then those that hold the most abstracts.
ORDER: Mapping[Kind, Sequence[str]] = {
    "pmid": ("pubmed", "europe_pmc", "openalex", "semantic_scholar"),
    "doi": ("openalex", "europe_pmc", "semantic_scholar"),
    "pmcid": ("europe_pmc", "openalex", "semantic_scholar"),
    "arxiv": ("arxiv", "semantic_scholar"),
    "s2": ("semantic_scholar",),
}


def look_up(identifier: Identifier, *, sources: Mapping[str, Source], client: Client | None = None) -> Paper:
    """The paper with an identifier, from the first service that has its title and its abstract.

    Where none has an abstract, the first with a title; its abstract is then "". Raises PaperNotFound where all that
    answered do not know it, and SourceUnavailable, or what else went wrong, where one that might could not be asked.
    """
    asked = client or shared_client()
    bare: Paper | None = None
    failures: list[SourceError] = []
    unknown: list[str] = []
    for name in ORDER[identifier.kind]:
        source = sources[name]
        try:
            paper = source.look_up(identifier, client=asked)
        except PaperNotFound:
            unknown.append(source.title)
            continue
        except SourceError as error:
            failures.append(error)
            continue
        if paper.title and paper.abstract:
            return paper
        if paper.title and bare is None:
            bare = paper
        unknown.append(source.title)
    if bare is not None:
        return bare
    if not failures:
        raise PaperNotFound(f"{_listed(unknown)} {_verb(unknown)} no paper with {identifier}. Check it for slips.")
    if not unknown and all(isinstance(failure, SourceUnavailable) for failure in failures):
        # One cause, most likely; the first sentence says it all.
        raise failures[0]
    told = f"{_listed(unknown)} {_verb(unknown)} no paper with {identifier}, and others could not be asked. "
    raise type(failures[0])((told if unknown else "") + str(failures[0])) from failures[0]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _verb(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
