"""The Explore page: paste a text, read its nearest papers, see where it lies among all of them."""

import streamlit as st

from components.atlas.corpora import atlases_of, corpus_titles
from components.atlas.encoders import no_text
from components.atlas.facets import Filters
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.store import Atlas, AtlasDamaged
from components.mapping.palette import REGION_COLOURS
from components.pages import frame, query_state, resources, session
from components.panels.atlas_map import atlas_map
from components.panels.atlases import atlas_header
from components.panels.papers import export_menu, paper_list, selection_panel
from components.panels.query import TOPICS, VENUES, YEARS, K, filter_bar, query_box, result_header
from components.search.cards import paper_card, subject_topics
from components.search.find_row import find_row
from components.search.search import Query, SearchResult, search, seed_query
from components.search.view import View, rounded_window, rows_inside, thinned
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

# Keys of st.session_state: widgets, components, and requests to the next run.
_CORPUS, _ENCODER = "corpus", "encoder-of-atlas"
_MAP, _LIST, _CARD = "map", "results", "card"
_REPAIR, _WHOLE_PAGE = "repair", "whole-page"


def explore() -> None:
    """Draw the page."""
    atlas = _open_atlas(session.view())
    if atlas is None:
        return
    _header(atlas)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        result = _search_side(atlas)
    with right, st.container(key="map-side"):
        _map_side(atlas, result)
    resources.warm(atlas.manifest)


# The atlas


def _open_atlas(view: View) -> Atlas | None:
    """The atlas of the view; None where the page says why there is none."""
    if view.atlas == DEFAULT_ATLAS and not frame.default_atlas_ready():
        return None
    try:
        return resources.atlas(view.atlas)
    except CociteAtlasError as error:
        damaged = isinstance(error, AtlasDamaged)
        frame.show_error(error, icon="broken_image" if damaged else "error")
    if view.atlas != DEFAULT_ATLAS:
        st.button("Go to the default corpus", on_click=_choose_atlas, args=(DEFAULT_ATLAS,))
    elif damaged:
        st.button("Restore it from the shipped files", on_click=_request, args=(_REPAIR,), type="primary")
        if st.session_state.pop(_REPAIR, False) and frame.assemble_default_atlas(again=True):
            st.rerun()
    return None


def _request(key: str) -> None:
    st.session_state[key] = True


def _choose_atlas(name: str) -> None:
    session.replace_view(session.view().in_atlas(name))


def _header(atlas: Atlas) -> None:
    def beside() -> None:
        st.session_state[_CORPUS], st.session_state[_ENCODER] = atlas.manifest.corpus, atlas.name
        atlas_header(
            atlas,
            corpora=corpus_titles(),
            encoders={manifest.name: manifest.encoder.label for manifest in atlases_of(atlas.manifest.corpus)},
            corpus_key=_CORPUS,
            encoder_key=_ENCODER,
            on_corpus=_on_corpus,
            on_encoder=lambda: _choose_atlas(st.session_state[_ENCODER]),
        )

    frame.masthead(atlas=atlas.name, beside=beside)


def _on_corpus() -> None:
    if atlases := atlases_of(st.session_state[_CORPUS]):  # none after another session deleted the corpus
        _choose_atlas(atlases[0].name)


# The left side: query, filters, results


def _search_side(atlas: Atlas) -> SearchResult | None:
    query_state.restore_fields("Explore")
    box, below = st.container(), st.container()  # before the rest, so that their contents keep their place
    if query_state.typed_id():
        with below:
            _find_typed_id(atlas)
    view, text = session.view(), session.query_text()
    known = [row for paper_id in view.like if (row := atlas.row_of(paper_id)) is not None]
    seeds = _selected(atlas, view)[0] if view.around else known
    query, reading, blocked = None, None, ""
    if seeds:
        query = seed_query(atlas, seeds)
    elif not atlas.manifest.encoder.takes_text:
        blocked = no_text(atlas.manifest)  # before anybody pastes
    elif text:
        with below, st.spinner("Encoding your text…", show_time=True):
            query, reading, blocked = query_state.text_query(atlas, text)
    with box:
        examples = resources.examples(atlas.build, atlas) if not text and not seeds else []
        query_box(
            query_text=text,
            searched=not seeds,
            reading=reading,
            examples=atlas.titles(examples),
            blocked=blocked,
            look_up=query_state.last_look_up(),
            takes_text=atlas.manifest.encoder.takes_text,
            takes_ids=True,
            on_search=_on_search,
            on_example=lambda place: _on_example(atlas, examples[place]),
        )
    with below:
        if missing := len(view.like) - len(known):
            papers = "1 paper in this link is" if missing == 1 else f"{missing} papers in this link are"
            st.warning(f"{papers} not in this corpus.", icon=":material/link_off:")
        _filters(atlas, view)
        return _results(atlas, view, query, seeds) if query is not None else None


