"""The commands that build from an atlas and compare two: as a person calls them, and as a program does."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.atlas.corpora import unfinished
from components.atlas.paths import atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas, read_manifest
from components.cli.corpus.main import main
from components.cli.corpus.shared import JsonLines, StopWithStdin
from components.encoder import LEXICAL
from components.search.compare import agreement
from corpus.paper import Paper
from corpus.progress import Cancelled, no_progress
from corpus.readers import write_jsonl

HEART = "Heart attack survivors\n\nPatients with coronary disease were given a new drug after cardiac arrest."


class Told:
    """One call: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def call(*arguments: str) -> Told:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        return Told(code, out, err)

    return call


@pytest.fixture
def words(topics: str) -> str:
    """The name of the lexical atlas of `topics`."""
    return reencode(topics, encoder=LEXICAL).name


def start(*arguments: str, home: Path, **named: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "corpus", *arguments],
        env={**os.environ, "COCITE_ATLAS_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **named,
    )


# build --from


def test_build_from_an_atlas(topics: str, call: Callable[..., Told]) -> None:
    told = call("build", "--from", "topics", "--encoder", "tfidf-svd")
    assert told.code == 0
    assert told.out == ("topics--tfidf-svd: 12 papers. Search it: python -m corpus search topics--tfidf-svd --text …\n")
    assert read_manifest("topics--tfidf-svd").corpus == "topics"
    told = call("search", "topics--tfidf-svd", "--text", HEART, "-k", "3", "--json")
    assert all(hit["id"].startswith("heart-") for hit in json.loads(told.out))
    assert call("verify", "topics--tfidf-svd").code == 0
    assert call("build", "--from", "topics", "--encoder", "tfidf-svd", "--name", "mine").code == 0
    assert atlas_names() == ["mine", "topics", "topics--tfidf-svd"]


def test_a_search_for_unknown_words_is_a_sentence(words: str, call: Callable[..., Told]) -> None:
    told = call("search", words, "--text", "zzz qqq")
    assert (told.code, told.out) == (1, "")
    assert "None of its words occurs in this corpus" in told.err


def test_build_from_files_with_the_lexical_encoder(home: Path, planted_file: Path, call: Callable[..., Told]) -> None:
    assert call("build", str(planted_file), "--encoder", "tfidf-svd").code == 0
    assert open_atlas("planted").manifest.encoder.name == LEXICAL


def test_progress_as_json_lines(topics: str, planted_file: Path, call: Callable[..., Told]) -> None:
    told = call("build", "--from", "topics", "--encoder", "tfidf-svd", "--progress", "json")
    assert told.code == 0
    *progress, last = told.lines
    assert all(set(line) == {"stage", "done", "total"} for line in progress)
    assert list(dict.fromkeys(line["stage"] for line in progress)) == [
        "Reading the papers",
        "Learning vocabulary",
        "Encoding papers",
        "Drawing the map",
        "Naming regions",
        "Indexing",
        "Writing the atlas",
    ]
    assert last == {"built": "topics--tfidf-svd", "papers": 12}
    told = call("build", str(planted_file), "--progress", "json")
    assert list(dict.fromkeys(line["stage"] for line in told.lines[:-1])) == [
        "Reading the papers",
        "Encoding papers",
        "Drawing the map",
        "Naming regions",
        "Indexing",
        "Writing the atlas",
    ]


