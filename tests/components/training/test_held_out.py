"""Held-out ranks against sorting by hand, and whether a change is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.encoder.base import TextCoverage, TitleAndAbstract, Vectors
from components.training.held_out import HeldOutChange, compare_held_out, read_held_out, score_rows, verdict
from components.training.run import HELD_OUT, write_model
from components.training.settings import TrainingError
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import Paper, to_table
from corpus.progress import Progress, no_progress

pytestmark = pytest.mark.usefixtures("home")

LINE = [[0], [1], [2], [3], [4], [5]]


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

    def encode(self, texts: Sequence[TitleAndAbstract], *, progress: Progress = no_progress) -> Vectors:
        self.encoded += [title for title, _ in texts]
        return self.places[[int(title) for title, _ in texts]]

    def stream(
        self, texts: Iterable[TitleAndAbstract], *, chunk: int, progress: Progress = no_progress
    ) -> Iterator[Vectors]:
        source = iter(texts)
        while some := list(islice(source, chunk)):
            yield self.encode(some)

    def coverage(self, title: str, abstract: str) -> TextCoverage:
        return TextCoverage(1, 1, 1, 1)


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
        provenance={},
    )


def compared(pairs: TrainingPairs, *places: Any, **options: Any) -> HeldOutChange:
    """The scores of an encoder before, and after; the same one twice if only one is given."""
    return compare_held_out(pairs, Placed(places[0]), Placed(places[-1]), **options)


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
    scores = compared(pairs_of(6, test=[(0, 1), (0, 3)]), LINE).after
    # Of 0, papers 1 and 3 are first and third; of 1, paper 0 is as near as 2, whose id is later; of 3, it is last.
    assert scores.means == pytest.approx({"mean_rank": 3, "MAP": ((1 + 2 / 3) / 2 + 1 / 2 + 1 / 5) / 3, "recall@10": 1})
    assert (scores.median_rank, scores.queries, scores.papers, scores.sampled) == (2, 3, 5, False)
    low, high = scores.intervals["mean_rank"]
    assert 2 <= low <= 3 <= high <= 5


def test_partners_in_train_and_dev_are_not_ranked_but_negatives_are() -> None:
    assert compared(pairs_of(6, test=[(0, 5)]), LINE).after.means["mean_rank"] == 5
    seen = pairs_of(6, test=[(0, 5)], train=[(0, 1), (2, 0), (5, 4)], dev=[(0, 3, 4)])
    assert compared(seen, LINE).after.means["mean_rank"] == 3  # of 0 the second, of 5 the fourth


@pytest.mark.parametrize("seen", [[], [(0, 1)]])
def test_without_test_pairs_there_is_nothing_to_rank(seen: list[tuple[int, int]]) -> None:
    with pytest.raises(TrainingError, match="planted has no test pairs.*test split"):
        compared(pairs_of(4, test=seen, train=seen), LINE)


def test_each_paper_is_encoded_once() -> None:
    encoder = Placed([[i] for i in range(9)])
    compare_held_out(pairs_of(9, test=[(0, 1), (0, 2), (1, 2)]), encoder, encoder)
    assert sorted(encoder.encoded) == [str(i) for i in range(9)]


def test_of_many_papers_a_sample_is_ranked_the_same_for_both_encoders() -> None:
    places = np.random.default_rng(2).normal(size=(200, 3))
    pairs = pairs_of(200, test=[(i, i + 1) for i in range(0, 100, 2)])
    # Scaled and mirrored, all distances keep their order.
    change = compared(pairs, places, -2 * places, max_queries=20, max_papers=60)
    assert (change.before.queries, change.before.papers, change.before.sampled) == (20, 59, True)
    assert change.before.means == change.after.means
    few = compared(pairs, places, max_queries=50, max_papers=1).after  # relevant papers are always ranked
    assert few.papers >= 50 == few.queries


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
            compared(pairs, places)
        return
    found = compared(pairs, places).after
    assert found.means == pytest.approx({name: float(np.mean(values)) for name, values in expected.items()})
    assert found.median_rank == pytest.approx(float(np.median(expected["mean_rank"])))


def test_an_improvement_is_seen_and_no_change_is_not(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    pairs = pairs_of(120, test=[(i, i + 1) for i in range(0, 80, 2)])
    chance = random.normal(size=(120, 8))
    learned = chance.copy()
    learned[1:80:2] = learned[0:80:2] + 0.1 * random.normal(size=(40, 8))
    change = compared(pairs, chance, learned)
    assert 45 < change.before.means["mean_rank"] < 75
    assert change.after.means == {"mean_rank": 1, "MAP": 1, "recall@10": 1}
    assert change.tests["mean_rank"].difference < -40 and change.tests["MAP"].p_value < 0.001
    assert change.tests["mean_rank"].higher == 0
    rank, average, _ = score_rows(change)
    assert (rank.after, rank.difference[0], average.after, average.p) == ("1.00", "−", "100.00 %", "< 0.0001")
    assert "rank higher" in verdict(change)
    assert "the start is the better encoder" in verdict(compared(pairs, learned, chance))
    assert "may be chance" in verdict(compared(pairs, chance))
    assert read_held_out(tmp_path) is None
    write_model(tmp_path / HELD_OUT, change)
    assert read_held_out(tmp_path) == change
    (tmp_path / HELD_OUT).write_text("[" * 9_999)
    with pytest.raises(TrainingError, match="held-out.json cannot be read"):
        read_held_out(tmp_path)


def test_progress_counts_all_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.evaluation.ranking import RANKING

    monkeypatch.setattr("components.training.held_out.MAX_CELLS", 40)
    calls: list[tuple[str, int, int]] = []
    pairs, places = pairs_of(20, test=[(i, i + 1) for i in range(0, 20, 2)]), np.arange(20.0)[:, None]
    change = compared(pairs, places, progress=lambda *call: calls.append(call))
    assert [call[1:] for call in calls if call[0] == RANKING][-1] == (20, 20)
    assert change.after.means["mean_rank"] == np.mean(by_hand(pairs, places)["mean_rank"])
