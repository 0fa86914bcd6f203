"""The curve of the neighbour index: its recalls computed again by brute force, its files, exports, figure and panel."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from components.atlas import AtlasParts, NoSuchAtlas, open_atlas, read_manifest, write_atlas
from components.build import Cancelled
from components.evaluation.commands import index as command
from components.index_curve import (
    MEASURING,
    Curve,
    CurveBusy,
    CurveDamaged,
    CurveRefused,
    CurveSettings,
    ExactTime,
    Measured,
    Point,
    as_csv,
    as_json,
    as_markdown,
    curve,
    curve_of,
    delete_curve,
    figure,
    partial_words,
    read_curve,
    save_curve,
    stale,
    sufficient,
    summary,
)
from components.index_curve.figure import FLOOR, LINE_COLOURS, undrawn
from components.index_curve.kept import sole_measurer
from components.palette import DARK, LIGHT, Palette
from corpus.errors import CociteAtlasError
from tests.components.test_palette import contrast

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


def milliseconds(m: int, size: int, ef: int) -> float:
    return ef * (m + 8) * size / 10**8


def planted(*, atlas: str = "one", encoder: str = "an encoder", machine: str = "a machine") -> Curve:
    """A curve of round figures, over 1,000 and 9,000 papers."""
    points = tuple(
        Point(
            size=size,
            m=m,
            ef_construction=200,
            ef_search=ef,
            recall=min(1.0, 0.9 + ef * m / 10_000),
            recall_off_rows=min(1.0, 0.7 + ef * m / 7_500),
            p50_ms=milliseconds(m, size, ef),
            p95_ms=2 * milliseconds(m, size, ef),
            build_seconds=m * size / 10**4,
        )
        for m in (8, 16, 32)
        for size in (1000, 9000)
        for ef in (16, 64, 128, 256)
    )
    return Curve(
        about=Measured(atlas=atlas, encoder=encoder, vectors="0" * 64, m=16, ef_search=64),
        rows=9000,
        dimensions=8,
        k=10,
        queries=50,
        seed=0,
        points=points,
        exact=(ExactTime(1000, 0.5, 0.6), ExactTime(9000, 4.0, 5.0)),
        planned=len(points),
        made="2026-11-22T21:40:00Z",
        machine=machine,
        versions={"python": "3"},
    )


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


# In words, tables and a figure


def test_what_suffices_is_the_smallest_ef_search_that_reaches_the_target_on_and_off_the_rows() -> None:
    found = {(one.size, one.m): one for one in sufficient(planted())}
    assert found[9000, 8].point is None
    assert found[9000, 8].times_faster is None
    sixteen = found[9000, 16].point
    assert sixteen is not None
    assert sixteen.ef_search == 256  # at 128 it is enough on the rows alone
    assert found[9000, 16].times_faster == pytest.approx(4.0 / milliseconds(16, 9000, 256))
    assert "M 32 with ef_search 128" in summary(planted())
    assert "no setting" in summary(replace(planted(), points=planted().line(size=9000, m=8)))
    assert summary(replace(planted(), points=())) == "Nothing was measured."


def test_csv_holds_every_point_and_numbers_alone() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(planted(atlas="one")))))
    assert len(rows) == 24
    assert all(float(cell) >= 0 for row in rows for cell in row.values())
    assert [float(row["recall_off_rows"]) for row in rows] == [point.recall_off_rows for point in planted().points]
    assert {(row["papers"], row["exact_p50_ms"]) for row in rows} == {("1000", "0.5"), ("9000", "4.0")}


def test_markdown_escapes_what_comes_from_elsewhere() -> None:
    told = as_markdown(planted(encoder="<b>x</b> | [a](http://b)", machine="| `y` |"))
    assert "<b>" not in told
    assert "](http" not in told
    table = [line for line in told.splitlines() if line.startswith("|")]
    assert len(table) == 26
    assert {line.count("|") for line in table} == {10}
    assert json.loads(as_json(planted()))["points"][0] == asdict(planted().points[0])


@pytest.mark.parametrize("palette", [LIGHT, DARK])
@pytest.mark.parametrize("off_rows", [True, False])
def test_the_figure_draws_one_line_an_m_and_exact_search_as_a_reference(palette: Palette, off_rows: bool) -> None:
    found = figure(planted(), size=9000, off_rows=off_rows, palette=palette)
    lines = [trace for trace in found["data"] if trace["name"].startswith("M ")]
    assert [trace["name"] for trace in lines] == ["M 8", "M 16", "M 32"]
    for trace, m in zip(lines, (8, 16, 32), strict=True):
        wanted = [
            (point.p50_ms, recall)
            for point in planted().line(size=9000, m=m)
            if (recall := point.recall_off_rows if off_rows else point.recall) >= FLOOR
        ]
        assert list(zip(trace["x"], trace["y"], strict=True)) == wanted
    assert len({trace["marker"]["symbol"] for trace in lines}) == 3
    assert len({trace["marker"]["color"] for trace in lines}) == 3
    drawn = sum(len(trace["x"]) for trace in lines)
    assert drawn + undrawn(planted(), size=9000, off_rows=off_rows) == 12
    (shape,) = found["layout"]["shapes"]
    assert shape["x0"] == shape["x1"] == 4.0
    (own,) = (trace for trace in found["data"] if trace["name"] == "this atlas")
    assert own["x"] == [milliseconds(16, 9000, 64)]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_lines_stand_out_from_the_page(palette: Palette) -> None:
    assert min(contrast(palette.regions[place], palette.halo) for place in LINE_COLOURS) >= 3


def test_a_figure_of_nothing_is_drawn() -> None:
    slow = replace(planted().points[0], p50_ms=0.0)
    for points in ((), (slow,)):
        found = figure(replace(planted(), points=points, exact=()), size=1000, off_rows=True, palette=LIGHT)
        assert found["data"] == []


# From the command line


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(required=True))
    options = parser.parse_args(["index", "--atlas", "one", *arguments])
    code: int = options.run(options)
    return code


FLAGS = ("-k", "3", "--m", "2,4", "--ef-search", "4,20", "--sizes", "30,60", "--queries", "10")


def test_the_verb_measures_keeps_prints_and_writes(
    written: AtlasParts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CociteAtlasError, match="No curve was measured"):
        call("--kept")
    assert call(*FLAGS, "--json", "--output", str(tmp_path / "curve.csv")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["points"]) == 8
    kept = read_curve("one")
    assert kept is not None
    assert as_json(kept) == json.dumps(printed, indent=1, ensure_ascii=False) + "\n"
    assert (tmp_path / "curve.csv").read_text() == as_csv(kept)
    assert call("--kept", "--output", str(tmp_path / "curve.md")) == 0
    assert capsys.readouterr().out == as_markdown(kept) == (tmp_path / "curve.md").read_text()


def test_for_a_program_it_says_how_far_it_is_and_what_came_of_it(
    written: AtlasParts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*FLAGS, "--progress", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"stage": MEASURING, "done": 0, "total": lines[0]["total"]}
    assert lines[-1]["built"] == "one"
    assert "60 papers" in lines[-1]["result"]


def test_what_is_kept_but_stale_or_partial_is_shown_and_is_an_error(
    kept: Curve, atlas_parts: Callable[..., AtlasParts], capsys: pytest.CaptureFixture[str]
) -> None:
    save_curve(replace(kept, points=kept.points[:2]))
    with pytest.raises(CociteAtlasError, match="Partial: 2 of 8"):
        call("--kept")
    assert "| 30 | 2 |" in capsys.readouterr().out
    write_atlas(atlas_parts(seed=9))
    with pytest.raises(CociteAtlasError, match="has changed since"):
        call("--kept")


def test_wrong_calls_are_named(written: AtlasParts, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, told in (
        (("--output", str(tmp_path / "curve.pdf")), "must end with one of .md, .csv, .json"),
        (("--output", str(tmp_path / "absent" / "curve.md")), "Make it first"),
        (("--sizes", "61"), "the size is 61"),
    ):
        with pytest.raises(CociteAtlasError, match=told):
            call(*wrong)
    with pytest.raises(SystemExit) as caught:
        call("--m", "8,x")
    assert caught.value.code == 2
    assert "no list of whole numbers" in capsys.readouterr().err


# On the page


def page() -> None:
    from components.index_curve import read_curve
    from components.panels.index_curve import index_curve

    curve = read_curve("one")
    assert curve is not None
    index_curve(curve, stale="It is *old* now." if curve.seed else "", key="here")


def plotted(app: AppTest) -> dict[str, Any]:
    (chart,) = app.get("plotly_chart")
    figure: dict[str, Any] = json.loads(chart.proto.spec)
    return figure


def test_the_panel_draws_the_largest_size_for_pasted_texts_first(home: Path) -> None:
    save_curve(planted(encoder="<script>"))
    app = AppTest.from_function(page, default_timeout=30).run()
    assert not app.exception
    assert not app.warning
    assert not app.info
    assert app.selectbox(key="here-size").value == 9000
    assert plotted(app)["data"][0]["x"][0] == milliseconds(8, 9000, 128)
    assert any("4 points with a recall under 0.8" in one.value for one in app.caption)
    assert any("\\<script\\>" in one.value for one in app.caption)
    frame = app.dataframe[0].value
    assert len(frame) == 6
    assert frame["ef_search"].tolist()[3:] == pytest.approx([float("nan"), 256, 128], nan_ok=True)
    app.selectbox(key="here-size").set_value(1000).run()
    assert plotted(app)["data"][0]["x"][0] == milliseconds(8, 1000, 128)


def test_the_panel_says_what_is_partial_and_what_is_old(home: Path) -> None:
    save_curve(replace(planted(), points=planted().points[:5], seed=1))
    app = AppTest.from_function(page, default_timeout=30).run()
    assert not app.exception
    assert "5 of 24 points" in app.info[0].value
    assert app.warning[0].value == "It is \\*old\\* now\\."
    for points in ((), (replace(planted().points[0], recall_off_rows=0.1),)):
        save_curve(replace(planted(), points=points))
        app.run()
        assert not app.exception
        assert not app.get("plotly_chart")
    assert "One point with a recall under 0.8" in app.caption[0].value
