"""The curve of the neighbour index: its recalls computed again by brute force, and what is kept of it on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.atlas.paths import NoSuchAtlas
from components.atlas.store import AtlasParts, open_atlas, read_manifest, write_atlas
from components.evaluation.index_curve import (
    MEASURING,
    Curve,
    CurveBusy,
    CurveDamaged,
    CurveRefused,
    CurveSettings,
    Measured,
    as_markdown,
    curve,
    curve_of,
    delete_curve,
    partial_words,
    read_curve,
    save_curve,
    stale,
    summary,
)
from components.evaluation.index_curve.kept import sole_measurer
from corpus.progress import Cancelled
from tests.components.evaluation.curves import planted

K, QUERIES, SEED = 5, 60, 4
FEW = CurveSettings(k=K, ms=(4,), ef_searches=(6, 40), sizes=(300, 900), queries=QUERIES, seed=SEED, threads=1)


def spread(n: int = 900, d: int = 24, *, seed: int = 1) -> np.ndarray:
    """Noise in many dimensions: hard enough for a small graph to miss neighbours."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.fixture(scope="module")
def measured() -> Curve:
    return curve(spread(), settings=FEW)


# Against brute force


def asked_again(vectors: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The sample of a size, and the queries off its rows, from their description and in double precision."""
    part = vectors[np.random.default_rng(SEED).permutation(len(vectors))][:size]
    nearest = []
    for row in range(QUERIES):
        away = np.linalg.norm(part.astype(np.float64) - part[row], axis=1)
        away[row] = np.inf
        nearest.append(away.min())
    moves = np.random.default_rng(SEED).normal(size=(QUERIES, part.shape[1])).astype(np.float32)
    moves *= 1.5 * np.median(nearest) / np.linalg.norm(moves, axis=1, keepdims=True)
    return part, part[:QUERIES] + moves.astype(np.float32)


@pytest.mark.parametrize("size", [300, 900])
@pytest.mark.parametrize("ef_search", [6, 40])
def test_the_recall_of_a_point_is_that_of_a_graph_built_and_asked_by_hand(
    measured: Curve, size: int, ef_search: int
) -> None:
    part, off = asked_again(spread(), size)
    graph = hnswlib.Index(space="l2", dim=part.shape[1])
    graph.init_index(max_elements=size, M=4, ef_construction=200, random_seed=SEED)
    graph.add_items(part, np.arange(size), num_threads=1)
    graph.set_ef(ef_search)
    on_found = off_found = 0
    for row in range(QUERIES):
        away = np.linalg.norm(part.astype(np.float64) - part[row], axis=1)
        others = [other for other in np.argsort(away).tolist() if other != row][:K]
        labels, _ = graph.knn_query(part[row], k=K + 1)
        on_found += len(set(others) & (set(labels[0].tolist()) - {row}))
        truth = np.argsort(np.linalg.norm(part.astype(np.float64) - off[row], axis=1))[:K]
        labels, _ = graph.knn_query(off[row], k=K)
        off_found += len(set(truth.tolist()) & set(labels[0].tolist()))
    (point,) = (one for one in measured.line(size=size, m=4) if one.ef_search == ef_search)
    assert point.recall == pytest.approx(on_found / (QUERIES * K), abs=1e-6)
    assert point.recall_off_rows == pytest.approx(off_found / (QUERIES * K), abs=1e-6)
    if ef_search == 6 and size == 900:
        assert max(point.recall, point.recall_off_rows) < 0.95  # else this has shown little


def test_a_graph_that_looks_at_every_row_misses_none() -> None:
    found = curve(spread(200), settings=replace(FEW, ms=(8, 16), ef_searches=(200,), sizes=(100, 200)))
    assert [point.recall for point in found.points] == [1.0] * 4
    assert [point.recall_off_rows for point in found.points] == [1.0] * 4


def test_every_point_asked_for_is_there_with_times(measured: Curve) -> None:
    assert measured.complete
    assert [(point.m, point.size, point.ef_search) for point in measured.points] == [
        (4, 300, 6),
        (4, 300, 40),
        (4, 900, 6),
        (4, 900, 40),
    ]
    assert [time.size for time in measured.exact] == [300, 900]
    assert all(0 < one.p50_ms <= one.p95_ms for one in (*measured.points, *measured.exact))
    first, last = measured.line(size=300, m=4)[0], measured.line(size=900, m=4)[0]
    assert 0 < first.build_seconds <= last.build_seconds
    assert measured.versions["hnswlib"]
    assert "cores" in measured.machine


def recalls(found: Curve) -> dict[tuple[int, int, int], tuple[float, float]]:
    return {(p.m, p.size, p.ef_search): (p.recall, p.recall_off_rows) for p in found.points}


def test_a_seed_repeats_and_sizes_are_nested(measured: Curve) -> None:
    again = curve(spread(), settings=FEW)
    assert recalls(again) == recalls(measured)
    # The smaller size is the same part of the corpus whether or not a larger one follows.
    alone = curve(spread(), settings=replace(FEW, sizes=(300,)))
    assert recalls(alone).items() <= recalls(measured).items()
    other = curve(spread(), settings=replace(FEW, seed=SEED + 1))
    assert recalls(other) != recalls(measured)


def test_a_starved_graph_over_duplicates_is_measured() -> None:
    vectors = spread(400)
    vectors[50:] = vectors[0]
    found = curve(vectors, settings=replace(FEW, ms=(2,), ef_construction=2, sizes=(400,)))
    assert all(0 <= share <= 1 for pair in recalls(found).values() for share in pair)


def test_the_defaults_fit_the_vectors_and_take_in_the_atlas_own_setting() -> None:
    told: list[tuple[str, int, int]] = []
    quick = CurveSettings(queries=20, threads=1)
    found = curve(
        spread(1200, 4),
        settings=quick,
        about=Measured(m=12, ef_search=50),
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    assert found.sizes == (1000, 1200)
    assert found.ms == (8, 12, 16, 32)
    assert {11, 50, 512} <= {point.ef_search for point in found.points}
    assert {stage for stage, _, _ in told} == {MEASURING}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[0][1] == 0
    assert told[-1][1] == told[-1][2]
    large = curve(spread(300, 4), settings=replace(quick, k=100, ms=(8,)))
    assert min(point.ef_search for point in large.points) == 101


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 900}, "too few"),
        ({"k": 5000}, "k is 5,000"),
        ({"ms": (1,)}, "M is 1:"),
        ({"ms": (8, 100_000)}, "M is 100,000"),
        ({"ef_searches": (5,)}, "ef_search is 5: it lies between 6"),
        ({"ef_searches": (10**9,)}, "ef_search is"),
        ({"ef_construction": 0}, "ef_construction is 0"),
        ({"sizes": (901,)}, "between 6 and 900"),
        ({"sizes": (5,)}, "the size is 5"),
        ({"queries": 0}, "queries is 0"),
        ({"seed": -1}, "the seed is -1"),
        ({"ms": tuple(range(2, 200)), "ef_searches": tuple(range(6, 40))}, "more than 2,000 points"),
    ],
)
def test_settings_that_cannot_be_measured_are_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CurveRefused, match=told):
        curve(spread(), settings=replace(FEW, **changes))


def test_vectors_that_are_none_are_refused() -> None:
    vectors = spread()
    vectors[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        curve(vectors, settings=FEW)


# On disk


@pytest.fixture
def kept(written: AtlasParts) -> Curve:
    """The curve of the atlas `one`, kept."""
    return curve_of(open_atlas("one"), settings=SMALL)


SMALL = CurveSettings(k=3, ms=(2, 4), ef_searches=(4, 20), sizes=(30, 60), queries=10, threads=1)


def path(home: Path) -> Path:
    return home / ".evaluations" / ".curves" / "one.json"


def test_the_curve_of_an_atlas_is_kept_and_read_again(kept: Curve) -> None:
    assert read_curve("one") == kept
    assert kept.about.atlas == "one"
    assert stale(kept, read_manifest("one")) == ""
    delete_curve("one")
    delete_curve("one")
    assert read_curve("one") is None


def test_an_atlas_that_has_changed_has_another_curve(kept: Curve, atlas_parts: Callable[..., AtlasParts]) -> None:
    write_atlas(atlas_parts(seed=9))
    told = stale(kept, read_manifest("one"))
    assert "60 papers" in told
    assert "Measure it again" in told
    # The same vectors written anew, in another build, are the same.
    write_atlas(atlas_parts())
    assert stale(kept, read_manifest("one")) == ""


class StopAfter:
    """Progress that stops once so many steps are done."""

    def __init__(self, steps: float) -> None:
        self.steps = steps

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done > self.steps * total:
            raise Cancelled("stopped")


def test_what_was_measured_before_it_was_stopped_is_kept(written: AtlasParts, home: Path) -> None:
    atlas = open_atlas("one")
    with pytest.raises(Cancelled):
        curve_of(atlas, settings=SMALL, progress=StopAfter(0))
    assert read_curve("one") is None
    with pytest.raises(Cancelled):
        curve_of(atlas, settings=SMALL, progress=StopAfter(0.7))
    part = read_curve("one")
    assert part is not None
    assert 0 < len(part.points) < part.planned == 8
    assert not part.complete
    for told in (partial_words(part), summary(part), as_markdown(part)):
        assert f"Partial: {len(part.points)} of 8" in told
    whole = curve_of(atlas, settings=SMALL)
    assert partial_words(whole) == ""
    assert recalls(part).items() <= recalls(whole).items()
    # A whole one is not lost to half of another.
    with pytest.raises(Cancelled):
        curve_of(atlas, settings=SMALL, progress=StopAfter(0.7))
    assert read_curve("one") == whole
    path(home).write_text("damaged")
    with pytest.raises(Cancelled):
        curve_of(atlas, settings=SMALL, progress=StopAfter(0.7))
    assert read_curve("one") is not None


def test_two_at_once_do_not_measure_one_atlas(written: AtlasParts) -> None:
    with sole_measurer("one"), pytest.raises(CurveBusy, match="Another process measures"):
        curve_of(open_atlas("one"), settings=SMALL)


@pytest.mark.parametrize("name", ["../one", ".one", "One", "", "a/b", "a" * 65])
def test_a_name_that_is_none_is_no_path(home: Path, name: str) -> None:
    for act in (read_curve, delete_curve, lambda name: save_curve(planted(atlas=name))):
        with pytest.raises(NoSuchAtlas):
            act(name)
    assert not home.exists()


def change(where: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """What sets a place in the raw JSON, named by dots."""

    def changed(raw: dict[str, Any]) -> Any:
        *steps, last = where.split(".")
        at: Any = raw
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at[step]
        at[int(last) if isinstance(at, list) else last] = value
        return raw

    return changed


@pytest.mark.parametrize(
    "damage",
    [
        change("format", 2),
        change("about.atlas", "two"),
        change("about.m", "8"),
        change("about", None),
        change("about.encoder", "x" * 10_000),
        change("points", {}),
        change("points", [{}]),
        change("points", [None]),
        change("points.0.recall", 1.5),
        change("points.0.recall", True),
        change("points.0.recall", float("nan")),
        change("points.0.p50_ms", -1),
        change("points.0.p50_ms", float("inf")),
        change("points.0.p50_ms", 10**400),
        change("points.0.m", 2.5),
        change("points.0.m", 10**9),
        change("points.0.size", 10**6),
        change("points.1.ef_search", 16),  # a second one there
        change("exact", "none"),
        change("exact.0.p95_ms", None),
        change("k", 0),
        change("planned", 10**9),
        change("rows", "9000"),
        change("machine", ["a"]),
        change("made", 3),
        change("versions", ["a"]),
        change("versions", {"python": 3}),
        change("versions", {str(n): "1" for n in range(50)}),
        lambda raw: [raw],
        lambda raw: raw | {"points": raw["points"] * 200},
        lambda raw: {name: value for name, value in raw.items() if name != "seed"},
    ],
)
def test_a_file_that_says_what_no_curve_can_is_refused(home: Path, damage: Callable[[dict[str, Any]], Any]) -> None:
    save_curve(planted())
    path(home).write_text(json.dumps(damage(json.loads(path(home).read_text()))))
    with pytest.raises(CurveDamaged, match="Measure it again") as caught:
        read_curve("one")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b" " * (5 * 1024 * 1024), b"null", b"3"])
def test_bytes_that_are_no_curve_are_refused(home: Path, content: bytes) -> None:
    save_curve(planted())
    path(home).write_bytes(content)
    with pytest.raises(CurveDamaged):
        read_curve("one")


@settings(max_examples=25)
@given(
    share=st.floats(0, 1),
    ms=st.floats(0, 1e9),
    words=st.text(st.characters(codec="utf-8"), max_size=300),
    number=st.integers(2, 256),
)
def test_what_is_saved_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, share: float, ms: float, words: str, number: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(tmp_path_factory.mktemp("home")))
        point = replace(planted().points[0], recall=share, recall_off_rows=1 - share, p50_ms=ms, m=number)
        saved = replace(planted(encoder=words, machine=words), points=(point,), versions={words: words})
        save_curve(saved)
        assert read_curve("one") == saved
