"""`python -m components.training pairs`: from files of every format to a folder of pairs; refused, or stopped."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.cli.main import main
from components.cli.main import main as evaluate
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.pairs_folder import read_pairs
from corpus.paper import Paper
from corpus.readers import write_jsonl

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """here("pairs", …): the command in this process."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in arguments]
        try:
            code = main(words)
        except SystemExit as ended:  # how argparse refuses a call
            code = int(str(ended.code))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return call


def papers(count: int = 60) -> list[Paper]:
    return [
        Paper(
            id=str(i), title=f"A study of thing {i}", abstract=f"What {i} is.", doi=f"10.1000/{i}", pmid=str(1_000 + i)
        )
        for i in range(1, count + 1)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_jsonl(papers(), tmp_path / "papers.jsonl.gz")
    return tmp_path / "papers.jsonl.gz"


def line(citing: str, sentence: str, *cited: int, **more: Any) -> str:
    return json.dumps({"citing": citing, "sentence": sentence, "dois": [f"10.1000/{one}" for one in cited]} | more)


def plain(citing: int, *cited: int) -> str:
    return line(f"10.2000/{citing}", f"Citing paper number-{'x' * citing} says so much [1, 2].", *cited)


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """24 citing papers of one pair each, none twice: (1, 2), (3, 4), …"""
    path = tmp_path / "sentences.jsonl"
    path.write_text("\n".join(plain(i, 2 * i + 1, 2 * i + 2) for i in range(24)))
    return path


def all_pairs(pairs: TrainingPairs) -> set[frozenset[str]]:
    ids = pairs.papers["id"].to_pylist()
    return {
        frozenset(ids[row] for row in pair[:2])
        for rows in (pairs.train, pairs.dev, pairs.test)
        for pair in rows.tolist()
    }


def ids_of(*pairs: tuple[int, int]) -> set[frozenset[str]]:
    return {frozenset(map(str, pair)) for pair in pairs}


# What comes of it


def test_planted_sentences_become_the_planted_pairs(here: Run, corpus: Path, tmp_path: Path) -> None:
    kept = [plain(i, 2 * i + 1, 2 * i + 2) for i in range(20)]
    lines = [
        *kept,
        line("10.2000/a", "This sentence cites one paper alone [1].", 41),
        line("10.2000/a", "Too short [1].", 41, 42),
        line("10.2000/a", " ".join(["long"] * 60) + " [1].", 41, 42),
        line("10.2000/a", "There is no bracket in this one.", 41, 42),
        line("10.2000/a", "Only one of these has a text [1, 2].", 41, 999),
        line("10.2000/a", "A crowd of four is too much [1-4].", 41, 42, 43, 44),
        line("10.2000/a", "Three of them are three pairs [1-3].", 45, 46, 47),
        line("10.2000/b", "Three of them are three pairs [4-6].", 48, 49, 50),
        line("10.2000/a", "And once more this very set [1-3].", 47, 46, 45),
        line("10.2000/a", "One paper cited by its two names [1, 2].", 51, pmids=["1051"]),
        line("10.2000/a", "A DOI and a PMID of two papers [1, 2].", 51, pmids=["1052"]),
        '{"citing": "10.2000/a", "sentence": "No list at all."}',
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    done = here("pairs", tmp_path / "all.jsonl", "--papers", corpus, "--out", tmp_path / "out", "--dev", 4, "--test", 3)
    assert done.returncode == 0, done.stderr
    pairs = read_pairs(tmp_path / "out")
    wanted = ids_of(*((2 * i + 1, 2 * i + 2) for i in range(20)), (45, 46), (45, 47), (46, 47), (51, 52))
    assert all_pairs(pairs) == wanted
    assert set(pairs.papers["id"].to_pylist()) == {one for pair in wanted for one in pair}
    assert len(pairs.dev) <= 4 and len(pairs.test) <= 3
    told = pairs.told["contexts"]
    assert told == {
        "sentences": 31, "cited_alone": 1, "too_short": 1, "too_long": 1, "without_bracket": 1, "unknown": 2,
        "cited_in_crowd": 1, "repeated_text": 1, "repeated_set": 1, "kept": 22,
    }  # fmt: skip
    for words, count in (
        ("Sentences that cite", 31),
        ("dropped: fewer than 2 papers cited", 1),
        ("dropped: fewer than 5 words", 1),
        ("dropped: more than 60 words", 1),
        ("dropped: no bracket or parenthesis", 1),
        ("dropped: fewer than 2 of them among the papers", 2),
        ("dropped: more than 3 of them among the papers", 1),
        ("dropped: equal to an earlier one but for digits", 1),
        ("dropped: the same papers cited by the same paper before", 1),
        ("Contexts", 22),
    ):
        assert [one.split()[-1] for one in done.stdout.splitlines() if words in one] == [str(count)], words
    assert "31 read" in done.stdout and "1 refused" in done.stdout
    assert "all.jsonl, line 32: " in done.stdout
    contexts = pq.read_table(tmp_path / "out" / "contexts.parquet").to_pylist()
    ids = pairs.papers["id"].to_pylist()
    [three] = [one for one in contexts if len(one["cited"]) == 3]
    assert three["citing"] == "doi:10.2000/a"
    assert three["sentence"] == "Three of them are three pairs [1-3]."
    assert [ids[row] for row in three["cited"]] == ["45", "46", "47"]
    assert {one["split"] for one in contexts} == {"train", "dev", "test"}


def test_the_same_call_makes_the_same_pairs_and_another_seed_others(here: Run, sentences: Path, corpus: Path) -> None:
    out = corpus.parent
    for name, more in (("a", ()), ("b", ("--workers", "2")), ("c", ("--seed", "1"))):
        done = here("pairs", sentences, "--papers", corpus, "--out", out / name, "--dev", "5", "--test", "5", *more)
        assert done.returncode == 0, done.stderr
    first, again, other = (read_pairs(out / name) for name in "abc")
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.told == again.told
    assert len(first.dev) == len(first.test) == 5
    # What it says keeps every paper where it is.
    [told] = [one for one in done.stdout.splitlines() if "none changes its split" in one]
    options = told.partition("with: ")[2].split()
    sentences.write_text(sentences.read_text() + "\n" + plain(24, 49, 50) + "\n" + plain(25, 51, 52))
    assert here("pairs", sentences, "--papers", corpus, "--out", out / "d", *options).returncode == 0
    more_pairs = read_pairs(out / "d")
    for rows in ("train", "test"):
        before, after = (
            {frozenset(one.papers["id"].to_pylist()[row] for row in pair) for pair in getattr(one, rows).tolist()}
            for one in (other, more_pairs)
        )
        assert before <= after


JATS = """<?xml version="1.0"?><article><front><article-meta><article-id pub-id-type="doi">10.3000/jats</article-id>
<title-group><article-title>Citing</article-title></title-group></article-meta></front><body><sec><p>Two things are
studied together here <xref ref-type="bibr" rid="r1">[1]</xref><xref ref-type="bibr" rid="r2">[2]</xref>.</p></sec>
</body><back><ref-list>{references}</ref-list></back></article>"""
REFERENCE = """<ref id="r{n}"><label>{n}</label><element-citation><article-title>A study of thing {p}</article-title>
<pub-id pub-id-type="pmid">{pmid}</pub-id></element-citation></ref>"""
TEXT = "Two things are studied together (X 2001; Y 2002)."


def cord19(first: int, second: int) -> str:
    """Two markers, the first once more at a wrong place, and one that names no reference."""
    spans = [
        {"start": 0, "end": 6, "text": "X 2001", "ref_id": "BIBREF0"},
        {"start": 0, "end": 1, "text": TEXT[0], "ref_id": None},
        {"start": TEXT.index("X"), "end": TEXT.index("X") + 6, "text": "X 2001", "ref_id": "BIBREF0"},
        {"start": TEXT.index("Y"), "end": TEXT.index("Y") + 6, "text": "Y 2002", "ref_id": "BIBREF1"},
    ]
    entries = {
        f"BIBREF{n}": {
            "ref_id": f"b{n}", "title": f"A study of thing {one}", "authors": [], "year": 2001 + n, "venue": "",
            "volume": "", "issn": "", "pages": "", "other_ids": {"DOI": [f"10.1000/{one}"]},
        }
        for n, one in enumerate((first, second))
    }  # fmt: skip
    body = [{"text": TEXT, "cite_spans": spans, "ref_spans": [], "section": "Intro"}]
    return json.dumps(
        {
            "paper_id": "0123456789abcdef0123456789abcdef01234567", "metadata": {"title": "Citing", "authors": []},
            "abstract": [], "body_text": body, "bib_entries": entries, "ref_entries": {}, "back_matter": [],
        }
    )  # fmt: skip


def test_full_texts_of_several_formats_and_ready_pairs_go_into_one_folder(
    here: Run, sentences: Path, corpus: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    references = "".join(REFERENCE.format(n=n, p=p, pmid=1_000 + p) for n, p in ((1, 53), (2, 54)))
    (texts / "article.xml").write_text(JATS.format(references=references))
    (texts / "paper.json.gz").write_bytes(gzip.compress(cord19(55, 56).encode()))
    (tmp_path / "ready.tsv").write_text(
        "57\t10.1000/58\tdoi:10.2000/z\nPMID:1059\t60\tdoi:10.2000/z\nlost\t1\tx\n3\t3\tx\n"
    )
    more = papers(62)[60:]
    write_jsonl(more, tmp_path / "more.jsonl")
    (tmp_path / "more.csv").write_text("61,62\n")
    done = here(
        "pairs", sentences, texts, "--pairs", tmp_path / "ready.tsv", "--pairs", tmp_path / "more.csv",
        "--papers", corpus, tmp_path / "more.jsonl", "--out", tmp_path / "out", "--dev", 5, "--test", 4,
        "--workers", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    pairs = read_pairs(tmp_path / "out")
    ready = [(53, 54), (55, 56), (57, 58), (59, 60), (61, 62)]
    assert all_pairs(pairs) == ids_of(*((2 * i + 1, 2 * i + 2) for i in range(24)), *ready)
    assert pairs.told["full_texts"]["documents"] == 26
    assert pairs.told["keep_without_abstract"] is False
    assert pairs.told["ready"] == {
        "pairs": 5, "unknown": 1, "same": 1,
        "unknown_places": ["ready.tsv, line 3: no paper of the corpus has the id 'lost'"],
    }  # fmt: skip
    assert "Citation markers dropped: 1 (the marker names no reference 1)" in done.stdout
    assert "Citation markers mended: 1 (the place was wrong; the text stood near it 1)" in done.stdout
    assert "Ready pairs: 5; 1 with an unknown id, 1 of one paper twice" in done.stdout
    assert [one["name"] for one in pairs.told["sources"]["papers"]] == ["papers.jsonl.gz", "more.jsonl"]


def hearts(number: int, *cited: object) -> str:
    return json.dumps(
        {"citing": f"10.2000/{number}", "sentence": f"Two hearts of {'x' * number} kinds [1].", "cited": cited}
    )


def test_an_atlas_s_papers_and_titles_alone(here: Run, topics: str, tmp_path: Path) -> None:
    known = [("heart-0", "heart-1"), ("heart-2", "heart-3"), ("heart-4", "heart-5"), ("galaxy-0", "galaxy-1")]
    unknown = {"doi": "10.9999/9", "title": "Not in any corpus"}
    lines = [hearts(number, *pair) for number, pair in enumerate(known)] + [hearts(9, {"id": "heart-0"}, unknown)]
    (tmp_path / "s.jsonl").write_text("\n".join(lines))
    wanted = set(map(frozenset, known))
    for name, more in (("known", ()), ("alone", ("--titles-alone",))):
        out = tmp_path / name
        done = here("pairs", tmp_path / "s.jsonl", "--atlas", topics, "--out", out, "--dev", 2, "--test", 0, *more)
        assert done.returncode == 0, done.stderr
        wanted |= {frozenset(("heart-0", "10.9999/9"))} if more else set()
        assert all_pairs(read_pairs(out)) == wanted
    bare = [one for one in read_pairs(tmp_path / "alone").papers.to_pylist() if not one["abstract"]]
    assert [(one["id"], one["title"], one["doi"]) for one in bare] == [("10.9999/9", "Not in any corpus", "10.9999/9")]


def test_a_dev_pair_that_can_have_no_negative_leaves_an_empty_dev_set(here: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("\n".join(plain(i, 1, i + 2) for i in range(9)))
    done = here("pairs", tmp_path / "s.jsonl", "--papers", corpus, "--out", tmp_path / "out", "--dev", 3, "--test", 0)
    assert done.returncode == 1
    assert "the dev set is empty" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_held_out_set_is_evaluated_as_it_is(here: Run, sentences: Path, corpus: Path, tmp_path: Path) -> None:
    done = here("pairs", sentences, "--papers", corpus, "--out", tmp_path / "out", "--dev", "5", "--test", "5")
    [told] = [one for one in done.stdout.splitlines() if "components.evaluation" in one]
    words = told.partition("-m components.evaluation ")[2].partition("--encoder")[0].split()
    assert evaluate([*words, "--peer", "tfidf", "--output", str(tmp_path / "r.csv")]) == 0
    [row] = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert (row["set"], row["split"], row["queries"]) == ("held-out", "test", "10")


def test_progress_for_a_program_ends_with_what_came_of_it(here: Run, sentences: Path, corpus: Path) -> None:
    out = corpus.parent / "out"
    done = here("pairs", sentences, "--papers", corpus, "--out", out, "--dev", "5", "--test", "5", "--progress", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(one) for one in done.stdout.splitlines()]
    stages = list(dict.fromkeys(one["stage"] for one in lines[:-1]))
    assert stages == ["Reading the full texts", "Looking for their papers", "Joining them", "Writing the pairs"]
    assert lines[-1] == {"built": "out", "papers": 48, "train": 14, "dev": 5, "test": 5}


# What is refused


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "VERB"),
        (("pairs",), 2, "--out"),
        (("pairs", "--out", "OUT"), 2, "give full texts, or --pairs FILE"),
        (("pairs", "SENTENCES", "--out", "OUT"), 2, "--papers FILE or --atlas NAME"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--dev", "x"), 2, "neither a number of pairs"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--workers", "0"), 2, "no number of processes"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--dev", "0"), 1, "dev is 0"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--dev", "1.5"), 1, "between 0 and 1"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--most-cited", "1"), 1, "The least is 2"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "TMP"), 1, "is there already, and is not empty"),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT/deep/er"), 1, "Make it first"),
        (("pairs", "SENTENCES", "--papers", "nowhere", "--out", "OUT"), 1, "nowhere: there is no such file"),
        (("pairs", "nowhere", "--papers", "CORPUS", "--out", "OUT"), 1, "nowhere: there is no such file"),
        (("pairs", "SENTENCES", "--atlas", "nobody", "--out", "OUT"), 1, "No atlas is called 'nobody'"),
        (("pairs", "SENTENCES", "--papers", "OTHERS", "--out", "OUT"), 1, "cited papers are not in the corpus"),
        (("pairs", "--pairs", "UNKNOWN", "--papers", "CORPUS", "--out", "OUT"), 1,
         "unknown.tsv, line 1: no paper of the corpus has the id 'x' and 'y'. None of 2 pairs has both its papers"),
        (("pairs", "--pairs", "WRONG", "--papers", "CORPUS", "--out", "OUT"), 1, "wrong.tsv, line 2: "),
        (("pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT", "--dev", "20", "--test", "10"), 1,
         "no pair is left to train on"),
    ],
)  # fmt: skip
def test_a_wrong_call_has_its_exit_code_and_a_sentence(
    here: Run, sentences: Path, corpus: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    (tmp_path / "unknown.tsv").write_text("x\ty\n1\tz\n")
    (tmp_path / "wrong.tsv").write_text("1\t2\n3\n")
    write_jsonl([Paper(id="z", title="Z", abstract="Z.")], tmp_path / "others.jsonl")
    places = {
        "SENTENCES": sentences, "CORPUS": corpus, "TMP": tmp_path, "OTHERS": tmp_path / "others.jsonl",
        "UNKNOWN": tmp_path / "unknown.tsv", "WRONG": tmp_path / "wrong.tsv",
    }  # fmt: skip
    before = sorted(tmp_path.rglob("*"))
    done = here(*(places.get(one, one.replace("OUT", str(tmp_path / "out"))) for one in arguments))
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stderr
    assert code == 2 or done.stderr.splitlines()[-1].startswith("cocite: ")
    # What the filters dropped is told where they left nothing, too.
    assert ("of them among the papers" in done.stdout) == ("OTHERS" in arguments or "20" in arguments)
    assert sorted(path for path in tmp_path.rglob("*") if tmp_path / "home" not in (path, *path.parents)) == before


@pytest.mark.parametrize(
    "wrong", [("--papers", "CORPUS", "--pairs", "WRONG"), ("--papers", "CORPUS", "WRONG"), ("--atlas", "nobody")]
)
def test_what_is_wrong_beside_the_full_texts_is_told_before_they_are_read(
    here: Run, sentences: Path, corpus: Path, tmp_path: Path, wrong: tuple[str, ...]
) -> None:
    (tmp_path / "wrong").write_bytes(b"\x00\x01\x02")
    places = {"CORPUS": corpus, "WRONG": tmp_path / "wrong"}
    words = [places.get(one, one) for one in wrong]
    done = here("pairs", sentences, *words, "--out", tmp_path / "out", "--progress", "json")
    assert done.returncode == 1
    assert "Reading the full texts" not in done.stdout + done.stderr
    assert ("nobody" if "nobody" in wrong else "wrong") in done.stderr


@pytest.mark.parametrize(
    ("number", "told"), [(errno.ENOSPC, "is full, and nothing was written"), (errno.EACCES, "who may")]
)
def test_a_disk_that_takes_no_more_is_told_and_nothing_is_left(
    here: Run, sentences: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pq, "write_table", full)
    out = corpus.parent / "out"
    before = sorted(corpus.parent.iterdir())
    done = here("pairs", sentences, "--papers", corpus, "--out", out, "--dev", 5, "--test", 5)
    assert done.returncode == 1
    assert told in done.stderr.splitlines()[-1]
    assert sorted(path for path in corpus.parent.iterdir() if path.name != "home") == before


def test_ctrl_c_leaves_nothing(home: Path, corpus: Path, tmp_path: Path) -> None:
    with (tmp_path / "many.jsonl").open("w") as file:
        for i in range(400_000):
            file.write(plain(i % 50, i % 60 + 1, (i + 7) % 60 + 1).replace("[1, 2]", f"{i} [1, 2]") + "\n")
    before = sorted(tmp_path.iterdir())
    words = ["pairs", tmp_path / "many.jsonl", "--papers", corpus, "--out", tmp_path / "out", "--progress", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "components.training", *map(str, words), "--workers", "2"],
        cwd=ROOT,
        env=os.environ | {"COCITE_ATLAS_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        first = json.loads(process.stdout.readline())
        assert first["stage"] == "Reading the full texts"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert told.strip().splitlines()[-1] == "cocite: stopped. Nothing was written."
    assert "Traceback" not in told
    assert sorted(tmp_path.iterdir()) == before
