"""The verb that measures the neighbour index of an atlas."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.atlas.store import AtlasParts, open_atlas, write_atlas
from components.cli.evaluation import index as command
from components.evaluation.index_curve import measure_atlas, read_curve, save_curve, to_csv, to_json, to_markdown
from components.index.benchmark import MEASURING
from corpus.errors import CociteAtlasError
from tests.components.evaluation.test_index_curve import SMALL

OPTIONS = ("-k", "3", "--m", "2,4", "--ef-search", "4,20", "--sizes", "30,60", "--queries", "10")


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers(required=True))
    options = parser.parse_args(["index", "--atlas", "one", *arguments])
    code: int = options.run(options)
    return code


def test_it_measures_stores_prints_and_writes(
    written: AtlasParts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CociteAtlasError, match="No curve was measured"):
        call("--kept")
    assert call(*OPTIONS, "--json", "--output", str(tmp_path / "curve.csv")) == 0
    kept = read_curve("one")
    assert kept is not None
    assert capsys.readouterr().out == to_json(kept)
    assert (tmp_path / "curve.csv").read_text() == to_csv(kept)
    assert call("--kept", "--output", str(tmp_path / "curve.md")) == 0
    assert capsys.readouterr().out == to_markdown(kept) == (tmp_path / "curve.md").read_text()


def test_progress_as_json_ends_with_the_result(written: AtlasParts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*OPTIONS, "--progress", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"stage": MEASURING, "done": 0, "total": lines[0]["total"]}
    assert lines[-1]["built"] == "one"
    assert "60 papers" in lines[-1]["result"]


def test_a_stale_or_partial_curve_is_shown_and_is_an_error(
    written: AtlasParts, atlas_parts: Callable[..., AtlasParts], capsys: pytest.CaptureFixture[str]
) -> None:
    curve = measure_atlas(open_atlas("one"), settings=SMALL)
    save_curve(replace(curve, points=curve.points[:2]))
    with pytest.raises(CociteAtlasError, match="Partial: 2 of 8"):
        call("--kept")
    assert "| 30 | 2 |" in capsys.readouterr().out
    write_atlas(atlas_parts(seed=9))
    with pytest.raises(CociteAtlasError, match="has changed since"):
        call("--kept")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "curve.pdf"), "must end with one of .md, .csv, .json"),
        (("--output", "absent/curve.md"), "Make it first"),
        (("--sizes", "61"), "the size is 61"),
    ],
)
def test_invalid_options_are_named(written: AtlasParts, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(CociteAtlasError, match=message):
        call(*arguments)
