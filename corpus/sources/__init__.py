"""Sources: where papers come from when the user brings no file.

Only ids and queries leave the machine. `look_up` takes an Identifier, which `identifier_in` finds in a text that is
one and in no other; no function here takes a text to send.

    SOURCES["pubmed"].count("asthma[mesh]")
    fetch(SOURCES["pubmed"], "asthma[mesh]", Path("asthma"), most=1_000).summary()
    look_up(identifier_in("10.1000/abc"))
"""

from collections.abc import Mapping
from types import MappingProxyType

from corpus.paper import Paper
from corpus.sources import lookup
from corpus.sources.arxiv import ArXiv
from corpus.sources.client import CONTACT_VARIABLE, KEY_VARIABLES, OFFLINE_VARIABLE, Client
from corpus.sources.errors import (
    BadAnswer,
    PaperNotFound,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from corpus.sources.europe_pmc import EuropePMC
from corpus.sources.fetching import FetchReport, fetch
from corpus.sources.identifiers import Identifier, identifier_in
from corpus.sources.ir_sets import IrDatasets
from corpus.sources.openalex import OpenAlex
from corpus.sources.pubmed import PubMed
from corpus.sources.semantic_scholar import SemanticScholar
from corpus.sources.source import Page, Source

__all__ = [
    "CONTACT_VARIABLE",
    "KEY_VARIABLES",
    "OFFLINE_VARIABLE",
    "SOURCES",
    "BadAnswer",
    "Client",
    "FetchReport",
    "Identifier",
    "Page",
    "PaperNotFound",
    "Source",
    "SourceError",
    "SourceRefused",
    "SourceUnavailable",
    "fetch",
    "identifier_in",
    "look_up",
]

_ALL: tuple[Source, ...] = (PubMed(), OpenAlex(), SemanticScholar(), EuropePMC(), ArXiv(), IrDatasets())
# In the order in which a page offers them.
SOURCES: Mapping[str, Source] = MappingProxyType({source.name: source for source in _ALL})


def look_up(identifier: Identifier, *, client: Client | None = None) -> Paper:
    """The paper with an identifier, from the first service that has title and abstract; see `corpus.sources.lookup`.

    Its abstract may be "". Raises PaperNotFound, SourceUnavailable and other SourceErrors.
    """
    return lookup.look_up(identifier, sources=SOURCES, client=client)
