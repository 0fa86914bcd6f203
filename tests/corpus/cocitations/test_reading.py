"""Files, folders and archives of every format: cut into documents (documents.py) and read by any number of workers."""

import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import documents
from corpus.cocitations.full_text import FullTextError, FullTextReport
from corpus.cocitations.reading import read_citing_sentences
from tests.corpus.cocitations import full_texts
from tests.corpus.cocitations.full_texts import BOTH, LINES, a_file, citing, read, tar, zipped

RECORDS = [full_texts.sentence_line("10.1000/1"), full_texts.sentence_line("10.1000/2")]
FIRST, SECOND = (json.dumps(record).encode() for record in RECORDS)


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"),
        b"\n\n" + LINES.replace(b"\n", b"\n\n").rstrip(),
        json.dumps(RECORDS).encode(),
        json.dumps(RECORDS, indent=2).encode(),
        b"".join(json.dumps(record, indent=2).encode() for record in RECORDS),
        LINES.decode().encode("utf-16"),
        gzip.compress(LINES),
        gzip.compress(LINES[:10]) + gzip.compress(LINES[10:]),
        gzip.compress(LINES) + bytes(100),
        bz2.compress(LINES),
        lzma.compress(LINES),
        gzip.compress(bz2.compress(LINES)),
        tar({"./a/1.jsonl": LINES}),
        tar({"1.jsonl": LINES}, "w"),
        tar({"1.json": FIRST, "2.json.gz": gzip.compress(SECOND)}, "w:xz"),
        tar({"inner.tar.gz": tar({"1.jsonl": LINES})}),
        zipped({"a/": b"", "a/1.jsonl": LINES}),
        zipped({"1.json": json.dumps(RECORDS[0], indent=1).encode(), "2.jsonl.gz": gzip.compress(SECOND)}),
    ],
)
def test_every_packing_gives_the_same_sentences(tmp_path: Path, content: bytes) -> None:
    sentences, report = read(a_file(tmp_path, content))
    assert citing(sentences) == BOTH
    assert (report.documents, report.sentences, report.refused) == (2, 2, 0)


def everything(tmp_path: Path, *, times: int = 1) -> Path:
    """A folder of all formats, of packings, and of other files."""
    folder = tmp_path / "corpus"
    for n in range(times):
        a_file(folder, json.dumps(full_texts.cord19(f"PMC{n + 1}"), indent=4).encode(), f"{n}/cord/a.json")
        parses = full_texts.lines(*(full_texts.s2orc(str(100 * n + k)) for k in range(1, 6)), {"paper_id": "x"})
        a_file(folder, gzip.compress(parses), f"{n}/pdf_parses_0.jsonl.gz")
        a_file(folder, full_texts.lines(full_texts.annotated(n + 1), full_texts.annotated(n + 2)), f"{n}/s2orc.jsonl")
        papers = {f"arXiv_{k}.jsonl": full_texts.lines(full_texts.unarxive(f"2105.0{n:02}{k:02}")) for k in range(5)}
        a_file(folder, tar(papers, "w:xz"), f"{n}/unarxive.tar.xz")
        articles = {f"{k}.xml": full_texts.jats(f"10.1000/{n}.{k}") for k in range(5)}
        a_file(folder, zipped({**articles, "readme.txt": b"Hello."}), f"{n}/plos.zip")
        a_file(folder, LINES, f"{n}/lines.jsonl")
        a_file(folder, b"cord_uid,sha,title\n", f"{n}/metadata.csv")
        a_file(folder, b"nothing", f"{n}/.DS_Store")
    return folder


def test_a_folder_of_every_format_is_read_and_reported(tmp_path: Path) -> None:
    sentences, report = read(everything(tmp_path))
    assert report.formats == {"S2ORC": 7, "unarXive": 5, "JATS": 5, "citing sentences": 2, "CORD-19": 1}
    assert report.documents == 20 and report.sentences == len(sentences) == 18 * 2 + 2
    assert [refusal.place for refusal in report.refusals] == [
        "corpus/0/metadata.csv",
        "corpus/0/pdf_parses_0.jsonl.gz, line 6",
        "corpus/0/plos.zip, readme.txt",
    ]
    dois = {
        tuple(next(key for key in one.identifiers if key.startswith("doi:")) for one in each.cited)
        for each in sentences
    }
    assert dois == {full_texts.TOGETHER, full_texts.ALONE}


