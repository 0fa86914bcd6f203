"""Encoder options of a corpus: what each encoder is, whether it is on this machine, and what an atlas would take."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from components.atlas.corpora import atlases_of
from components.atlas.manifest import PRECOMPUTED, Manifest
from components.atlas.store import Atlas
from components.encoder.base import Precision, unreadable
from components.encoder.bi_encoder import default_precision
from components.encoder.cache import own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL, CatalogueEntry, Pooling
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import is_available, partial_bytes
from components.encoder.lexical import LexicalEncoder
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import bert_config

if TYPE_CHECKING:
    from components.encoder.probe import Probe

# Layers, heads and the feed-forward layer's width of the catalogue's models, by their dimensions.
_SIZES = {384: (6, 12, 1536), 768: (12, 12, 3072)}
# Of the map and the index, measured on two cores with 18,000 papers; less than a tenth of encoding at BERT-base.
_OTHER_SECONDS_PER_PAPER = 0.0025
_START_SECONDS = 10  # until a process of its own has loaded what it needs
_LENGTH_SAMPLE = 200  # papers whose lengths stand for the corpus's
_LEXICAL_SAMPLE = 400  # papers that the lexical encoder's time is measured on
_SEED = 13

POOLINGS: dict[Pooling, str] = {
    "cls": "the last layer's [CLS]",
    "mean": "the mean over all word pieces",
    "scalar_mix": "[CLS] of all layers, in the mix that was learned",
}


@dataclass(frozen=True, slots=True)
class EncoderOption:
    """One encoder, for one corpus.

    entry: its catalogue entry; None for the user's own. here: whether it works without a network.
    partial: bytes of a stopped download. atlases: those of the corpus by this encoder.
    """

    name: str
    entry: CatalogueEntry | None
    here: bool
    partial: int
    atlases: tuple[Manifest, ...]

    @property
    def download(self) -> int:
        """About how many bytes must be downloaded before it can be used."""
        return 0 if self.here or self.entry is None else max(0, self.entry.download_bytes - self.partial)

    @property
    def display_name(self) -> str:
        """The name that people read."""
        return self.atlases[0].encoder.display_name if self.atlases else self.name

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder, not precomputed vectors."""
        return self.name != PRECOMPUTED

    @property
    def neural(self) -> bool:
        """Whether it is a neural model."""
        return self.name not in (LEXICAL, PRECOMPUTED)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an atlas takes on this machine, measured: seconds of encoding, and of the map and the index."""

    encoding: float
    besides: float
    device: str


def encoder_options(corpus: str) -> list[EncoderOption]:
    """All encoders that can be chosen for a corpus: the catalogue's in its order, then the user's own."""
    by_source: dict[str, list[Manifest]] = {}
    for manifest in atlases_of(corpus):
        by_source.setdefault(manifest.encoder.source, []).append(manifest)
    options = [
        EncoderOption(name, entry, is_available(name), partial_bytes(name), tuple(by_source.pop(name, ())))
        for name, entry in CATALOGUE.items()
    ]
    for name, path in own_checkpoints().items():
        options.append(EncoderOption(name, None, True, 0, tuple(by_source.pop(str(path.resolve()), ()))))
    # Atlases by a checkpoint that lies elsewhere, or is gone, can still be seen and deleted.
    options += [EncoderOption(source, None, False, 0, tuple(manifests)) for source, manifests in by_source.items()]
    return options


def usable_encoders() -> list[str]:
    """The encoders that need no network: the embedded one first, then in order."""
    here = [name for name in CATALOGUE if name != EMBEDDED and is_available(name)]
    return [EMBEDDED, *here, *own_checkpoints()]


def option_name(source: str) -> str:
    """The name of an encoder option by its source: in the catalogue or in own/; the path of one that lies elsewhere."""
    own = {str(path.resolve()): name for name, path in own_checkpoints().items()}
    return own.get(source, source)


def rough_cost(name: str, texts: Sequence[tuple[str, str]], *, papers: int) -> float:
    """Seconds that a corpus of so many papers takes, if all are as long as some of its titles and abstracts.

    Raises EncoderUnavailable for an invalid checkpoint of the user's own.
    """
    seconds = _START_SECONDS + _OTHER_SECONDS_PER_PAPER * papers
    if name != LEXICAL and texts:
        seconds += _probe(name, texts, default_precision()).seconds_a_text * papers
    return seconds


def cost(option: EncoderOption, atlas: Atlas, *, precision: Precision) -> Cost:
    """What an atlas of an open atlas's papers would take. Takes a second or two, and downloads nothing.

    Raises EncoderUnavailable for an invalid checkpoint of the user's own.
    """
    besides = _OTHER_SECONDS_PER_PAPER * len(atlas)
    rows = np.random.default_rng(_SEED).permutation(len(atlas))[:_LEXICAL_SAMPLE]
    papers = atlas.papers.take(np.sort(rows))
    sample = list(zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True))
    if not option.neural:
        return Cost(encoding=_lexical_seconds(sample, len(atlas)), besides=besides, device="cpu")
    probed = _probe(option.name, sample[:_LENGTH_SAMPLE], precision)
    return Cost(encoding=probed.seconds_a_text * len(atlas), besides=besides, device=probed.device)


def _probe(name: str, texts: Sequence[tuple[str, str]], precision: Precision) -> "Probe":
    """Time a model of an encoder's size on texts of these lengths."""
    from components.encoder.probe import probe

    hidden, layers, heads, intermediate, max_tokens = _size_of(name)
    # Lengths by the embedded tokenizer: other English vocabularies differ by a tenth.
    tokenizer, _ = load_tokenizer(find_checkpoint(EMBEDDED))
    tokenizer.enable_truncation(max_length=max_tokens)
    encodings = tokenizer.encode_batch([f"{title} {abstract}" for title, abstract in texts])
    return probe(
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        intermediate_size=intermediate,
        lengths=[len(encoding.ids) for encoding in encodings],
        precision=precision,
    )


