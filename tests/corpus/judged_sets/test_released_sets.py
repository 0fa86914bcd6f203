"""The released format: read as its makers wrote it, refused where it is not that, written so that it reads the same."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from corpus.judged_sets.model import DataIssue, SetError
from corpus.judged_sets.released import file_kind, read_released, relevant_grade
from tests.corpus.judged_sets.releases import POOLS, as_ids, counts, cube, planted, release, texts, write

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
    assert found.handled == (DataIssue("repeated_paper", 2, ("1", "2")),)
    assert found.papers[0].title == "Title 1"


def test_topics_of_queries_are_their_groups(tmp_path: Path) -> None:
    planted(tmp_path, "treccovid")
    (tmp_path / "treccovid-queries-release.csv").write_text(
        "pid,title,year,topic_ids\n1,A,2020,\"['7', '8']\"\n2,B,,7\n"
    )
    assert [pool.group for pool in read_released(tmp_path).pools] == ["7, 8", "7"]


@pytest.mark.parametrize(
    ("file", "twin"),
    [("abstracts-relish.jsonl", "abstracts-relish.jsonl.gz"),
     ("abstracts-relish.jsonl", "abstracts-relish-preds.jsonl"),
     ("test-pid2anns-relish.json", "test-pid2anns-relish.json.gz"),
     ("relish-evaluation_splits.json", "relish-evaluation_splits.json.gz")],
)  # fmt: skip
def test_of_two_files_for_the_same_none_is_chosen_silently(tmp_path: Path, file: str, twin: str) -> None:
    planted(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / twin).write_bytes(gzip.compress(content) if twin.endswith(".gz") else content)
    with pytest.raises(SetError, match="Keep one of them") as error:
        read_released(tmp_path)
    assert file in str(error.value) and twin in str(error.value)


def test_one_of_several_sets_in_a_folder_is_named(tmp_path: Path) -> None:
    planted(tmp_path)
    planted(tmp_path, "scidcite")
    assert read_released(tmp_path, name="scidcite").name == "scidcite"
    with pytest.raises(SetError, match=r"the texts of several sets \(relish, scidcite\); name one"):
        read_released(tmp_path)
    with pytest.raises(SetError, match="no abstracts-csfcube.jsonl, the texts of csfcube. It has the texts of: relish"):
        read_released(tmp_path, name="csfcube")


# Facets and folds


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
    with pytest.raises(SetError, match="relish has no facets, so no 'method'"):
        read_released(planted(tmp_path / "r"), facet="method")


# What is refused, by file and query


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"cands": ["2", "3"], "relevance_adju": [1]}, "2 candidates and 1 grades"),
        ({"cands": ["2"], "relevance_adju": [-1]}, "-1 is not a grade"),
        ({"cands": ["2"], "relevance_adju": [1.5]}, "1.5 is not a grade"),
        ({"cands": ["2"], "relevance_adju": ["2"]}, "'2' is not a grade"),
        ({"cands": ["2"], "relevance_adju": [True]}, "True is not a grade"),
        ({"cands": ["2"], "relevance_adju": [None]}, "None is not a grade"),
        ({"cands": ["2", None], "relevance_adju": [1, 1]}, "None is not an id of a candidate"),
        ({"cands": [["2"]], "relevance_adju": [1]}, r"\['2'\] is not an id"),
        ({"cands": [True], "relevance_adju": [1]}, "True is not an id"),
        ({"cands": [2.5], "relevance_adju": [1]}, "2.5 is not an id"),
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
        ('{"1": {"cands": [', "not JSON, or is incomplete"),
        ('{"1": {"cands": ["2"], "relevance_adju": [NaN]}}', "NaN is not JSON"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1e999]}}', "inf is not a grade"),
        ('{"1": {"cands": ["2"], "relevance_adju": [' + "9" * 5_000 + "]}}", "not JSON, or is incomplete"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1001]}}', "a grade of 1001. Grades are 0 to 1,000"),
        ('{"1": ' + "[" * 100_000, "nested too deep"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1]},}', "a comma stands before '}'"),
        ('{"1": {"cands": ["2"], "relevance_adju": [1]}} x', "'x' follows its end"),
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
        ("{", "line 2: it is not JSON"),
        ("[]", "line 2: it is a list; it should be an object"),
        ('{"title": "A"}', "line 2: no id of the paper"),
        ('{"paper_id": "9", "title": 5}', "line 2: title is a number"),
        ('{"paper_id": "9", "title": "A", "abstract": [1]}', "line 2: abstract is a list"),
        ('{"paper_id": "9", "title": NaN}', "line 2: it is not JSON"),
        (json.dumps({"paper_id": "9", "title": "A" * 20_001}), "line 2: paper '9': its title has 20,001 characters"),
        ('{"paper_id": ' + "[" * 100_000, "line 2: it is not JSON"),
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
    [[], {"relevant_from": 0}, {"origin": "released"}, {"rules": 5}, {"rules": "r" * 20_001},
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
    with pytest.raises(SetError, match="the texts of csfcube. Add the file, or give another"):
        read_released(tmp_path / "..", name="csfcube")
    with pytest.raises(SetError, match="cannot be read as a folder"):
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
    bad = ["abstracts-../a.jsonl", "abstracts-a.jsonl\n", "/set.json", "abstracts-.jsonl", "abstracts-a/b.jsonl"]
    bad += ["card.json", "abstracts-a\x00.jsonl", "abstracts-a\\b.jsonl", f"abstracts-{'a' * 70}.jsonl", "SET.JSON", ""]
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
