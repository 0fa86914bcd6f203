"""Which papers a corpus holds already: repeats are known again, other papers are not, and names find their rows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup import Known, Merger, find_rows
from corpus.paper import Paper, to_table
from corpus.readers.report import ReadReport

# Few values, so that papers repeat each other, and contradict each other, in every way.
PAPERS = st.lists(
    st.builds(
        Paper,
        id=st.sampled_from(["a", "b", "a~2", ""]),
        title=st.sampled_from(["On hearts", "On hearts.", "Stars", "???", "Letter to the editor"]),
        abstract=st.sampled_from(["", "We measured.", "We saw."]),
        authors=st.sampled_from([(), ("Noether, Emmy",), ("Curie, M.",)]),
        year=st.sampled_from([None, 2020, 2021]),
        doi=st.sampled_from(["", "10.1000/a", "https://doi.org/10.1000/A", "10.1000/b"]),
        pmid=st.sampled_from(["", "1", "2"]),
    ),
    max_size=12,
)


def merged(papers: list[Paper]) -> list[Paper]:
    merger = Merger()
    for place, paper in enumerate(papers):
        merger.add(paper, report=ReadReport(file="x", format="x", kept=1), place=str(place))
    return list(merger.papers())


@given(PAPERS)
def test_what_was_taken_in_is_known_from_then_on(papers: list[Paper]) -> None:
    held = merged(papers)
    again = Known(to_table(held))
    assert [paper for paper in held if again.add_if_new(paper) is not None] == []
    # The very records, too, that the held papers were merged from, unless a fuller one took their place.
    fresh = Known(to_table([]))
    taken = [found for paper in papers if (found := fresh.add_if_new(paper)) is not None]
    assert [paper for paper in papers if fresh.add_if_new(paper) is not None] == []
    assert len({paper.id for paper in taken}) == len(taken)
    then = Known(to_table(taken))
    assert [paper for paper in papers if then.add_if_new(paper) is not None] == []


@given(PAPERS, PAPERS)
def test_ids_stay_unique_and_only_the_id_is_changed(held: list[Paper], more: list[Paper]) -> None:
    table = to_table(merged(held))
    known = Known(table)
    taken = [(paper, found) for paper in more if (found := known.add_if_new(paper)) is not None]
    ids = [*table["id"].to_pylist(), *(found.id for _, found in taken)]
    assert len(ids) == len(set(ids))
    for paper, found in taken:
        assert replace(found, id=paper.id) == paper
        assert found.id == paper.id or found.id.startswith(f"{paper.id}~")


def test_repeats_are_known_by_number_and_by_title_but_not_against_a_number() -> None:
    held = Paper("1", "Hearts and stars", "Long.", authors=("Noether, E.",), year=2020, doi="10.1000/x", pmid="7")
    for repeat in (
        replace(held, id="2", title="Something else", doi="", year=None),
        replace(held, id="2", pmid="", doi="https://doi.org/10.1000/X"),
        replace(held, id="2", pmid="", doi="", title="HEARTS, and stars"),
    ):
        assert Known(to_table([held])).add_if_new(repeat) is None
    for other in (
        replace(held, id="2", pmid="8", doi=""),
        replace(held, id="2", pmid="", doi="10.1000/y"),
        replace(held, id="2", pmid="", doi="", year=2021),
        replace(held, id="2", pmid="", doi="", authors=("Curie, M.",)),
    ):
        assert Known(to_table([held])).add_if_new(other) == other
    assert Known(to_table([held])).add_if_new(Paper("1", "Another", "Text.")).id == "1~2"


def test_titles_of_signs_alone_are_told_apart_by_their_text() -> None:
    held = Known(to_table([Paper("1", "???", "One.")]))
    assert held.add_if_new(Paper("2", "???", "One.")) is None
    assert held.add_if_new(Paper("2", "???", "Two.")) is not None
    assert held.add_if_new(Paper("3", "???", "Two.")) is None


def test_names_find_rows_by_id_first_then_by_number() -> None:
    papers = [
        Paper("a", "A", "", pmid="11", doi="10.1000/One"),
        Paper("11", "B", "", pmid="12"),
        Paper("c", "C", "", doi="https://doi.org/10.1000/two"),
        Paper("d", "D", "", doi="10.1000/TWO"),
        Paper("10.1000/one", "E", ""),
    ]
    table = to_table(papers)
    for names, rows, unknown in (
        (["a"], [0], []),
        (["11"], [1], []),  # an id, though it is a PMID too
        (["12", " a "], [0, 1], []),
        (["doi:10.1000/TWO"], [2, 3], []),
        (["https://doi.org/10.1000/ONE"], [0], []),
        (["10.1000/one"], [4], []),
        (["zzz", "", "a"], [0], ["zzz", ""]),
        ([], [], []),
    ):
        assert find_rows(table, names) == (rows, unknown)
