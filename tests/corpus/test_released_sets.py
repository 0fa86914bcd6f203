"""The released format: read as its makers wrote it, refused where it is not that, written so that it reads the same."""

import csv
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.pools import Handled, JudgedSet, SetError, read_released, write_released
from corpus.pools.checking import RawPool, judged_set, pool_paper
from corpus.pools.released import file_kind, relevant_grade
from tests.corpus.releases import counts, release, texts, write

POOLS = {"1": {"2": 2, "3": 1, "4": 0, "5": 0, "6": 0}, "2": {"1": 0, "3": 2, "4": 2, "5": 1, "6": 0}}
SPLITS = {"dev": ["1"], "test": ["2"]}


def planted(folder: Path, name: str = "relish", **more: Any) -> Path:
    return release(folder, name, papers=texts(*range(1, 7)), pools=POOLS, splits=SPLITS, **more)


def as_ids(judged: JudgedSet) -> dict[str, dict[str, int]]:
    return {
        pool.query: dict(zip((judged.papers[row].id for row in pool.rows), pool.grades.tolist(), strict=True))
        for pool in judged.pools
    }


# Reading


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_set_is_read_as_released(tmp_path: Path, packed: str) -> None:
    found = read_released(planted(tmp_path, packed=packed))
    assert (found.name, found.facet, found.origin, found.relevant_from, found.rules) == (
        "relish",
        "",
        "released",
        2,
        "",
    )
    assert as_ids(found) == POOLS
    assert found.splits == {"dev": (("1",),), "test": (("2",),)}
    assert found.handled == ()
    # Ids are numbers in the file of texts; sentences become one text.
    assert (found.papers[0].id, found.papers[0].abstract) == ("1", "First of 1. Second.")


@pytest.mark.parametrize(
    ("name", "grade", "origin"),
    [("relish", 2, "released"), ("csfcube", 2, "released"), ("treccovid", 1, "released"), ("scidcite", 1, "released"),
     ("scidcoview", 1, "released"), ("mine", 1, "own"), ("scidmine", 1, "own")],
)  # fmt: skip
def test_what_is_relevant_goes_by_the_name(tmp_path: Path, name: str, grade: int, origin: str) -> None:
    found = read_released(planted(tmp_path, name))
    assert (found.name, found.relevant_from, found.origin, relevant_grade(name)) == (name, grade, origin, grade)


def test_without_a_file_of_splits_nothing_is_test(tmp_path: Path) -> None:
    found = read_released(release(tmp_path, "relish", papers=texts(*range(1, 7)), pools=POOLS))
    assert found.splits == {"all": (("1", "2"),)}


def test_grades_written_as_decimals_and_numbers_as_ids(tmp_path: Path) -> None:
    planted(tmp_path)
    write(tmp_path / "test-pid2anns-relish.json", {"1": {"cands": [2, "3"], "relevance_adju": [2.0, 1]}})
    assert as_ids(read_released(tmp_path)) == {"1": {"2": 2, "3": 1}}


def test_a_query_named_twice_in_the_file_counts_as_the_last(tmp_path: Path) -> None:
    planted(tmp_path)
    one, other = ({"cands": ["2"], "relevance_adju": [grade]} for grade in (0, 2))
    text = f'{{"1": {json.dumps(one)}, "2": {json.dumps(one)}, "1": {json.dumps(other)}}}'
    (tmp_path / "test-pid2anns-relish.json").write_text(text)
    found = read_released(tmp_path)
    assert (as_ids(found)["1"], counts(found.handled)["repeated_query"]) == ({"2": 2}, 1)


def test_of_a_paper_listed_twice_the_first_with_both_texts_counts(tmp_path: Path) -> None:
    papers = [{"paper_id": "1", "title": "Alone", "abstract": None}, *texts(*range(1, 7), 2)]
    found = read_released(release(tmp_path, "relish", papers=papers, pools=POOLS))
    assert found.handled == (Handled("repeated_paper", 2, ("1", "2")),)
    assert found.papers[0].title == "Title 1"


