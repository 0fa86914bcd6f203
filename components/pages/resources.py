"""What all sessions share, in caches of bounded size: open atlases, loaded encoders, measured times, agreements."""

import contextlib
import threading
from dataclasses import dataclass, field

import streamlit as st

from components.atlas import encoder_options, encoders, paths, store
from components.atlas.encoder_options import Cost, EncoderOption
from components.atlas.manifest import Manifest
from components.atlas.store import Atlas
from components.encoder.base import Encoder, EncoderUnavailable, Precision
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import LEXICAL
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.index.exact import Vectors
from components.search.compare import Agreement, agreement
from components.search.search import example_rows
from corpus.errors import CociteAtlasError
from corpus.progress import Progress
from corpus.sources.client import Client

_MAX_ATLASES = 4  # about 100 MB each at 20,000 papers
_MAX_ENCODERS = 3  # about 500 MB each at BERT-base: two to compare, and one more
_CHECKPOINT_SECONDS = 600  # a file may be replaced


def atlas(name: str) -> Atlas:
    """The open atlas of a name; reopened after it was built again. Raises NoSuchAtlas, AtlasDamaged."""
    manifest = store.read_manifest(name)
    opened = _open(name, manifest.folder)
    if opened.build == manifest.folder:
        opened.manifest = manifest  # a corpus that was renamed has another title
    return opened


@st.cache_resource(max_entries=_MAX_ATLASES, show_spinner=False)
def _open(name: str, build: str) -> Atlas:  # noqa: ARG001  (the build is part of the key)
    return store.open_atlas(name)


@st.cache_resource(max_entries=_MAX_ENCODERS, show_spinner=False)
def encoder(fingerprint: str, _source: str) -> BiEncoder:
    """The encoder of a catalogue name, folder or zip on this machine; nothing is downloaded.

    Raises EncoderUnavailable, UnknownEncoder; failures are not cached.
    """
    loaded = load_encoder(_source, local_files_only=True)
    if loaded.fingerprint != fingerprint:
        raise EncoderUnavailable(
            f"{loaded.name} has changed since the atlas was built: its fingerprint differs. Build the atlas again with "
            "it, or restore the former files."
        )
    return loaded


def encoder_of(manifest: Manifest) -> Encoder:
    """The encoder that an atlas was made with. Raises as `components.atlas.encoders.encoder_of` does."""
    if not manifest.encoder.takes_text:
        return encoders.encoder_of(manifest)  # raises TakesNoText
    if manifest.encoder.source == LEXICAL:
        return _fitted(manifest.name, manifest.folder, manifest)
    return encoder(manifest.encoder.fingerprint, manifest.encoder.source)


@st.cache_resource(max_entries=_MAX_ENCODERS, show_spinner=False)
def _fitted(name: str, build: str, _manifest: Manifest) -> Encoder:  # noqa: ARG001
    return encoders.encoder_of(_manifest, local_files_only=True)


@st.cache_resource(max_entries=32, show_spinner=False, ttl=_CHECKPOINT_SECONDS)
def checkpoint(source: str) -> Checkpoint:
    """The checkpoint of an encoder on this machine; its files are hashed once. Raises as `find_checkpoint` does."""
    return find_checkpoint(source, local_files_only=True)


@st.cache_data(max_entries=64, show_spinner=False)
def cost(name: str, build: str, precision: Precision, _option: EncoderOption, _atlas: Atlas) -> Cost:  # noqa: ARG001
    """What an atlas of these papers with an encoder takes, measured once. Raises EncoderUnavailable."""
    return encoder_options.cost(_option, _atlas, precision=precision)


@st.cache_data(max_entries=64, show_spinner=False)
def rough_cost(name: str, texts: tuple[tuple[str, str], ...], papers: int) -> float:
    """Seconds that a new corpus takes, measured once. Raises EncoderUnavailable."""
    return encoder_options.rough_cost(name, texts, papers=papers)


@st.cache_data(max_entries=256, show_spinner=False)
def text_vector(fingerprint: str, title: str, abstract: str, _encoder: Encoder) -> Vectors:  # noqa: ARG001
    """The vector of a text, cached so that a filter or a click does not encode it again."""
    vector: Vectors = _encoder.encode([(title, abstract)])[0]
    return vector


@st.cache_resource(show_spinner=False)
def client() -> Client:
    """The HTTP client of the pages: it gives up soon, as somebody waits. Answers are cached beside the atlases."""
    return Client(cache=paths.home() / ".answers", attempts=2, max_wait=10.0, timeout=15.0)


@st.cache_data(max_entries=16, show_spinner=False)
def examples(fingerprint: str, _atlas: Atlas) -> list[int]:  # noqa: ARG001
    """The rows of an atlas's example papers."""
    return example_rows(_atlas)


@dataclass
class _Computed:
    """An agreement, computed under the lock. st.cache_data cannot be used: its functions draw no progress."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    agreement: Agreement | None = None


@st.cache_resource(max_entries=64, show_spinner=False)
def _computed(first: str, second: str, k: int) -> _Computed:  # noqa: ARG001
    return _Computed()


def agreement_of(one: Atlas, other: Atlas, *, k: int, progress: Progress) -> Agreement:
    """How far two atlases agree on neighbours, computed once per pair of builds. Raises NothingToCompare."""
    first, second = sorted((one, other), key=lambda atlas: atlas.name)
    computed = _computed(first.build, second.build, k)
    with computed.lock:
        if computed.agreement is None:
            computed.agreement = agreement(first, second, k=k, progress=progress)
        return computed.agreement


def warm(manifest: Manifest) -> None:
    """Load an atlas's encoder in the background, so that the first search need not wait for it."""
    if manifest.encoder.fingerprint in _warmed or not manifest.encoder.takes_text:
        return
    _warmed.add(manifest.encoder.fingerprint)

    def load() -> None:
        with contextlib.suppress(CociteAtlasError):  # a search reports it
            encoder_of(manifest)

    threading.Thread(target=load, daemon=True, name="warm-encoder").start()


_warmed: set[str] = set()
