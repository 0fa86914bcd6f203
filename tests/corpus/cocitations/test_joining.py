"""Joining references to papers: by every guise of an identifier, by title where asked for, and never by a guess."""

from __future__ import annotations

from typing import Any

import pytest

from corpus.cocitations.full_text import Reference
from corpus.cocitations.joining import Joiner
from corpus.paper import Paper, paper_at

HEX = "0123456789abcdef0123456789abcdef01234567"
TITLE = "The spread of rare proteins in the cortex"


def paper(id: str = "own-1", **fields: Any) -> Paper:
    return Paper(**{"id": id, "title": TITLE, "abstract": "Some words."} | fields)


def ref(*names: str, title: str = "", year: int | None = None) -> Reference:
    return Reference(names, title, year)


def joined(papers: list[Paper], references: list[Reference], **options: bool) -> list[Paper | None]:
    joiner = Joiner(**options)
    for reference in references:
        joiner.need(reference)
    for one in papers:
        joiner.offer(one)
    rows = [joiner.row_of(reference) for reference in references]
    table = joiner.papers()
    return [None if row is None else paper_at(table, row) for row in rows]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"doi": "https://doi.org/10.1000/ABC"}, "doi:10.1000/abc"),
        ({"id": "10.1000/ABC"}, "doi:10.1000/abc"),
        ({"url": "https://dx.doi.org/10.1000/abc"}, "doi:10.1000/abc"),
        ({"pmid": "123"}, "pmid:123"),
        ({"id": "PMID: 123"}, "pmid:123"),
        ({"id": "123"}, "pmid:123"),
        ({"url": "https://pubmed.ncbi.nlm.nih.gov/123/"}, "pmid:123"),
        ({"id": "PMC42"}, "pmcid:PMC42"),
        ({"url": "https://pmc.ncbi.nlm.nih.gov/articles/PMC42/"}, "pmcid:PMC42"),
        ({"id": "arXiv:1706.03762v5"}, "arxiv:1706.03762"),
        ({"url": "https://arxiv.org/abs/1706.03762v1"}, "arxiv:1706.03762"),
        ({"doi": "10.48550/arXiv.1706.03762"}, "arxiv:1706.03762"),
        ({"id": HEX}, f"s2:{HEX}"),
        ({"id": "CorpusId:77"}, "s2:CorpusId:77"),
        ({"id": "77"}, "s2:CorpusId:77"),
        ({"id": "77"}, "mag:77"),
        ({"id": "W77"}, "openalex:W77"),
        ({"id": "P19-1001"}, "acl:p19-1001"),
        ({"id": "own-1"}, "id:own-1"),
        ({"id": "77"}, "id:77"),
        # An id of which nobody says the kind, in every guise.
        ({"doi": "10.1000/abc"}, "id:https://doi.org/10.1000/ABC"),
        ({"pmid": "123"}, "id:123"),
        ({"url": "https://arxiv.org/abs/1706.03762v1"}, "id:1706.03762v2"),
        ({"id": "W77"}, "id:https://openalex.org/W77"),
    ],
)
def test_a_paper_is_found_by_every_guise_of_its_ids(fields: dict[str, Any], name: str) -> None:
    [found] = joined([paper("other", title="Z"), paper(**fields)], [ref(name)])
    assert found is not None
    assert found.title == TITLE


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"doi": "10.1000/abc"}, "doi:10.1000/abd"),
        ({"pmid": "123"}, "pmid:1234"),
        ({"id": "123", "pmid": "9"}, "pmid:123"),  # a paper that says its PMID has no other
        ({"id": "own-1"}, "id:own-2"),
        ({"id": "own-1"}, "doi:own-1"),
        ({"url": "https://example.org/123"}, "pmid:123"),
    ],
)
def test_and_by_no_other(fields: dict[str, Any], name: str) -> None:
    assert joined([paper(**fields)], [ref(name)]) == [None]


def test_two_references_that_are_one_paper_are_one_row() -> None:
    one, other, third = joined(
        [paper(doi="10.1000/a", pmid="5")], [ref("doi:10.1000/a"), ref("pmid:5"), ref("doi:10.1/no", "pmid:5")]
    )
    assert one is not None
    assert one == other == third


def test_the_surest_identifier_decides() -> None:
    papers = [paper("a", title="First", pmid="5"), paper("b", title="Second", doi="10.1000/a")]
    [found] = joined(papers, [ref("doi:10.1000/a", "pmid:5")])
    assert found is not None and found.id == "b"


@pytest.mark.parametrize(
    ("title", "is_it"),
    [
        ("", True),
        (TITLE, True),
        ("Spread of rare proteins in cortex.", True),
        ("Fishing rights in the North Sea", False),
    ],
)
def test_a_bare_number_is_believed_where_no_title_speaks_against_it(title: str, is_it: bool) -> None:
    for name in ("pmid:4983", "s2:CorpusId:4983"):
        [found] = joined([paper("4983")], [ref(name, title=title)])
        assert (found is not None) == is_it


def test_a_paper_that_says_its_pmid_goes_before_one_whose_number_is_the_same() -> None:
    papers = [paper("5", title="The fifth of a list"), paper("x", pmid="5")]
    for order in (papers, papers[::-1]):
        [found] = joined(order, [ref("pmid:5")])
        assert found is not None and found.id == "x"


def test_a_paper_in_two_corpora_is_one_and_the_first_of_its_texts_is_kept() -> None:
    papers = [
        paper("a", doi="10.1000/a", abstract="First."),
        paper("b", doi="10.1000/A", pmid="5", abstract="Second."),
        paper("c", pmid="5", url="https://arxiv.org/abs/1706.03762"),
    ]
    found = joined(papers, [ref("doi:10.1000/a"), ref("pmid:5"), ref("arxiv:1706.03762"), ref("id:b")])
    assert [one and one.abstract for one in found] == ["First."] * 4


