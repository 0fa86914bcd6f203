"""The command line: what it prints, where, and with which exit code."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.atlas.manifest import Manifest
from components.atlas.store import atlas_names, open_atlas, read_manifest
from components.cli.main import main
from components.cli.output import count_papers
from components.encoder import BiEncoder
from components.search.query_text import understand
from corpus.io.files import write_array
from corpus.paper import Paper
from corpus.readers import write_jsonl

HEART = "Heart attack survivors\n\nPatients with coronary disease were given a new drug after cardiac arrest."


class Told:
    """One call: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> object:
        return json.loads(self.out)


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


def assert_error(told: Told, *words: str, code: int = 1) -> None:
    assert told.code == code
    assert told.out == ""
    assert told.err.startswith("cocite: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    for word in words:
        assert word in told.err


@pytest.fixture
def file(tmp_path: Path, planted: Callable[[int], list[Paper]]) -> Path:
    path = tmp_path / "My Library.jsonl"
    write_jsonl(planted(3), path)
    with path.open("a", encoding="utf-8") as lines:
        lines.write('{"id": "7", "title": "No abstract"}\n')
    return path


# build


def test_build_names_the_atlas_after_its_file_and_says_what_was_left_out(
    home: Path, file: Path, call: Callable[..., Told]
) -> None:
    told = call("build", str(file))
    assert told.code == 0
    assert atlas_names() == ["my-library"]
    lines = told.out.splitlines()
    assert lines[0] == "My Library.jsonl: 6 of 7 records kept"
    assert lines[1].startswith("  line 7: no abstract")
    assert lines[2] == "my-library: 6 papers. Search it: python -m corpus search my-library --text …"


def test_an_atlas_that_a_build_takes_the_place_of_is_named_first(
    home: Path, file: Path, tmp_path: Path, planted: Callable[[int], list[Paper]], call: Callable[..., Told]
) -> None:
    assert "is there already" not in call("build", str(file), "--name", "mine", "--encoder", "tfidf-svd").err
    write_jsonl(planted(4), tmp_path / "other.jsonl")
    told = call("build", str(tmp_path / "other.jsonl"), "--name", "mine", "--encoder", "tfidf-svd")
    assert "mine is there already: 6 papers, by tfidf-svd." in told.err
    assert "--name NAME" in told.err
    assert told.code == 0


@pytest.mark.parametrize(("count", "words"), [(1, "1 paper"), (2, "2 papers"), (1200, "1,200 papers")])
def test_one_paper_is_no_papers(count: int, words: str) -> None:
    assert count_papers(count) == words


def test_the_help_names_the_formats(call: Callable[..., Told]) -> None:
    for verb in ("build", "add"):
        told = " ".join(call(verb, "--help").out.split())
        for format in ("RIS", "BibTeX", ".nbib", "XML", "CSV", "JSON Lines", "Parquet"):
            assert format in told


def test_build_takes_a_table_with_headers_of_its_own(home: Path, tmp_path: Path, call: Callable[..., Told]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Titel,Inhalt\nHearts,About hearts.\nGalaxies,\n", encoding="utf-8")
    assert_error(call("build", str(path)), '"Titel", "Inhalt"')
    arguments = ("--column", "title=Titel", "--column", "abstract=Inhalt", "--keep-without-abstract")
    told = call("build", str(path), *arguments)
    assert told.code == 0
    assert told.out.splitlines()[0] == "table.csv: 2 of 2 records kept (1 without an abstract)"


@pytest.mark.parametrize(
    ("name", "atlas"),
    [("Ünïcode.jsonl", "n-code"), ("__.jsonl", "corpus"), (".jsonl", "corpus"), ("x" * 90 + ".jsonl.gz", "x" * 64)],
)
def test_every_file_name_gives_an_atlas_name(
    home: Path, tmp_path: Path, planted: Callable[[int], list[Paper]], call: Callable[..., Told], name: str, atlas: str
) -> None:
    write_jsonl(planted(1), tmp_path / name)
    assert call("build", str(tmp_path / name)).code == 0
    assert atlas_names() == [atlas]


def test_build_errors_are_sentences(home: Path, file: Path, tmp_path: Path, call: Callable[..., Told]) -> None:
    assert_error(call("build", str(tmp_path / "absent")), "absent", "no such file")
    assert_error(call("build", str(tmp_path)), "this is a folder")
    assert_error(call("build", str(file), "--name", "../x"), "cannot be the name of an atlas")
    assert_error(call("build", str(file), "--encoder", "bert"), "No encoder is called 'bert'", "specter")
    assert_error(call("build", "medline", "--name", "other"), "default atlas")
    (tmp_path / "empty.jsonl").write_text("")
    assert_error(call("build", str(tmp_path / "empty.jsonl")), "empty.jsonl", "it is empty")
    assert atlas_names() == []


def test_a_home_that_cannot_be_written_is_a_sentence(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Told]
) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(tmp_path / "plain"))
    assert_error(call("build", str(file)), "COCITE_ATLAS_HOME")
    assert_error(call("info", "medline"), "COCITE_ATLAS_HOME")
    assert call("list", "--json").json == []


