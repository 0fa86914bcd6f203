"""The Explore page: paste a text, read its nearest papers, see where it lies among all of them."""

import streamlit as st

from components.atlas import paths
from components.atlas.corpora import atlases_of, corpus_titles
from components.atlas.encoders import no_text
from components.atlas.facets import Filters
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.store import Atlas, AtlasDamaged
from components.mapping.palette import REGION_COLOURS
from components.pages import frame, resources, session
from components.pages import query_state as asking
from components.panels.atlas_header import atlas_header
from components.panels.atlas_map import atlas_map
from components.panels.export_menu import export_menu
from components.panels.filter_bar import TOPICS, VENUES, YEARS, K, filter_bar
from components.panels.paper_list import paper_list
from components.panels.preparation import prepare_medline
from components.panels.query_box import query_box
from components.panels.result_header import result_header
from components.panels.selection import selection_panel
from components.search.cards import paper_card, subject_topics
from components.search.find_row import find_row
from components.search.search import SearchResult, search, seed_query
from components.search.view import View, rounded_window, rows_inside, thinned
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_CORPUS, _ENCODER = "corpus", "encoder-of-atlas"
_MAP, _LIST, _CARD = "map", "results", "card"  # keys of components in st.session_state


def explore() -> None:
    """Draw the page."""
    view = session.view()
    opened = _atlas(view)
    if opened is None:
        return
    view = session.view()
    _header(opened, view)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        result = _search_side(opened, view)
    with right, st.container(key="map-side"):
        _map_side(opened, result)
    resources.warm(opened.manifest)


# ---------------------------------------------------------------- the atlas


def _atlas(view: View) -> Atlas | None:
    """The atlas of the view; None where the page says why there is none."""
    if view.atlas == MEDLINE and MEDLINE not in paths.atlas_names() and not prepare_medline(again=False):
        return None
    try:
        return resources.atlas(view.atlas)
    except AtlasDamaged as error:
        st.error(escaped(str(error)), icon=":material/broken_image:")
        if view.atlas == MEDLINE:
            st.button("Assemble it again from the shipped files", on_click=_ask_for_repair, type="primary")
            if st.session_state.pop("repair", False) and prepare_medline(again=True):
                st.rerun()
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
    if view.atlas != MEDLINE:
        st.button("Go to the default corpus", on_click=_choose_atlas, args=(MEDLINE,))
    return None


def _ask_for_repair() -> None:
    st.session_state["repair"] = True


def _choose_atlas(name: str) -> None:
    session.replace_view(session.view().in_atlas(name))


def _header(atlas: Atlas, view: View) -> None:
    def beside() -> None:
        st.session_state[_CORPUS], st.session_state[_ENCODER] = atlas.manifest.corpus, view.atlas
        atlas_header(
            atlas,
            corpora=corpus_titles(),
            encoders={manifest.name: manifest.encoder.label for manifest in atlases_of(atlas.manifest.corpus)},
            corpus_key=_CORPUS,
            encoder_key=_ENCODER,
            on_corpus=_on_corpus,
            on_encoder=lambda: _choose_atlas(st.session_state[_ENCODER]),
        )

    frame.masthead(atlas=view.atlas, beside=beside)


def _on_corpus() -> None:
    if there := atlases_of(st.session_state[_CORPUS]):  # another session may have deleted its last one
        _choose_atlas(there[0].name)


# ---------------------------------------------------------------- the left side: query, filters, results


def _search_side(atlas: Atlas, view: View) -> SearchResult | None:
    asking.restore_fields("Explore")
    box, below = st.container(), st.container()  # before all else: what stands in them keeps its place
    if asking.wanted():
        with below:
            _take_identified(atlas)
        view = session.view()
    asked = session.asked()
    named = [row for paper_id in view.like if (row := atlas.row_of(paper_id)) is not None]
    seeds = _selected(atlas, view)[0] if view.around else named
    query, reading, blocked = None, None, ""
    if seeds:
        query = seed_query(atlas, seeds)
    elif not atlas.manifest.encoder.takes_text:
        blocked = no_text(atlas.manifest)  # said before anybody pastes
    elif asked:
        with below, st.spinner("Reading your text…", show_time=True):
            query, reading, blocked = asking.text_query(atlas, asked)
    with box:
        examples = resources.examples(atlas.build, atlas) if not asked and not seeds else []
        query_box(
            understood=asked,
            searched=not seeds,
            reading=reading,
            examples=atlas.titles(examples),
            blocked=blocked,
            looked_up=asking.looked_up(),
            takes_text=atlas.manifest.encoder.takes_text,
            takes_ids=True,
            on_search=_on_search,
            on_example=lambda place: _on_example(atlas, examples[place]),
        )
    with below:
        if missing := len(view.like) - len(named):
            st.warning(f"{missing} of the papers of this link are not in this corpus.", icon=":material/link_off:")
        _filters(atlas, view)
        if query is None:
            return None
        try:
            result = search(atlas, query, k=view.k, filters=view.filters)
        except CociteAtlasError as error:  # a text, or a paper, without a word that the lexical encoder knows
            st.warning(escaped(str(error)), icon=":material/info:")
            return None
        result_header(
            atlas,
            result,
            asked_for=view.k,
            filtered=bool(view.filters),
            seeds=seeds,
            on_drop_seeds=lambda: session.change(like=(), around=False),
            exports=lambda: export_menu(
                lambda: [atlas.paper(row) for row in result.rows],
                name="nearest",
                distances=[hit.l2_distance for hit in result.hits],
            ),
        )
        if result.hits:
            paper_list(
                [paper_card(atlas, hit.row, hit=hit) for hit in result.hits],
                label="Nearest papers, nearest first",
                key=_LIST,
                on_like=lambda: _on_like(atlas, _LIST),
            )
    return result


