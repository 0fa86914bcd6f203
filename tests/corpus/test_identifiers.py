import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.identifiers import ID_KINDS, IdKind, citation_key, parse_identifier, title_key

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("kind", "values", "key"),
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
def test_all_forms_of_an_identifier_have_one_key(kind: IdKind, values: list[object], key: str) -> None:
    assert {citation_key(kind, value) for value in values} == {key}


@pytest.mark.parametrize("value", [None, "", "  ", True, False, -1, 0, 1.5, [], {"doi": 1}, "x" * 10_000, 10**20])
def test_other_values_have_no_key(value: object) -> None:
    assert {citation_key(kind, value) for kind in ID_KINDS} == {""}
    assert citation_key("pmid", 10**6_000) == ""  # Python refuses to write it


@pytest.mark.parametrize(
    ("kind", "value"),
    [("doi", "n/a"), ("doi", "11.1000/x"), ("pmid", "0"), ("pmid", "PMC12"), ("pmid", "10.1000/x"), ("pmcid", "PMC"),
     ("arxiv", "1713.03762"), ("arxiv", "10.1000/x"), ("s2", SHA[:-1]), ("openalex", "A42"), ("acl", "P19"),
     ("mag", "x"), ("pmid", "٣١٢")],
)  # fmt: skip
def test_near_misses_have_no_key(kind: IdKind, value: str) -> None:
    assert citation_key(kind, value) == ""


@given(
    st.sampled_from(["pmid", "pmcid", "arxiv", "s2", "doi"]),
    st.one_of(
        st.integers(1_000_000, 10**8).map(str),
        st.from_regex(r"(0[7-9]|1\d|2[0-5])(0[1-9]|1[0-2])\.[0-9]{5}(v[1-9])?", fullmatch=True),
        st.text(string.hexdigits.lower()[:16], min_size=40, max_size=40),
        st.from_regex(r"10\.[0-9]{4}/[a-z0-9.()-]{1,20}[a-z0-9]", fullmatch=True),
    ),
)
def test_keys_agree_with_the_query_box(kind: IdKind, value: str) -> None:
    prefix = {"pmid": "PMID:", "pmcid": "PMC", "arxiv": "arXiv:", "s2": "", "doi": ""}[kind]
    found = parse_identifier(prefix + value)
    if found is not None and found.kind == kind:
        assert citation_key(kind, value) == f"{kind}:{found.value}"


@given(st.sampled_from(ID_KINDS), st.text(max_size=60))
def test_the_value_of_a_key_has_the_same_key(kind: IdKind, value: str) -> None:
    if key := citation_key(kind, value):
        again, _, plain = key.partition(":")
        assert citation_key(again, plain) == key  # type: ignore[arg-type]


def test_title_keys_depend_on_words_and_year() -> None:
    key = title_key("Naïve B-cells: a “review”.", 2020)
    assert key == title_key("naive  B cells, a review", 2020)
    assert len({key, title_key("Naïve B-cells: a review", 2021), title_key("Naive B-cells", None)}) == 3
    assert title_key("…?!", 2020) == title_key("", None) == ""
    assert title_key("\ud800 x", 1)  # a lone surrogate, as JSON can hold one