def test_an_interrupted_build_says_that_it_can_go_on(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Told]
) -> None:
    def interrupt(vectors: np.ndarray, **settings: object) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("components.atlas.build.fit_projection", interrupt)
        told = call("build", str(file))
    assert (told.code, told.out) == (130, "")
    assert "goes on from there" in told.err
    assert atlas_names() == []
    assert call("build", str(file)).code == 0


def test_other_files_do_not_take_the_name_of_the_default_atlas(
    home: Path, tmp_path: Path, planted: Callable[[int], list[Paper]], call: Callable[..., Told]
) -> None:
    write_jsonl(planted(1), tmp_path / "medline.jsonl")
    assert_error(call("build", str(tmp_path / "medline.jsonl")), "'medline'", "--name")
    assert call("build", str(tmp_path / "medline.jsonl"), "--name", "mine").code == 0
    assert atlas_names() == ["mine"]


def test_a_damaged_default_atlas_says_what_repairs_it_and_that_does(
    medline_home: Path, home: Path, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(medline_home, home)
    (home / "medline" / read_manifest("medline").folder / "vectors.npy").write_bytes(b"x")
    told = call("search", "medline", "--text", "heart")
    assert_error(told, "vectors.npy", "python -m corpus build medline --assemble")
    monkeypatch.setattr(BiEncoder, "_forward", None)  # a repair encodes nothing
    assert call(*told.err.split("python -m corpus ")[1].split()).code == 0
    assert len(open_atlas("medline")) == read_manifest("medline").papers > 18_000


def test_assembling_is_for_the_default_atlas_alone(home: Path, file: Path, call: Callable[..., Told]) -> None:
    for arguments in ([str(file)], ["medline", "--name", "other"], ["medline", "--encoder", "specter"]):
        assert_error(call("build", *arguments, "--assemble"), "build medline --assemble")
    assert atlas_names() == []


# list and info


def test_list(topics: str, home: Path, call: Callable[..., Told]) -> None:
    shutil.copytree(home / "topics", home / "broken")
    told = call("list", "--json")
    assert told.code == 0
    broken, good = told.json
    assert set(broken) == {"name", "error"}
    assert set(good) == {"name", "papers", "encoder", "created", "bytes"}
    assert (good["name"], good["papers"], good["encoder"]) == ("topics", 12, "all-minilm-l6-v2")
    folder = home / "topics" / read_manifest("topics").folder
    assert good["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    text = call("list").out.splitlines()
    assert text[0].startswith("broken: ")
    assert text[1].startswith("topics: 12 papers, all-minilm-l6-v2, ")


def test_list_of_nothing(home: Path, call: Callable[..., Told]) -> None:
    assert call("list", "--json").json == []
    assert "No atlas yet" in call("list").out


def test_info(topics: str, call: Callable[..., Told]) -> None:
    told = call("info", "topics", "--json")
    assert told.code == 0
    assert Manifest.from_json(told.out) == read_manifest("topics")
    text = call("info", "topics").out
    for words in ("topics\n", "12\n", "all-minilm-l6-v2, 384 dimensions", "exact"):
        assert words in text


@pytest.mark.parametrize("verb", [("info",), ("verify",), ("search", "--text", "heart")])
def test_an_atlas_that_is_not_there_is_a_sentence(topics: str, call: Callable[..., Told], verb: tuple[str]) -> None:
    assert_error(call(verb[0], "none", *verb[1:]), "No atlas is called 'none'", "topics")
    assert_error(call(verb[0], "../x", *verb[1:]), "cannot be the name of an atlas")


@pytest.mark.parametrize("verb", [("verify",), ("search", "--text", "heart")])
def test_a_damaged_atlas_is_a_sentence(topics: str, home: Path, call: Callable[..., Told], verb: tuple[str]) -> None:
    (home / "topics" / read_manifest("topics").folder / "vectors.npy").write_bytes(b"x")
    assert_error(call(verb[0], "topics", *verb[1:]), "vectors.npy")


# verify


def test_verify(topics: str, call: Callable[..., Told]) -> None:
    told = call("verify", "topics", "--rows", "4")
    assert told.code == 0
    assert told.out.startswith("topics: all files are what they were when it was built; 4 of 12 rows")


def test_verify_of_wrong_vectors_exits_with_3(topics: str, call: Callable[..., Told]) -> None:
    from components.atlas import store

    atlas = open_atlas("topics")
    folder = store.atlas_folder("topics") / atlas.manifest.folder
    write_array(folder / "vectors.npy", np.roll(atlas.vectors, 1, axis=0))
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    sealed = store.seal(folder / "vectors.npy")
    manifest["files"]["vectors.npy"] = {"bytes": sealed.bytes, "sha256": sealed.sha256}
    (folder.parent / "manifest.json").write_text(json.dumps(manifest))
    told = call("verify", "topics")
    assert told.code == 3
    assert "build the atlas again" in told.out


# search


def test_search(topics: str, call: Callable[..., Told]) -> None:
    told = call("search", "topics", "--text", HEART, "-k", "6", "--json")
    assert told.code == 0
    hits = told.json
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert all(set(hit) == {"rank", "row", "id", "title", "l2_distance"} for hit in hits)
    assert all(hit["id"].startswith("heart-") for hit in hits)
    assert [hit["l2_distance"] for hit in hits] == sorted(hit["l2_distance"] for hit in hits)
    atlas = open_atlas("topics")
    assert all(atlas.paper(hit["row"]).id == hit["id"] for hit in hits)
    text = call("search", "topics", "--text", HEART, "-k", "6")
    assert [line.split()[2] for line in text.out.splitlines()] == [hit["id"] for hit in hits]


def test_search_reads_standard_input(topics: str, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = call("search", "topics", "--text", HEART, "--json").json
    monkeypatch.setattr(sys, "stdin", io.StringIO(HEART))
    assert call("search", "topics", "--text", "-", "--json").json == wanted


def test_a_backslash_before_an_n_is_latex_and_no_line_break(
    topics: str, call: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("components.cli.corpus.main.understand", lambda text: asked.append(text) or understand(text))
    text = r"Oscillations of the $\nu$ and \nabla" + "\n\nWe measured them."
    assert call("search", "topics", "--text", text).code == 0
    assert asked == [text]


def test_search_filters(topics: str, call: Callable[..., Told]) -> None:
    def ids(*options: str) -> set[str]:
        return {hit["id"] for hit in call("search", "topics", "--text", HEART, "--json", *options).json}

    assert ids("--topic", "galaxy", "--venue", "Journal of galaxy 0") == {"galaxy-0", "galaxy-3"}
    assert ids("--venue", "Journal of galaxy 0", "--venue", "Journal of heart 1", "--years", "2001-2003") == {
        "galaxy-3",
        "heart-1",
    }
    assert ids("--years", "2005") == {"heart-5", "galaxy-5"}
    assert ids("--years", "1900-1950") == set()


def test_search_leaves_the_text_itself_out_and_says_so(topics: str, call: Callable[..., Told]) -> None:
    paper = open_atlas("topics").paper(4)
    told = call("search", "topics", "--text", f"{paper.title}\n\n{paper.abstract}", "-k", "12")
    assert len(told.out.splitlines()) == 11
    assert paper.id not in told.out.split()
    assert f"Left out, because it is the text itself: {paper.title}" in told.err


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("  \n ", "is empty"), ("<p></p>", "is empty")])
def test_search_for_nothing_is_a_sentence(topics: str, call: Callable[..., Told], text: str, words: str) -> None:
    assert_error(call("search", "topics", "--text", text), words)


@pytest.mark.parametrize("k", ["0", "-5", "201"])
def test_k_out_of_bounds_is_a_sentence(topics: str, call: Callable[..., Told], k: str) -> None:
    assert_error(call("search", "topics", "--text", "heart", f"-k{k}"), "between 1 and 200")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("build",),
        ("info",),
        ("search", "topics"),
        ("search", "topics", "--text", "x", "-k", "ten"),
        ("search", "topics", "--text", "x", "--years", "soon"),
        ("search", "topics", "--text", "x", "--years", "2020-soon"),
        ("verify", "topics", "--rows", "few"),
        ("build", "a.csv", "--column", "titel=Titel"),
        ("build", "a.csv", "--column", "title"),
    ],
)
def test_wrong_calls_exit_with_2(home: Path, call: Callable[..., Told], arguments: tuple[str, ...]) -> None:
    told = call(*arguments)
    assert told.code == 2
    assert told.out == ""
    assert told.err.startswith("usage: python -m corpus")


def test_info_and_search_of_the_default_atlas(
    medline_home: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[..., Told]
) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    text = call("info", "medline").out
    assert "hnswlib, M 16" in text
    assert "on 1000 of its rows" in text
    hits = call("search", "medline", "--text", HEART, "-k", "200", "--json").json
    assert len(hits) == 200


def test_bytes_that_are_no_text_are_read_all_the_same(topics: str, home: Path) -> None:
    # As a process of its own: what standard input and arguments are is settled before main is called.
    told = subprocess.run(
        [sys.executable, "-m", "corpus", "search", "topics", "--text", "-", "-k", "1", "--json"],
        input=b"Heart\xff failure and its causes\n\nPatients of a cardiology ward.",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert told.stderr == b""
    assert told.returncode == 0
    assert json.loads(told.stdout)[0]["id"].startswith("heart-")
