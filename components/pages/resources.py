"""What all sessions share: open atlases and loaded encoders, each once a process, bounded in number."""

import contextlib
import threading
from dataclasses import dataclass, field

import streamlit as st

from components.atlas import encoder_options as choices
from components.atlas import encoders as atlas_encoder
from components.atlas import paths, store
from components.atlas.encoder_options import Cost, EncoderOption
from components.atlas.manifest import Manifest
from components.atlas.store import Atlas
from components.encoder.base import Encoder, Precision
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import LEXICAL
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.encoder.errors import EncoderUnavailable
from components.index.exact import Vectors
from components.search.compare import Agreement, agreement
from components.search.search import example_rows
from corpus.errors import CociteAtlasError
from corpus.progress import Progress
from corpus.sources.client import Client

_OPEN_ATLASES = 4  # some 100 MB each at 20,000 papers
_LOADED_ENCODERS = 3  # some 500 MB each at BERT-base: two to compare, and one more
_REMEMBERED = 600  # seconds: a file may be put in the place of another


def atlas(name: str) -> Atlas:
    """The open atlas of a name, opened again when it was built again. Raises NoSuchAtlas, AtlasDamaged."""
    manifest = store.read_manifest(name)
    found = _open(name, manifest.folder)
    if found.build == manifest.folder:
        found.manifest = manifest  # a corpus that was renamed since has other words in it, and nothing else
    return found


@st.cache_resource(max_entries=_OPEN_ATLASES, show_spinner=False)
def _open(name: str, build: str) -> Atlas:  # noqa: ARG001  (the build is part of the key)
    return store.open_atlas(name)


@st.cache_resource(max_entries=_LOADED_ENCODERS, show_spinner=False)
def encoder(fingerprint: str, _source: str) -> BiEncoder:
    """The encoder of a catalogue name or of a folder or zip, which must be on this machine: a search fetches nothing.

    Raises EncoderUnavailable, UnknownEncoder; a failure is not remembered, so the next search tries again.
    """
    found = load_encoder(_source, local_files_only=True)
    if found.fingerprint != fingerprint:  # raised, and so not remembered under a fingerprint that it has not
        raise EncoderUnavailable(
            f"{found.name} is not what it was when the atlas was built: its fingerprint is another. Build the atlas "
            "again with it, or put the former files back."
        )
    return found


def encoder_of(manifest: Manifest) -> Encoder:
    """The encoder that an atlas was made with. Raises as `components.atlas.encoders.encoder_of` does."""
    if not manifest.encoder.takes_text:
        return atlas_encoder.encoder_of(manifest)  # which says so
    if manifest.encoder.source == LEXICAL:
        return _fitted(manifest.name, manifest.folder, manifest)
    return encoder(manifest.encoder.fingerprint, manifest.encoder.source)


@st.cache_resource(max_entries=_LOADED_ENCODERS, show_spinner=False)
def _fitted(name: str, build: str, _manifest: Manifest) -> Encoder:  # noqa: ARG001
    """The encoder that was fitted on one atlas's papers, and lies with it."""
    return atlas_encoder.encoder_of(_manifest, local_files_only=True)


@st.cache_resource(max_entries=32, show_spinner=False, ttl=_REMEMBERED)
def checkpoint(source: str) -> Checkpoint:
    """The checkpoint of an encoder that is here; its files are hashed once. Raises as `find_checkpoint` does."""
    return find_checkpoint(source, local_files_only=True)


@st.cache_data(max_entries=64, show_spinner=False)
def cost(name: str, build: str, precision: Precision, _choice: EncoderOption, _atlas: Atlas) -> Cost:  # noqa: ARG001
    """What an atlas of these papers by an encoder would take, measured once. Raises EncoderUnavailable."""
    return choices.cost(_choice, _atlas, precision=precision)


@st.cache_data(max_entries=64, show_spinner=False)
def rough_cost(name: str, texts: tuple[tuple[str, str], ...], papers: int) -> float:
    """Seconds that a new corpus would take, measured once. Raises EncoderUnavailable."""
    return choices.rough_cost(name, texts, papers=papers)


@st.cache_data(max_entries=256, show_spinner=False)
def text_vector(fingerprint: str, title: str, abstract: str, _encoder: Encoder) -> Vectors:  # noqa: ARG001
    """The vector of a text, remembered in this process so that a filter or a click does not encode it again."""
    vector: Vectors = _encoder.encode([(title, abstract)])[0]
    return vector


@st.cache_resource(show_spinner=False)
def client() -> Client:
    """What the pages ask services with: somebody waits, so it gives up soon. Answers are kept beside the atlases."""
    return Client(cache=paths.home() / ".answers", attempts=2, max_wait=10.0, timeout=15.0)


@st.cache_data(max_entries=16, show_spinner=False)
def examples(fingerprint: str, _atlas: Atlas) -> list[int]:  # noqa: ARG001
    """The rows of an atlas's example papers, chosen once."""
    return example_rows(_atlas)


@dataclass
class _Place:
    """Where an agreement is kept once it is known; whoever holds the lock finds it out."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    found: Agreement | None = None


@st.cache_resource(max_entries=64, show_spinner=False)
def _place(first: str, second: str, k: int) -> _Place:  # noqa: ARG001
    return _Place()


def agreement_of(one: Atlas, other: Atlas, *, k: int, progress: Progress) -> Agreement:
    """How far two atlases agree on neighbours, found out once a pair of builds, whichever of them comes first.

    progress: as of `agreement`, which a cached function could not draw. Raises NothingToCompare.
    """
    first, second = sorted((one, other), key=lambda atlas: atlas.name)
    place = _place(first.build, second.build, k)
    with place.lock:
        if place.found is None:
            place.found = agreement(first, second, k=k, progress=progress)
        return place.found


def warm(manifest: Manifest) -> None:
    """Load an atlas's encoder behind the page's back, so that the first search need not wait for it."""
    if manifest.encoder.fingerprint in _warmed or not manifest.encoder.takes_text:
        return
    _warmed.add(manifest.encoder.fingerprint)
    threading.Thread(target=_load_quietly, args=(manifest,), daemon=True, name="warm-encoder").start()


_warmed: set[str] = set()


def _load_quietly(manifest: Manifest) -> None:
    # What is wrong with it is said to the person who searches; here nobody is waiting yet.
    with contextlib.suppress(CociteAtlasError):
        encoder_of(manifest)
