"""Merging against a slow plain reference, and by cases of real libraries."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dedup import Known, Merger, TooManyPapers, find_rows, match_keys, may_be_same_paper, merge_records
from corpus.identifiers import normalised_doi, normalised_title
from corpus.io.limits import Limits
from corpus.paper import SCHEMA, Paper, to_table
from corpus.readers.report import ReadReport

LONG = "Dopamine modulates acute responses to cocaine, nicotine and ethanol"


def report_of(file="library.ris"):
    return ReadReport(file=file, format="RIS")


def merged(*papers, reports=None):
    """The papers after merging, and the reports: one for each paper's file, or one for all."""
    merger = Merger()
    shared = report_of()
    for number, paper in enumerate(papers):
        report = shared if reports is None else reports[number]
        report.read += 1
        report.kept += 1
        report.without_abstract += not paper.abstract
        merger.add(paper, report=report, place=f"record {number + 1}")
    return list(merger.papers()), merger, shared


# Against a slow plain reference


@dataclass
class Group:
    """A paper of the reference: what is kept of it, and all that it was ever known by."""

    paper: Paper
    keys: set[bytes] = field(default_factory=set)


def slowly_merged(papers):
    groups: list[Group] = []
    for paper in papers:
        place, current, known = len(groups), paper, set(match_keys(paper))
        while True:
            like = next(
                (
                    number
                    for key in match_keys(current)
                    for number, group in enumerate(groups)
                    if number != place and key in group.keys and may_be_same_paper(group.paper, current, key=key)
                ),
                None,
            )
            if like is None:
                break
            first, later = sorted((like, place))
            if place < len(groups):  # two that were there turn out to be one
                groups[first] = Group(
                    merge_records(groups[first].paper, groups[later].paper), groups[like].keys | known
                )
                del groups[later]
            else:
                groups[first] = Group(merge_records(groups[first].paper, current), groups[first].keys | known)
            place, current = first, groups[first].paper
            groups[first].keys |= set(match_keys(current))
            known = groups[first].keys
        if place == len(groups):
            groups.append(Group(current, known))
    taken: set[str] = set()
    for group in groups:
        name = group.paper.id
        for number in range(2, len(groups) + 2):
            if name not in taken:
                break
            name = f"{group.paper.id}~{number}"
        taken.add(name)
        group.paper = replace(group.paper, id=name)
    return [group.paper for group in groups]


PAPERS = st.builds(
    Paper,
    id=st.sampled_from(["a", "b", "a~2"]),
    title=st.sampled_from([LONG, LONG.upper(), "Editorial", "???", "Another title that is long enough to be its own"]),
    abstract=st.sampled_from(["", "Short.", "A longer text."]),
    authors=st.sampled_from([(), ("Noether, Emmy",), ("E. Noether", "Hilbert, David"), ("Hilbert, David",)]),
    year=st.sampled_from([None, 2020]),
    venue=st.sampled_from(["", "Journal"]),
    doi=st.sampled_from(["", "10.1000/a", "https://doi.org/10.1000/A", "10.1000/b", "10.1000/b.2", "none"]),
    pmid=st.sampled_from(["", "", "1", "2"]),
)


@settings(max_examples=150)
@given(papers=st.lists(PAPERS, max_size=9), files=st.lists(st.integers(0, 1), min_size=9, max_size=9))
def test_merging_equals_the_reference(papers, files):
    reports = [report_of("a.csv"), report_of("b.csv")]
    found, merger, _ = merged(*papers, reports=[reports[number] for number in files[: len(papers)]])
    assert found == slowly_merged(papers)
    assert len(merger) == len(found) == sum(report.kept for report in reports)
    assert merger.merged == sum(report.duplicate for report in reports) == len(papers) - len(found)
    assert sum(report.without_abstract for report in reports) == sum(not paper.abstract for paper in found)
    for report in reports:
        assert report.read == report.kept + report.left_out
        assert len(report.problems) == report.left_out
    assert len({paper.id for paper in found}) == len(found)


@given(papers=st.lists(PAPERS, max_size=9))
def test_no_identifier_is_lost(papers):
    found, _, _ = merged(*papers)
    for name in ("doi", "pmid"):
        normal = normalised_doi if name == "doi" else str
        known = {normal(getattr(paper, name)) for paper in papers} - {""}
        kept = {normal(getattr(paper, name)) for paper in found} - {""}
        # Of a PMID's versions one DOI stays; all else stays.
        assert kept == known if name == "pmid" else kept <= known
    assert {normalised_title(paper.title) for paper in found} <= {normalised_title(paper.title) for paper in papers}