def test_topics_of_queries_are_their_groups(tmp_path: Path) -> None:
    planted(tmp_path, "treccovid")
    (tmp_path / "treccovid-queries-release.csv").write_text(
        "pid,title,year,topic_ids\n1,A,2020,\"['7', '8']\"\n2,B,,7\n"
    )
    assert [pool.group for pool in read_released(tmp_path).pools] == ["7, 8", "7"]


def test_one_of_several_sets_in_a_folder_is_named(tmp_path: Path) -> None:
    planted(tmp_path)
    planted(tmp_path, "scidcite")
    assert read_released(tmp_path, name="scidcite").name == "scidcite"
    with pytest.raises(SetError, match=r"the texts of several sets \(relish, scidcite\); say which"):
        read_released(tmp_path)
    with pytest.raises(SetError, match="has no abstracts-csfcube.jsonl, the texts of csfcube. It has those of: relish"):
        read_released(tmp_path, name="csfcube")


# Facets and folds


def cube(folder: Path) -> Path:
    """CSFCube in small: three facets, two folds, queries 1 to 4, of which 4 has no method."""
    write(folder / "abstracts-csfcube-preds.jsonl", texts(*range(1, 9)), lines=True)
    splits: dict[str, dict[str, list[str]]] = {}
    for facet in ("background", "method", "result"):
        asked = [q for q in "1234" if (q, facet) != ("4", "method")]
        pools = {q: {"cands": list("5678"), "relevance_adju": [len(facet) % 4, 1, 0, 3]} for q in asked}
        write(folder / f"test-pid2anns-csfcube-{facet}.json", pools)
        halves = [[f"{q}_{facet}" for q in asked[:2]], [f"{q}_{facet}" for q in asked[2:]]]
        splits[facet] = {
            "fold1_dev": halves[1], "fold1_test": halves[0], "fold2_dev": halves[0], "fold2_test": halves[1],
        }  # fmt: skip
    splits["all"] = {key: [q for facet in splits.values() for q in facet[key]] for key in splits["method"]}
    write(folder / "evaluation_splits.json", splits)
    return folder


def test_one_facet_has_its_folds(tmp_path: Path) -> None:
    found = read_released(cube(tmp_path), facet="method")
    assert (found.name, found.facet, found.relevant_from, found.origin) == ("csfcube", "method", 2, "released")
    assert found.splits == {"dev": (("3_method",),), "test": (("1_method", "2_method"), ("3_method",))}
    assert {pool.group for pool in found.pools} == {"method"}
    assert as_ids(found)["1_method"] == {"5": 2, "6": 1, "7": 0, "8": 3}
    assert found.papers[found.pools[0].row].id == "1"
    assert "in_two_splits" not in counts(found.handled)


def test_all_facets_together(tmp_path: Path) -> None:
    found = read_released(cube(tmp_path), facet="all")
    assert len(found.pools) == 11
    assert [len(fold) for fold in found.splits["test"]] == [6, 5]
    assert found.splits["dev"] == (found.splits["test"][1],)
    assert [pool.group for pool in found.pools] == ["background"] * 4 + ["method"] * 3 + ["result"] * 4


def test_a_facet_is_asked_for_where_there_are_such_and_only_there(tmp_path: Path) -> None:
    cube(tmp_path)
    with pytest.raises(SetError, match="csfcube has facets. Choose one: background, method, result, or all"):
        read_released(tmp_path)
    with pytest.raises(SetError, match="no facet 'methods'"):
        read_released(tmp_path, facet="methods")
    with pytest.raises(SetError, match="relish has no facets, and so no 'method'"):
        read_released(planted(tmp_path / "r"), facet="method")


@pytest.mark.parametrize("facet", ["method", "all"])
def test_facets_are_written_as_they_were(tmp_path: Path, facet: str) -> None:
    found = read_released(cube(tmp_path / "a"), facet=facet)
    write_released(found, tmp_path / "b")
    again = read_released(tmp_path / "b", facet=facet)
    assert (again.fingerprint, again.splits, as_ids(again)) == (found.fingerprint, found.splits, as_ids(found))
    one = read_released(tmp_path / "b", facet="method")
    assert one.splits == read_released(tmp_path / "a", facet="method").splits


