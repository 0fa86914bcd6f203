"""What all sessions share: open atlases and loaded encoders, each once a process, bounded in number."""

import contextlib
import threading

import streamlit as st

from components import atlas as store
from components.atlas import Atlas
from components.encoder import BiEncoder, load_encoder
from components.index import Vectors
from components.search import example_rows
from corpus.errors import CociteAtlasError

_OPEN_ATLASES = 4  # some 100 MB each at 20,000 papers
_LOADED_ENCODERS = 2  # some 500 MB each at BERT-base


def atlas(name: str) -> Atlas:
    """The open atlas of a name, opened again when it was built again. Raises NoSuchAtlas, AtlasDamaged."""
    return _open(name, store.read_manifest(name).folder)


@st.cache_resource(max_entries=_OPEN_ATLASES, show_spinner=False)
def _open(name: str, build: str) -> Atlas:  # noqa: ARG001  (the build is part of the key)
    return store.open_atlas(name)


@st.cache_resource(max_entries=_LOADED_ENCODERS, show_spinner=False)
def encoder(source: str, _on_this_machine: bool = False) -> BiEncoder:
    """The encoder of a catalogue name or folder, fetched from the hub unless it must be on this machine already.

    Raises EncoderUnavailable, UnknownEncoder; a failure is not remembered, so the next search tries again.
    """
    return load_encoder(source, local_files_only=_on_this_machine)


@st.cache_data(max_entries=256, show_spinner=False)
def text_vector(fingerprint: str, title: str, abstract: str, _encoder: BiEncoder) -> Vectors:  # noqa: ARG001
    """The vector of a text, remembered in this process so that a filter or a click does not encode it again."""
    vector: Vectors = _encoder.encode([(title, abstract)])[0]
    return vector


@st.cache_data(max_entries=16, show_spinner=False)
def examples(fingerprint: str, _atlas: Atlas) -> list[int]:  # noqa: ARG001
    """The rows of an atlas's example papers, chosen once."""
    return example_rows(_atlas)


def warm(source: str) -> None:
    """Load an encoder behind the page's back, so that the first search need not wait for it. Fetches nothing."""
    if source in _warmed:
        return
    _warmed.add(source)
    threading.Thread(target=_load_quietly, args=(source,), daemon=True, name="warm-encoder").start()


_warmed: set[str] = set()


def _load_quietly(source: str) -> None:
    # What is wrong with it is said to the person who searches; here nobody is waiting yet.
    with contextlib.suppress(CociteAtlasError):
        encoder(source, _on_this_machine=True)