def test_rows_that_a_later_record_shows_to_be_one_become_one() -> None:
    papers = [
        paper("a", title="One title of it", doi="10.1000/a"),
        paper("b", title="Another title of it", pmid="5"),
        paper("c", title="A third", doi="10.1000/a", pmid="5"),
    ]
    found = joined(papers, [ref("doi:10.1000/a"), ref("pmid:5"), ref("id:b"), ref("id:c")])
    assert [one and one.id for one in found] == ["a"] * 4


def test_a_doi_that_two_papers_have_by_a_slip_makes_them_not_one() -> None:
    papers = [
        paper("a", title="First", doi="10.1000/a", pmid="5"),
        paper("b", title="Second", doi="10.1000/a", pmid="6"),
    ]
    found = joined(papers, [ref("doi:10.1000/a"), ref("pmid:5"), ref("pmid:6")])
    assert [one and one.id for one in found] == ["a", "a", "b"]


def test_the_same_title_and_year_in_two_corpora_is_one_paper() -> None:
    papers = [paper("a", year=2020, doi="10.1000/a"), paper("b", year=2020, pmid="5"), paper("c", year=2021, pmid="6")]
    found = joined(papers, [ref("doi:10.1000/a"), ref("pmid:5"), ref("pmid:6")])
    assert [one and one.id for one in found] == ["a", "a", "c"]


def test_ids_that_two_corpora_share_by_chance_are_told_and_made_unique() -> None:
    joiner = Joiner()
    for name in ("id:1", "doi:10.1000/b"):
        joiner.need(ref(name))
    joiner.offer(paper("1", title="First of one list"))
    joiner.offer(paper("1", title="First of another list", doi="10.1000/b"))
    rows = [joiner.row_of(ref("id:1")), joiner.row_of(ref("doi:10.1000/b"))]
    assert [joiner.papers()["id"][row].as_py() for row in rows] == ["1", "1~2"]
    assert joiner.as_json() == {"papers_offered": 2, "references": {"id": 1, "doi": 1}, "ambiguous_ids": 1}


def test_only_what_is_needed_is_kept() -> None:
    joiner = Joiner()
    names = [f"id:n{i}" for i in range(0, 5_000, 2)]
    for name in names:
        joiner.need(ref(name))
    kept = [joiner.offer(paper(f"n{i}", title=f"Title {i} {TITLE}")) for i in range(5_000)]
    assert kept == [i % 2 == 0 for i in range(5_000)]
    assert joiner.papers()["id"].to_pylist() == [name[3:] for name in names]
    assert [joiner.row_of(ref(name)) for name in names] == list(range(2_500))


# By title


@pytest.mark.parametrize(
    ("title", "year", "is_it"),
    [
        (TITLE, 2020, True),
        (f"{TITLE.upper()}.", 2019, True),
        ("The spread of rare protëins in the cortex", 2021, True),
        (TITLE, None, True),
        (TITLE, 2018, False),
        (TITLE, 2022, False),
        (f"{TITLE} of mice", 2020, False),
        ("", 2020, False),
    ],
)
def test_by_title_the_title_is_exact_and_the_year_is_near(title: str, year: int | None, is_it: bool) -> None:
    reference = ref("doi:10.1/unknown", title=title, year=year)
    [found] = joined([paper(year=2020)], [reference], by_title=True)
    assert (found is not None) == is_it
    assert joined([paper(year=2020)], [reference]) == [None]


def test_by_title_an_identifier_goes_first_and_the_nearest_year_next() -> None:
    papers = [paper("a", year=2021), paper("b", year=2020), paper("c", title="Quite another", doi="10.1000/c")]
    found = joined(
        papers,
        [ref(title=TITLE, year=2020), ref("doi:10.1000/c", title=TITLE), ref(title=TITLE, year=2022)],
        by_title=True,
    )
    assert [one and one.id for one in found] == ["b", "c", "a"]


def test_titles_that_many_papers_have_join_nothing() -> None:
    assert joined([paper(title="Editorial", year=2020)], [ref(title="Editorial", year=2020)], by_title=True) == [None]


def test_a_hash_of_a_title_is_no_identifier_unless_asked_for() -> None:
    from corpus.cocitations.identifiers import title_identifier

    name = title_identifier(TITLE, 2020)
    assert joined([paper(year=2020)], [ref(name, title=TITLE, year=2020)]) == [None]


# Titles alone


def test_titles_alone_stand_for_what_is_in_no_corpus() -> None:
    references = [
        ref("doi:10.1000/a", title="Known by its DOI alone"),
        ref("doi:10.1000/b", "pmid:7", title=f"  {TITLE} ", year=2001),
        ref("pmid:7", title="The same, otherwise written"),
        ref(title=f"{TITLE}!", year=1999),
        ref(title=f"{TITLE}?", year=1999),
        ref("doi:10.1000/c"),
        ref(title="???"),
        ref(title="x" * 5_000),
    ]
    found = joined([paper(doi="10.1000/a")], references, titles_alone=True)
    assert found[0] == paper(doi="10.1000/a")
    assert found[1] == found[2] == Paper(id="7", title=TITLE, abstract="", year=2001, doi="10.1000/b", pmid="7")
    assert found[3] is not None and found[3] == found[4]
    assert found[3].id.startswith("t-")
    assert found[5:] == [None] * 3
