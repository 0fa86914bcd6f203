"""Held-out ranks against counting by hand: who is ranked, ties, what is drawn, and whether a change is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.encoder import Reading
from components.encoder.base import TitleAndAbstract, Vectors
from components.training.held_out import HeldOut, before_and_after, held_out_ranks
from components.training.settings import TrainingError
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import Paper, to_table

pytestmark = pytest.mark.usefixtures("home")


class Placed:
    """An encoder that puts paper i, which it knows by its title, where it is told to."""

    normalised = False

    def __init__(self, places: Sequence[Sequence[float]], name: str = "placed") -> None:
        self.places = np.array(places, dtype=np.float32)
        self.name, self.source = name, ""
        self.fingerprint = f"{name} {self.places.tobytes().hex()}"
        self.encoded: list[str] = []

    @property
    def dimensions(self) -> int:
        return self.places.shape[1]

    def encode(self, texts: Sequence[TitleAndAbstract], *, on_progress: Callable[[int], None] | None = None) -> Vectors:
        self.encoded += [title for title, _ in texts]
        return self.places[[int(title) for title, _ in texts]]

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[Vectors]:
        source = iter(texts)
        while some := list(islice(source, chunk)):
            yield self.encode(some)

    def reading(self, title: str, abstract: str) -> Reading:
        return Reading(1, 1, 1, 1)


def pairs_of(
    papers: int,
    *,
    test: Sequence[tuple[int, int]],
    train: Sequence[tuple[int, int]] = (),
    dev: Sequence[tuple[int, int, int]] = (),
) -> TrainingPairs:
    table = to_table(Paper(id=f"p{i:03}", title=str(i), abstract="a") for i in range(papers))
    return TrainingPairs(
        name="planted",
        fingerprint="0" * 64,
        papers=table,
        train=np.array(train, dtype=np.int32).reshape(-1, 2),
        dev=np.array(dev, dtype=np.int32).reshape(-1, 3),
        test=np.array(test, dtype=np.int32).reshape(-1, 2),
        told={},
    )


def by_hand(pairs: TrainingPairs, places: np.ndarray) -> dict[str, list[float]]:
    """Mean ranks, average precisions and shares among the first ten, query by query, by sorting one list each."""
    partners: dict[int, set[int]] = {}
    seen: dict[int, set[int]] = {}
    for found, rows in ((partners, pairs.test.tolist()), (seen, [*pairs.train.tolist(), *pairs.dev[:, :2].tolist()])):
        for one, other in rows:
            found.setdefault(one, set()).add(other)
            found.setdefault(other, set()).add(one)
    values: dict[str, list[float]] = {"mean_rank": [], "MAP": [], "recall@10": []}
    for query in sorted(partners):
        candidates = [row for row in range(pairs.papers.num_rows) if row != query and row not in seen.get(query, set())]
        relevant = partners[query] - seen.get(query, set())
        if not relevant:
            continue
        distances = {row: float(np.linalg.norm(places[row] - places[query])) for row in candidates}
        # Ties: the id that is later as text comes first, as in trec_eval.
        order = sorted(candidates, key=lambda row: (distances[row], -row))
        ranks = [rank for rank, row in enumerate(order, start=1) if row in relevant]
        values["mean_rank"].append(sum(ranks) / len(ranks))
        values["MAP"].append(sum(i / rank for i, rank in enumerate(ranks, start=1)) / len(ranks))
        values["recall@10"].append(sum(rank <= 10 for rank in ranks) / len(ranks))
    return values


def test_ranks_on_a_line() -> None:
    pairs = pairs_of(6, test=[(0, 1), (0, 3)])
    found = held_out_ranks(pairs, Placed([[0], [1], [2], [3], [4], [5]]))
    # Of 0, papers 1 and 3 are first and third; of 1, paper 0 is as near as 2, whose id is later; of 3, it is last.
    assert found.values["mean_rank"].tolist() == [2, 2, 5]
    assert found.values["MAP"].tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 2, 1 / 5])
    assert found.means["mean_rank"] == 3
    assert found.median_rank == 2
    assert found.means["recall@10"] == 1
    assert (found.queries, found.papers, found.sampled) == (3, 5, False)
    low, high = found.intervals["mean_rank"]
    assert 2 <= low <= 3 <= high <= 5


def test_partners_in_train_and_dev_are_no_candidates_and_negatives_are() -> None:
    places = [[0], [1], [2], [3], [4], [5]]
    plain = pairs_of(6, test=[(0, 5)])
    assert held_out_ranks(plain, Placed(places)).values["mean_rank"].tolist() == [5, 5]
    seen = pairs_of(6, test=[(0, 5)], train=[(0, 1), (2, 0), (5, 4)], dev=[(0, 3, 4)])
    assert held_out_ranks(seen, Placed(places)).values["mean_rank"].tolist() == [2, 4]


def test_a_pair_that_was_seen_after_all_is_not_held_out() -> None:
    pairs = pairs_of(4, test=[(0, 1), (2, 3)], train=[(1, 0)])
    assert held_out_ranks(pairs, Placed([[0], [1], [2], [3]])).queries == 2


@pytest.mark.parametrize("seen", [[], [(0, 1)]])
def test_without_test_pairs_there_is_nothing_to_rank(seen: list[tuple[int, int]]) -> None:
    with pytest.raises(TrainingError, match="planted has no test pairs.*test split"):
        held_out_ranks(pairs_of(4, test=seen, train=seen), Placed([[0], [1], [2], [3]]))


def test_papers_at_one_place_are_ranked_by_their_ids_and_not_by_luck() -> None:
    found = held_out_ranks(pairs_of(30, test=[(0, 1), (29, 28)]), Placed([[1.0, 2.0]] * 30))
    assert found.values["mean_rank"].tolist() == [29, 29, 1, 1]


def test_each_paper_is_encoded_once_and_known_encoders_not_again() -> None:
    pairs = pairs_of(9, test=[(0, 1), (0, 2), (1, 2)])
    encoder = Placed([[i] for i in range(9)])
    held_out_ranks(pairs, encoder)
    assert sorted(encoder.encoded) == [str(i) for i in range(9)]
    held_out_ranks(pairs, encoder)  # the start of three seeds, say
    assert len(encoder.encoded) == 9


def test_of_many_some_are_drawn_the_same_for_every_encoder() -> None:
    rng = np.random.default_rng(2)
    pairs = pairs_of(200, test=[(i, i + 1) for i in range(0, 100, 2)])
    places = rng.normal(size=(200, 3))
    first, second = Placed(places), Placed(-2 * places, "other")
    found, again = (held_out_ranks(pairs, encoder, most_queries=20, most_papers=60) for encoder in (first, second))
    assert (found.queries, found.papers, found.sampled) == (20, 59, True)
    assert sorted(first.encoded) == sorted(second.encoded)
    assert len(first.encoded) == 60
    # Scaled and mirrored, all distances keep their order.
    assert found.values["mean_rank"].tolist() == again.values["mean_rank"].tolist()
    few = held_out_ranks(pairs, first, most_queries=50, most_papers=1)  # what is relevant is always among them
    assert few.papers >= 50
    assert few.queries == 50


@settings(max_examples=25)
@given(data=st.data())
def test_ranks_are_those_of_sorting_by_hand(data: st.DataObject) -> None:
    count = data.draw(st.integers(3, 14))
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda two: two[0] != two[1])
    pairs = pairs_of(
        count,
        test=data.draw(st.lists(pair, min_size=1, max_size=6)),
        train=data.draw(st.lists(pair, max_size=4)),
        dev=[(*two, 0) for two in data.draw(st.lists(pair, max_size=2))],
    )
    # Whole numbers on few places: many ties, and no distance that rounds.
    places = np.array(data.draw(st.lists(st.tuples(st.integers(0, 3)), min_size=count, max_size=count)), dtype=float)
    expected = by_hand(pairs, places)
    if not expected["MAP"]:
        with pytest.raises(TrainingError):
            held_out_ranks(pairs, Placed(places))
        return
    found = held_out_ranks(pairs, Placed(places))
    for name, values in expected.items():
        assert found.values[name].tolist() == pytest.approx(values)


def test_a_change_for_the_better_is_seen_and_none_is_not() -> None:
    rng = np.random.default_rng(3)
    pairs = pairs_of(120, test=[(i, i + 1) for i in range(0, 80, 2)])
    chance = rng.normal(size=(120, 8))
    learned = chance.copy()
    learned[1:80:2] = learned[0:80:2] + 0.1 * rng.normal(size=(40, 8))
    change = before_and_after(pairs, Placed(chance, "start"), Placed(learned, "trained"))
    assert (change.before.encoder, change.after.encoder) == ("start", "trained")
    assert 45 < change.before.means["mean_rank"] < 75
    assert change.after.means["mean_rank"] == 1
    assert change.after.means["MAP"] == 1
    assert change.tests["mean_rank"].difference < -40
    assert change.tests["MAP"].p_value < 0.001
    assert change.tests["mean_rank"].wins == 0
    same = before_and_after(pairs, Placed(chance, "start"), Placed(chance, "again"))
    assert same.tests["MAP"].p_value == 1
    told = json.loads(json.dumps(change.as_json(), allow_nan=False))
    assert told["after"]["means"]["mean_rank"] == 1
    assert told["tests"]["mean_rank"]["lower"] > 70
    assert set(told["before"]) == {
        *("encoder", "fingerprint", "queries", "papers", "sampled", "median_rank", "means", "intervals")
    }


def test_progress_counts_all_queries_and_may_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.evaluation.ranking import RANKING
    from corpus.progress import Cancelled

    monkeypatch.setattr("components.training.held_out.MAX_CELLS", 40)
    told: list[tuple[str, int, int]] = []
    pairs = pairs_of(20, test=[(i, i + 1) for i in range(0, 20, 2)])
    whole: HeldOut = held_out_ranks(pairs, Placed([[i] for i in range(20)]), progress=lambda *one: told.append(one))
    ranked = [(done, total) for stage, done, total in told if stage == RANKING]
    assert ranked == sorted(ranked)
    assert ranked[-1] == (20, 20)
    assert whole.values["mean_rank"].tolist() == by_hand(pairs, np.arange(20.0)[:, None])["mean_rank"]

    def stop(stage: str, done: int, total: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        held_out_ranks(pairs, Placed([[i] for i in range(20)]), progress=stop)
