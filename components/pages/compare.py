"""The Compare page: one query, two encoders of a corpus side by side, and how far they agree overall."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st

from components.atlas import store
from components.atlas.corpora import atlases_of
from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.store import Atlas, AtlasDamaged
from components.encoder.base import TextCoverage
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.mapping.palette import REGION_COLOURS
from components.pages import frame, query_state, resources, session
from components.panels.atlas_map import atlas_map
from components.panels.comparison import (
    LEFT,
    PAIR_K,
    RIGHT,
    comparison_panel,
    list_head,
    neighbour_agreement,
    pair_bar,
)
from components.panels.papers import paper_list
from components.panels.query import query_box, seeds_panel
from components.search.cards import compared_card, rank_note, subject_topics
from components.search.compare import Agreeing, ComparedSearch, compare_queries
from components.search.search import Query, SearchResult, search, seed_query
from components.search.view import Colour, Pair, View
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_DEPTH = 100  # ranks to which the papers of the other list are sought
_LIKE = "Compare from this paper"
_PAPER, _COLOUR, _CARD, _WHOLE_PAGE = "compared-paper", "compared-colour", "compared-card", "whole-page"


@dataclass(slots=True)
class _Side:
    """One of the two atlases, and its result or why there is none (`blocked`)."""

    atlas: Atlas
    label: str
    query: Query | None = None
    reading: TextCoverage | None = None
    result: SearchResult | None = None
    blocked: str = ""


def compare() -> None:
    """Draw the page."""
    head = st.container()
    link = Pair.from_params(session.query_params())
    manifests = _manifests(link)
    if len(manifests) < 2:
        with head:
            frame.masthead(atlas=manifests[0].name if manifests else link.left or DEFAULT_ATLAS)
        if manifests:
            _too_few(manifests[0])
        elif link.left or link.right:
            st.button("Compare encoders on the default corpus", on_click=_show, args=(Pair(),))
        return
    pair, notes = _chosen_pair(link, manifests)
    session.remember_pair(pair)
    with head:
        frame.masthead(atlas=pair.left)
    labels = _labels(manifests)
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
        sides = [_Side(atlas, labels[name]) for name in (pair.left, pair.right) if (atlas := _opened(name)) is not None]
    _draw_pair(pair, sides)
    for side in sides:
        resources.warm(side.atlas.manifest)


# The pair


def _manifests(link: Pair) -> list[Manifest]:
    """The atlases of the corpus of a link: of its left atlas, or else of its right one, or of the default one.

    Empty where the page says why.
    """
    names = [name for name in (link.left, link.right) if name] or [DEFAULT_ATLAS]
    if DEFAULT_ATLAS in names and not frame.default_atlas_ready():
        return []
    errors = []
    for name in names:
        try:
            return atlases_of(store.read_manifest(name).corpus)
        except CociteAtlasError as error:
            errors.append(error)
    for found in errors:
        _show_error(found)
    return []


def _chosen_pair(link: Pair, manifests: Sequence[Manifest]) -> tuple[Pair, list[str]]:
    """A link with both atlases chosen, and notes on those that cannot be shown. manifests: at least two."""
    names, corpus = [manifest.name for manifest in manifests], manifests[0].corpus
    notes = []
    for name in (link.left, link.right):
        if name and name not in names:
            instead = f"Another atlas of {corpus!r} is shown instead of {name!r}"
            try:
                other = store.read_manifest(name).corpus
                notes.append(f"{instead}, which is of the corpus {other!r} and has other papers.")
            except CociteAtlasError as error:
                notes.append(f"{instead}. {error}")
    left = link.left if link.left in names else next(name for name in names if name != link.right)
    others = [name for name in names if name != left]
    return replace(link, left=left, right=link.right if link.right in others else others[0]), notes


def _labels(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Name → label: the encoder, with the atlas's name where two have the same encoder."""
    encoders = [manifest.encoder.label for manifest in manifests]
    return {
        manifest.name: label if encoders.count(label) == 1 else f"{label} · {manifest.name}"
        for manifest, label in zip(manifests, encoders, strict=True)
    }


def _opened(name: str) -> Atlas | None:
    """The open atlas; None where the page says why it cannot be opened."""
    try:
        return resources.atlas(name)
    except CociteAtlasError as error:
        _show_error(error)
        return None


def _show_error(error: CociteAtlasError) -> None:
    frame.show_error(error, icon="broken_image" if isinstance(error, AtlasDamaged) else "error")


