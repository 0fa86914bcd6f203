"""Sets made of their originals: planted ones, whose rules are worked out again here, and the real ones at hand."""

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from corpus.judged_sets import files
from corpus.judged_sets.builders import build_relish, build_screening, build_treccovid, read_plain
from corpus.judged_sets.files import LIMITS, json_lines, qrels, table_rows
from corpus.judged_sets.model import DataIssue, JudgedSet, SetError
from tests.corpus.judged_sets.releases import as_ids, counts, texts, write

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def real(path: str) -> Path:
    if not (DATA / path).is_file():
        pytest.skip(f"needs real judgements: ../shared/data/{path} is not there")
    return DATA / path


# RELISH


def annotation(query: str, relevant: str = "", partial: str = "", irrelevant: str = "") -> dict[str, Any]:
    response = {"relevant": [*relevant], "partial": [*partial], "irrelevant": [*irrelevant]}
    return {"uid": f"u{query}", "pmid": query, "response": response, "experience": "phd-student", "is_anonymous": False}


def relish(folder: Path, annotations: list[object], *, papers: list[dict[str, Any]] | None = None) -> JudgedSet:
    write(folder / "RELISH_v1.json.gz", annotations)
    write(folder / "texts.jsonl", papers if papers is not None else texts(*"abcdefgh"), lines=True)
    return build_relish(folder / "RELISH_v1.json.gz", folder / "texts.jsonl")


def test_relish_is_graded_and_split_by_its_rules(tmp_path: Path) -> None:
    annotations = [annotation(query, "bc".replace(query, "h"), "d", "efg") for query in "abcadxbyac"]
    annotations[3] = annotation("a", "h", "", "bcde")
    found = relish(tmp_path, [*annotations[:8], annotation("a", "h", "", "bcde"), annotations[9]])
    assert as_ids(found)["a"] == {"h": 2, "b": 0, "c": 0, "d": 0, "e": 0}
    assert as_ids(found)["b"] == {"h": 2, "c": 2, "d": 1, "e": 0, "f": 0, "g": 0}
    assert (found.name, found.origin, found.relevant_from) == ("relish", "constructed", 2)
    assert counts(found.handled)["repeated_query"] == 4
    assert counts(found.handled)["query_without_text"] == 2
    # The list of its makers has a query as often as it is judged.
    drawn = list("abcadbac")
    random.Random(582).shuffle(drawn)
    assert found.splits == {
        "dev": (tuple(dict.fromkeys(drawn[:4])),),
        "test": (tuple(dict.fromkeys(drawn[4:])),),
    }
    assert "582" in found.rules
    assert "not known" in found.rules


def test_relish_needs_both_texts(tmp_path: Path) -> None:
    papers = texts(*"abcdefgh")
    papers[1] |= {"abstract": None}
    papers[2] |= {"title": " "}
    found = relish(tmp_path, [annotation("a", "b", "c", "defgh"), annotation("b", "a", "", "c")], papers=papers)
    assert as_ids(found) == {"a": dict.fromkeys("defgh", 0)}
    assert counts(found.handled) == {"query_without_text": 1, "candidate_without_text": 2, "without_positive": 1}


def test_relish_reads_its_texts_from_a_table(tmp_path: Path) -> None:
    write(tmp_path / "RELISH_v1.json", [annotation("1", "2", "", "3456")])
    rows = [f'{i}\tThe "{i}" of 5" pipes\t"Quotes stay' for i in range(1, 7)]
    with gzip.open(tmp_path / "texts.tsv.gz", "wt") as file:
        file.write("\n".join(["PMID\ttitle\tabstract", *rows, ""]))
    found = build_relish(tmp_path / "RELISH_v1.json", tmp_path / "texts.tsv.gz")
    assert as_ids(found) == {"1": {"2": 2, "3": 0, "4": 0, "5": 0, "6": 0}}
    assert (found.papers[0].title, found.papers[0].abstract) == ('The "1" of 5" pipes', '"Quotes stay')