def test_batches_do_not_change_the_result(monkeypatch):
    monkeypatch.setattr("corpus.dedup._BATCH", 3)
    papers = [Paper(id=str(i % 7), title=f"{LONG} {i % 10}", abstract="x" * i, pmid=str(1 + i % 10)) for i in range(40)]
    found, merger, _ = merged(*papers)
    assert found == slowly_merged(papers)
    assert [len(paper.abstract) for paper in found] == list(range(30, 40))
    assert all(table.schema == SCHEMA for table in merger.tables())


# Cases

FULL = Paper(
    id="7",
    title=LONG,
    abstract="A text.",
    authors=("Noether, Emmy", "Hilbert, David"),
    year=2020,
    venue="Journal",
    doi="10.1000/x",
    pmid="7",
    topics=("Rings",),
)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(
    "poorer",
    [
        Paper(id="smith2020", title="Another form of the title", abstract="", pmid="7"),
        Paper(id="smith2020", title="Dopamine modulates", abstract="", doi="https://doi.org/10.1000/X"),
        Paper(id="smith2020", title=LONG.upper() + ".", abstract="", year=2020),
        Paper(id="smith2020", title=LONG, abstract="", year=2020, authors=("E. Noether",)),
        Paper(id="smith2020", title=LONG, abstract="", year=2020, authors=("Noether E",), url="https://example.org"),
    ],
)
def test_the_fuller_record_stays_and_is_filled(poorer, order):
    found, _, report = merged(*[(FULL, poorer)[place] for place in order])
    assert found == [replace(FULL, url=poorer.url)]
    assert (report.kept, report.duplicate, report.without_abstract) == (1, 1, 0)
    assert report.problems[0].place == "record 2"
    assert report.problems[0].reason.startswith("repeats record 1 (")


@pytest.mark.parametrize(
    "other",
    [
        replace(FULL, pmid="8"),
        replace(FULL, doi="10.1000/y"),
        replace(FULL, doi="10.1000/y", pmid=""),
        replace(FULL, doi="", pmid="8"),
        replace(FULL, doi="", pmid="", authors=("Hilbert, David",)),
        replace(FULL, doi="", pmid="", year=2019),
        replace(FULL, doi="", pmid="", year=None),
        replace(FULL, doi="", pmid="", title=LONG + " again"),
    ],
)
def test_records_that_contradict_are_two_papers(other):
    found, merger, report = merged(FULL, other)
    assert found == [FULL, replace(other, id="7~2")]
    assert (merger.merged, report.kept, report.duplicate) == (0, 2, 0)


def test_versions_of_one_pmid_are_one_paper():
    one, two = (replace(FULL, doi=f"10.12688/wellcomeopenres.15846.{version}") for version in (1, 2))
    assert merged(one, two)[0] == [one]


def test_a_common_title_needs_an_author():
    one = Paper(id="a", title="Editorial", abstract="On rings.", year=2020)
    assert len(merged(one, replace(one, id="b", abstract="On fields."))[0]) == 2
    assert len(merged(one, replace(one, id="b"))[0]) == 1


def test_a_record_with_both_identifiers_joins_two():
    by_pmid = Paper(id="7", title="One form of the title", abstract="Text.", pmid="7")
    by_doi = Paper(id="x", title="Another form", abstract="", doi="10.1000/x", venue="Journal")
    reports = [report_of(name) for name in ("a.ris", "b.ris", "c.ris")]
    found, merger, _ = merged(by_pmid, by_doi, replace(FULL, title="A third form"), reports=reports)
    assert found == [replace(FULL, title="A third form")]
    assert merger.merged == 2
    assert [(report.kept, report.duplicate, report.without_abstract) for report in reports] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 1, 0),
    ]
    assert str(reports[1].problems[0]).startswith("b.ris, record 2: repeats a.ris, record 1 (DOI 10.1000/x).")


def test_a_paper_is_matched_by_the_titles_of_its_repeats():
    one = Paper(id="1", title=LONG, abstract="Text.", year=2020, pmid="7")
    preprint = Paper(id="2", title="A title that it had as a preprint, before", abstract="", year=2019, pmid="7")
    found, _, _ = merged(one, preprint, replace(preprint, pmid="", id="3"))
    assert found == [one]


