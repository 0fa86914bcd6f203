"""Joining references to papers: by every form of an identifier, by title on request, and never by a guess."""

from collections import Counter
from typing import Any

import pytest

from corpus.cocitations.full_text import Reference
from corpus.cocitations.join import Joiner
from corpus.identifiers import title_key
from corpus.paper import Paper, paper_at

HEX = "0123456789abcdef0123456789abcdef01234567"
TITLE = "The spread of rare proteins in the cortex"


def paper(id: str = "own-1", **fields: Any) -> Paper:
    return Paper(**{"id": id, "title": TITLE, "abstract": "Some words."} | fields)


def ref(*keys: str, title: str = "", year: int | None = None) -> Reference:
    return Reference(keys, title, year)


def join(papers: list[Paper], references: list[Reference], **options: Any) -> list[Paper | None]:
    joiner = Joiner(**options)
    for reference in references:
        joiner.need(reference)
    for each in papers:
        joiner.offer(each)
    rows = [joiner.row_of(reference) for reference in references]
    return [None if row is None else paper_at(joiner.papers(), row) for row in rows]


def join_ids(papers: list[Paper], references: list[Reference], **options: Any) -> list[str | None]:
    return [found and found.id for found in join(papers, references, **options)]


@pytest.mark.parametrize(
    ("fields", "key"),
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
        # An id of unknown kind, in every form.
        ({"doi": "10.1000/abc"}, "id:https://doi.org/10.1000/ABC"),
        ({"pmid": "123"}, "id:123"),
        ({"url": "https://arxiv.org/abs/1706.03762v1"}, "id:1706.03762v2"),
        ({"id": "W77"}, "id:https://openalex.org/W77"),
    ],
)
def test_a_paper_is_found_by_every_form_of_its_ids(fields: dict[str, Any], key: str) -> None:
    [found] = join([paper("other", title="Z"), paper(**fields)], [ref(key)])
    assert found is not None and found.title == TITLE


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"doi": "10.1000/abc"}, "doi:10.1000/abd"),
        ({"pmid": "123"}, "pmid:1234"),
        ({"id": "123", "pmid": "9"}, "pmid:123"),  # a paper with a PMID has no other
        ({"id": "own-1"}, "id:own-2"),
        ({"id": "own-1"}, "doi:own-1"),
        ({"url": "https://example.org/123"}, "pmid:123"),
        ({}, title_key(TITLE, None)),
    ],
)
def test_a_paper_is_found_by_no_other_id(fields: dict[str, Any], key: str) -> None:
    assert join([paper(**fields)], [ref(key, title=TITLE)]) == [None]


@pytest.mark.parametrize(
    ("title", "joins"),
    [("", True), (TITLE, True), ("Spread of rare proteins in cortex.", True),
     ("Fishing rights in the North Sea", False)],
)  # fmt: skip
def test_a_bare_number_joins_unless_the_titles_differ(title: str, joins: bool) -> None:
    for key in ("pmid:4983", "s2:CorpusId:4983"):
        [found] = join([paper("4983")], [ref(key, title=title)])
        assert (found is not None) == joins


FIFTH, WITH_PMID = paper("5", title="The fifth of a list"), paper("x", pmid="5")


