"""The commands that grow an atlas: as a person calls them, and as a program does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.atlas.reencode import reencode
from components.atlas.store import open_atlas, read_manifest, write_atlas
from components.cli.corpus.main import main
from components.encoder import LEXICAL
from corpus.paper import Paper
from corpus.readers import write_jsonl

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """call(*arguments): the exit code, and what was printed on standard output and error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = exit_.code
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def words(topics: str) -> str:
    """The name of the lexical atlas of `topics`, which grows in no time."""
    return reencode(topics, encoder=LEXICAL).name


@pytest.fixture
def more(tmp_path: Path, planted: Callable[[int], list[Paper]]) -> Path:
    """A file of the twelve papers that `topics` has and four others."""
    write_jsonl(planted(8), tmp_path / "more.jsonl")
    return tmp_path / "more.jsonl"


def test_add_tells_what_was_new(words: str, more: Path, call: Call) -> None:
    code, out, _ = call("add", words, str(more))
    assert (code, out) == (
        0,
        f"more.jsonl: 16 of 16 records kept\n{words}: 4 added, 12 were there already, 16 papers now.\n"
        "The map was laid out with 12 papers, too few for a map of subjects; now there are enough. "
        f"Lay it out again: python -m corpus rebuild {words}\n",
    )
    code, out, _ = call("add", words, str(more), str(more))
    assert (code, out.splitlines()[-1][:40]) == (0, "The map was laid out with 12 papers, too")
    assert f"{words}: 16 were there already, 16 papers now." in out
    (account,) = read_manifest(words).source["additions"]
    assert account["files"][0]["name"] == "more.jsonl"
    code, out, _ = call("rebuild", words)
    assert out == (
        f"{words}: its map was laid out with all 16 papers: UMAP, no regions: nowhere do enough papers gather.\n"
    )
    assert len(open_atlas("topics")) == 12


def test_remove_by_ids_and_by_file(words: str, tmp_path: Path, call: Call) -> None:
    code, out, _ = call("remove", words, "--ids", "heart-0", "zzz")
    assert (code, out) == (0, f"{words}: 1 removed, 1 unknown, 11 papers now.\n  no paper is called 'zzz'\n")
    path = tmp_path / "gone.txt"
    path.write_text("\ufeffheart-1\r\n\r\n galaxy-1 \r\n" + "".join(f"x{i}\r\n" for i in range(7)), encoding="utf-8")
    code, out, _ = call("remove", words, "--file", str(path))
    assert code == 0
    assert out.splitlines()[0] == f"{words}: 2 removed, 7 unknown, 9 papers now."
    assert "… nor by 2 more of these" in out
    assert "Lay it out again" not in out.split("\n")[1]
    assert open_atlas(words).row_of("heart-1") is None


def test_all_encoders_grow_together(words: str, more: Path, call: Call) -> None:
    code, out, _ = call("add", words, str(more), "--all-encoders")
    assert code == 0
    assert "topics: 4 added" in out
    assert f"{words}: 4 added" in out
    code, out, _ = call("remove", "topics", "--ids", "heart-7", "--all-encoders")
    assert code == 0
    assert [len(open_atlas(name)) for name in ("topics", words)] == [15, 15]


def test_an_atlas_that_cannot_is_told_and_fails_the_call(
    words: str, more: Path, call: Call, atlas_parts: Callable[..., object], home: Path
) -> None:
    parts = atlas_parts(graph=False)
    write_atlas(replace(parts, name="own", corpus="topics", encoder=replace(parts.encoder, source="own-vectors")))
    code, out, err = call("add", words, str(more), "--all-encoders")
    assert code == 1
    assert "topics: 4 added" in out
    assert err.startswith("corpus: own: The atlas 'own' was made of vectors that came from elsewhere")
    code, out, _ = call("add", words, str(more), "--all-encoders", "--progress", "json")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert told[-2] == {"changed": "own", "error": err.split("own: ", 1)[1].strip()}
    assert (told[-1]["changed"], told[-1]["added"], told[-1]["already_there"]) == (words, 0, 16)


def test_progress_as_json_lines(words: str, more: Path, call: Call) -> None:
    code, out, _ = call("add", words, str(more), "--progress", "json")
    *progress, last = map(json.loads, out.splitlines())
    assert code == 0
    assert list(dict.fromkeys(line["stage"] for line in progress)) == [
        "Reading the papers",
        "Finding new papers",
        "Encoding papers",
        "Placing papers on the map",
        "Indexing",
        "Writing the atlas",
    ]
    assert last["rebuild_due"].startswith("The map was laid out with 12 papers")
    del last["rebuild_due"]
    assert last == {
        "changed": words, "papers": 16, "added": 4, "already_there": 12, "removed": 0, "unknown": [], "error": ""
    }  # fmt: skip
    code, out, _ = call("remove", words, "--ids", "heart-7", "x", "--progress", "json")
    last = json.loads(out.splitlines()[-1])
    assert (last["removed"], last["unknown"], last["papers"]) == (1, ["x"], 15)
    code, out, _ = call("rebuild", words, "--progress", "json")
    last = json.loads(out.splitlines()[-1])
    assert (last["changed"], last["papers"], last["rebuild_due"]) == (words, 15, "")


def test_papers_with_a_title_alone_are_added_where_that_is_asked_for(words: str, tmp_path: Path, call: Call) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text('{"id": "bare", "title": "Cardiac surgery without words"}\n')
    code, _, err = call("add", words, str(path))
    assert code == 1
    assert "no record has a title and an abstract" in err
    assert call("add", words, str(path), "--keep-without-abstract")[0] == 0
    assert open_atlas(words).row_of("bare") == 12


def test_errors_are_sentences(words: str, more: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for arguments, said in (
        (("add", "none", str(more)), "No atlas is called 'none'"),
        (("add", "../x", str(more)), "cannot be the name"),
        (("add", words, str(tmp_path / "absent.ris")), "there is no such file"),
        (("remove", words, "--file", str(tmp_path / "absent.txt")), "it cannot be read"),
        (("remove", words, "--file", str(tmp_path / "empty.txt")), "holds no id"),
        (("remove", words, "--file", str(tmp_path / "binary.txt")), "no text in UTF-8"),
        (("add", "medline", str(more)), "corpus export medline"),
        (("remove", "medline", "--ids", "1", "--all-encoders"), "corpus export medline"),
        (("rebuild", "none"), "No atlas is called 'none'"),
        (("remove", words, "--ids", *open_atlas(words).papers["id"].to_pylist()), "Keep one, or delete the atlas"),
    ):
        code, out, err = call(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("corpus: ")
        assert said in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "x"),
        ("remove", "x"),
        ("remove", "x", "--ids"),
        ("remove", "x", "--ids", "1", "--file", "y"),
        ("add", "x", "y", "--column", "title"),
        ("add", "x", "y", "--column", "name=Title"),
    ],
)
def test_wrong_calls_exit_with_2(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")


def test_the_end_of_standard_input_stops_an_addition(topics: str, home: Path, more: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "corpus", "add", "topics", str(more), "--stop-with-stdin", "--low-priority"],
        env={**os.environ, "COCITE_ATLAS_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode in (0, 130)  # the end may be seen after the last call of progress
    assert "Traceback" not in ended.stderr
    assert len(open_atlas("topics")) == (16 if ended.returncode == 0 else 12)
