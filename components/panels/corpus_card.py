"""The corpus card panel: one corpus, drawn small, with what it holds and what can be done with it."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas.manifest import Manifest
from corpus.io.files import format_bytes
from corpus.text.markdown import escaped

_NAMED = 3  # encoders that are named; the others are counted


def corpus_card(
    atlases: Sequence[Manifest], *, thumbnail: str, bytes: int, due: str, actions: Callable[[], None]
) -> None:
    """Draw a corpus. atlases: all of it, the first the one that stands for it; at least one.

    thumbnail: an SVG, empty where there is none. bytes: on the disk, of all of them. due: why the map should be laid
    out again, empty where it need not. actions: draws what can be done with it.
    """
    first = atlases[0]
    with st.container(border=True, key=f"corpus-{first.corpus}"):
        picture, words = st.columns([4, 7], gap="medium", vertical_alignment="center")
        with picture:
            if thumbnail:
                st.image(thumbnail, width="stretch", alt=f"Map of {first.display_title}: {first.papers:,} points")
            else:
                st.caption("No map can be drawn.")
        with words:
            st.subheader(escaped(first.display_title), anchor=False)
            st.caption(f"{_facts(atlases, bytes)}  \n{_encoders(atlases)}")
            if due:
                st.caption(f":material/map: {escaped(due)}")
            with st.container(horizontal=True, vertical_alignment="center"):
                actions()


def _facts(atlases: Sequence[Manifest], size: int) -> str:
    most, least = max(one.papers for one in atlases), min(one.papers for one in atlases)
    papers = f"{most:,} paper{'s' if most != 1 else ''}"
    if least != most:
        papers += f" (by one encoder {least:,})"
    built = max(one.created for one in atlases)[:10]
    return f"{papers} · {format_bytes(size)} on disk · built {escaped(built)}"


def _encoders(atlases: Sequence[Manifest]) -> str:
    labels = [escaped(one.encoder.label) for one in atlases]
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return f"By {', '.join(labels[:_NAMED])}{more}"
