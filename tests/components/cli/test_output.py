"""Progress on standard error: plain lines where it is not a terminal, JSON lines for programs."""

import json

import pytest

from components.cli.output import progress_bars


def report(*, as_json: bool) -> None:
    with progress_bars(as_json=as_json) as progress:
        for stage in ("Reading", "Encoding"):
            for done in range(1_001):
                progress(stage, done, 1_000)


def test_progress_is_a_line_per_stage_where_standard_error_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(as_json=False)
    assert capsys.readouterr() == ("", "Reading …\nEncoding …\n")


def test_progress_as_json_is_few_lines_and_misses_no_stage(capsys: pytest.CaptureFixture[str]) -> None:
    report(as_json=True)
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == "" and len(lines) < 100
    for stage in ("Reading", "Encoding"):
        done = [line["done"] for line in lines if line["stage"] == stage]
        assert (done[0], done[-1]) == (0, 1_000)