def _results(atlas: Atlas, view: View, query: Query, seeds: list[int]) -> SearchResult | None:
    try:
        result = search(atlas, query, k=view.k, filters=view.filters)
    except CociteAtlasError as error:  # the lexical encoder knows no word of a text
        st.warning(escaped(str(error)), icon=":material/info:")
        return None
    result_header(
        atlas,
        result,
        asked_for=view.k,
        filtered=bool(view.filters),
        seeds=seeds,
        on_clear_seeds=lambda: session.change(like=(), around=False),
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
    if not query_state.take_typed_id():
        query_state.take_paste()
    session.change(like=(), around=False)


def _find_typed_id(atlas: Atlas) -> None:
    """Make the paper of the typed id the query: from this corpus, or looked up online."""
    row = find_row(atlas, query_state.typed_id())
    if row is not None:
        query_state.clear_typed_id()
        session.change(like=(atlas.paper(row).id,), around=False)
        return
    with st.spinner("Looking up this id…", show_time=True):
        query_state.look_up_typed_id()


def _on_example(atlas: Atlas, row: int) -> None:
    if atlas.manifest.encoder.takes_text:
        query_state.take_paper(atlas, row)
        session.change(like=(), around=False)
    else:
        session.change(like=(atlas.paper(row).id,), around=False)


def _on_like(atlas: Atlas, key: str) -> None:
    if chosen := session.trigger(key, "like"):
        session.change(like=(atlas.paper(int(chosen["row"])).id,), around=False, paper="")


def _filters(atlas: Atlas, view: View) -> None:
    facets, filters = atlas.facets, view.filters
    st.session_state[K] = view.k
    st.session_state[VENUES], st.session_state[TOPICS] = list(filters.venues), list(filters.topics)
    if span := facets.year_span:
        # A link may ask for years that this corpus does not have; the slider shows the nearest that it has.
        st.session_state[YEARS] = _clipped(filters.years or span, span)
    unknown = {*filters.venues} - {*facets.venues} | {*filters.topics} - {*facets.topics}
    filter_bar(
        year_span=span,
        venues=facets.venues,
        topics=facets.topics,
        filters=filters,
        unknown=sorted(unknown),
        on_change=lambda: _on_filters(span, filters),
        on_clear=lambda: session.change(filters=Filters()),
    )


def _clipped(years: tuple[int, int], span: tuple[int, int]) -> tuple[int, int]:
    return min(max(years[0], span[0]), span[1]), max(min(years[1], span[1]), span[0])


def _on_filters(span: tuple[int, int] | None, before: Filters) -> None:
    """Take the filters from the widgets; the years of the link stay unless the slider was moved."""
    years, chosen = before.years, st.session_state.get(YEARS)
    if span and span[0] < span[1] and chosen and tuple(chosen) != _clipped(years or span, span):
        years = None if tuple(chosen) == span else (chosen[0], chosen[1])
    venues, topics = tuple(st.session_state[VENUES]), tuple(st.session_state[TOPICS])
    session.change(k=st.session_state[K], filters=Filters(years=years, venues=venues, topics=topics))


# The right side: map, card, selection


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
            on_like=lambda: _on_like_in_fragment(atlas),
            on_close=lambda: session.change(paper=""),
        )
    if view.area:
        rows, left_out = _selected(atlas, view)
        if selection_panel(
            atlas,
            rows,
            left_out=left_out,
            exports=lambda: export_menu(lambda: [atlas.paper(row) for row in rows], name="selection"),
        ):
            session.change(like=(), around=True)
            st.rerun()
    if st.session_state.pop(_WHOLE_PAGE, False):
        st.rerun()


def _selected(atlas: Atlas, view: View) -> tuple[list[int], int]:
    """The rows in the view's area that match its filters, and the number of those that do not."""
    inside = rows_inside(atlas.coordinates, view.area)
    allowed = atlas.facets.mask(view.filters)
    rows = inside if allowed is None else inside[allowed[inside]]
    return rows.tolist(), len(inside) - len(rows)


def _on_opened(atlas: Atlas) -> None:
    if chosen := session.trigger(_MAP, "opened"):
        session.change(paper=atlas.paper(int(chosen["row"])).id)


def _on_area() -> None:
    if chosen := session.trigger(_MAP, "area"):
        session.change(area=thinned(chosen["corners"]), paper="", around=False)  # the table replaces the card


def _on_camera() -> None:
    if chosen := session.trigger(_MAP, "camera"):
        session.change(camera=rounded_window(chosen["window"]))


def _on_colour() -> None:
    if colour := session.trigger(_MAP, "colour"):
        session.change(colour=colour)


def _on_like_in_fragment(atlas: Atlas) -> None:
    _on_like(atlas, _CARD)
    _request(_WHOLE_PAGE)
