"""Comparison: brute force is the oracle, and where the truth is planted it must be found."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas.facets import Filters
from components.atlas.store import Atlas, FingerprintMismatch
from components.search import compare as module
from components.search.compare import (
    COMPARING,
    Moved,
    NothingToCompare,
    agreement,
    compare_hits,
    compare_queries,
    rank_biased_overlap,
)
from components.search.search import Query
from corpus.paper import Paper

LISTS = st.lists(st.sampled_from("abcdefghijkl"), max_size=12, unique=True)


# Two lists


@given(LISTS, LISTS)
def test_moves_and_overlap_are_what_counting_gives(left: list[str], right: list[str]) -> None:
    found = compare_hits(left, right)
    assert {paper.id for paper in found.papers} == set(left) | set(right)
    assert [paper.id for paper in found.papers][: len(left)] == left
    for paper in found.papers:
        assert paper.left_rank == (left.index(paper.id) + 1 if paper.id in left else None)
        assert paper.right_rank == (right.index(paper.id) + 1 if paper.id in right else None)
        if paper.id in left and paper.id in right:
            assert paper.move == left.index(paper.id) - right.index(paper.id)
        else:
            assert paper.move is None
    assert found.k == max(len(left), len(right))
    assert found.common == len(set(left) & set(right))
    assert found.overlap == (found.common / found.k if left or right else None)
    mirrored = compare_hits(right, left)
    assert (mirrored.common, mirrored.overlap) == (found.common, found.overlap)
    assert mirrored.rank_overlap == pytest.approx(found.rank_overlap)
    assert mirrored.rank_correlation == pytest.approx(found.rank_correlation)


def brute_force_rbo(left: Sequence[str], right: Sequence[str], p: float) -> float:
    """The definition: the agreement at every depth, summed to where p^depth is nothing."""
    short, long = sorted((left, right), key=len)
    total, agreement_at = 0.0, 0.0
    for depth in range(1, 3000):
        if depth <= len(long):
            common = len(set(long[:depth]) & set(short[:depth]))
            expected = max(0, depth - len(short)) * len(set(long[: len(short)]) & set(short)) / len(short)
            agreement_at = (common + expected) / depth
        total += (1 - p) * p ** (depth - 1) * agreement_at
    return total


@given(LISTS, LISTS, st.sampled_from([0.5, 0.9, 0.98]))
def test_rank_biased_overlap_is_its_definition(left: list[str], right: list[str], p: float) -> None:
    found = rank_biased_overlap(left, right, persistence=p)
    if not left and not right:
        assert found is None
    elif not left or not right:
        assert found == 0
    else:
        assert found == pytest.approx(brute_force_rbo(left, right, p), abs=1e-9)
        assert -1e-12 <= found <= 1 + 1e-12


def test_what_differs_at_the_top_counts_most() -> None:
    order = list("abcdefghij")
    assert rank_biased_overlap(order, order) == pytest.approx(1)
    top = rank_biased_overlap(order, ["x", *order[1:]])
    bottom = rank_biased_overlap(order, [*order[:-1], "x"])
    assert top is not None
    assert bottom is not None
    assert top < bottom < 1


def test_lists_that_cannot_be_compared_are_refused() -> None:
    for left, right in ((["a", "a"], ["b"]), (["b"], ["a", "a"])):
        with pytest.raises(ValueError, match="twice"):
            compare_hits(left, right)
    for persistence in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="persistence"):
            rank_biased_overlap(["a"], ["a"], persistence=persistence)
    assert compare_hits([], []).to_dict() == {
        "papers": [], "k": 0, "common": 0, "overlap": None, "rank_overlap": None, "rank_correlation": None
    }  # fmt: skip
    assert compare_hits(["a"], []).to_dict()["papers"] == [
        {"id": "a", "left_rank": 1, "right_rank": None, "move": None}
    ]


# Two atlases


Make = Callable[[str, Sequence[str], np.ndarray], Atlas]


@pytest.fixture(scope="module")
def make(made_atlas: Callable[..., Atlas]) -> Make:
    """make(name, ids, vectors): an atlas of papers with these ids."""

    def make(name: str, ids: Sequence[str], vectors: np.ndarray) -> Atlas:
        papers = [Paper(id_, f"Title of number {id_}", "x", year=2000 + i % 2) for i, id_ in enumerate(ids)]
        return made_atlas(papers, vectors, name=name)

    return make


def ids_of(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def drawn(seed: int, n: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def brute_force(left: Atlas, right: Atlas, k: int) -> dict[str, int]:
    """Common neighbours by paper, with nothing but sorting."""
    sides = []
    for atlas, other in ((left, right), (right, left)):
        known = set(other.papers["id"].to_pylist())
        rows = {paper: row for row, paper in enumerate(atlas.papers["id"].to_pylist()) if paper in known}
        near = {}
        for paper, row in rows.items():
            distances = {
                p: float(np.linalg.norm(atlas.vectors[r].astype(np.float64) - atlas.vectors[row]))
                for p, r in rows.items()
                if p != paper
            }
            near[paper] = set(sorted(distances, key=distances.__getitem__)[:k])
        sides.append(near)
    return {paper: len(sides[0][paper] & sides[1][paper]) for paper in sides[0]}


def test_agreement_is_what_brute_force_gives(make: Make) -> None:
    n, k = 150, 7
    base = drawn(1, n)
    left = make("left", ids_of(n), base)
    order = np.random.default_rng(3).permutation(n)[: n - 20]
    other = (base + 0.8 * drawn(2, n))[order]
    right = make("right", [*(f"p{i}" for i in order), "x", "y"], np.vstack([other, drawn(4, 2)]))
    truth = brute_force(left, right, k)
    told: list[tuple[str, int, int]] = []
    found = agreement(left, right, k=k, progress=lambda *call: told.append(call))
    assert (found.papers, found.only_left, found.only_right, found.sample) == (130, 20, 2, 130)
    assert found.mean == pytest.approx(np.mean(list(truth.values())) / k)
    assert 0.1 < found.mean < 0.9  # a case in which something is to be seen
    assert found.interval == (found.mean, found.mean)
    assert found.counts == tuple(list(truth.values()).count(common) for common in range(k + 1))
    assert found.none == pytest.approx(list(truth.values()).count(0) / 130)
    assert found.chance == pytest.approx(k / 129)
    for place, share in found.quantiles.items():
        assert share == pytest.approx(np.quantile(np.array(list(truth.values())) / k, place))
    for named, best in ((found.most, max), (found.least, min)):
        assert len(named) == 5
        assert named[0].common == best(truth.values())
        for paper in named:
            assert paper.common == truth[paper.id]
            assert left.paper(paper.left_row).id == paper.id == right.paper(paper.right_row).id
    assert [paper.common for paper in found.most] == sorted((p.common for p in found.most), reverse=True)
    assert [paper.common for paper in found.least] == sorted(p.common for p in found.least)
    assert told[0] == (COMPARING, 0, 130)
    assert told[-1] == (COMPARING, 130, 130)
    mirrored = agreement(right, left, k=k)
    assert (mirrored.mean, mirrored.counts) == (found.mean, found.counts)
    assert "left and right share" in found.summary()
    assert "20 papers only in left, 2 only in right" in found.summary()


def test_the_same_vectors_however_turned_scaled_or_ordered_agree_wholly(make: Make) -> None:
    n = 200
    base = drawn(5, n)
    left = make("left", ids_of(n), base)
    turn, _ = np.linalg.qr(drawn(6, 8))
    order = np.random.default_rng(7).permutation(n)
    for vectors, ids in (
        (base, ids_of(n)),
        (base @ turn, ids_of(n)),
        (3 * base + 5, ids_of(n)),
        (base[order], [f"p{i}" for i in order]),
        (np.hstack([base, np.zeros((n, 4))]), ids_of(n)),
    ):
        found = agreement(left, make("right", ids, vectors))
        assert found.mean == 1
        assert found.none == 0
        assert found.counts == (*([0] * 10), n)


def test_vectors_that_know_nothing_of_each_other_agree_by_chance(make: Make) -> None:
    n = 600
    found = agreement(make("a", ids_of(n), drawn(8, n)), make("b", ids_of(n), drawn(9, n)))
    assert found.mean == pytest.approx(found.chance, abs=4 * math.sqrt(found.chance / (10 * n)))
    assert found.none > 0.8


def test_a_planted_half_is_found(make: Make) -> None:
    # Ten tight groups of eleven on the left; on the right every group's second half has changed places with the next's.
    groups, size = 10, 11
    centres = 100 * drawn(10, groups)
    left_group = np.repeat(np.arange(groups), size)
    right_group = (left_group + (np.tile(np.arange(size), groups) >= 6)) % groups
    n = groups * size
    atlases = [
        make(str(i), ids_of(n), centres[group] + 0.01 * drawn(11 + i, n))
        for i, group in enumerate((left_group, right_group))
    ]
    found = agreement(*atlases, k=size - 1)
    # Six stay together (5 neighbours in common), five move together (4).
    assert found.counts == (0, 0, 0, 0, 5 * groups, 6 * groups, *([0] * 5))
    assert found.mean == pytest.approx((6 * 5 + 5 * 4) / size / (size - 1))
    assert found.to_dict()["quantiles"].keys() == {"0.05", "0.25", "0.5", "0.75", "0.95"}


def test_a_sample_is_fixed_and_its_interval_holds_the_truth(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 400
    base = drawn(13, n)
    left, right = make("a", ids_of(n), base), make("b", ids_of(n), base + 0.7 * drawn(14, n))
    truth = agreement(left, right, sample=n).mean
    found = agreement(left, right, sample=100)
    assert agreement(left, right, sample=100) == found
    assert (found.sample, sum(found.counts), found.papers) == (100, 100, 400)
    held = 0
    for seed in range(40):
        monkeypatch.setattr(module, "_SEED", seed)
        low, high = agreement(left, right, sample=100).interval
        assert 0 <= low < high <= 1
        held += low <= truth <= high
    assert held >= 34  # 38 are to be expected; fewer than 34 come once in a hundred
    assert agreement(left, right, sample=1).interval == (0, 1)


def test_papers_that_repeat_each_other_agree_with_themselves(make: Make) -> None:
    vectors = np.repeat(drawn(15, 4), 15, axis=0)  # every paper fifteen times: ties everywhere
    vectors[7] = 0
    left = make("a", ids_of(60), vectors)
    assert agreement(left, make("b", ids_of(60), vectors.copy())).mean == 1
    order = np.random.default_rng(1).permutation(60)
    assert agreement(left, make("b", [f"p{i}" for i in order], vectors[order])).mean == 1


def test_small_corpora_cut_k_and_single_papers_are_refused(make: Make) -> None:
    two = make("two", ["a", "b"], drawn(16, 2))
    found = agreement(two, two)
    assert (found.k, found.mean, found.chance, found.sample) == (1, 1.0, 1.0, 2)
    assert len(found.most) == len(found.least) == 2
    for other in (["a"], ["x", "y", "z"], ["b", "x"]):
        with pytest.raises(NothingToCompare, match="in common"):
            agreement(two, make("other", other, drawn(17, len(other))))
    for k, sample in ((0, 10), (10, 0), (-1, 10)):
        with pytest.raises(ValueError, match="at least 1"):
            agreement(two, two, k=k, sample=sample)


def test_an_id_that_is_held_twice_is_joined_once(make: Make) -> None:
    left = make("l", ["a", "b", "a", "c"], drawn(18, 4))
    right = make("r", ["c", "a", "c", "b", "d"], drawn(19, 5))
    found = agreement(left, right)
    assert (found.papers, found.only_left, found.only_right) == (3, 1, 2)


# One text, two atlases


def test_one_query_is_asked_of_both_with_the_same_filters(make: Make) -> None:
    line = np.arange(10.0)[:, None] * [1.0, 0.0]
    left = make("left", ids_of(10), line + 1)
    right = make("right", ids_of(10)[::-1], line + 1)  # in the opposite order
    zero = np.zeros(2, np.float32)
    queries = (Query(zero, "left"), Query(zero, "right"))
    found = compare_queries(left, right, queries=queries, k=3)
    assert [left.paper(row).id for row in found.left.rows] == ["p0", "p1", "p2"]
    assert [right.paper(row).id for row in found.right.rows] == ["p9", "p8", "p7"]
    assert found.comparison.papers[0] == Moved("p0", 1, None)
    assert (found.comparison.common, found.comparison.rank_overlap) == (0, 0)
    filtered = compare_queries(left, right, queries=queries, k=3, filters=Filters(years=(2000, 2000)))
    assert all(left.paper(row).year == 2000 for row in filtered.left.rows)
    assert all(right.paper(row).year == 2000 for row in filtered.right.rows)
    with pytest.raises(FingerprintMismatch):
        compare_queries(left, right, queries=queries[::-1], k=3)
    # Looking deeper tells ranks beyond the lists, and nothing else.
    deep = compare_queries(left, right, queries=queries, k=3, depth=8)
    assert (deep.left, deep.right, deep.comparison) == (found.left, found.right, found.comparison)
    assert deep.left_ranks == {f"p{i}": i + 1 for i in range(8)}
    assert deep.right_ranks == {f"p{9 - i}": i + 1 for i in range(8)}
    assert (list(found.left_ranks), list(found.right_ranks)) == (["p0", "p1", "p2"], ["p9", "p8", "p7"])


def test_a_paper_that_one_side_knows_as_the_text_itself_is_left_out_of_both(make: Make) -> None:
    # The query lies on p4 on the left; on the right nothing is near enough to be the same.
    vectors = drawn(21, 10, 2)
    left = make("left", ids_of(10), vectors)
    right = make("right", ids_of(10), vectors + np.array([0.5, 0]))
    query = left.vectors[4]
    found = compare_queries(left, right, queries=(Query(query, "left"), Query(query, "right")), k=9)
    assert found.left.own == found.right.own == (4,)
    assert "p4" not in {paper.id for paper in found.comparison.papers}
    assert found.comparison.common == 9