def test_three_workers_give_what_one_gives_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.cocitations.reading._BATCH_DOCUMENTS", 3)
    folder = everything(tmp_path, times=4)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".DS_Store")
    found = {}
    for workers in (1, 3):
        calls: list[tuple[str, int, int]] = []
        report = FullTextReport()
        progress = lambda *call, calls=calls: calls.append(call)  # noqa: E731
        sentences = read_citing_sentences([folder], workers=workers, progress=progress, report=report)
        found[workers] = list(sentences), report
        assert calls == sorted(calls) and len(calls) > 10
        assert calls[-1] == ("Reading the full texts", size, size)
    assert found[1] == found[3]


def children() -> list[Any]:
    return multiprocessing.active_children()


def test_workers_end_with_the_generator_and_their_death_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.cocitations.reading._BATCH_DOCUMENTS", 1)
    path = a_file(tmp_path, full_texts.lines(*(full_texts.sentence_line(f"10.1000/{n}") for n in range(200))))
    sentences = read_citing_sentences([path], workers=2, report=FullTextReport())
    next(sentences)
    assert len(children()) == 2
    sentences.close()
    assert not children()
    sentences = read_citing_sentences([path], workers=2, report=FullTextReport())
    next(sentences)
    for child in children():
        os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(FullTextError, match="has died"):
        list(sentences)
    assert not children()


