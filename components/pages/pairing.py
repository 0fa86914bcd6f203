"""Which two atlases the Compare page shows: what its link asks for, and what of it can be had."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from components.atlas import paths, store
from components.atlas.corpora import atlases_of
from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.store import Atlas, AtlasDamaged
from components.pages import resources
from components.panels.preparation import prepare_medline
from components.search.view import Pair
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped


def atlases_beside(link: Pair) -> list[Manifest]:
    """The atlases of the corpus that a link is about: the left atlas's, or else the right one's, or the default one.

    None where the page says why.
    """
    names = [name for name in (link.left, link.right) if name] or [MEDLINE]
    if MEDLINE in names and MEDLINE not in paths.atlas_names() and not prepare_medline(again=False):
        return []
    errors = []
    for name in names:
        try:
            return atlases_of(store.read_manifest(name).corpus)
        except CociteAtlasError as error:
            errors.append(error)
    for found in errors:
        _say(found)
    return []


def settled(link: Pair, found: Sequence[Manifest]) -> tuple[Pair, list[str]]:
    """What a link asks for with both atlases chosen, and what of it could not be had.

    found: the atlases of the corpus, two at the least.
    """
    names, corpus = [manifest.name for manifest in found], found[0].corpus
    notes = [_why_not(name, corpus=corpus) for name in (link.left, link.right) if name and name not in names]
    left = link.left if link.left in names else next(name for name in names if name != link.right)
    others = [name for name in names if name != left]
    return replace(link, left=left, right=link.right if link.right in others else others[0]), notes


def _why_not(name: str, *, corpus: str) -> str:
    instead = f"Another atlas of {corpus!r} is shown in place of {name!r}"
    try:
        return f"{instead}, which is of the corpus {store.read_manifest(name).corpus!r} and has other papers."
    except CociteAtlasError as error:
        return f"{instead}. {error}"


def labels(found: Sequence[Manifest]) -> dict[str, str]:
    """What each atlas is called: by its encoder, and by its own name too where two have the same one."""
    told = [manifest.encoder.label for manifest in found]
    return {
        manifest.name: label if told.count(label) == 1 else f"{label} · {manifest.name}"
        for manifest, label in zip(found, told, strict=True)
    }


def opened(name: str) -> Atlas | None:
    """The open atlas; None where the page says why it cannot be opened."""
    try:
        return resources.atlas(name)
    except CociteAtlasError as error:
        _say(error)
        return None


def _say(error: CociteAtlasError) -> None:
    st.error(escaped(str(error)), icon=f":material/{'broken_image' if isinstance(error, AtlasDamaged) else 'error'}:")