def _size_of(name: str) -> tuple[int, int, int, int, int]:
    """Hidden dimensions, layers, heads, feed-forward width and word pieces read of an encoder.

    Other architectures than BERT count as BERT-base. Raises EncoderUnavailable, also where a user's configuration asks
    for more numbers than the file of weights has bytes: it must not decide how much memory is taken here.
    """
    if (entry := CATALOGUE.get(name)) is not None:
        return entry.dimensions, *_SIZES[entry.dimensions], entry.form.max_tokens
    checkpoint = find_checkpoint(name, local_files_only=True)
    settings, max_tokens = bert_config(checkpoint), checkpoint.form.max_tokens
    if settings is None:
        return 768, *_SIZES[768], max_tokens
    numbers = sum(math.prod(shape) for shape in settings.shapes().values())
    if numbers > checkpoint.files[checkpoint.weights.name].size:
        raise unreadable(name, f"config.json asks for {numbers:,} weights, and {checkpoint.weights.name} is too small")
    return (
        settings.hidden_size,
        settings.num_hidden_layers,
        settings.num_attention_heads,
        settings.intermediate_size,
        max_tokens,
    )


def _lexical_seconds(sample: list[tuple[str, str]], papers: int) -> float:
    """Seconds that the lexical encoder takes to learn from and encode so many papers: a line through two sizes."""
    few = sample[: max(1, len(sample) // 2)]
    LexicalEncoder.fit(few)  # the first fit loads scikit-learn
    took = []
    for part in (few, sample):
        start = time.perf_counter()
        LexicalEncoder.fit(part).encode(part)
        took.append(time.perf_counter() - start)
    per_paper = max(0.0, took[1] - took[0]) / max(1, len(sample) - len(few))
    return took[1] + per_paper * (papers - len(sample))
