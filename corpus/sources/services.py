"""Web services: address, rate limit and how each takes its key."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One web service.

    interval, interval_with_key: seconds between two requests, as the service documents them.
    key: the name of its key, in the environment and in .streamlit/secrets.toml; "" where it takes none.
    key_parameter, key_header: how the key is sent; one of them is set.
    contact_parameter: how the contact address is sent in addition to the User-Agent, which always holds it.
    """

    name: str
    title: str
    base: str
    interval: float
    interval_with_key: float = 0.0
    key: str = ""
    key_parameter: str = ""
    key_header: str = ""
    contact_parameter: str = ""

    @property
    def url_variable(self) -> str:
        """The environment variable that sets another base URL: a mirror's, or a test's."""
        return f"COCITE_ATLAS_{self.name.upper()}_URL"


PUBMED = Service(
    name="pubmed",
    title="PubMed",
    base="https://eutils.ncbi.nlm.nih.gov/entrez/eutils",
    interval=0.35,  # 3 a second without a key, 10 with one
    interval_with_key=0.11,
    key="COCITE_ATLAS_NCBI_KEY",
    key_parameter="api_key",
    contact_parameter="email",
)
OPENALEX = Service(
    name="openalex",
    title="OpenAlex",
    base="https://api.openalex.org",
    interval=0.1,  # 100 a second are allowed; OpenAlex limits the cost per day instead
    key="COCITE_ATLAS_OPENALEX_KEY",
    key_parameter="api_key",
    contact_parameter="mailto",
)
SEMANTIC_SCHOLAR = Service(
    name="semantic_scholar",
    title="Semantic Scholar",
    base="https://api.semanticscholar.org/graph/v1",
    interval=1.1,  # one a second over all of its endpoints, with a key too
    key="COCITE_ATLAS_SEMANTIC_SCHOLAR_KEY",
    key_header="x-api-key",
)
EUROPE_PMC = Service(
    name="europe_pmc",
    title="Europe PMC",
    base="https://www.ebi.ac.uk/europepmc/webservices/rest",
    interval=0.1,
)
ARXIV = Service(
    name="arxiv",
    title="arXiv",
    base="https://export.arxiv.org/api",
    interval=3.0,  # "no more than one request every three seconds"
)
SERVICES = (PUBMED, OPENALEX, SEMANTIC_SCHOLAR, EUROPE_PMC, ARXIV)
