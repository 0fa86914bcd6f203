"""Identifiers of references: one form for each, whatever a file writes for it, and nothing for what is none."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.cocitations.full_text import Reference
from corpus.cocitations.identifiers import KINDS, Kind, identifier, reference, surest, title_identifier
from corpus.identifiers import parse_identifier

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("kind", "values", "written"),
    [
        ("doi", ["10.1000/ABC.1", "https://doi.org/10.1000/abc.1", "doi: 10.1000/abc.1."], "doi:10.1000/abc.1"),
        ("doi", ["10.48550/arXiv.1706.03762", "https://doi.org/10.48550/ARXIV.1706.03762v2"], "arxiv:1706.03762"),
        ("pmid", [31234567, "31234567", " PMID: 31234567", "https://pubmed.ncbi.nlm.nih.gov/31234567/"],
         "pmid:31234567"),
        ("pmid", ["00042", "42.0", "https://www.ncbi.nlm.nih.gov/pubmed/42?dopt=Abstract",
                  "https://europepmc.org/article/MED/42"], "pmid:42"),
        ("pmcid", [123, "PMC123", "pmc0123.2", "PMCID: PMC123", "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC123/",
                   "https://pmc.ncbi.nlm.nih.gov/articles/PMC123"], "pmcid:PMC123"),
        ("arxiv", ["1706.03762", "arXiv:1706.03762v5", "http://arxiv.org/abs/1706.03762v1", "arXiv:1706.03762 [cs.CL]",
                   "https://export.arxiv.org/pdf/1706.03762.pdf"], "arxiv:1706.03762"),
        ("arxiv", ["math.GT/0309136", "math/0309136v2", "arXiv:MATH/0309136"], "arxiv:math/0309136"),
        ("s2", [123, "123", "CorpusId:123", "CorpusID: 123"], "s2:CorpusId:123"),
        ("s2", [SHA, SHA.upper(), f"https://www.semanticscholar.org/paper/A-title/{SHA}"], f"s2:{SHA}"),
        ("openalex", ["W42", "w42", "https://openalex.org/W42", "https://api.openalex.org/works/W42"], "openalex:W42"),
        ("acl", ["P19-1001", "p19-1001v2", "https://aclanthology.org/P19-1001.pdf"], "acl:p19-1001"),
        ("acl", ["2020.acl-main.1", "https://aclanthology.org/2020.acl-main.1/"], "acl:2020.acl-main.1"),
        ("mag", [42, "42", "0042"], "mag:42"),
        ("id", [42, " 42 "], "id:42"),
    ],
)  # fmt: skip
def test_one_form_for_all_that_is_written(kind: Kind, values: list[object], written: str) -> None:
    assert {identifier(kind, value) for value in values} == {written}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, "", "  ", True, False, -1, 0, 1.5, [], {"doi": 1}, "x" * 10_000, 10**20])
def test_what_is_no_identifier(kind: Kind, value: object) -> None:
    assert identifier(kind, value) == ""


@pytest.mark.parametrize(
    ("kind", "value"),
    [("doi", "n/a"), ("doi", "11.1000/x"), ("pmid", "0"), ("pmid", "PMC12"), ("pmid", "10.1000/x"), ("pmcid", "PMC"),
     ("arxiv", "1713.03762"), ("arxiv", "10.1000/x"), ("s2", SHA[:-1]), ("openalex", "A42"), ("acl", "P19"),
     ("mag", "x"), ("pmid", "٣١٢")],
)  # fmt: skip
def test_near_misses(kind: Kind, value: str) -> None:
    assert identifier(kind, value) == ""


@given(
    st.sampled_from(["pmid", "pmcid", "arxiv", "s2", "doi"]),
    st.one_of(
        st.integers(1_000_000, 10**8).map(str),
        st.from_regex(r"(0[7-9]|1\d|2[0-5])(0[1-9]|1[0-2])\.[0-9]{5}(v[1-9])?", fullmatch=True),
        st.text(string.hexdigits.lower()[:16], min_size=40, max_size=40),
        st.from_regex(r"10\.[0-9]{4}/[a-z0-9.()-]{1,20}[a-z0-9]", fullmatch=True),
    ),
)
def test_agrees_with_what_a_query_box_reads(kind: Kind, value: str) -> None:
    """The other reader of identifiers, which was written apart from this one."""
    prefix = {"pmid": "PMID:", "pmcid": "PMC", "arxiv": "arXiv:", "s2": "", "doi": ""}[kind]
    told = parse_identifier(prefix + value)
    if told is not None and told.kind == kind:
        assert identifier(kind, value) == f"{kind}:{told.value}"


@given(st.sampled_from(KINDS), st.text(max_size=60))
def test_what_is_written_reads_back_as_itself(kind: Kind, value: str) -> None:
    written = identifier(kind, value)
    if written:
        again, _, plain = written.partition(":")
        assert identifier(again, plain) == written  # type: ignore[arg-type]
        assert plain == plain.strip()


def test_titles_are_told_apart_by_words_and_year() -> None:
    one = title_identifier("Naïve B-cells: a “review”.", 2020)
    assert one == title_identifier("naive  B cells, a review", 2020)
    assert len({one, title_identifier("Naïve B-cells: a review", 2021), title_identifier("Naive B-cells", None)}) == 3
    assert title_identifier("…?!", 2020) == title_identifier("", None) == ""
    assert title_identifier("\ud800 x", 1)  # half a character, as JSON can hold one


def test_a_reference_says_the_surest_first_and_each_once() -> None:
    found = reference(
        [("mag", 5), ("pmid", "7"), ("doi", "10.1/none"), ("doi", "10.1000/B"), ("doi", "doi:10.1000/b"), ("s2", None)],
        title=" A  title. ",
        year=2001,
    )
    assert found == Reference(("doi:10.1000/b", "pmid:7", "mag:5", title_identifier("A title", 2001)), "A title.", 2001)
    assert surest(found) == "doi:10.1000/b"
    assert reference([]) == Reference(()) and surest(reference([])) == ""
    assert reference([], title="x", year=20211).year is None
    assert surest(reference([], title="x")).startswith("title:")


def test_a_number_of_thousands_of_digits_is_none() -> None:
    assert {identifier(kind, 10**6_000) for kind in KINDS} == {""}  # Python refuses to write it
