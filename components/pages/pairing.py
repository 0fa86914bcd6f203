"""Which two atlases the Compare page shows: what its link asks for, and what of it can be had."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from components import atlas as store
from components.atlas import Atlas, AtlasDamaged
from components.corpora import atlases_of
from components.manifest import Manifest
from components.markdown import escaped
from components.medline import NAME as MEDLINE
from components.pages import resources
from components.panels.preparation import prepare_medline
from components.view import Pair
from corpus.errors import CociteAtlasError


def atlases_beside(name: str) -> list[Manifest]:
    """The atlases of the corpus that an atlas is of; none where the page says why."""
    if name == MEDLINE and MEDLINE not in store.atlas_names() and not prepare_medline(again=False):
        return []
    try:
        return atlases_of(store.read_manifest(name).corpus)
    except CociteAtlasError as error:
        _say(error)
    return []


def settled(link: Pair, found: Sequence[Manifest]) -> tuple[Pair, str]:
    """What a link asks for with both atlases chosen, and what of it could not be had; empty where all could.

    found: the atlases of the corpus, two at the least, one of them the left one where the link names one.
    """
    names, note = [manifest.name for manifest in found], ""
    left, right = link.left or next(name for name in names if name != link.right), link.right
    others = [name for name in names if name != left]
    if right not in others:
        if right and right != left:
            note = _why_not(right, corpus=found[0].corpus)
        right = others[0]
    return replace(link, left=left, right=right), note


def _why_not(name: str, *, corpus: str) -> str:
    try:
        other = store.read_manifest(name).corpus
    except CociteAtlasError as error:
        return f"{error} Another atlas of {corpus!r} is shown in its place."
    return (
        f"{name!r} is an atlas of the corpus {other!r}, and the left one is of {corpus!r}: they have other papers. "
        f"Another atlas of {corpus!r} is shown in its place."
    )


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