def test_json_lines_are_few_but_never_miss_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JsonLines()
    for stage in ("one", "two"):
        for done in range(10_001):
            progress(stage, done, 10_000)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) < 1000
    for stage in ("one", "two"):
        of_it = [line["done"] for line in lines if line["stage"] == stage]
        assert (of_it[0], of_it[-1]) == (0, 10_000)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--encoder", "tfidf-svd"),
        ("a.jsonl", "--from", "topics", "--encoder", "tfidf-svd"),
        ("--from", "topics"),
        ("--from",),
        ("a.jsonl", "--progress", "xml"),
    ],
)
def test_wrong_calls_exit_with_2(topics: str, call: Callable[..., Told], arguments: tuple[str, ...]) -> None:
    told = call("build", *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("usage: python -m corpus build")
    assert atlas_names() == ["topics"]


def test_errors_of_building_again_are_sentences(topics: str, call: Callable[..., Told]) -> None:
    for arguments, words in (
        (("none", "tfidf-svd"), "No atlas is called 'none'"),
        (("topics", "bert"), "No encoder is called 'bert'"),
        (("topics", "tfidf-svd", "--name", "topics"), "the atlas itself"),
        (("topics", "tfidf-svd", "--assemble"), "default atlas alone"),
    ):
        told = call("build", "--from", arguments[0], "--encoder", *arguments[1:])
        assert (told.code, told.out) == (1, "")
        assert told.err.startswith("corpus: ")
        assert told.err.count("\n") == 1
        assert words in told.err


# As a process of a program


@pytest.fixture
def many(tmp_path: Path, planted: Callable[[int], list[Paper]]) -> Path:
    """A file of more papers than are encoded in a moment."""
    path = tmp_path / "many.jsonl"
    write_jsonl([*planted(1500)], path)
    return path


def test_the_end_of_standard_input_stops_a_build_that_goes_on_later(home: Path, many: Path, planted_file: Path) -> None:
    arguments = ("build", str(many), "--name", "mine", "--progress", "json", "--stop-with-stdin")
    with start(*arguments, home=home) as process:
        for line in process.stdout:
            told = json.loads(line)
            if told["stage"] == "Encoding papers" and told["done"] > 0:
                break
        assert process.poll() is None  # it runs on as long as nobody closes its standard input
        process.stdin.close()
        process.stdout.read()
        err = process.stderr.read()
        assert process.wait(timeout=600) == 130
    assert "goes on from there" in err
    assert "Traceback" not in err
    assert atlas_names() == []
    assert [stopped.name for stopped in unfinished()] == ["mine"]


PRIORITIES = """
import os, threading
from pathlib import Path
import numpy as np
from components.cli.corpus.shared import lower_priority
np.ones((500, 500)) @ np.ones((500, 500))  # a library's threads, which are there before
lower_priority()
lower_priority()
def tell():
    for thread in Path("/proc/self/task").iterdir():
        number = int(thread.name)
        print(os.sched_getscheduler(number) == os.SCHED_IDLE, os.getpriority(os.PRIO_PROCESS, number))
later = threading.Thread(target=tell)
later.start()
later.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's threads")
def test_low_priority_is_that_of_every_thread() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PRIORITIES],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(told) >= 2
    assert set(told) == {"True 19"}


def test_a_build_whose_reader_went_away_stops(home: Path, many: Path) -> None:
    with start("build", str(many), "--name", "mine", "--progress", "json", home=home) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=600) == 130
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert atlas_names() == []


def test_an_open_standard_input_stops_nothing(home: Path, planted_file: Path) -> None:
    arguments = (
        "build",
        str(planted_file),
        "--encoder",
        "tfidf-svd",
        "--stop-with-stdin",
        "--progress",
        "json",
        "--low-priority",
    )
    with start(*arguments, home=home) as process:
        lines = process.stdout.readlines()
        assert process.wait(timeout=600) == 0
        assert process.stderr.read() == ""
    assert json.loads(lines[-1]) == {"built": "planted", "papers": 12}


def test_no_standard_input_is_one_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    progress = StopWithStdin(no_progress)
    progress._ended.wait(timeout=60)
    with pytest.raises(Cancelled):
        progress("stage", 0, 1)


# compare


def test_compare_says_how_far_two_atlases_agree(words: str, call: Callable[..., Told]) -> None:
    told = call("compare", "topics", words, "-k", "4")
    assert told.code == 0
    found = agreement(open_atlas("topics"), open_atlas(words), k=4)
    assert told.out == found.summary() + "\n"
    assert 0.3 < found.mean < 1  # the topics are the same, the order within them is not
    told = call("compare", "topics", words, "-k", "4", "--sample", "5", "--json")
    answer = json.loads(told.out)
    assert answer["query"] is None
    assert (answer["agreement"]["k"], answer["agreement"]["sample"]) == (4, 5)
    assert call("compare", "topics", "topics").out.startswith("topics and topics share 100.0 %")


def test_compare_shows_both_lists_for_a_text(words: str, call: Callable[..., Told]) -> None:
    told = call("compare", "topics", words, "--text", HEART, "-k", "5")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines.index("topics") < lines.index(words)
    assert sum("heart-" in line for line in lines) == 10
    assert "papers are in both lists; rank-biased overlap 0." in lines[-1]
    answer = json.loads(call("compare", "topics", words, "--text", HEART, "-k", "5", "--json").out)
    assert answer["query"]["k"] == 5
    assert f"{answer['query']['common']} of 5 papers are in both lists" in lines[-1]
    assert all(set(paper) == {"id", "left_rank", "right_rank", "move"} for paper in answer["query"]["papers"])


def test_errors_of_comparing_are_sentences(words: str, home: Path, planted: object, call: Callable[..., Told]) -> None:
    for arguments, said in (
        (("topics", "none"), "No atlas is called 'none'"),
        (("../x", "topics"), "cannot be the name"),
        (("topics", words, "--text", ""), "is empty"),
        (("topics", words, "--text", "zzz qqq"), "None of its words occurs in this corpus"),
        (("topics", words, "-k", "0"), "between 1 and 200"),
        (("topics", words, "-k", "201"), "between 1 and 200"),
        (("topics", words, "--sample", "0"), "at least one paper"),
    ):
        told = call("compare", *arguments)
        assert (told.code, told.out) == (1, "")
        assert told.err.startswith("corpus: ")
        assert said in told.err
    assert call("compare", "topics").code == 2