def _too_few(only: Manifest) -> None:
    other = EMBEDDED if only.encoder.source == LEXICAL else LEXICAL
    advice = (
        f"**{EMBEDDED}** comes with the app and compares meanings instead of words."
        if other == EMBEDDED
        else f"The quickest to add is **{LEXICAL}**, which compares words instead of meanings: it needs no download, "
        "and building it takes a minute or two."
    )
    with st.container(key="too-few"):
        st.subheader(f"{escaped(only.display_title)} has one atlas", anchor=False)
        st.markdown(
            "A comparison needs two atlases: the same papers with two encoders. This corpus has one, with "
            f"**{escaped(only.encoder.label)}**. {advice}"
        )
        st.page_link(
            frame.page("Encoders"),
            label="Build another atlas",
            query_params={"atlas": only.name, "encoder": other},
            icon=":material/construction:",
        )


def _show(pair: Pair) -> None:
    st.query_params.from_dict(pair.to_params())


def _on_left(before: Pair) -> None:
    left: str = st.session_state[LEFT]
    _show(replace(before, left=left, right=before.left if left == before.right else before.right))


def _on_right(before: Pair) -> None:
    right: str = st.session_state[RIGHT]
    _show(replace(before, right=right, left=before.right if right == before.left else before.left))


# The query, and both results


def _draw_pair(pair: Pair, sides: Sequence[_Side]) -> None:
    """Draw the page below the bar. sides: both; fewer where the page says why one cannot be opened."""
    query_state.restore_fields("Compare")
    seeds = [paper for paper in pair.like if all(side.atlas.row_of(paper) is not None for side in sides)]
    left, right = st.columns([5, 7], gap="large")
    with left:
        box = st.container()
        compared = _search_both(pair, sides, seeds) if len(sides) == 2 else None
        with box:
            _query_box(pair, sides, seeds)
        if missing := len(pair.like) - len(seeds):
            papers = "1 paper in this link is" if missing == 1 else f"{missing} papers in this link are"
            st.warning(f"{papers} not in both atlases.", icon=":material/link_off:")
    if len(sides) < 2:
        return
    with right:
        if compared is not None:
            comparison_panel(compared.comparison, left=sides[0].label, right=sides[1].label)
        elif not any(side.blocked for side in sides):
            _overall(pair, sides)  # before the first search, it takes the place of the result
            return
    _lists(pair, sides, compared)
    _maps(pair, sides)
    st.divider()
    _overall(pair, sides)


def _query_box(pair: Pair, sides: Sequence[_Side], seeds: Sequence[str]) -> None:
    text, atlas = session.query_text(), sides[0].atlas if sides else None
    readings = [side.reading for side in sides if side.reading is not None and side.reading.complete]
    both_complete = len(readings) == len(sides)  # what only one of them read is said above its list
    examples = resources.examples(atlas.build, atlas) if atlas and not text and not seeds else []
    query_box(
        query_text=text,
        searched=not seeds,
        reading=next((reading for reading in readings if not reading.skips), None) if both_complete else None,
        examples=atlas.titles(examples) if atlas else [],
        blocked="",
        on_search=lambda: _on_search(pair),
        on_example=lambda place: _on_example(pair, sides, examples[place]),
    )
    if seeds and atlas:
        rows = [row for paper in seeds if (row := atlas.row_of(paper)) is not None]
        seeds_panel(atlas, rows, on_clear=lambda: _show(replace(pair, like=())))


def _on_search(pair: Pair) -> None:
    query_state.take_paste()
    _show(replace(pair, like=()))


def _on_example(pair: Pair, sides: Sequence[_Side], row: int) -> None:
    atlas = sides[0].atlas
    if all(side.atlas.manifest.encoder.takes_text for side in sides):
        query_state.take_paper(atlas, row)
        _show(replace(pair, like=()))
    else:
        _show(replace(pair, like=(atlas.paper(row).id,)))


def _on_like(pair: Pair, key: str, atlas: Atlas) -> None:
    if chosen := session.trigger(key, "like"):
        st.session_state.pop(_PAPER, None)
        _show(replace(pair, like=(atlas.paper(int(chosen["row"])).id,)))


def _search_both(pair: Pair, sides: Sequence[_Side], seeds: Sequence[str]) -> ComparedSearch | None:
    """Search both sides and keep the results there; None where they cannot be compared."""
    text = session.query_text()
    for side in sides:
        if seeds:
            side.query = seed_query(side.atlas, [side.atlas.row_of(paper) or 0 for paper in seeds])
        elif text:
            try:
                with st.spinner(f"Encoding your text with {escaped(side.label)}…", show_time=True):
                    side.query, side.reading = query_state.encode(side.atlas, text)
            except CociteAtlasError as error:
                side.blocked = f"{error} You can still compare from a paper: use “{_LIKE}” on this page."
    left, right = sides
    if left.query is not None and right.query is not None:
        try:
            found = compare_queries(left.atlas, right.atlas, queries=(left.query, right.query), k=pair.k, depth=_DEPTH)
        except CociteAtlasError:
            pass  # of one side; said below for that side
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