def test_forms_of_a_name():
    for name in ("Noether, E.", "E Noether", "Noether E", "NÖTHER, Emmy"):
        found, _, _ = merged(replace(FULL, doi="", pmid="", authors=(name,)), FULL)
        assert len(found) == (2 if name == "NÖTHER, Emmy" else 1)


def test_equal_ids_become_unique():
    titles = [f"Title number {number} that is long enough" for number in range(5)]
    ids = ["a", "a~2", "a", "a", "a~2"]
    found, _, _ = merged(*[Paper(id=i, title=t, abstract="x") for i, t in zip(ids, titles, strict=True)])
    assert [paper.title for paper in found] == titles
    assert [paper.id for paper in found] == ["a", "a~2", "a~3", "a~4", "a~2~2"]


def test_more_papers_than_the_limit_are_refused():
    merger = Merger(limits=Limits(records=2))
    for number in range(2):
        merger.add(Paper(id=str(number), title=f"Title {number}", abstract="x"), report=report_of(), place="")
    with pytest.raises(TooManyPapers, match=r"^library\.ris: the files have more than 2 papers in all\."):
        merger.add(Paper(id="9", title="Title 9", abstract="x"), report=report_of(), place="")


# Known


@given(papers=st.lists(PAPERS, max_size=12))
def test_a_paper_is_new_only_once(papers):
    held = merged(*papers)[0]
    known = Known(to_table(held))
    assert not any(map(known.add_if_new, held))
    # The original records, too, unless a fuller one took their place.
    fresh = Known(to_table([]))
    added = list(filter(None, map(fresh.add_if_new, papers)))
    assert not any(map(fresh.add_if_new, papers))
    assert not any(map(Known(to_table(added)).add_if_new, papers))


@given(held=st.lists(PAPERS, max_size=12), more=st.lists(PAPERS, max_size=12))
def test_new_papers_get_a_free_id_and_stay_the_same_otherwise(held, more):
    held = merged(*held)[0]
    known = Known(to_table(held))
    added = [(paper, found) for paper in more if (found := known.add_if_new(paper))]
    ids = [paper.id for paper in held] + [found.id for _, found in added]
    assert len(ids) == len(set(ids))
    for paper, found in added:
        assert replace(found, id=paper.id) == paper
        assert found.id == paper.id or found.id.startswith(f"{paper.id}~")


@pytest.mark.parametrize(
    ("changes", "is_new"),
    [
        ({"title": "Something else", "doi": "", "year": None}, False),
        ({"pmid": "", "doi": "https://doi.org/10.1000/X"}, False),
        ({"pmid": "", "doi": "", "title": LONG.upper()}, False),
        ({"pmid": "8", "doi": ""}, True),
        ({"pmid": "", "doi": "10.1000/y"}, True),
        ({"pmid": "", "doi": "", "year": 2021}, True),
        ({"pmid": "", "doi": "", "authors": ("Curie, M.",)}, True),
    ],
)
def test_known_papers_are_recognised_by_the_rules_of_merging(changes, is_new):
    other = replace(FULL, id="9", **changes)
    assert Known(to_table([FULL])).add_if_new(other) == (other if is_new else None)


def test_titles_of_punctuation_are_distinguished_by_their_text():
    known = Known(to_table([Paper("1", "???", "One.")]))
    assert [known.add_if_new(Paper("2", "???", text)) is None for text in ("One.", "Two.", "Two.")] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("names", "rows", "unknown"),
    [
        (["a"], [0], []),
        (["11"], [1], []),  # an id, though it is a PMID too
        (["12", " a "], [0, 1], []),
        (["doi:10.1000/TWO"], [2, 3], []),
        (["https://doi.org/10.1000/ONE"], [0], []),
        (["10.1000/one"], [4], []),
        (["zzz", "", "a"], [0], ["zzz", ""]),
        ([], [], []),
    ],
)
def test_rows_are_found_by_id_before_number(names, rows, unknown):
    papers = [
        Paper("a", "A", "", pmid="11", doi="10.1000/One"),
        Paper("11", "B", "", pmid="12"),
        Paper("c", "C", "", doi="https://doi.org/10.1000/two"),
        Paper("d", "D", "", doi="10.1000/TWO"),
        Paper("10.1000/one", "E", ""),
    ]
    assert find_rows(to_table(papers), names) == (rows, unknown)