@pytest.mark.parametrize(
    "record", [5, {}, {"pmid": "1"}, {"pmid": None, "response": {}}, {"pmid": "1", "response": []},
               {"pmid": "1", "response": {"relevant": "2"}}, {"pmid": "1", "response": {"relevant": [None]}},
               {"pmid": "1", "response": {"odd": ["2"]}}]
)  # fmt: skip
def test_what_is_no_annotation_is_named(tmp_path: Path, record: object) -> None:
    with pytest.raises(SetError, match=r"RELISH_v1.json.gz, record 2: "):
        relish(tmp_path, [annotation("a", "b"), record])


def test_another_file_is_not_taken_for_relish(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"1": {}})
    write(tmp_path / "t.jsonl", texts(1), lines=True)
    with pytest.raises(SetError, match=r"a.json: it does not begin with a list"):
        build_relish(tmp_path / "a.json", tmp_path / "t.jsonl")
    (tmp_path / "t.csv").write_text("one,two\n1,2\n")
    with pytest.raises(SetError, match=r"t.csv: its header is 'one, two'"):
        build_relish(tmp_path / "a.json", tmp_path / "t.csv")


def test_real_relish_counts_what_its_texts_lack() -> None:
    annotations, sample = real("relish/RELISH_v1.json.gz"), real("relish/documents_sample.tsv.gz")
    with gzip.open(annotations) as file:
        records = json.load(file)
    named: dict[str, list[str]] = {}
    for record in records:
        candidates = [pmid for pmids in record["response"].values() for pmid in pmids]
        assert len(candidates) == len(set(candidates)) == 60
        named[record["pmid"]] = candidates
    assert (len(records), len(named)) == (3_278, 3_194)
    with gzip.open(sample, "rt") as file:
        there = {row["PMID"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    assert len(there) == 1_000
    found = build_relish(annotations, sample)
    told = counts(found.handled)
    assert told["repeated_query"] == 3_278 - 3_194
    assert told["query_without_text"] == len(named.keys() - there) == 3_192
    assert told["candidate_without_text"] == sum(len(set(named[query]) - there) for query in named.keys() & there)
    assert len(found.pools) + told["query_without_text"] + told["empty_pool"] == 3_194


# TRECCOVID-RF


def treccovid(folder: Path, relevant: dict[str, str], *, ids: str, more: str = "") -> JudgedSet:
    """Relevant papers of each topic, one character each, in the order of the judgements."""
    lines = [f"{topic} 4.5 {id} 2" for topic, found in relevant.items() for id in found]
    (folder / "qrels.txt").write_text("\n".join([*lines, "1 1 z 1", "1 1 y 0", "1 1 x -1", more]))
    topics = "".join(f'<topic number="{topic}"><query>about {topic}</query></topic>' for topic in relevant)
    (folder / "topics.xml").write_text(f'<topics task="x">{topics}</topics>')
    write(folder / "docs.jsonl", [{"cord_uid": id, "title": f"T{id}", "abstract": f"A{id}"} for id in ids], lines=True)
    return build_treccovid(folder / "qrels.txt", folder / "topics.xml", folder / "docs.jsonl")


def test_treccovid_follows_its_rules(tmp_path: Path) -> None:
    relevant = {"2": "abcdef", "10": "ghia", "1": "jk"}
    found = treccovid(tmp_path, relevant, ids="abcdefghijxyz")
    # By hand: k has no text; a is relevant to two topics, and asks in neither; z, y and x are no part of it.
    pools = as_ids(found)
    assert {pool.query: pool.group for pool in found.pools} == (
        dict.fromkeys("bcdef", "2: about 2") | dict.fromkeys("ghi", "10: about 10") | {"j": "1: about 1"}
    )
    assert pools["b"] == dict.fromkeys("acdef", 1) | dict.fromkeys("ghij", 0)
    assert pools["g"] == dict.fromkeys("hia", 1) | dict.fromkeys("bcdefj", 0)
    assert pools["j"] == dict.fromkeys("abcdefghi", 0)
    assert found.handled == (DataIssue("candidate_without_text", 1, ("k",)), DataIssue("without_positive", 1, ("j",)))
    halves = ["1", "10", "2"]
    random.Random(582).shuffle(halves)
    asked = {"1": "j", "10": "ghi", "2": "bcdef"}
    assert {name: set(folds[0]) for name, folds in found.splits.items()} == {
        "dev": set(asked[halves[0]]), "test": set(asked[halves[1]] + asked[halves[2]]),
    }  # fmt: skip


def test_treccovids_queries_are_the_first_fifty_of_a_shuffle(tmp_path: Path) -> None:
    letters = [chr(0x4E00 + i) for i in range(130)]
    relevant = {"1": "".join(letters[:70]), "2": "".join(letters[69:130])}
    found = treccovid(tmp_path, relevant, ids="".join(letters))
    draw = random.Random(472945)
    expected = []
    for topic in ("2", "1"):  # 61 papers, then 70
        order = list(relevant[topic])
        draw.shuffle(order)
        expected += [id for id in order if id != letters[69]][:50]
    assert [pool.query for pool in found.pools] == expected
    assert Counter(pool.group for pool in found.pools) == {"1: about 1": 50, "2: about 2": 50}


def test_of_a_paper_with_several_records_the_first_with_both_texts_counts(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("".join(f"1 0 {id} 2\n" for id in "abc"))
    (tmp_path / "t.xml").write_text('<topics><topic number="1"><query>x</query></topic></topics>')
    (tmp_path / "metadata.csv").write_text(
        "cord_uid,sha,title,abstract,publish_time\n"
        'a,,One,"First, of\n two lines",2020\nb,,Two,,2020\nb,,Two again,Text,2021\nb,,Thrice,Text,2021\n'
        f"c,,,No title,\nd,,Other,Text,\nd,,Other,Text,\ne,,Book,{'Long. ' * 50_000},\n"
    )
    with (tmp_path / "q.txt").open("a") as file:
        file.write("1 0 e 2\n")
    found = build_treccovid(tmp_path / "q.txt", tmp_path / "t.xml", tmp_path / "metadata.csv")
    assert [(paper.id, paper.title, paper.abstract) for paper in found.papers] == [
        ("a", "One", "First, of two lines"), ("b", "Two again", "Text"), ("e", "Book", ("Long. " * 50_000).strip()),
    ]  # fmt: skip
    assert counts(found.handled)["repeated_paper"] == 2
    assert counts(found.handled)["candidate_without_text"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qrels.txt", "1 0 a", "qrels.txt, line 1: expected topic"),
        ("qrels.txt", "1 0 a 2\n1 0 b two", "qrels.txt, line 2"),
        ("qrels.txt", "1 0 a 2.5", "qrels.txt, line 1"),
        ("qrels.txt", f"1 0 a {'9' * 50}", "qrels.txt, line 1"),
        ("qrels.txt", "9 0 a 2", "topics.xml: no topic '9', which qrels.txt judges"),
        ("topics.xml", "<topics>", "topics.xml: it is not XML"),
        ("topics.xml", "<topics/>", "topics.xml: it has no topics"),
        ("topics.xml", "<topics><topic/></topics>", "topics.xml: it has no topics"),
    ],
)
def test_damaged_originals_of_treccovid_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    treccovid(tmp_path, {"1": "ab"}, ids="ab")
    (tmp_path / name).write_text(content)
    with pytest.raises(SetError, match=message):
        build_treccovid(tmp_path / "qrels.txt", tmp_path / "topics.xml", tmp_path / "docs.jsonl")


def test_topics_read_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    treccovid(tmp_path, {"1": "ab"}, ids="ab")
    entity = f'<!DOCTYPE t [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    (tmp_path / "topics.xml").write_text(f'{entity}<topics><topic number="1"><query>x &e;</query></topic></topics>')
    found = build_treccovid(tmp_path / "qrels.txt", tmp_path / "topics.xml", tmp_path / "docs.jsonl")
    assert {pool.group for pool in found.pools} == {"1: x"}


def test_real_treccovid_is_constructed_as_far_as_there_are_texts() -> None:
    qrels, topics = real("treccovid/qrels-covid_d5_j0.5-5.txt.gz"), real("treccovid/topics-rnd5.xml")
    documents = real("treccovid/docs_partial.jsonl.gz")
    with gzip.open(qrels, "rt") as file:
        rows = [line.split() for line in file if line.split()[3] == "2"]
    topics_of: dict[str, set[str]] = {}
    for topic, _, document, _ in rows:
        topics_of.setdefault(document, set()).add(topic)
    assert (len(rows), len(topics_of)) == (15_609, 12_758)
    with gzip.open(documents, "rt") as file:
        there = {row["cord_uid"] for row in map(json.loads, file) if row["title"].strip() and row["abstract"].strip()}
    collection = topics_of.keys() & there
    found = build_treccovid(qrels, topics, documents)
    assert {paper.id for paper in found.papers} == collection
    assert counts(found.handled)["candidate_without_text"] == 12_758 - len(collection) == 12_447
    pools = as_ids(found)
    asking = {}
    for query, pool in pools.items():
        (topic,) = topics_of[query]
        asking[query] = topic
        assert pool.keys() == collection - {query}
        assert {id for id, grade in pool.items() if grade} == {
            id for id in collection - {query} if topic in topics_of[id]
        }
    # Nowhere are there fifty: all that may ask, do.
    assert asking.keys() == {id for id in collection if len(topics_of[id]) == 1}
    dev, test = ({asking[query] for query in found.splits[name][0]} for name in ("dev", "test"))
    assert not dev & test
    assert (len(pools), len(dev | test)) == (192, 41)


# Systematic reviews


def record(topic: str, pid: str, rel: Any, text: str = "") -> dict[str, Any]:
    return {"topic": topic, "pid": pid, "title": f"T {text or pid}", "abstract": f"A {text or pid}", "rel": rel}


def test_each_included_paper_asks_in_its_review(tmp_path: Path) -> None:
    rows = [record("R", pid, rel) for pid, rel in zip("abcdef", (2, 2, 1, 0, 0, 2), strict=True)]
    rows += [
        record("R", "again", 2, text="d"),
        record("S", "a", 2),
        record("S", "x", 2),
        record("S", "a", 0, text="new"),
    ]
    write(tmp_path / "r.jsonl.gz", rows, lines=True)
    found = build_screening(tmp_path / "r.jsonl.gz")
    pools = as_ids(found)
    # d was left out, and included under another number: it counts once, as included.
    assert pools["a"] == {"b": 2, "c": 1, "d": 2, "e": 0, "f": 2}
    assert pools["S-a"] == {"x": 2, "S-a+": 0}
    assert list(pools) == ["a", "b", "d", "f", "S-a", "x"]
    assert [pool.group for pool in found.pools] == ["R"] * 4 + ["S"] * 2
    assert (found.relevant_from, found.splits) == (2, {"all": (tuple(pools),)})
    assert counts(found.handled) == {"repeated_paper": 1, "pool_under_five": 2}


def test_records_without_text_are_no_copies_of_each_other(tmp_path: Path) -> None:
    rows = [record("R", pid, rel) for pid, rel in zip("abcdef", (2, 2, 1, 0, 0, 0), strict=True)]
    rows += [record("R", pid, rel) | {"title": "", "abstract": None} for pid, rel in (("x", 2), ("y", 0), ("z", 1))]
    write(tmp_path / "r.jsonl", rows, lines=True)
    found = build_screening(tmp_path / "r.jsonl")
    assert counts(found.handled) == {"query_without_text": 1, "candidate_without_text": 6}


@pytest.mark.parametrize("change", [{"rel": 3}, {"rel": None}, {"rel": -1}, {"topic": ""}, {"pid": None}, {"title": 5}])
def test_a_record_that_is_none_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "r.jsonl", [record("R", "a", 2), record("R", "b", 2) | change], lines=True)
    with pytest.raises(SetError, match="r.jsonl, line 2: "):
        build_screening(tmp_path / "r.jsonl")


def test_real_reviews_have_748_queries() -> None:
    found = build_screening(real("sysrev/sysrev_graded.jsonl.gz"))
    assert (len(found.pools), len({pool.group for pool in found.pools}), len(found.papers)) == (748, 8, 8_351)
    assert (min(len(pool.rows) for pool in found.pools), max(len(pool.rows) for pool in found.pools)) == (336, 2_213)
    assert counts(found.handled) == {}


# One's own


def test_own_judgements_as_json(tmp_path: Path) -> None:
    (tmp_path / "j.json").write_text('{"a": {"b": 2, "c": 0, "d": 1.0, "e": 0, "f": 3, "b": 1}, "b": {"nobody": 1}}')
    write(tmp_path / "t.jsonl", [{"id": id, "title": id, "abstract": id} for id in "abcdef"], lines=True)
    found = read_plain(tmp_path / "j.json", tmp_path / "t.jsonl", name="mine")
    assert (found.name, found.origin, found.relevant_from) == ("mine", "own", 1)
    assert as_ids(found) == {"a": {"b": 1, "c": 0, "d": 1, "e": 0, "f": 3}}
    assert counts(found.handled) == {"candidate_without_text": 1, "repeated_candidate": 1, "empty_pool": 1}


def test_own_judgements_as_qrels(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("a 0 b 2\nb\t0\ta\t1\n\na 0 c -1\na 0 b 1\na 0 a 1\n")
    write(tmp_path / "t.jsonl", [{"doc_id": id, "title": id, "abstract": [id]} for id in "abc"], lines=True)
    found = read_plain(tmp_path / "q.txt", tmp_path / "t.jsonl", name="mine")
    assert as_ids(found) == {"a": {"b": 1, "c": 0}, "b": {"a": 1}}
    assert counts(found.handled) == {"repeated_candidate": 1, "query_in_its_pool": 1, "pool_under_five": 2}
    assert "below 0 counts as 0" in found.rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [["b", 1]]}', "j.json, query 'a': it should be an object"),
        ('{"a": {"b": "1"}}', "j.json, query 'a': '1' is not a grade"),
        ('{"a": {"": 1}}', "j.json, query 'a': it should be an object"),
        ('{"a": {"b": {"c": 1}}}', "is not a grade"),
        ('{"a": ', "not JSON, or is incomplete"),
    ],
)
def test_own_judgements_that_are_none_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "j.json").write_text(text)
    write(tmp_path / "t.jsonl", texts(*"ab"), lines=True)
    with pytest.raises(SetError, match=message):
        read_plain(tmp_path / "j.json", tmp_path / "t.jsonl", name="mine")


