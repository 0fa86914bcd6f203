"""Facets against a filter in plain Python."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.atlas.facets import NO_YEAR, Facets, Filters
from corpus.paper import Paper, to_table

_VENUES = ("", "Lancet", "lancet", "Lancet ", "Nature")
_TOPICS = ("Humans", "Heart", "heart", "Herz, das", "心", "")
_PAPERS = st.lists(
    st.builds(
        Paper,
        id=st.just("x"),
        title=st.just("t"),
        abstract=st.just("a"),
        year=st.none() | st.integers(1990, 1995),
        venue=st.sampled_from(_VENUES),
        topics=st.lists(st.sampled_from(_TOPICS), max_size=4, unique=True).map(tuple),
    ),
    max_size=12,
)
_FILTERS = st.builds(
    Filters,
    years=st.none() | st.tuples(st.integers(1988, 1997), st.integers(1988, 1997)) | st.just((0, 9999)),
    venues=st.lists(st.sampled_from([*_VENUES[1:], "unknown"]), max_size=3).map(tuple),
    topics=st.lists(st.sampled_from([*_TOPICS[:-1], "unknown"]), max_size=3).map(tuple),
)


def passes(paper: Paper, filters: Filters) -> bool:
    """The filter, in plain words."""
    if filters.years and not (paper.year is not None and filters.years[0] <= paper.year <= filters.years[1]):
        return False
    if filters.venues and paper.venue not in filters.venues:
        return False
    return not filters.topics or bool(set(filters.topics) & set(paper.topics))


@pytest.mark.parametrize("made", ["in one piece", "in pieces", "as a slice"])
@settings(deadline=None)
@given(papers=_PAPERS, filters=_FILTERS)
def test_a_mask_lets_through_what_passes(made: str, papers: list[Paper], filters: Filters) -> None:
    facets = Facets(_table(papers, made))
    mask = facets.mask(filters)
    if not filters:
        assert mask is None
    else:
        assert mask is not None
        assert mask.tolist() == [passes(paper, filters) for paper in papers]
    for topic in (*_TOPICS, "unknown"):
        assert facets.rows_with_topic(topic).tolist() == [i for i, p in enumerate(papers) if topic in p.topics]


@settings(deadline=None)
@given(papers=_PAPERS)
def test_names_come_by_how_many_have_them(papers: list[Paper]) -> None:
    facets = Facets(to_table(papers))
    venues = Counter(paper.venue for paper in papers if paper.venue)
    topics = Counter(topic for paper in papers for topic in paper.topics if topic)
    assert facets.venues == sorted(venues, key=lambda name: (-venues[name], name))
    assert facets.topics == sorted(topics, key=lambda name: (-topics[name], name))


@settings(deadline=None)
@given(papers=_PAPERS)
def test_years_are_known_or_not(papers: list[Paper]) -> None:
    facets = Facets(to_table(papers))
    assert facets.years.tolist() == [NO_YEAR if paper.year is None else paper.year for paper in papers]
    known = [paper.year for paper in papers if paper.year is not None]
    assert facets.year_span == ((min(known), max(known)) if known else None)


def test_the_planted_topics_are_found(planted: Callable[[int], list[Paper]]) -> None:
    papers = planted(10)
    facets = Facets(to_table(papers))
    assert set(facets.topics[:2]) == {"heart", "galaxy"}
    hearts = [i for i, paper in enumerate(papers) if paper.id.startswith("heart-")]
    assert facets.rows_with_topic("heart").tolist() == hearts
    both = facets.mask(Filters(topics=("heart", "galaxy")))
    assert both is not None
    assert both.all()
    none = facets.mask(Filters(topics=("heart",), venues=("Journal of galaxy 0",)))
    assert none is not None
    assert not none.any()


def _table(papers: list[Paper], made: str) -> pa.Table:
    if made == "in pieces":
        half = len(papers) // 2
        return pa.concat_tables([to_table(papers[:half]), to_table(papers[half:])])
    if made == "as a slice":
        others = [Paper(id="o", title="o", abstract="o", year=1991, venue="Nature", topics=("Humans", "Heart"))] * 2
        return to_table([*others, *papers, *others]).slice(2, len(papers))
    return to_table(papers)