_PARENT = """
import multiprocessing, sys, time
from pathlib import Path
from corpus.cocitations.full_text import FullTextReport
from corpus.cocitations.reading import read_citing_sentences

if __name__ == "__main__":
    sentences = read_citing_sentences([Path(sys.argv[1])], workers=2, report=FullTextReport())
    next(sentences)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    script, content = a_file(tmp_path, _PARENT.encode(), "parent.py"), a_file(tmp_path, LINES * 2_000)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    with subprocess.Popen([sys.executable, str(script), str(content)], stdout=subprocess.PIPE, env=env) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    for _ in range(200):
        if not any(map(is_alive, workers)):
            return
        time.sleep(0.1)
    pytest.fail("the workers still run")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_files_are_read_once_and_linked_folders_and_pipes_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    path = a_file(folder, LINES, "b.jsonl")
    (folder / "a.jsonl").symlink_to(path)
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe")
    sentences, report = read(folder, path)
    assert citing(sentences) == BOTH and not report.refused


def test_places_are_relative_except_where_two_paths_share_a_name(tmp_path: Path) -> None:
    line = full_texts.lines(full_texts.sentence_line(citing=""))
    one, other = a_file(tmp_path, line, "one/a.jsonl"), a_file(tmp_path, line, "other/a.jsonl")
    assert citing(read(one)[0]) == ["a.jsonl, line 1"]
    assert citing(read(tmp_path / "one")[0]) == ["one/a.jsonl, line 1"]
    assert citing(read(one, other)[0]) == [f"{one}, line 1", f"{other}, line 1"]


def test_a_missing_path_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FullTextError, match=r"nowhere: there is no such file or folder"):
        read_citing_sentences([a_file(tmp_path, LINES), tmp_path / "nowhere"], report=FullTextReport())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"%PDF-1.4", "no full text that can be read"),
        (b"PK\x03\x04 but no more", "zip archive is damaged"),
        (gzip.compress(b"PK\x03\x04"), "zip within another file"),
        (b"\x1f\x8bnothing", "damaged or ends too early"),
        (gzip.compress(LINES)[:20], "damaged or ends too early"),
        (b"BZh9nothing", "damaged or ends too early"),
        (b"\xfd7zXZ\x00nothing", "is damaged"),
        (gzip.compress(gzip.compress(gzip.compress(gzip.compress(LINES)))), "packed more than 3 times over"),
        (tar({"1.jsonl": LINES}, "w")[:700], "ends too early"),
        (b"<html><p>no</p></html>", "holds no <article>"),
        (b"<article><", "malformed"),
        (b"{" * 100_000, "nested too deep|malformed"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"body_text": 7}', "no full text in a known format"),
        (b"[1, [], null]", "no full text in a known format"),
        (b'{"sentence": "A b.", "dois": ["10.1000/a"], "x": NaN}', "NaN is not JSON"),
        (b'{"sentence": "A b."', "malformed or ends too early"),
    ],
)
def test_damage_is_reported_and_other_files_are_read(tmp_path: Path, content: bytes, reason: str) -> None:
    a_file(tmp_path, content, "corpus/1")
    a_file(tmp_path, LINES, "corpus/2.jsonl")
    sentences, report = read(tmp_path / "corpus")
    assert citing(sentences) == BOTH
    assert report.refusals[0].place.startswith("corpus/1")
    assert re.search(reason, report.refusals[0].reason), report.refusals[0]
    for archive in (tar({"1": content, "2.jsonl": LINES}), zipped({"1": content, "2.jsonl": LINES})):
        sentences, report = read(a_file(tmp_path, archive))
        assert citing(sentences) == BOTH and report.refusals[0].place.startswith("file, 1"), report.refusals


def test_lines_before_damage_are_read_and_a_damaged_line_costs_no_other(tmp_path: Path) -> None:
    cut = gzip.compress(LINES * 5_000 + os.urandom(1_000_000).replace(b"\n", b" "))[:-500_000]
    sentences, report = read(a_file(tmp_path, cut))
    assert len(sentences) == 10_000
    assert "damaged or ends too early" in report.refusals[-1].reason
    first, second = LINES.splitlines(keepends=True)
    for lines in (first[:50] + b"\n" + second, b'{"a": 1}\n' + second, first[:30] + b"\n\n" + second + first[:9]):
        sentences, report = read(a_file(tmp_path, lines))
        assert citing(sentences) == BOTH[1:]
        assert report.refusals[0].place == "file, line 1"


def test_too_large_records_are_refused_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 2_000)
    large = full_texts.lines(full_texts.sentence_line("10.1000/0", sentence="x" * 1_000_000))
    for content, place in ((large + LINES, "file, line 1"), (LINES + large, "file, line 3")):
        sentences, report = read(a_file(tmp_path, content))
        assert citing(sentences) == BOTH and [each.place for each in report.refusals] == [place]
    many = [full_texts.sentence_line(f"10.1000/{n}") for n in range(100)]
    for text in (json.dumps(many), json.dumps(many, indent=1), "\n".join(json.dumps(one, indent=1) for one in many)):
        sentences, report = read(a_file(tmp_path, text.encode()))
        assert len(sentences) == 100 and not report.refused
    sentences, report = read(a_file(tmp_path, json.dumps([*many, "x" * 1_000_000, *many]).encode()))
    assert len(sentences) == 100 and "as no full text has" in report.refusals[0].reason
    sentences, report = read(a_file(tmp_path, json.dumps([*many, "x" * 3_000, *many]).encode()))
    assert len(sentences) == 200 and [each.place for each in report.refusals] == ["file, record 101"]


def test_a_large_set_of_articles_is_read_article_by_article(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 300_000)
    article = full_texts.jats("10.1000/{}").decode().replace("Both are", "Both&nbsp;are")
    article = article.replace("<body>", f"<body><p>{'Nothing is cited here. ' * 300}</p>")
    articles = "".join(article.replace("{}", str(n)) + "\n" for n in range(100))
    for begin, end in (
        ('<?xml version="1.0"?><!DOCTYPE set SYSTEM "none.dtd"><set>', "</set>"),
        ('<!DOCTYPE set SYSTEM "none.dtd"><a xmlns="urn:x" xmlns:y="urn:y"><r><m>', "</m></r></a>"),
    ):
        sentences, report = read(a_file(tmp_path, f"{begin}{articles}{end}".encode()))
        assert report.refused == 0 and report.documents == 100
        assert citing(sentences) == [f"doi:10.1000/{n}" for n in range(100) for _ in range(2)]
        assert sentences[0].sentence.split()[0] in ("Both", "Both\xa0are")
    for rest, reason in (
        (f"<</{articles}", "malformed"),
        (f"{articles}<article>{'<b>x</b>' * 90_000}", "an article in it has more than"),
    ):
        _, report = read(a_file(tmp_path, f"{begin}{articles}{rest}".encode()))
        assert report.documents >= 100 and reason in report.refusals[0].reason


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_lines_are_split_at_line_feeds(rest: list[bytes], size: int) -> None:
    content = b"\n".join([b'{"a": 1}', *rest])
    stream = io.BufferedReader(io.BytesIO(content), size)  # type: ignore[arg-type]
    found = [(each.place, each.data.rstrip(b"\n")) for each in documents.documents_in(stream, "f")]
    assert found == [(f"f, line {n}", line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def test_the_archive_of_plos_articles() -> None:
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "plos" / "articles.tar.gz"
    if not path.is_file():
        pytest.skip("needs real articles: ../shared/data/plos is not there")
    sentences, report = read(path)
    assert report.formats == {"JATS": 60} and not report.refused
    assert len(sentences) == report.sentences > 2_000