@pytest.mark.parametrize("file", ["t.jsonl", "t.tsv", "j.qrels"])
def test_records_without_end_are_refused_before_memory_is_spent(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_JUDGEMENTS", 50_000)
    content = {
        "t.jsonl": ('{"id": "%d", "title": "t"}\n', "", LIMITS.records),
        "t.tsv": ("%d\tt\ta\n", "id\ttitle\tabstract\n", LIMITS.records - 1),
        "j.qrels": ("1 0 %d 1\n", "", 50_000),
    }
    line, head, most = content[file]
    read: Callable[[Path], Iterable[object]] = {
        "t.jsonl": lambda path: json_lines(path, stage=""),
        "t.tsv": lambda path: table_rows(path, stage=""),
        "j.qrels": lambda path: qrels(path, stage=""),
    }[file]
    (tmp_path / file).write_text(head + line % 1 + line % 2)
    assert len(list(read(tmp_path / file))) == 2
    # Blank lines count for nothing but their numbers.
    (tmp_path / file).write_text(head + line % 1 + "\n" * (most - 1) + line % 2)
    with pytest.raises(SetError, match=rf"{file}: it has more than [0-9,]+ records"):
        list(read(tmp_path / file))


def test_a_quote_that_is_not_closed_is_refused_before_memory_is_spent(tmp_path: Path) -> None:
    write(tmp_path / "j.json", {"a": {"b": 1}})
    with (tmp_path / "t.csv").open("w") as file:
        file.write('id,title,abstract\na,A,"')
        for _ in range(1_000):
            file.write("one line of many\n" * 1_000)
    with pytest.raises(SetError, match=r"t.csv: it is not a table \(field larger than field limit"):
        read_plain(tmp_path / "j.json", tmp_path / "t.csv", name="mine")