# What is refused, by file and query


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"cands": ["2", "3"], "relevance_adju": [1]}, "2 candidates and 1 grades"),
        ({"cands": ["2"], "relevance_adju": [-1]}, "-1 is no grade"),
        ({"cands": ["2"], "relevance_adju": [1.5]}, "1.5 is no grade"),
        ({"cands": ["2"], "relevance_adju": ["2"]}, "'2' is no grade"),
        ({"cands": ["2"], "relevance_adju": [True]}, "True is no grade"),
        ({"cands": ["2"], "relevance_adju": [None]}, "None is no grade"),
        ({"cands": ["2", None], "relevance_adju": [1, 1]}, "None is no id of a candidate"),
        ({"cands": [["2"]], "relevance_adju": [1]}, r"\['2'\] is no id"),
        ({"cands": [True], "relevance_adju": [1]}, "True is no id"),
        ({"cands": [2.5], "relevance_adju": [1]}, "2.5 is no id"),
        ({"cands": "2", "relevance_adju": [1]}, "it should be {"),
        ({"cands": ["2"]}, "it should be {"),
        (["2"], "it should be {"),
        (None, "it should be {"),
    ],
)
def test_a_pool_that_is_none_is_named(tmp_path: Path, value: object, message: str) -> None:
    planted(tmp_path)
    write(tmp_path / "test-pid2anns-relish.json", {"2": {"cands": ["1"], "relevance_adju": [1]}, "1": value})
    with pytest.raises(SetError, match=rf"test-pid2anns-relish.json, query '1': {message}"):
        read_released(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with an object"),
        ("[1]", "does not begin with an object"),
        ('{"1": {"cands": [', "no JSON, or ends too early"),
        ('{"1": {"cands": ["2"], "relevance_adju": [NaN]}}', "NaN is not JSON"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1e999]}}', "inf is no grade"),
        ('{"1": {"cands": ["2"], "relevance_adju": [' + "9" * 5_000 + "]}}", "no JSON, or ends too early"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1001]}}', "a grade of 1001. Grades are 0 to 1,000"),
        ('{"1": ' + "[" * 100_000, "nested too deep"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1]}} x', "'x' stands behind its end"),
        ('{"  ": {"cands": ["2"], "relevance_adju": [1]}}', "query ''"),
    ],
)
def test_judgements_that_are_no_json_are_refused(tmp_path: Path, text: str, message: str) -> None:
    planted(tmp_path)
    (tmp_path / "test-pid2anns-relish.json").write_text(text)
    with pytest.raises(SetError, match=message):
        read_released(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: it is no JSON"),
        ("[]", "line 2: it is a list; it should be an object"),
        ('{"title": "A"}', "line 2: no id of the paper"),
        ('{"paper_id": "9", "title": 5}', "line 2: title is a number"),
        ('{"paper_id": "9", "title": "A", "abstract": [1]}', "line 2: abstract is a list"),
        ('{"paper_id": "9", "title": NaN}', "line 2: it is no JSON"),
        (json.dumps({"paper_id": "9", "title": "A" * 2_001}), "line 2: paper '9' has title of 2,001 characters"),
        ('{"paper_id": ' + "[" * 100_000, "line 2: it is no JSON"),
    ],
)
def test_a_text_that_is_none_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    planted(tmp_path)
    (tmp_path / "abstracts-relish.jsonl").write_text(json.dumps(texts(1)[0]) + "\n" + line + "\n")
    with pytest.raises(SetError, match=rf"abstracts-relish.jsonl, {message}"):
        read_released(tmp_path)