@pytest.mark.parametrize(
    ("papers", "references", "ids"),
    [
        # Several identifiers of one paper.
        ([paper(doi="10.1000/a", pmid="5")], [ref("doi:10.1000/a"), ref("pmid:5"), ref("doi:10.1/no", "pmid:5")],
         ["own-1"] * 3),
        # The most reliable identifier decides.
        ([paper("a", title="First", pmid="5"), paper("b", title="Second", doi="10.1000/a")],
         [ref("doi:10.1000/a", "pmid:5")], ["b"]),
        # A PMID is more reliable than a bare number.
        ([FIFTH, WITH_PMID], [ref("pmid:5")], ["x"]),
        ([WITH_PMID, FIFTH], [ref("pmid:5")], ["x"]),
        # Records of one paper in several corpora; the first is kept.
        ([paper("a", doi="10.1000/a"), paper("b", doi="10.1000/A", pmid="5"),
          paper("c", pmid="5", url="https://arxiv.org/abs/1706.03762")],
         [ref("doi:10.1000/a"), ref("pmid:5"), ref("arxiv:1706.03762"), ref("id:b")], ["a"] * 4),
        # A later record shows that two are one.
        ([paper("a", title="One title of it", doi="10.1000/a"), paper("b", title="Another title of it", pmid="5"),
          paper("c", title="A third", doi="10.1000/a", pmid="5")],
         [ref("doi:10.1000/a"), ref("pmid:5"), ref("id:b"), ref("id:c")], ["a"] * 4),
        # A DOI that two papers have by mistake does not make them one.
        ([paper("a", title="First", doi="10.1000/a", pmid="5"), paper("b", title="Second", doi="10.1000/a", pmid="6")],
         [ref("doi:10.1000/a"), ref("pmid:5"), ref("pmid:6")], ["a", "a", "b"]),
        # The same title and year make two records one paper.
        ([paper("a", year=2020, doi="10.1000/a"), paper("b", year=2020, pmid="5"), paper("c", year=2021, pmid="6")],
         [ref("doi:10.1000/a"), ref("pmid:5"), ref("pmid:6")], ["a", "a", "c"]),
    ],
)  # fmt: skip
def test_records_of_one_paper_are_one(papers: list[Paper], references: list[Reference], ids: list[str]) -> None:
    assert join_ids(papers, references) == ids


def test_ids_that_two_papers_share_are_counted_and_made_unique() -> None:
    joiner = Joiner()
    references = [ref("id:1"), ref("doi:10.1000/b")]
    for reference in references:
        joiner.need(reference)
    joiner.offer(paper("1", title="First of one list"))
    joiner.offer(paper("1", title="First of another list", doi="10.1000/b"))
    assert [joiner.papers()["id"][joiner.row_of(reference)].as_py() for reference in references] == ["1", "1~2"]
    assert joiner.as_json() == {"papers_offered": 2, "references": {"id": 1, "doi": 1}, "ambiguous_ids": 1}


def test_only_needed_papers_are_kept() -> None:
    joiner = Joiner()
    needed = range(0, 5_000, 2)
    for i in needed:
        joiner.need(ref(f"id:n{i}"))
    kept = [joiner.offer(paper(f"n{i}", title=f"Title {i} {TITLE}")) for i in range(5_000)]
    assert kept == [i % 2 == 0 for i in range(5_000)]
    assert joiner.papers()["id"].to_pylist() == [f"n{i}" for i in needed]
    assert [joiner.row_of(ref(f"id:n{i}")) for i in needed] == list(range(2_500))


def test_missing_papers_are_counted_by_an_id_that_sources_look_up() -> None:
    missing: Counter[str] = Counter()
    references = [ref("doi:10.1/x", "pmid:7"), ref("doi:10.1/x"), ref("arxiv:1706.03762"), ref("id:z"), ref("pmid:5")]
    join([paper(pmid="5")], references, missing=missing)
    assert missing == {"7": 1, "10.1/x": 1, "arXiv:1706.03762": 1}


@pytest.mark.parametrize(
    ("title", "year", "joins"),
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
def test_by_title_the_title_is_exact_and_the_year_is_near(title: str, year: int | None, joins: bool) -> None:
    reference = ref("doi:10.1/unknown", title=title, year=year)
    [found] = join([paper(year=2020)], [reference], by_title=True)
    assert (found is not None) == joins
    assert join([paper(year=2020)], [reference]) == [None]


def test_by_title_an_identifier_comes_first_then_the_nearest_year_and_short_titles_join_nothing() -> None:
    papers = [paper("a", year=2021), paper("b", year=2020), paper("c", title="Quite another", doi="10.1000/c")]
    papers.append(paper("d", title="Editorial", year=2020))
    references = [ref(title=TITLE, year=2020), ref("doi:10.1000/c", title=TITLE), ref(title=TITLE, year=2022)]
    references.append(ref(title="Editorial", year=2020))
    assert join_ids(papers, references, by_title=True) == ["b", "c", "a", None]


def test_titles_alone_become_papers() -> None:
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
    found = join([paper(doi="10.1000/a")], references, titles_alone=True)
    assert found[0] == paper(doi="10.1000/a")
    assert found[1] == found[2] == Paper(id="7", title=TITLE, abstract="", year=2001, doi="10.1000/b", pmid="7")
    assert found[3] is not None and found[3] == found[4] and found[3].id.startswith("t-")
    assert found[5:] == [None] * 3
