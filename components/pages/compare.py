"""The Compare page: one query, two encoders of a corpus side by side, and how far they agree overall."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.store import Atlas
from components.encoder.base import TextCoverage
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.mapping.palette import REGION_COLOURS
from components.pages import frame, pairing, resources, session
from components.pages import query_state as asking
from components.panels.atlas_map import atlas_map
from components.panels.comparison import comparison_panel, list_head, searched_from
from components.panels.neighbour_agreement import neighbour_agreement
from components.panels.pair_bar import LEFT, PAIR_K, RIGHT, pair_bar
from components.panels.paper_list import paper_list
from components.panels.query_box import query_box
from components.search.cards import compared_card, moved, telling_topics
from components.search.compare import Agreeing, ComparedSearch, compare_queries
from components.search.search import Query, SearchResult, search, seed_query
from components.search.view import Colour, Pair, View
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_DEPTH = 100  # ranks: how far down a paper is looked for that the other list holds
_LIKE = "Compare from this paper"
_STILL = f"Papers as queries go on working, for their vectors are in the atlas: “{_LIKE}”, at any paper of this page."
_PAPER, _COLOUR, _CARD = "compared-paper", "compared-colour", "compared-card"


@dataclass(slots=True)
class _Side:
    """One of the two: its atlas, what it is called, and its answer or why there is none."""

    atlas: Atlas
    label: str
    query: Query | None = None
    reading: TextCoverage | None = None
    result: SearchResult | None = None
    blocked: str = ""


def compare() -> None:
    """Draw the page."""
    head = st.container()
    link = Pair.from_params({name: st.query_params.get_all(name) for name in st.query_params})
    found = pairing.atlases_beside(link)
    if len(found) < 2:
        with head:
            frame.masthead(atlas=found[0].name if found else link.left or MEDLINE)
        if found:
            _too_few(found[0])
        elif link.left or link.right:
            st.button("Compare encoders on the default corpus", on_click=_show, args=(Pair(),))
        return
    pair, notes = pairing.settled(link, found)
    session.remember_pair(pair)
    with head:
        frame.masthead(atlas=pair.left)
    labels = pairing.labels(found)
    st.session_state[LEFT], st.session_state[RIGHT], st.session_state[PAIR_K] = pair.left, pair.right, pair.k
    pair_bar(
        labels,
        on_left=lambda: _on_left(pair),
        on_right=lambda: _on_right(pair),
        on_swap=lambda: _show(replace(pair, left=pair.right, right=pair.left)),
        on_k=lambda: _show(replace(pair, k=st.session_state[PAIR_K])),
    )
    for note in notes:
        st.warning(escaped(note), icon=":material/link_off:")
    with st.spinner("Opening both atlases…"):
        atlases = [pairing.opened(name) for name in (pair.left, pair.right)]
    sides = [_Side(atlas, labels[atlas.name]) for atlas in atlases if atlas is not None]
    _compare(pair, sides)
    for side in sides:
        resources.warm(side.atlas.manifest)


def _too_few(only: Manifest) -> None:
    with st.container(key="too-few"):
        st.subheader(f"One atlas of {escaped(only.display_title)} so far", anchor=False)
        st.markdown(
            f"Comparing takes two atlases: the same papers, encoded by two encoders. There is one, by "
            f"**{escaped(only.encoder.label)}**. {_beside(only)}"
        )
        other = EMBEDDED if only.encoder.source == LEXICAL else LEXICAL
        st.page_link(
            frame.page("Encoders"),
            label="Build another atlas",
            query_params={"atlas": only.name, "encoder": other},
            icon=":material/construction:",
        )


def _beside(only: Manifest) -> str:
    if only.encoder.source == LEXICAL:
        return f"**{EMBEDDED}** comes with the app, and compares meanings in place of words."
    return (
        f"The quickest to have beside it is **{LEXICAL}**, which compares words in place of meanings: it downloads "
        "nothing and is built in a minute or two."
    )


def _show(pair: Pair) -> None:
    st.query_params.from_dict(pair.to_params())


def _on_left(before: Pair) -> None:
    left: str = st.session_state[LEFT]
    _show(replace(before, left=left, right=before.left if left == before.right else before.right))


def _on_right(before: Pair) -> None:
    right: str = st.session_state[RIGHT]
    _show(replace(before, right=right, left=before.right if right == before.left else before.left))


# ---------------------------------------------------------------- the query, and both answers


def _compare(pair: Pair, sides: Sequence[_Side]) -> None:
    """Draw the page below the bar. sides: both; fewer where the page has said why it could not open them."""
    asking.restore_fields("Compare")
    seeds = [paper for paper in pair.like if all(side.atlas.row_of(paper) is not None for side in sides)]
    left, right = st.columns([5, 7], gap="large")
    with left:
        box = st.container()
        found = _answer(pair, sides, seeds) if len(sides) == 2 else None
        with box:
            _query_box(pair, sides, seeds)
        if missing := len(pair.like) - len(seeds):
            words = "1 paper of this link is" if missing == 1 else f"{missing} papers of this link are"
            st.warning(f"{words} not in both atlases.", icon=":material/link_off:")
    if len(sides) < 2:
        return
    with right:
        if found is not None:
            comparison_panel(found.comparison, left=sides[0].label, right=sides[1].label)
        elif not any(side.blocked for side in sides):
            _overall(pair, sides)  # nothing was asked yet: it stands where the answer will
            return
    _lists(pair, sides, found)
    _maps(pair, sides)
    st.divider()
    _overall(pair, sides)


def _query_box(pair: Pair, sides: Sequence[_Side], seeds: Sequence[str]) -> None:
    asked = session.asked()
    readings = [side.reading for side in sides if side.reading is not None and side.reading.complete]
    complete = len(readings) == len(sides)  # what only one of them read is said above its list
    atlas = sides[0].atlas if sides else None
    examples = resources.examples(atlas.build, atlas) if atlas and not asked and not seeds else []
    query_box(
        understood=asked,
        searched=not seeds,
        reading=next((reading for reading in readings if not reading.skips), None) if complete else None,
        examples=atlas.titles(examples) if atlas else [],
        blocked="",
        on_search=lambda: _on_search(pair),
        on_example=lambda place: _on_example(pair, sides, examples[place]),
    )
    if seeds and atlas:
        rows = [row for paper in seeds if (row := atlas.row_of(paper)) is not None]
        searched_from(atlas.titles(rows), on_drop=lambda: _show(replace(pair, like=())))


def _on_search(pair: Pair) -> None:
    asking.take_paste()
    _show(replace(pair, like=()))


def _on_example(pair: Pair, sides: Sequence[_Side], row: int) -> None:
    atlas = sides[0].atlas
    if all(side.atlas.manifest.encoder.takes_text for side in sides):
        asking.take_paper(atlas, row)
        _show(replace(pair, like=()))
    else:
        _show(replace(pair, like=(atlas.paper(row).id,)))


def _on_like(pair: Pair, key: str, atlas: Atlas) -> None:
    if chosen := session.trigger(key, "like"):
        st.session_state.pop(_PAPER, None)
        _show(replace(pair, like=(atlas.paper(int(chosen["row"])).id,)))


def _answer(pair: Pair, sides: Sequence[_Side], seeds: Sequence[str]) -> ComparedSearch | None:
    """Look for the query on both sides, and keep there what was found; None where they cannot be compared."""
    asked = session.asked()
    for side in sides:
        if seeds:
            side.query = seed_query(side.atlas, [side.atlas.row_of(paper) or 0 for paper in seeds])
        elif asked:
            try:
                with st.spinner(f"Reading your text with {escaped(side.label)}…", show_time=True):
                    side.query, side.reading = asking.encoded(side.atlas, asked)
            except CociteAtlasError as error:
                side.blocked = f"{error} {_STILL}"
    left, right = sides
    if left.query is not None and right.query is not None:
        try:
            found = compare_queries(left.atlas, right.atlas, queries=(left.query, right.query), k=pair.k, depth=_DEPTH)
        except CociteAtlasError:
            pass  # said below, for the side that it is about
        else:
            left.result, right.result = found.left, found.right
            return found
    for side in sides:
        if side.query is not None:
            try:
                side.result = search(side.atlas, side.query, k=pair.k)
            except CociteAtlasError as error:
                side.blocked = str(error)
    return None


# ---------------------------------------------------------------- lists and maps


def _lists(pair: Pair, sides: Sequence[_Side], found: ComparedSearch | None) -> None:
    columns = st.columns(2, gap="medium")
    for number, (side, other, column) in enumerate(zip(sides, sides[::-1], columns, strict=True)):
        ranks = (found.right_ranks, found.left_ranks)[number] if found else None
        with column:
            own = sorted(set(side.result.own) - set(side.query.seeds)) if side.result and side.query else []
            list_head(side.label, reading=side.reading, blocked=side.blocked, left_out=side.atlas.titles(own))
            if side.result:
                key = f"compared-{number}"
                paper_list(
                    _cards(pair, side, other, ranks),
                    label=f"Nearest papers by {side.label}, nearest first",
                    key=key,
                    on_like=partial(_on_like, pair, key, side.atlas),
                    like=_LIKE,
                    to_top=True,
                    build=side.atlas.build,
                )


def _cards(pair: Pair, side: _Side, other: _Side, ranks: dict[str, int] | None) -> list[dict[str, object]]:
    cards = []
    for hit in side.result.hits if side.result else ():
        paper, note = side.atlas.paper(hit.row).id, None
        row_there = other.atlas.row_of(paper)
        if ranks is not None:
            note = moved(hit.rank, ranks.get(paper), k=pair.k, depth=len(ranks), held=row_there is not None)
        marks = {side.atlas.build: hit.row}
        if row_there is not None:
            marks[other.atlas.build] = row_there
        cards.append(compared_card(side.atlas, hit.row, hit=hit, note=note, marks=marks))
    return cards


@st.fragment
def _maps(pair: Pair, sides: Sequence[_Side]) -> None:
    st.caption(
        "Each encoder has a map of its own: a place on one says nothing of the other, and nor do the colours of "
        "regions. Colours of topics and years are the same on both."
    )
    opened: str = st.session_state.get(_PAPER, "")
    for number, (side, column) in enumerate(zip(sides, st.columns(2, gap="medium"), strict=True)):
        topics = telling_topics(side.atlas.facets.topics, count=REGION_COLOURS)
        colour: Colour = st.session_state.get(_COLOUR, "topic" if topics else "region")
        key = f"compared-map-{number}"
        with column, st.container(key=f"{key}-side"):
            st.markdown(f"**{escaped(side.label)}**")
            atlas_map(
                side.atlas,
                View(atlas=side.atlas.name, colour=colour, paper=opened),
                side.result,
                topics=topics,
                key=key,
                on_opened=partial(_on_opened, key, side.atlas),
                on_colour=partial(_on_colour, key),
            )
    rows = [side.atlas.row_of(opened) if opened else None for side in sides]
    for side, row in zip(sides, rows, strict=True):
        if row is not None:
            marks = {s.atlas.build: r for s, r in zip(sides, rows, strict=True) if r is not None}
            paper_list(
                [compared_card(side.atlas, row, marks=marks) | {"expanded": True}],
                label="The chosen paper",
                key=_CARD,
                on_like=partial(_on_like_in_fragment, pair, side.atlas),
                on_close=lambda: st.session_state.pop(_PAPER, None),
                like=_LIKE,
                to_top=True,
            )
            break
    if st.session_state.pop("whole-page", False):
        st.rerun()


def _on_opened(key: str, atlas: Atlas) -> None:
    if chosen := session.trigger(key, "opened"):
        st.session_state[_PAPER] = atlas.paper(int(chosen["row"])).id


def _on_colour(key: str) -> None:
    if chosen := session.trigger(key, "colour"):
        st.session_state[_COLOUR] = chosen


def _on_like_in_fragment(pair: Pair, atlas: Atlas) -> None:
    _on_like(pair, _CARD, atlas)
    st.session_state["whole-page"] = True


# ---------------------------------------------------------------- overall


def _overall(pair: Pair, sides: Sequence[_Side]) -> None:
    left, right = sides
    st.subheader(f"{escaped(left.label)} and {escaped(right.label)} over the whole corpus", anchor=False)
    place = st.empty()

    def progress(stage: str, done: int, total: int) -> None:
        place.progress(done / max(total, 1), text=f"{stage}: {done:,} of {total:,} papers")

    try:
        found = resources.agreement_of(left.atlas, right.atlas, k=pair.k, progress=progress)
    except CociteAtlasError as error:
        place.info(escaped(str(error)), icon=":material/info:")
        return
    place.empty()
    neighbour_agreement(
        found,
        least=lambda: _agreeing(pair, sides, found.least, found.k, key="compared-least"),
        most=lambda: _agreeing(pair, sides, found.most, found.k, key="compared-most"),
    )


def _agreeing(pair: Pair, sides: Sequence[_Side], papers: Sequence[Agreeing], k: int, *, key: str) -> None:
    cards = []
    for paper in papers:
        rows = {side.atlas.build: row for side in sides if (row := side.atlas.row_of(paper.id)) is not None}
        note = ("", f"{paper.common} of its {k} nearest are the same")
        atlas = sides[0].atlas
        cards.append(compared_card(atlas, rows[atlas.build], note=note, marks=rows))
    paper_list(
        cards,
        label="Papers on which both agree " + key.rpartition("-")[2],
        key=key,
        on_like=lambda: _on_like(pair, key, sides[0].atlas),
        like=_LIKE,
        to_top=True,
    )