def _on_search() -> None:
    if not asking.want_identified():
        asking.take_paste()
    session.change(like=(), around=False)


def _take_identified(atlas: Atlas) -> None:
    """What was typed is an id: its paper becomes the query, from this corpus or from where it is looked up."""
    row = find_row(atlas, asking.wanted())
    if row is not None:
        asking.no_more_wanted()
        session.change(like=(atlas.paper(row).id,), around=False)
        return
    with st.spinner("Looking this id up…", show_time=True):
        asking.look_up_wanted()


def _on_example(atlas: Atlas, row: int) -> None:
    if not atlas.manifest.encoder.takes_text:
        session.change(like=(atlas.paper(row).id,), around=False)
        return
    asking.take_paper(atlas, row)
    session.change(like=(), around=False)


def _on_like(atlas: Atlas, key: str) -> None:
    if chosen := session.trigger(key, "like"):
        session.change(like=(atlas.paper(int(chosen["row"])).id,), around=False, paper="")


def _filters(atlas: Atlas, view: View) -> None:
    facets = atlas.facets
    st.session_state[K] = view.k
    st.session_state[VENUES] = list(view.filters.venues)
    st.session_state[TOPICS] = list(view.filters.topics)
    if span := facets.year_span:
        first, last = view.filters.years or span
        # A link may ask for years that this corpus does not reach; the slider shows the nearest that it does.
        st.session_state[YEARS] = _within(span, (first, last))
    unknown = sorted({*view.filters.venues} - {*facets.venues} | {*view.filters.topics} - {*facets.topics})
    filter_bar(
        year_span=facets.year_span,
        venues=facets.venues,
        topics=facets.topics,
        filters=view.filters,
        unknown=unknown,
        on_change=lambda: _on_filters(facets.year_span, view.filters),
        on_clear=lambda: session.change(filters=Filters()),
    )


def _within(span: tuple[int, int], years: tuple[int, int]) -> tuple[int, int]:
    first, last = years
    return min(max(first, span[0]), span[1]), max(min(last, span[1]), span[0])


def _on_filters(span: tuple[int, int] | None, before: Filters) -> None:
    """What the widgets say, as a filter. Without a slider (a corpus of one year), and where it was not moved, the years
    stay as the link had them.
    """
    years = before.years
    chosen = st.session_state.get(YEARS)
    if span and span[0] < span[1] and chosen:
        shown = before.years or span
        if tuple(chosen) != _within(span, shown):
            years = None if tuple(chosen) == span else (chosen[0], chosen[1])
    session.change(
        k=st.session_state[K],
        filters=Filters(
            years=years,
            venues=tuple(st.session_state[VENUES]),
            topics=tuple(st.session_state[TOPICS]),
        ),
    )


# ---------------------------------------------------------------- the right side: map, card, selection


@st.fragment
def _map_side(atlas: Atlas, result: SearchResult | None) -> None:
    view = session.view()
    topics = list(view.filters.topics[:REGION_COLOURS]) or subject_topics(atlas.facets.topics, count=REGION_COLOURS)
    atlas_map(
        atlas,
        view,
        result,
        topics=topics,
        key=_MAP,
        on_opened=lambda: _on_opened(atlas),
        on_area=_on_area,
        on_camera=_on_camera,
        on_colour=_on_colour,
    )
    if view.paper and (row := atlas.row_of(view.paper)) is not None:
        hit = next((hit for hit in result.hits if hit.row == row), None) if result else None
        paper_list(
            [paper_card(atlas, row, hit=hit, expanded=True)],
            label="The chosen paper",
            key=_CARD,
            on_like=lambda: _on_like_from_map(atlas),
            on_close=lambda: session.change(paper=""),
        )
    if view.area:
        chosen, left_out = _selected(atlas, view)
        if selection_panel(
            atlas,
            chosen,
            left_out=left_out,
            exports=lambda: export_menu(lambda: [atlas.paper(row) for row in chosen], name="selection"),
        ):
            session.change(like=(), around=True)
            st.rerun()
    if st.session_state.pop("whole-page", False):
        st.rerun()


def _selected(atlas: Atlas, view: View) -> tuple[list[int], int]:
    """The rows in the view's area that its filters let through, and how many they do not."""
    rows = rows_inside(atlas.coordinates, view.area)
    allowed = atlas.facets.mask(view.filters)
    chosen = rows if allowed is None else rows[allowed[rows]]
    return chosen.tolist(), len(rows) - len(chosen)


def _on_opened(atlas: Atlas) -> None:
    if chosen := session.trigger(_MAP, "opened"):
        session.change(paper=atlas.paper(int(chosen["row"])).id)


def _on_area() -> None:
    if chosen := session.trigger(_MAP, "area"):
        session.change(area=thinned(chosen["corners"]), paper="", around=False)  # the table comes where the card was


def _on_camera() -> None:
    if chosen := session.trigger(_MAP, "camera"):
        session.change(camera=rounded_window(chosen["window"]))


def _on_colour() -> None:
    if chosen := session.trigger(_MAP, "colour"):
        session.change(colour=chosen)


def _on_like_from_map(atlas: Atlas) -> None:
    _on_like(atlas, _CARD)
    st.session_state["whole-page"] = True
