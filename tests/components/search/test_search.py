"""Search: filters before the cut, k hits whenever k exist, and the query's own paper left out."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas.facets import Facets, Filters
from components.atlas.store import Atlas, FingerprintMismatch, open_atlas
from components.encoder.bi_encoder import BiEncoder
from components.mapping.regions import Region
from components.search.search import MAX_HITS, Query, example_rows, search, seed_query, text_query
from corpus.paper import Paper, to_table

N, D = 400, 12
FINGERPRINT = "made"


@pytest.fixture(scope="module")
def atlas(made_atlas: Callable[..., Atlas]) -> Atlas:
    random = np.random.default_rng(6)
    vectors = random.normal(size=(N, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    papers = [
        Paper(
            id=str(i),
            title=f"Paper number {i} on a subject",
            abstract="x",
            year=None if i % 10 == 9 else 2000 + i % 20,
            venue=f"v{i % 7}",
            topics=tuple(f"t{j}" for j in (i % 3, i % 50)),
        )
        for i in range(N)
    ]
    return made_atlas(papers, vectors, normalised=True)


def query_at(vector: np.ndarray, *, title: str = "") -> Query:
    return Query(vector=np.asarray(vector, np.float32), fingerprint=FINGERPRINT, title=title)


def passes(paper: Paper, filters: Filters) -> bool:
    """A filter, written again on papers one by one."""
    years, venues, topics = filters.years, filters.venues, filters.topics
    return (
        (not years or (paper.year is not None and years[0] <= paper.year <= years[1]))
        and (not venues or paper.venue in venues)
        and (not topics or bool(set(paper.topics) & set(topics)))
    )


FILTERS = st.builds(
    Filters,
    years=st.none() | st.tuples(st.integers(1990, 2025), st.integers(1990, 2025)),
    venues=st.lists(st.sampled_from(["v0", "v3", "v6", "none", ""]), max_size=2).map(tuple),
    topics=st.lists(st.sampled_from(["t0", "t2", "t17", "t49", "none"]), max_size=2).map(tuple),
)


# Filters


@given(filters=FILTERS)
def test_a_mask_holds_the_papers_that_pass(atlas: Atlas, filters: Filters) -> None:
    mask = atlas.facets.mask(filters)
    if not (filters.years or filters.venues or filters.topics):
        assert mask is None
        return
    assert mask.tolist() == [passes(atlas.paper(row), filters) for row in range(N)]


def test_facets_list_what_there_is() -> None:
    papers = [
        Paper("1", "t", "a", year=2003, venue="B", topics=("x", "y")),
        Paper("2", "t", "a", venue="A", topics=("y",)),
        Paper("3", "t", "a", year=1999, venue="B"),
        Paper("4", "t", "a", venue="", topics=("z", "x", "y")),
    ]
    facets = Facets(to_table(papers))
    assert facets.years.tolist() == [2003, -1, 1999, -1]
    assert facets.year_span == (1999, 2003)
    assert facets.venues == ["B", "A"]
    assert facets.topics == ["y", "x", "z"]
    assert facets.rows_with_topic("x").tolist() == [0, 3]
    assert facets.rows_with_topic("none").tolist() == []
    assert Facets(to_table(papers[1:2])).year_span is None
    empty = Facets(to_table([]))
    assert (empty.year_span, empty.venues, empty.topics) == (None, [], [])
    assert empty.mask(Filters(years=(1, 2), venues=("A",), topics=("x",))).tolist() == []


@given(filters=FILTERS, k=st.integers(1, MAX_HITS), seed=st.integers(0, 10_000), at_row=st.booleans())
def test_the_k_nearest_come_back_whenever_k_exist(
    atlas: Atlas, filters: Filters, k: int, seed: int, at_row: bool
) -> None:
    query = seed_query(atlas, [seed % N]) if at_row else query_at(np.random.default_rng(seed).normal(size=D))
    result = search(atlas, query, k=k, filters=filters)
    wanted = [row for row in range(N) if row not in query.seeds and passes(atlas.paper(row), filters)]
    away = np.linalg.norm(atlas.vectors.astype(np.float64) - query.vector, axis=1)
    wanted.sort(key=lambda row: (away[row], row))
    assert result.rows == wanted[:k]
    assert result.candidates == len(wanted)
    assert result.own == query.seeds
    assert [hit.rank for hit in result.hits] == list(range(1, len(result.hits) + 1))
    assert [hit.l2_distance for hit in result.hits] == pytest.approx(away[result.rows].tolist(), rel=1e-5)
    farther = [hit.share_farther for hit in result.hits]
    assert farther == sorted(farther, reverse=True)
    assert 0 <= result.near_on_map <= len(result.hits)
    assert -1 <= result.point[0] <= 1


def test_a_search_that_nothing_passes_is_empty(atlas: Atlas) -> None:
    result = search(atlas, seed_query(atlas, [3]), k=5, filters=Filters(venues=("none",)))
    assert (result.hits, result.candidates, result.near_on_map, result.own) == ((), 0, 0, (3,))


@pytest.mark.parametrize("k", [0, -1, MAX_HITS + 1])
def test_k_out_of_bounds_is_refused(atlas: Atlas, k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k}"):
        search(atlas, seed_query(atlas, [3]), k=k)


def test_a_query_of_another_checkpoint_is_refused(atlas: Atlas) -> None:
    with pytest.raises(FingerprintMismatch):
        search(atlas, replace(seed_query(atlas, [3]), fingerprint="0" * 64), k=5)


# The query's own paper


@pytest.mark.parametrize(
    "title",
    [
        "The Rôle of β-Catenin in Heart Failure",
        "the role of β-catenin in heart failure.",
        "THE ROLE OF Β-CATENIN IN HEART FAILURE",
        "  The   role of β catenin: in “heart” failure?\n",
        "The ro\u0302le of β‐catenin in heart failure",
    ],
)
def test_a_copied_title_is_recognised(made_atlas: Callable[..., Atlas], title: str) -> None:
    own = Paper("own", "The Rôle of β-Catenin in Heart Failure", "x")
    others = [Paper(str(i), f"The role of β-catenin in heart failure, part {i}", "x") for i in range(20)]
    random = np.random.default_rng(1)
    atlas = made_atlas([*others[:10], own, *others[10:]], random.normal(size=(21, D)))
    # Near it, as a revised abstract would be, but not at it.
    query = query_at(atlas.vectors[10] + 0.3 * random.normal(size=D), title=title)
    result = search(atlas, query, k=20)
    assert result.own == (10,)
    assert sorted(result.rows) == [row for row in range(21) if row != 10]


@pytest.mark.parametrize("title", ["", "Editorial", "Reply", "Editorial!", "---", "Erratum", "In this issue"])
def test_short_titles_belong_to_many_papers(made_atlas: Callable[..., Atlas], title: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(15, D))
    atlas = made_atlas([Paper(str(i), title, "x") for i in range(15)], vectors)
    result = search(atlas, query_at(vectors.mean(axis=0), title=title), k=15)
    own = result.own
    assert own == () or len("".join(c for c in title if c.isalnum())) >= 12
    assert len(result.hits) + len(own) == 15


def test_the_same_text_is_left_out_and_k_hits_remain(topics: str, encoder: BiEncoder) -> None:
    atlas = open_atlas(topics)
    for row in range(len(atlas)):
        paper = atlas.paper(row)
        result = search(atlas, text_query(encoder, f" {paper.title}\n", paper.abstract), k=11)
        assert result.own == (row,)
        assert len(result.hits) == 11
        assert result.point == pytest.approx(atlas.coordinates[row].tolist(), abs=0.02)
        # Pasted without a blank line, all of it is abstract: there is no title to recognise it by.
        result = search(atlas, text_query(encoder, "", f"{paper.title} {paper.abstract}"), k=12)
        assert result.own == (row,)
        assert len(result.hits) == 11


def test_the_own_paper_is_left_out_even_behind_a_filter(atlas: Atlas) -> None:
    hidden = Filters(years=(2001, 2001))
    result = search(atlas, query_at(atlas.vectors[40]), k=10, filters=hidden)
    assert atlas.paper(40).year == 2000
    assert result.own == (40,)
    assert result.candidates == 20 == len([i for i in range(N) if i % 20 == 1])
    assert len(result.hits) == 10


def test_the_text_of_a_paper_lies_where_the_paper_lies(atlas: Atlas) -> None:
    for row in (0, 17, 399):
        result = search(atlas, query_at(atlas.vectors[row]), k=5)
        assert result.point == pytest.approx(atlas.coordinates[row].tolist(), abs=1e-6)


# Seeds


def test_one_seed_is_its_vector_and_leaves_itself_out(atlas: Atlas) -> None:
    query = seed_query(atlas, [7])
    assert query.vector == pytest.approx(atlas.vectors[7], abs=1e-6)
    assert query.title == atlas.paper(7).title
    assert query.fingerprint == FINGERPRINT
    assert search(atlas, query, k=3).own == (7,)


@pytest.mark.parametrize("normalised", [True, False])
def test_several_seeds_are_their_mean(made_atlas: Callable[..., Atlas], normalised: bool) -> None:
    vectors = np.random.default_rng(2).normal(size=(30, D)) * (1 if normalised else 5)
    if normalised:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    atlas = made_atlas([Paper(str(i), f"Title {i}", "x") for i in range(30)], vectors, normalised=normalised)
    mean = vectors[[2, 9, 4]].mean(axis=0)
    query = seed_query(atlas, [2, 9, 4])
    assert query.vector == pytest.approx(mean / np.linalg.norm(mean) if normalised else mean, abs=1e-5)
    assert query.seeds == (2, 9, 4)
    assert query.title == ""
    result = search(atlas, query, k=30)
    assert len(result.hits) == 27
    assert not {2, 9, 4} & set(result.rows)


def test_seeds_that_cancel_out_or_repeat(made_atlas: Callable[..., Atlas], atlas: Atlas) -> None:
    opposite = made_atlas(
        [Paper(str(i), "t", "x") for i in range(3)], np.array([[1.0, 0], [-1, 0], [0, 1]]), normalised=True
    )
    assert seed_query(opposite, [0, 1]).vector.tolist() == [0, 0]
    assert search(opposite, seed_query(opposite, [0, 1]), k=3).rows == [2]
    assert seed_query(atlas, [5, 5]).seeds == (5,)


def test_rows_that_are_not_there_are_refused(atlas: Atlas) -> None:
    with pytest.raises(ValueError, match="at least one"):
        seed_query(atlas, [])
    for rows in ([-1], [N], [0, N]):
        with pytest.raises(IndexError):
            seed_query(atlas, rows)


def test_an_atlas_of_one_paper_answers(made_atlas: Callable[..., Atlas]) -> None:
    atlas = made_atlas([Paper("1", "The only paper there is", "x")], np.ones((1, D)) / np.sqrt(D))
    assert search(atlas, query_at(-atlas.vectors[0]), k=5).rows == [0]
    assert search(atlas, seed_query(atlas, [0]), k=5).hits == ()
    assert search(atlas, query_at(-atlas.vectors[0], title="The only paper there is"), k=5).own == (0,)


# Examples


def test_examples_are_full_papers_of_distant_regions(made_atlas: Callable[..., Atlas]) -> None:
    random = np.random.default_rng(3)
    corners = np.array([[-0.9, -0.9], [-0.8, -0.9], [0.9, 0.9], [0.9, -0.9]])
    coordinates = np.repeat(corners, 30, axis=0) + 0.01 * random.normal(size=(120, 2))
    lengths = [900 if i % 3 else 100 for i in range(120)]
    papers = [Paper(str(i), "t", "x" * length) for i, length in enumerate(lengths)]
    atlas = made_atlas(papers, random.normal(size=(120, D)))
    atlas.coordinates = coordinates.astype(np.float32)
    atlas.region_ids = np.repeat(np.arange(4), 30).astype(np.int16)
    regions = tuple(Region(i, f"r{i}", 30, float(x), float(y), 0) for i, (x, y) in enumerate(corners))
    atlas.manifest = replace(atlas.manifest, regions=regions)
    rows = example_rows(atlas, count=3)
    assert len(set(rows)) == 3
    assert all(lengths[row] == 900 for row in rows)
    # The first two corners are neighbours: of the two only one is taken.
    assert len({0, 1} & {row // 30 for row in rows}) == 1
    for one, other in itertools.combinations(rows, 2):
        assert np.linalg.norm(atlas.coordinates[one] - atlas.coordinates[other]) > 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_corpus_without_regions_has_examples_too(topics: str, count: int) -> None:
    rows = example_rows(open_atlas(topics), count=count)
    assert len(rows) == len(set(rows)) == count


def test_the_default_atlas_has_examples_that_answer(
    medline_home: Path, monkeypatch: pytest.MonkeyPatch, encoder: BiEncoder
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    atlas = open_atlas("medline")
    rows = example_rows(atlas)
    assert len(set(rows)) == 3
    assert len({atlas.region_ids[row] for row in rows}) == 3
    for row in rows:
        paper = atlas.paper(row)
        result = search(atlas, text_query(encoder, paper.title, paper.abstract), k=10)
        assert row in result.own
        assert len(result.hits) == 10
        assert result.hits[0].share_farther > 0.99
        assert result.point == pytest.approx(atlas.coordinates[row].tolist(), abs=0.1)
