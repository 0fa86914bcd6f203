"""`pairs` given a file in another's place, and what it says to be copied."""

import json
import re
import shlex
from pathlib import Path

import pytest

from components.cli.main import main
from corpus.paper import Paper
from corpus.readers import write_jsonl


@pytest.fixture
def corpus(home: Path, tmp_path: Path) -> Path:
    write_jsonl(
        [Paper(id=str(i), title=f"Thing {i}", abstract=f"What {i} is.") for i in range(80)], tmp_path / "papers"
    )
    return tmp_path / "papers"


def sentence(number: int) -> str:
    told = {"citing": f"c{number}", "sentence": f"Paper number-{'x' * number} says so [1, 2]."}
    return json.dumps(told | {"cited": [str(2 * number), str(2 * number + 1)]})


@pytest.mark.parametrize(
    ("before", "content", "told"),
    [
        ((), "1\t2\n", "None of the 1 full texts could be read, .* ready pairs of ids go behind --pairs"),
        (("--pairs",), sentence(1), "mine, line 1: this is a citing sentence, and no pair. .* without --pairs"),
        (("--pairs",), "", "There is neither a citing sentence nor a ready pair in what was given"),
    ],
)
def test_a_file_that_was_given_as_another_kind_is_told_its_place(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], before: tuple[str, ...], content: str, told: str
) -> None:
    (tmp_path / "mine").write_text(content)
    arguments = ["pairs", *before, str(tmp_path / "mine"), "--papers", str(corpus), "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert re.search(told, capsys.readouterr().err.splitlines()[-1])


def test_a_command_that_is_named_can_be_copied(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("\n".join(map(sentence, range(1, 39))))
    folder = str(tmp_path / "my pairs")
    assert main(["pairs", str(tmp_path / "mine"), "--papers", str(corpus), "--out", folder, "--dev", "5"]) == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1])[-3:-1] == ["--pairs", folder]
