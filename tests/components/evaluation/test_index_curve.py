"""The curve of an atlas's index: stored and read back, summarised, exported, drawn."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from components.atlas.paths import NoSuchAtlas
from components.atlas.store import AtlasParts, open_atlas, read_manifest, write_atlas
from components.evaluation.index_curve import (
    LINE_COLOURS,
    LOWEST_DRAWN_RECALL,
    CurveBusy,
    CurveDamaged,
    _measuring_lock,
    count_undrawn,
    figure,
    measure_atlas,
    partial_note,
    read_curve,
    save_curve,
    stale_note,
    sufficient_settings,
    summary,
    to_csv,
    to_json,
    to_markdown,
)
from components.index.benchmark import Curve, CurveSettings, ExactTime, MeasuredAtlas, Point
from components.mapping.palette import DARK, LIGHT, Palette
from corpus.progress import Cancelled
from tests.components.mapping.test_palette import contrast

SMALL = CurveSettings(k=3, ms=(2, 4), ef_searches=(4, 20), sizes=(30, 60), queries=10, threads=1)


def milliseconds(m: int, size: int, ef: int) -> float:
    return ef * (m + 8) * size / 10**8


def planted(*, atlas: str = "one", encoder: str = "an encoder", machine: str = "a machine") -> Curve:
    """A curve of round numbers, over 1,000 and 9,000 papers."""
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
        about=MeasuredAtlas(atlas=atlas, encoder=encoder, vectors="0" * 64, m=16, ef_search=64),
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


def path(home: Path) -> Path:
    return home / ".evaluations" / ".curves" / "one.json"


def stop_after(share: float) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if done > share * total:
            raise Cancelled(stage)

    return progress


# Stored


def test_a_curve_is_stored_until_the_vectors_change(
    written: AtlasParts, atlas_parts: Callable[..., AtlasParts]
) -> None:
    curve = measure_atlas(open_atlas("one"), settings=SMALL)
    assert read_curve("one") == curve
    assert curve.about.atlas == "one"
    write_atlas(atlas_parts(seed=9))
    assert "60 papers" in stale_note(curve, read_manifest("one"))
    write_atlas(atlas_parts())  # the same vectors, written again
    assert stale_note(curve, read_manifest("one")) == ""


def test_a_stopped_measurement_keeps_its_points_but_replaces_no_complete_curve(written: AtlasParts, home: Path) -> None:
    atlas = open_atlas("one")
    with pytest.raises(Cancelled):
        measure_atlas(atlas, settings=SMALL, progress=stop_after(0.7))
    part = read_curve("one")
    assert part is not None
    assert 0 < len(part.points) < part.planned == 8
    for text in (partial_note(part), summary(part), to_markdown(part)):
        assert f"Partial: {len(part.points)} of 8" in text
    whole = measure_atlas(atlas, settings=SMALL)
    assert partial_note(whole) == ""
    with pytest.raises(Cancelled):
        measure_atlas(atlas, settings=SMALL, progress=stop_after(0.7))
    assert read_curve("one") == whole
    path(home).write_text("damaged")
    with pytest.raises(Cancelled):
        measure_atlas(atlas, settings=SMALL, progress=stop_after(0.7))
    assert read_curve("one") is not None


def test_one_process_at_a_time_measures_an_atlas(written: AtlasParts) -> None:
    with _measuring_lock("one"), pytest.raises(CurveBusy, match="Another process measures"):
        measure_atlas(open_atlas("one"), settings=SMALL)


@pytest.mark.parametrize("name", ["../one", ".one", "One", "", "a/b", "a" * 65])
def test_an_invalid_name_never_becomes_a_path(home: Path, name: str) -> None:
    for act in (read_curve, lambda name: save_curve(planted(atlas=name))):
        with pytest.raises(NoSuchAtlas):
            act(name)
    assert not home.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "2"),
        ("atlas", '"two"'),
        ("encoder", f'"{"x" * 10_000}"'),
        ("m", '"8"'),
        ("recall", "1.5"),
        ("recall", "true"),
        ("recall", "NaN"),
        ("p50_ms", "Infinity"),
        ("p50_ms", "1" * 400),
        ("size", "1000000"),
        ("ef_construction", "2.5"),
        ("planned", "1000000000"),
        ("rows", '"9000"'),
        ("seed", "null"),
    ],
)
def test_a_file_with_an_impossible_value_is_refused(home: Path, field: str, value: str) -> None:
    save_curve(planted())
    text, changed = re.subn(rf'"{field}": [^,\n]*', f'"{field}": {value}', path(home).read_text(), count=1)
    assert changed
    path(home).write_text(text)
    with pytest.raises(CurveDamaged, match="Measure it again") as caught:
        read_curve("one")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 200_000, b" " * (5 * 1024 * 1024), b"null"])
def test_a_file_that_is_no_curve_is_refused(home: Path, content: bytes) -> None:
    save_curve(planted())
    path(home).write_bytes(content)
    with pytest.raises(CurveDamaged):
        read_curve("one")
    save_curve(replace(planted(), points=planted().points[:1] * 2))
    with pytest.raises(CurveDamaged, match="a point is listed twice"):
        read_curve("one")


@settings(max_examples=25)
@given(
    share=st.floats(0, 1),
    ms=st.floats(0, 1e9),
    text=st.text(st.characters(codec="utf-8"), max_size=300),
    number=st.integers(2, 256),
)
def test_what_is_saved_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, share: float, ms: float, text: str, number: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(tmp_path_factory.mktemp("home")))
        point = replace(planted().points[0], recall=share, recall_off_rows=1 - share, p50_ms=ms, m=number)
        saved = replace(planted(encoder=text, machine=text), points=(point,), versions={text: text})
        save_curve(saved)
        assert read_curve("one") == saved


# Summarised, exported, drawn


def test_the_sufficient_setting_is_the_smallest_ef_search_whose_recalls_both_reach_the_target() -> None:
    by_graph = {(one.size, one.m): one for one in sufficient_settings(planted())}
    assert by_graph[9000, 8].point is None
    assert by_graph[9000, 8].times_faster is None
    sixteen = by_graph[9000, 16]
    assert sixteen.point is not None
    assert sixteen.point.ef_search == 256  # 128 is enough for rows alone
    assert sixteen.times_faster == pytest.approx(4.0 / milliseconds(16, 9000, 256))
    assert "M 32 with ef_search 128" in summary(planted())
    assert "no setting" in summary(replace(planted(), points=planted().line(size=9000, m=8)))
    assert summary(replace(planted(), points=())) == "Nothing was measured."


def test_exports_hold_every_point() -> None:
    curve = planted(encoder="<b>x</b> | [a](http://b)", machine="| `y` |")
    rows = list(csv.DictReader(io.StringIO(to_csv(curve))))
    assert [float(row["recall_off_rows"]) for row in rows] == [point.recall_off_rows for point in curve.points]
    assert {(row["papers"], row["exact_p50_ms"]) for row in rows} == {("1000", "0.5"), ("9000", "4.0")}
    assert json.loads(to_json(curve))["points"][0] == asdict(curve.points[0])
    text = to_markdown(curve)
    assert "<b>" not in text
    assert "](http" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 26
    assert {line.count("|") for line in table} == {10}


@pytest.mark.parametrize("palette", [LIGHT, DARK])
@pytest.mark.parametrize("out_of_sample", [True, False])
def test_the_figure_has_a_line_per_m_and_exact_search_as_a_reference(palette: Palette, out_of_sample: bool) -> None:
    drawn = json.loads(figure(planted(), size=9000, out_of_sample=out_of_sample, palette=palette).to_json())
    lines = [trace for trace in drawn["data"] if trace["name"].startswith("M ")]
    assert [trace["name"] for trace in lines] == ["M 8", "M 16", "M 32"]
    for trace, m in zip(lines, (8, 16, 32), strict=True):
        points = [(p.p50_ms, p.recall_off_rows if out_of_sample else p.recall) for p in planted().line(size=9000, m=m)]
        expected = [(ms, recall) for ms, recall in points if recall >= LOWEST_DRAWN_RECALL]
        assert list(zip(trace["x"], trace["y"], strict=True)) == expected
    assert len({trace["marker"]["symbol"] for trace in lines}) == len({trace["line"]["color"] for trace in lines}) == 3
    assert (
        sum(len(trace["x"]) for trace in lines) + count_undrawn(planted(), size=9000, out_of_sample=out_of_sample) == 12
    )
    assert drawn["layout"]["shapes"][0]["x0"] == drawn["layout"]["shapes"][0]["x1"] == 4.0
    (own,) = (trace for trace in drawn["data"] if trace["name"] == "this atlas")
    assert own["x"] == [milliseconds(16, 9000, 64)]
    assert min(contrast(palette.regions[place], palette.halo) for place in LINE_COLOURS) >= 3


def test_a_figure_without_points_has_no_data() -> None:
    untimed = replace(planted().points[0], p50_ms=0.0)
    for points in ((), (untimed,)):
        assert not figure(
            replace(planted(), points=points, exact=()), size=1000, out_of_sample=True, palette=LIGHT
        ).data


# On the page


def page() -> None:
    from components.evaluation.index_curve import read_curve
    from components.panels.charts import index_curve

    curve = read_curve("one")
    assert curve is not None
    index_curve(curve, stale="It is *old* now." if curve.seed else "", key="here")


def plotted(app: AppTest) -> dict[str, Any]:
    (chart,) = app.get("plotly_chart")
    drawing: dict[str, Any] = json.loads(chart.proto.spec)
    return drawing


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
    assert frame["ef_search"].tolist()[3:] == pytest.approx([float("nan"), 256, 128], nan_ok=True)
    app.selectbox(key="here-size").set_value(1000).run()
    assert plotted(app)["data"][0]["x"][0] == milliseconds(8, 1000, 128)


def test_the_panel_shows_partial_and_stale_curves(home: Path) -> None:
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
