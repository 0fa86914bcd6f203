"""Which encoders can be chosen for a corpus: what each is, what of it is here, and what an atlas by it would take."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.atlas.corpora import atlases_of
from components.atlas.manifest import PRECOMPUTED, Manifest
from components.atlas.store import Atlas
from components.encoder.base import Precision
from components.encoder.bi_encoder import default_precision
from components.encoder.cache import own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL, CatalogueEntry, Pooling
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import is_here, partial_of
from components.encoder.errors import unreadable
from components.encoder.lexical import LexicalEncoder
from components.encoder.probe import probe
from components.encoder.tokenizer import load_tokenizer
from components.encoder.weights import bert_settings, bert_shapes

# Layers, heads and the feed-forward layer's width of the catalogue's models, by their dimensions.
_SIZES = {384: (6, 12, 1536), 768: (12, 12, 3072)}
# Of the map and the index, measured on two cores with 18,000 papers; less than a tenth of encoding at BERT-base.
_SECONDS_A_PAPER_BESIDES = 0.0025
_STARTING = 10  # seconds, until a process of its own has loaded what it needs
_SAMPLED = 200  # papers whose lengths stand for the corpus's
_LEARNT = 400  # papers that the lexical encoder's time is measured on
_SEED = 13

POOLINGS: dict[Pooling, str] = {
    "cls": "the last layer's [CLS]",
    "mean": "the mean over all word pieces",
    "scalar_mix": "[CLS] of all layers, in the mix that was learned",
}


@dataclass(frozen=True, slots=True)
class EncoderOption:
    """One encoder, for one corpus.

    entry: what the catalogue knows of it; None for the user's own. here: whether it can be used without a network.
    partial: bytes of a download that was stopped. atlases: those of the corpus that are by it.
    """

    name: str
    entry: CatalogueEntry | None
    here: bool
    partial: int
    atlases: tuple[Manifest, ...]

    @property
    def download(self) -> int:
        """About how many bytes are to be fetched before it can be used; 0: none."""
        return 0 if self.here or self.entry is None else max(0, self.entry.download_bytes - self.partial)

    @property
    def display_name(self) -> str:
        """Its name for people."""
        return self.atlases[0].encoder.display_name if self.atlases else self.name

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder, and not the vectors that came with some papers."""
        return self.name != PRECOMPUTED

    @property
    def neural(self) -> bool:
        """Whether it is a model, and no counting of words."""
        return self.name not in (LEXICAL, PRECOMPUTED)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an atlas takes on this machine, by a quick measurement: seconds of encoding, and of the map and index."""

    encoding: float
    besides: float
    device: str


def encoder_options(corpus: str) -> list[EncoderOption]:
    """All encoders that can be chosen for a corpus: the catalogue's in its order, then the user's own."""
    by_source: dict[str, list[Manifest]] = {}
    for manifest in atlases_of(corpus):
        by_source.setdefault(manifest.encoder.source, []).append(manifest)
    found = [
        EncoderOption(name, entry, is_here(name), partial_of(name), tuple(by_source.get(name, ())))
        for name, entry in CATALOGUE.items()
    ]
    for name, path in own_checkpoints().items():
        found.append(EncoderOption(name, None, True, 0, tuple(by_source.pop(str(path.resolve()), ()))))
    # Of a checkpoint that lies elsewhere, or is gone: its atlas can be seen and deleted still.
    found += [
        EncoderOption(source, None, False, 0, tuple(manifests))
        for source, manifests in by_source.items()
        if source not in CATALOGUE
    ]
    return found


def usable_encoders() -> list[str]:
    """The encoders that a new corpus can be built by without a network: the embedded one first, then in order."""
    here = [name for name in CATALOGUE if name != EMBEDDED and is_here(name)]
    return [EMBEDDED, *here, *own_checkpoints()]


def rough_cost(name: str, texts: Sequence[tuple[str, str]], *, papers: int) -> float:
    """Seconds that a corpus of so many papers takes, roughly, if all are as long as some titles and abstracts of it.

    Raises EncoderUnavailable for the user's own checkpoint that is none.
    """
    besides = _SECONDS_A_PAPER_BESIDES * papers
    if name == LEXICAL or not texts:
        return _STARTING + besides
    hidden, layers, heads, intermediate, most = _size_of(name)
    found = probe(
        hidden=hidden,
        layers=layers,
        heads=heads,
        intermediate=intermediate,
        lengths=_lengths(list(texts), most=most),
        precision=default_precision(),
    )
    return _STARTING + found.seconds_a_text * papers + besides


def option_name(source: str) -> str:
    """What an encoder is chosen by: its name in the catalogue or in own/; the path of one that lies elsewhere."""
    own = {str(path.resolve()): name for name, path in own_checkpoints().items()}
    return own.get(source, source)


def cost(choice: EncoderOption, atlas: Atlas, *, precision: Precision) -> Cost:
    """What an atlas of an open atlas's papers would take. Takes a second or two, and fetches nothing.

    Raises EncoderUnavailable for the user's own checkpoint that is none.
    """
    besides = _SECONDS_A_PAPER_BESIDES * len(atlas)
    sample = _sample(atlas, _LEARNT)
    if not choice.neural:
        return Cost(encoding=_learning(sample, len(atlas)), besides=besides, device="cpu")
    hidden, layers, heads, intermediate, most = _size_of(choice.name)
    found = probe(
        hidden=hidden,
        layers=layers,
        heads=heads,
        intermediate=intermediate,
        lengths=_lengths(sample[:_SAMPLED], most=most),
        precision=precision,
    )
    return Cost(encoding=found.seconds_a_text * len(atlas), besides=besides, device=found.device)


def _size_of(name: str) -> tuple[int, int, int, int, int]:
    """Hidden dimensions, layers, heads, feed-forward width and word pieces read of an encoder. Raises as _own_size."""
    if (entry := CATALOGUE.get(name)) is None:
        return _own_size(name)
    layers, heads, intermediate = _SIZES[entry.dimensions]
    return entry.dimensions, layers, heads, intermediate, entry.form.max_tokens


def _own_size(name: str) -> tuple[int, int, int, int, int]:
    """Hidden dimensions, layers, heads, feed-forward width and word pieces read of the user's own checkpoint.

    What is no BERT counts as a BERT-base. Raises EncoderUnavailable, also where the configuration asks for more numbers
    than the file of weights has bytes: it must not decide how much memory is taken here.
    """
    checkpoint = find_checkpoint(name, local_files_only=True)
    settings, most = bert_settings(checkpoint), checkpoint.form.max_tokens
    if settings is None:
        layers, heads, intermediate = _SIZES[768]
        return 768, layers, heads, intermediate, most
    numbers = sum(math.prod(shape) for shape in bert_shapes(settings, full=False).values())
    held = checkpoint.files[checkpoint.weights.name].size
    if numbers > held:
        raise unreadable(name, f"config.json asks for {numbers:,} weights, and {checkpoint.weights.name} is too small")
    return settings.hidden, settings.layers, settings.heads, settings.intermediate, most


def _sample(atlas: Atlas, count: int) -> list[tuple[str, str]]:
    rows = np.random.default_rng(_SEED).permutation(len(atlas))[:count]
    papers = atlas.papers.take(np.sort(rows))
    return list(zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True))


def _learning(sample: list[tuple[str, str]], papers: int) -> float:
    """Seconds that the lexical encoder takes to learn from so many papers and to encode them: a line through two sizes.

    The first fit loads scikit-learn, and does not count.
    """
    few = sample[: max(1, len(sample) // 2)]
    LexicalEncoder.fit(few)
    took = []
    for part in (few, sample):
        start = time.perf_counter()
        LexicalEncoder.fit(part).encode(part)
        took.append(time.perf_counter() - start)
    each = max(0.0, took[1] - took[0]) / max(1, len(sample) - len(few))
    return took[1] + each * (papers - len(sample))


def _lengths(texts: Sequence[tuple[str, str]], *, most: int) -> list[int]:
    """Word pieces of texts, by the embedded tokenizer: other vocabularies of English differ by a tenth."""
    tokenizer, _ = load_tokenizer(find_checkpoint(EMBEDDED))
    tokenizer.enable_truncation(max_length=most)
    return [
        len(encoding.ids) for encoding in tokenizer.encode_batch([f"{title} {abstract}" for title, abstract in texts])
    ]
