"""The verb pairs: full texts and ready pairs of every format become a folder of pairs; refusals; what it prints."""

from __future__ import annotations

import csv
import errno
import gzip
import inspect
import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.cli.pairs import pairs as verb
from corpus.cocitations.contexts import ContextRules
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.pairs_folder import read_pairs
from corpus.export import write_jsonl
from corpus.paper import Paper
from corpus.progress import Cancelled
from tests.components.cli.conftest import Cocite

pytestmark = pytest.mark.usefixtures("home")


def papers(count: int) -> list[Paper]:
    return [
        Paper(
            id=str(i), title=f"A study of thing {i}", abstract=f"What {i} is.", doi=f"10.1000/{i}", pmid=f"{1_000 + i}"
        )
        for i in range(1, count + 1)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty papers: ids 1 to 60, DOIs 10.1000/1 …, PMIDs 1001 …"""
    write_jsonl(papers(60), tmp_path / "papers.jsonl.gz")
    return tmp_path / "papers.jsonl.gz"


def line(citing: str, sentence: str, *cited: int, **more: Any) -> str:
    return json.dumps({"citing": citing, "sentence": sentence, "dois": [f"10.1000/{i}" for i in cited]} | more)


def plain(citing: int, *cited: int) -> str:
    return line(f"10.2000/{citing}", f"Citing paper number-{'x' * citing} says so much [1, 2].", *cited)


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """24 citing papers of one pair each: (1, 2), (3, 4), …"""
    path = tmp_path / "sentences.jsonl"
    path.write_text("\n".join(plain(i, 2 * i + 1, 2 * i + 2) for i in range(24)))
    return path


def ids_of(pairs: TrainingPairs, *splits: str) -> set[frozenset[str]]:
    ids = pairs.papers["id"].to_pylist()
    rows = [row for split in splits or ("train", "dev", "test") for row in getattr(pairs, split).tolist()]
    return {frozenset(ids[place] for place in row[:2]) for row in rows}


def numbers(*pairs: tuple[int, int]) -> set[frozenset[str]]:
    return {frozenset(map(str, pair)) for pair in pairs}


PLANTED = [(2 * i + 1, 2 * i + 2) for i in range(24)]


# -- What is made -----------------------------------------------------------------------------------------------------


def test_planted_sentences_become_the_planted_pairs(cocite: Cocite, corpus: Path, tmp_path: Path) -> None:
    lines = [
        *(plain(i, *pair) for i, pair in enumerate(PLANTED[:20])),
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
    out = tmp_path / "out"
    result = cocite("pairs", tmp_path / "all.jsonl", "--papers", corpus, "--out", out, "--dev", 4, "--test", 3)
    assert result.code == 0, result.err
    pairs = read_pairs(out)
    assert ids_of(pairs) == numbers(*PLANTED[:20], (45, 46), (45, 47), (46, 47), (51, 52))
    assert set(pairs.papers["id"].to_pylist()) == {id for pair in ids_of(pairs) for id in pair}
    assert len(pairs.dev) <= 4 and len(pairs.test) <= 3
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
        assert [row.split()[-1] for row in result.out.splitlines() if words in row] == [str(count)], words
    assert "31 read" in result.out and "1 refused" in result.out and "all.jsonl, line 32: " in result.out
    contexts = pq.read_table(out / "contexts.parquet").to_pylist()
    ids = pairs.papers["id"].to_pylist()
    (three,) = [context for context in contexts if len(context["cited"]) == 3]
    assert (three["citing"], three["sentence"]) == ("doi:10.2000/a", "Three of them are three pairs [1-3].")
    assert [ids[row] for row in three["cited"]] == ["45", "46", "47"]


def test_splits_depend_on_the_seed_and_stay_when_papers_are_added(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path
) -> None:
    def make(name: str, *options: object) -> str:
        result = cocite("pairs", sentences, "--papers", corpus, "--out", tmp_path / name, *options)
        assert result.code == 0, result.err
        return result.out

    sizes = ("--dev", 5, "--test", 5)
    make("first", *sizes)
    make("again", *sizes, "--workers", 2)
    out = make("other", *sizes, "--seed", 1)
    first, again, other = (read_pairs(tmp_path / name) for name in ("first", "again", "other"))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.dev) == len(first.test) == 5
    (advice,) = [row for row in out.splitlines() if " --dev 0." in row]
    sentences.write_text(sentences.read_text() + "\n" + plain(24, 49, 50) + "\n" + plain(25, 51, 52))
    make("more", *advice[advice.index("--dev") :].split())
    more = read_pairs(tmp_path / "more")
    assert ids_of(other, "train") <= ids_of(more, "train") and ids_of(other, "test") <= ids_of(more, "test")


REFERENCE = """<ref id="r{n}"><label>{n}</label><element-citation><article-title>A study of thing {p}</article-title>
<pub-id pub-id-type="pmid">{pmid}</pub-id></element-citation></ref>"""
JATS = """<?xml version="1.0"?><article><front><article-meta><article-id pub-id-type="doi">10.3000/jats</article-id>
<title-group><article-title>Citing</article-title></title-group></article-meta></front><body><sec><p>Two things are
studied together here <xref ref-type="bibr" rid="r1">[1]</xref><xref ref-type="bibr" rid="r2">[2]</xref>.</p></sec>
</body><back><ref-list>{references}</ref-list></back></article>"""


def cord19(*cited: int) -> str:
    """Markers of two papers, the first once more at a wrong place, and one that names no reference."""
    text = "Two things are studied together (X 2001; Y 2002)."
    spans = [
        {"start": 0, "end": 6, "text": "X 2001", "ref_id": "BIBREF0"},
        {"start": 0, "end": 1, "text": text[0], "ref_id": None},
        {"start": text.index("X"), "end": text.index("X") + 6, "text": "X 2001", "ref_id": "BIBREF0"},
        {"start": text.index("Y"), "end": text.index("Y") + 6, "text": "Y 2002", "ref_id": "BIBREF1"},
    ]
    entries = {
        f"BIBREF{n}": {
            "ref_id": f"b{n}", "title": f"A study of thing {i}", "authors": [], "year": 2001 + n, "venue": "",
            "volume": "", "issn": "", "pages": "", "other_ids": {"DOI": [f"10.1000/{i}"]},
        }
        for n, i in enumerate(cited)
    }  # fmt: skip
    body = [{"text": text, "cite_spans": spans, "ref_spans": [], "section": "Intro"}]
    paper = {"paper_id": "0123456789abcdef0123456789abcdef01234567", "metadata": {"title": "Citing", "authors": []}}
    return json.dumps(
        paper | {"abstract": [], "body_text": body, "bib_entries": entries, "ref_entries": {}, "back_matter": []}
    )


def test_full_texts_of_several_formats_and_ready_pairs_are_joined(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    references = "".join(REFERENCE.format(n=n, p=p, pmid=1_000 + p) for n, p in ((1, 53), (2, 54)))
    (texts / "article.xml").write_text(JATS.format(references=references))
    (texts / "paper.json.gz").write_bytes(gzip.compress(cord19(55, 56).encode()))
    (tmp_path / "ready.tsv").write_text(
        "57\t10.1000/58\tdoi:10.2000/z\nPMID:1059\t60\tdoi:10.2000/z\nlost\t1\tx\n3\t3\tx\n"
    )
    (tmp_path / "more.csv").write_text("61,62\n")
    write_jsonl(papers(62)[60:], tmp_path / "more.jsonl")
    result = cocite(
        "pairs", sentences, texts, "--pairs", tmp_path / "ready.tsv", "--pairs", tmp_path / "more.csv",
        "--papers", corpus, "--papers", tmp_path / "more.jsonl", "--out", tmp_path / "out",
        "--dev", 5, "--test", 4, "--workers", 1,
    )  # fmt: skip
    assert result.code == 0, result.err
    ready = [(53, 54), (55, 56), (57, 58), (59, 60), (61, 62)]
    assert ids_of(read_pairs(tmp_path / "out")) == numbers(*PLANTED, *ready)
    assert "1 (the marker names no reference 1)" in result.out
    assert "1 (the place was wrong; the text stood near it 1)" in result.out
    assert "Ready pairs: 5; 1 with an unknown id, 1 of one paper twice" in result.out
    assert "ready.tsv, line 3: no paper of the corpus has the id 'lost'" in result.out


def test_papers_come_from_an_atlas_and_titles_from_references(cocite: Cocite, topics: str, tmp_path: Path) -> None:
    known = [("heart-0", "heart-1"), ("heart-2", "heart-3"), ("heart-4", "heart-5"), ("galaxy-0", "galaxy-1")]
    unknown = ({"id": "heart-0"}, {"doi": "10.9999/9", "title": "Not in any corpus"})
    (tmp_path / "s.jsonl").write_text("\n".join(
        json.dumps({"citing": f"10.2000/{n}", "sentence": f"Two hearts of {'x' * n} kinds [1].", "cited": cited})
        for n, cited in enumerate([*known, unknown])
    ))  # fmt: skip
    options = ("pairs", tmp_path / "s.jsonl", "--atlas", topics, "--dev", 2, "--test", 0)
    assert cocite(*options, "--out", tmp_path / "known").code == 0
    assert cocite(*options, "--out", tmp_path / "all", "--titles-alone").code == 0
    wanted = set(map(frozenset, known))
    assert ids_of(read_pairs(tmp_path / "known")) == wanted
    pairs = read_pairs(tmp_path / "all")
    assert ids_of(pairs) == wanted | {frozenset(("heart-0", "10.9999/9"))}
    (bare,) = [paper for paper in pairs.papers.to_pylist() if not paper["abstract"]]
    assert (bare["id"], bare["title"], bare["doi"]) == ("10.9999/9", "Not in any corpus", "10.9999/9")


def test_printed_commands_can_be_copied(cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my pairs"
    result = cocite("pairs", sentences, "--papers", corpus, "--out", folder, "--dev", 5, "--test", 5)
    train = shlex.split(result.out.splitlines()[-1].partition("cocite ")[2])
    assert train[:3] == ["train", "--pairs", str(folder)]
    evaluate = shlex.split(result.out.splitlines()[-2].partition("cocite ")[2].partition("--encoder")[0])
    assert cocite(*evaluate, "--baseline", "tfidf", "--output", tmp_path / "r.csv").code == 0
    (row,) = csv.DictReader((tmp_path / "r.csv").read_text().splitlines())
    assert (row["set"], row["split"], row["queries"]) == ("held-out", "test", "10")


def test_json_has_progress_on_stderr_and_the_sizes_on_stdout(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = cocite("pairs", sentences, "--papers", corpus, "--out", out, "--dev", 5, "--test", 5, "--json")
    assert result.json == {"built": "out", "papers": 48, "train": 14, "dev": 5, "test": 5}
    stages = list(dict.fromkeys(json.loads(row)["stage"] for row in result.err.splitlines()))
    assert len(stages) == 4 and stages[0] == "Reading the full texts" and stages[-1] == "Writing the pairs"


def test_papers_that_are_in_no_corpus_are_listed_the_most_cited_first(cocite: Cocite, tmp_path: Path) -> None:
    def cite(name: str, count: int, **cited: list[str]) -> list[str]:
        return [
            json.dumps({"citing": f"{name}{i}", "sentence": f"One of {'i' * i} {name} says [1, 2]."} | cited)
            for i in range(1, count + 1)
        ]

    lines = [plain(i, i, i + 1) for i in range(1, 9)]
    lines += cite("d", 3, dois=["10.1000/404", "10.1000/1"]) + cite("e", 2, pmids=["405", "406"])
    lines += cite("f", 2, cited=["arXiv:2101.00001v2", "pmid:406"])
    (tmp_path / "s.jsonl").write_text("\n".join(lines))
    write_jsonl(papers(9), tmp_path / "papers.jsonl")
    missing = tmp_path / "missing.txt"
    options = ("pairs", tmp_path / "s.jsonl", "--papers", tmp_path / "papers.jsonl", "--missing", missing)
    result = cocite(*options, "--out", tmp_path / "out", "--dev", 2, "--test", 0)
    assert missing.read_text().split() == ["406", "10.1000/404", "405", "arXiv:2101.00001"]
    assert "In no corpus: 4 PMIDs and DOIs" in result.out
    # Where no pair is left, the list is what helps.
    write_jsonl([Paper(id="other", title="Another", abstract="Text.")], tmp_path / "papers.jsonl")
    assert cocite(*options, "--out", tmp_path / "none").code == 1
    assert len(missing.read_text().split()) == 13
    assert not (tmp_path / "none").exists()


# -- What is refused --------------------------------------------------------------------------------------------------


PAIRS = ("SENTENCES", "--papers", "CORPUS", "--out", "OUT")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--out", "OUT"),
        ("SENTENCES", "--out", "OUT"),
        (*PAIRS, "--dev", "x"),
        (*PAIRS, "--workers", "-1"),
        (*PAIRS, "--column", "colour=Farbe"),
        (*PAIRS, "--missing", "OUT/no/missing.txt"),
    ],
)
def test_a_wrong_call_exits_with_2(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    places = {"SENTENCES": sentences, "CORPUS": corpus}
    result = cocite("pairs", *(places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in arguments))
    assert (result.code, result.out) == (2, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((*PAIRS, "--dev", "0"), "dev is 0"),
        ((*PAIRS, "--dev", "1.5"), "between 0 and 1"),
        ((*PAIRS, "--most-cited", "1"), "2"),
        (("SENTENCES", "--papers", "CORPUS", "--out", "TMP"), "not empty"),
        (("SENTENCES", "--papers", "CORPUS", "--out", "OUT/deep/er"), "deep"),
        (("SENTENCES", "--papers", "nowhere", "--out", "OUT"), "nowhere: there is no such file"),
        (("nowhere", "--papers", "CORPUS", "--out", "OUT"), "nowhere: there is no such file"),
        (("SENTENCES", "--atlas", "nobody", "--out", "OUT"), "No atlas is called 'nobody'"),
        (("SENTENCES", "--papers", "OTHERS", "--out", "OUT"), "cited papers are not in the corpus"),
        ((*PAIRS, "--dev", "20", "--test", "10"), "no pair is left to train on"),
        (("--pairs", "UNKNOWN", "--papers", "CORPUS", "--out", "OUT"),
         "unknown.tsv, line 1: no paper of the corpus has the id 'x' and 'y'. None of 2 pairs has both its papers"),
        (("--pairs", "READY", "--papers", "CORPUS", "--out", "OUT"), "wrong.tsv, line 2: "),
        (("STAR", "--papers", "CORPUS", "--out", "OUT", "--dev", "3", "--test", "0"), "the dev set is empty"),
        # A file that belongs elsewhere.
        (("READY", "--papers", "CORPUS", "--out", "OUT"), "ready pairs of ids go after --pairs"),
        (("--pairs", "SENTENCES", "--papers", "CORPUS", "--out", "OUT"), "line 1: this is a citing sentence"),
        (("--pairs", "EMPTY", "--papers", "CORPUS", "--out", "OUT"), "neither a citing sentence nor a ready pair"),
        # Errors that are found before the full texts are read.
        (("SENTENCES", "--papers", "CORPUS", "--pairs", "BINARY", "--out", "OUT"), "binary"),
        (("SENTENCES", "--papers", "CORPUS", "--papers", "BINARY", "--out", "OUT"), "binary"),
    ],
)  # fmt: skip
def test_errors_are_sentences_and_leave_nothing(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path, arguments: tuple[str, ...], error: str
) -> None:
    texts: dict[str, str | bytes] = {
        "unknown.tsv": "x\ty\n1\tz\n", "wrong.tsv": "1\t2\n3\n", "empty": "", "binary": b"\x00\x01\x02",
        "star.jsonl": "\n".join(plain(i, 1, i + 2) for i in range(9)),
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    write_jsonl([Paper(id="z", title="Z", abstract="Z.")], tmp_path / "others.jsonl")
    places = {
        "SENTENCES": sentences, "CORPUS": corpus, "TMP": tmp_path, "OTHERS": tmp_path / "others.jsonl",
        "UNKNOWN": tmp_path / "unknown.tsv", "READY": tmp_path / "wrong.tsv", "EMPTY": tmp_path / "empty",
        "BINARY": tmp_path / "binary", "STAR": tmp_path / "star.jsonl",
    }  # fmt: skip
    before = sorted(tmp_path.iterdir())
    result = cocite("pairs", *(places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in arguments))
    last = result.err.splitlines()[-1]
    assert result.code == 1 and last.startswith("cocite: ") and error in last, result.err
    if "BINARY" in arguments or "nobody" in arguments:
        assert "Reading the full texts" not in result.err
    if "OTHERS" in arguments:  # which filter dropped the most is what helps
        assert "of them among the papers" in result.out
    assert sorted(path for path in tmp_path.iterdir() if path.name != "home") == before


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, "is full, and nothing was written"), (errno.EACCES, "")])
def test_a_disk_error_is_a_sentence_and_leaves_nothing(
    cocite: Cocite,
    sentences: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pq, "write_table", fail)
    before = sorted(tmp_path.iterdir())
    result = cocite("pairs", sentences, "--papers", corpus, "--out", tmp_path / "out", "--dev", 5, "--test", 5)
    last = result.err.splitlines()[-1]
    assert result.code == 1 and last.startswith("cocite: ") and error in last
    assert sorted(path for path in tmp_path.iterdir() if path.name != "home") == before


def test_a_stop_leaves_nothing(
    cocite: Cocite, sentences: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Cancelled("enough")

    monkeypatch.setattr(pq, "write_table", stop)
    before = sorted(tmp_path.iterdir())
    result = cocite("pairs", sentences, "--papers", corpus, "--out", tmp_path / "out", "--dev", 5, "--test", 5)
    assert (result.code, result.err.splitlines()[-1]) == (130, "cocite: stopped. Nothing was written.")
    assert sorted(path for path in tmp_path.iterdir() if path.name != "home") == before


def test_options_have_the_defaults_of_the_rules() -> None:
    defaults = {name: option.default for name, option in inspect.signature(verb).parameters.items()}
    rules = asdict(ContextRules())
    assert {name: defaults[name] for name in rules if name in defaults} == {
        name: value for name, value in rules.items() if name != "bracket"
    }
