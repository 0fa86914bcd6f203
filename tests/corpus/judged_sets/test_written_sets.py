"""Judged sets as they are written: what is read again is the same, and nothing that was left out is forgotten."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.judged_sets.model import RawPool, SetError, judged_set, pool_paper
from corpus.judged_sets.released import read_released, write_released
from tests.corpus.judged_sets.releases import POOLS, as_ids, counts, cube, planted, release, texts

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


@pytest.mark.parametrize("facet", ["method", "all"])
def test_facets_are_written_as_they_were(tmp_path: Path, facet: str) -> None:
    found = read_released(cube(tmp_path / "a"), facet=facet)
    write_released(found, tmp_path / "b")
    again = read_released(tmp_path / "b", facet=facet)
    assert (again.fingerprint, again.splits, as_ids(again)) == (found.fingerprint, found.splits, as_ids(found))
    one = read_released(tmp_path / "b", facet="method")
    assert one.splits == read_released(tmp_path / "a", facet="method").splits


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