@pytest.mark.parametrize(
    "splits", [[], {"dev": "1"}, {"dev": [1.5]}, {"dev": [None]}, {"dev": {"1": 1}}, {"": []}, {"d" * 65: []}]
)
def test_splits_that_are_none_are_refused(tmp_path: Path, splits: object) -> None:
    planted(tmp_path)
    write(tmp_path / "relish-evaluation_splits.json", splits)
    with pytest.raises(SetError, match=r"relish-evaluation_splits.json: "):
        read_released(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [[], {"relevant_from": 0}, {"relevant_from": "2"}, {"origin": "released"}, {"rules": 5}, {"rules": "r" * 20_001},
     {"handled": 5}, {"handled": [{"kind": "odd", "count": 1, "examples": []}]},
     {"handled": [{"kind": ["title_only"], "count": 1, "examples": []}]},
     {"handled": [{"kind": "repeated_query", "count": -1, "examples": []}]},
     {"handled": [{"kind": "repeated_query", "count": True, "examples": []}]},
     {"handled": [{"kind": "repeated_query", "count": 1, "examples": [5]}]}],
)  # fmt: skip
def test_settings_that_are_none_are_refused(tmp_path: Path, settings: object) -> None:
    planted(tmp_path, "mine")
    write(tmp_path / "set.json", settings)
    with pytest.raises(SetError, match=r"set.json: "):
        read_released(tmp_path)


def test_damaged_packing_and_missing_files_are_told(tmp_path: Path) -> None:
    planted(tmp_path, packed=".gz")
    path = tmp_path / "test-pid2anns-relish.json.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(SetError, match=r"test-pid2anns-relish.json.gz: its gzip data is damaged"):
        read_released(tmp_path)
    path.unlink()
    with pytest.raises(SetError, match=r"no test-pid2anns-relish.json, the judgements of relish"):
        read_released(tmp_path)
    with pytest.raises(SetError, match="no abstracts-<set>.jsonl"):
        read_released(tmp_path / "..")
    with pytest.raises(SetError, match="is no folder that can be read"):
        read_released(tmp_path / "nowhere")


def test_a_pool_without_end_is_refused_before_memory_is_spent(tmp_path: Path) -> None:
    planted(tmp_path)
    with gzip.open(tmp_path / "test-pid2anns-relish.json.gz", "wt", compresslevel=1) as file:
        file.write('{"1": {"cands": ["')
        for _ in range(40):
            file.write("2" * 2**20)
    (tmp_path / "test-pid2anns-relish.json").unlink()
    with pytest.raises(SetError, match="one record has more than 33,554,432 characters"):
        read_released(tmp_path)


def test_names_of_files_are_no_paths() -> None:
    good = (
        "abstracts-a.jsonl",
        "test-pid2anns-a-b.json.gz",
        "evaluation_splits.json",
        "a-queries-release.csv",
        "set.json",
    )
    assert [file_kind(name) for name in good] == ["texts", "pools", "splits", "queries", "settings"]
    bad = ("abstracts-../a.jsonl", "abstracts-a.jsonl\n", "/set.json", "abstracts-.jsonl", "abstracts-a/b.jsonl",
           "card.json", "abstracts-a\x00.jsonl", "abstracts-a\\b.jsonl", f"abstracts-{'a' * 70}.jsonl", "SET.JSON", "")  # fmt: skip
    assert not any(map(file_kind, bad))


# Memory


