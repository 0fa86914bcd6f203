"""The curve of the neighbour index as it is shown: in words, tables and a figure, on the command line, on the page."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.cli.evaluation import index as command
from components.evaluation.index_curve import (
    MEASURING,
    CurveSettings,
    as_csv,
    as_json,
    as_markdown,
    curve_of,
    figure,
    read_curve,
    save_curve,
    sufficient,
    summary,
)
from components.evaluation.index_curve.figure import FLOOR, LINE_COLOURS, undrawn
from components.mapping.palette import DARK, LIGHT, Palette
from corpus.errors import CociteAtlasError
from tests.components.evaluation.curves import milliseconds, planted
from tests.components.mapping.test_palette import contrast

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
    written: AtlasParts, atlas_parts: Callable[..., AtlasParts], capsys: pytest.CaptureFixture[str]
) -> None:
    few = CurveSettings(k=3, ms=(2, 4), ef_searches=(4, 20), sizes=(30, 60), queries=10, threads=1)
    kept = curve_of(open_atlas("one"), settings=few)
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
    from components.evaluation.index_curve import read_curve
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