# Lists and maps


def _lists(pair: Pair, sides: Sequence[_Side], compared: ComparedSearch | None) -> None:
    columns = st.columns(2, gap="medium")
    for number, (side, other, column) in enumerate(zip(sides, sides[::-1], columns, strict=True)):
        ranks = (compared.right_ranks, compared.left_ranks)[number] if compared else None
        key = f"compared-{number}"
        with column:
            own = sorted(set(side.result.own) - set(side.query.seeds)) if side.result and side.query else []
            list_head(side.label, reading=side.reading, blocked=side.blocked, left_out=side.atlas.titles(own))
            if side.result:
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
    """The cards of one list. ranks: id → rank in the other list."""
    cards = []
    for hit in side.result.hits if side.result else ():
        paper = side.atlas.paper(hit.row).id
        marks = _rows((side, other), paper)
        held = other.atlas.build in marks
        note = None
        if ranks is not None:
            note = rank_note(hit.rank, ranks.get(paper), k=pair.k, depth=len(ranks), held=held)
        cards.append(compared_card(side.atlas, hit.row, hit=hit, note=note, marks=marks | {side.atlas.build: hit.row}))
    return cards


def _rows(sides: Sequence[_Side], paper: str) -> dict[str, int]:
    """Build → a paper's row, of each atlas that has it."""
    return {side.atlas.build: row for side in sides if (row := side.atlas.row_of(paper)) is not None}


@st.fragment
def _maps(pair: Pair, sides: Sequence[_Side]) -> None:
    st.caption(
        "Each encoder has its own map: positions and region colours cannot be compared. Colours of topics and years "
        "are the same on both."
    )
    opened: str = st.session_state.get(_PAPER, "")
    for number, (side, column) in enumerate(zip(sides, st.columns(2, gap="medium"), strict=True)):
        topics = subject_topics(side.atlas.facets.topics, count=REGION_COLOURS)
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
    if marks := _rows(sides, opened) if opened else {}:
        side = next(side for side in sides if side.atlas.build in marks)
        paper_list(
            [compared_card(side.atlas, marks[side.atlas.build], marks=marks) | {"expanded": True}],
            label="The chosen paper",
            key=_CARD,
            on_like=partial(_on_like_in_fragment, pair, side.atlas),
            on_close=lambda: st.session_state.pop(_PAPER, None),
            like=_LIKE,
            to_top=True,
        )
    if st.session_state.pop(_WHOLE_PAGE, False):
        st.rerun()


def _on_opened(key: str, atlas: Atlas) -> None:
    if chosen := session.trigger(key, "opened"):
        st.session_state[_PAPER] = atlas.paper(int(chosen["row"])).id


def _on_colour(key: str) -> None:
    if chosen := session.trigger(key, "colour"):
        st.session_state[_COLOUR] = chosen


def _on_like_in_fragment(pair: Pair, atlas: Atlas) -> None:
    _on_like(pair, _CARD, atlas)
    st.session_state[_WHOLE_PAGE] = True


# Overall


def _overall(pair: Pair, sides: Sequence[_Side]) -> None:
    left, right = sides
    st.subheader(f"{escaped(left.label)} and {escaped(right.label)} over the whole corpus", anchor=False)
    place = st.empty()

    def progress(stage: str, done: int, total: int) -> None:
        place.progress(done / max(total, 1), text=f"{stage}: {done:,} of {total:,} papers")

    try:
        agreement = resources.agreement_of(left.atlas, right.atlas, k=pair.k, progress=progress)
    except CociteAtlasError as error:
        place.info(escaped(str(error)), icon=":material/info:")
        return
    place.empty()

    def papers(agreeing: Sequence[Agreeing], order: str) -> None:
        key = f"compared-{order}"
        cards = []
        for paper in agreeing:
            marks = _rows(sides, paper.id)
            note = ("", f"{paper.common} of its {agreement.k} nearest are the same")
            cards.append(compared_card(left.atlas, marks[left.atlas.build], note=note, marks=marks))
        paper_list(
            cards,
            label=f"Papers with the {order} agreement",
            key=key,
            on_like=lambda: _on_like(pair, key, left.atlas),
            like=_LIKE,
            to_top=True,
        )

    neighbour_agreement(
        agreement, least=lambda: papers(agreement.least, "least"), most=lambda: papers(agreement.most, "most")
    )