def test_one_querys_pool_is_in_memory_at_a_time(tmp_path: Path) -> None:
    ids = [f"{i:08d}" for i in range(2_000)]
    planted(tmp_path)
    write(tmp_path / "abstracts-relish.jsonl", texts(*ids), lines=True)
    judged = {query: {"cands": ids, "relevance_adju": [1] * len(ids)} for query in ids[:200]}
    write(tmp_path / "test-pid2anns-relish.json", judged)
    del judged
    size = (tmp_path / "test-pid2anns-relish.json").stat().st_size
    tracemalloc.start()
    found = read_released(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(len(pool.rows) for pool in found.pools) == 200 * 1_999
    assert peak < size  # as text alone, its candidates would have six times that


# Writing

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.lists(
    words.filter(lambda text: pool_paper(text, "", "").id == text and text), min_size=3, max_size=7, unique=True
)


@settings(max_examples=60)
@given(st.data())
def test_what_is_written_reads_the_same(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    ids = data.draw(names)
    papers = {id: pool_paper(id, data.draw(words), data.draw(words)) for id in ids}
    grades = st.dictionaries(st.sampled_from([*ids, "nobody"]), st.integers(0, 1_000), max_size=8)
    pools = [
        RawPool(id, id, [*judged], [*judged.values()], pool_paper(data.draw(words), "", "").id)
        for id in ids
        if (judged := data.draw(grades))
    ]
    fold = st.lists(st.sampled_from([*ids, "nobody"]), max_size=6)
    splits = (
        {"dev": [data.draw(fold)], "test": data.draw(st.lists(fold, max_size=2))} if data.draw(st.booleans()) else {}
    )
    try:
        first = judged_set(
            name=data.draw(st.sampled_from(["relish", "mine", "a.b-c_d"])),
            origin=data.draw(st.sampled_from(["released", "constructed", "own"])),
            papers=papers,
            pools=pools,
            splits=splits,
            relevant_from=data.draw(st.integers(1, 3)),
            rules=data.draw(words),
        )
    except SetError:
        return
    folder = tmp_path_factory.mktemp("written")
    write_released(first, folder)
    again = read_released(folder)
    assert again.fingerprint == first.fingerprint
    assert (again.name, again.papers, again.splits) == (first.name, first.papers, first.splits)
    assert (again.relevant_from, as_ids(again)) == (first.relevant_from, as_ids(first))
    assert [pool.group for pool in again.pools] == [pool.group for pool in first.pools]
    assert counts(again.handled) == counts(first.handled)
    if first.origin != "released":
        assert (again.origin, again.rules) == (first.origin, first.rules)


def test_a_released_set_is_written_without_settings(tmp_path: Path) -> None:
    write_released(read_released(planted(tmp_path / "a")), tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert names == ["abstracts-relish.jsonl", "relish-evaluation_splits.json", "test-pid2anns-relish.json"]


def test_what_was_left_out_is_not_forgotten_by_writing(tmp_path: Path) -> None:
    pools = POOLS | {"1": POOLS["1"] | {"gone": 1}, "lost": {"1": 2}}
    first = read_released(release(tmp_path / "a", "mine", papers=texts(*range(1, 7)), pools=pools))
    write_released(first, tmp_path / "b")
    assert read_released(tmp_path / "b").handled == first.handled
    assert counts(first.handled) == {"query_without_text": 1, "candidate_without_text": 1}


def test_the_table_of_queries_runs_no_formula(tmp_path: Path) -> None:
    papers = {id: pool_paper(id, "=HYPERLINK(1)", "x") for id in ("-1", "2", "3")}
    pools = [RawPool("-1", "-1", ["2", "3"], [1, 0], "=1+1"), RawPool("2", "2", ["3"], [1], "@x")]
    first = judged_set(name="mine", origin="own", papers=papers, pools=pools, splits={}, relevant_from=1)
    write_released(first, tmp_path)
    with (tmp_path / "mine-queries-release.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["paper_id", "topic_ids", "title"], ["'-1", "'=1+1", "'=HYPERLINK(1)"], ["2", "'@x", "'=HYPERLINK(1)"],
    ]  # fmt: skip
    assert [pool.group for pool in read_released(tmp_path).pools] == ["=1+1", "@x"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x-preds", "ir:beir/scifact", "a" * 65])
def test_a_name_that_is_no_part_of_a_files_is_refused(tmp_path: Path, name: str) -> None:
    papers = {id: pool_paper(id, "T", "x") for id in "ab"}
    judged = judged_set(
        name=name, origin="own", papers=papers, pools=[RawPool("a", "a", ["b"], [1])], splits={}, relevant_from=1
    )
    with pytest.raises(SetError, match="cannot be the name of a set's files"):
        write_released(judged, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []
