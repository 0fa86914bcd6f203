"""Identifiers are recognised in whole texts only, and have one form."""

import re
import string
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.identifiers import (
    ID_KINDS,
    Identifier,
    IdentifierKind,
    IdKind,
    citation_key,
    doi_of,
    parse_identifier,
    pmid_of,
    title_key,
)

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


# Identifiers of a query box


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("10.1038/Nrn3241", "doi", "10.1038/nrn3241"),
        (" doi: 10.1038/nrn3241. ", "doi", "10.1038/nrn3241"),
        ("https://doi.org/10.1038/nrn3241", "doi", "10.1038/nrn3241"),
        ("http://dx.doi.org/10.1000/a%2Fb", "doi", "10.1000/a/b"),
        ("10.1002/(SICI)1097-4636(199823)43:4<338::AID-JBM16>3.0.CO;2-B", "doi", None),
        ("33283989", "pmid", "33283989"),
        ("PMID: 19872477", "pmid", "19872477"),
        ("pmid 7", "pmid", "7"),
        ("https://pubmed.ncbi.nlm.nih.gov/33283989/?from=x", "pmid", "33283989"),
        ("pubmed.ncbi.nlm.nih.gov/33283989", "pmid", "33283989"),
        ("https://www.ncbi.nlm.nih.gov/pubmed/33283989", "pmid", "33283989"),
        ("https://europepmc.org/article/MED/33283989", "pmid", "33283989"),
        ("PMC7029158", "pmcid", "PMC7029158"),
        ("pmcid: pmc7029158.1", "pmcid", "PMC7029158"),
        ("https://pmc.ncbi.nlm.nih.gov/articles/PMC7029158/", "pmcid", "PMC7029158"),
        ("https://www.ncbi.nlm.nih.gov/pmc/articles/PMC7029158/#S1", "pmcid", "PMC7029158"),
        ("https://europepmc.org/article/PMC/PMC7029158", "pmcid", "PMC7029158"),
        ("2106.15928", "arxiv", "2106.15928"),
        ("arXiv:2106.15928v3", "arxiv", "2106.15928"),
        ("0704.0001", "arxiv", "0704.0001"),
        ("math.GT/0309136", "arxiv", "math/0309136"),
        ("hep-th/9901001v2", "arxiv", "hep-th/9901001"),
        ("https://arxiv.org/pdf/2106.15928v1.pdf", "arxiv", "2106.15928"),
        ("http://arxiv.org/abs/hep-th/9901001", "arxiv", "hep-th/9901001"),
        ("https://doi.org/10.48550/arXiv.2106.15928", "arxiv", "2106.15928"),
        (SHA.upper(), "s2", SHA),
        ("CorpusId:215416146", "s2", "CorpusId:215416146"),
        ("https://api.semanticscholar.org/CorpusID:215416146", "s2", "CorpusId:215416146"),
        (f"https://www.semanticscholar.org/paper/Attention-is-All/{SHA}?sort=x", "s2", SHA),
        ("﻿10.1038/nrn3241​"[:-1], "doi", "10.1038/nrn3241"),
    ],
)
def test_identifiers_are_parsed(text: str, kind: str, value: str | None) -> None:
    assert parse_identifier(text) == Identifier(kind, value or text.lower())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020",
        "12345",
        "0000000",
        "PMC",
        "PMC0",
        "PMID: 1 2",
        "10.1038/",
        "10.1038",
        "10.1038/a/../../x",
        "10.1038//x",
        '10.1038/"x"',
        "10.1038/ab cd",
        "https://doi.org/10.1038/ab%20cd",
        "2113.15928",
        "2106.15928 and 2106.15929",
        "https://arxiv.org.evil.org/abs/2106.15928",
        "https://evil.org/?u=https://doi.org/10.1038/nrn3241",
        "javascript:10.1038/nrn3241",
        f"{SHA}0",
        "deafbeef",
        "10.1038/nrn3241，这是一个很长的摘要",
        "10.1038/" + "x" * 400,
        "https://doi.org/10.1038/nrn3241 Abstract follows",
    ],
)
def test_other_texts_are_no_identifiers(text: str) -> None:
    assert parse_identifier(text) is None


_WORD = st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=20)
_ID = st.sampled_from(["10.1038/nrn3241", "PMID:123", "33283989", "arXiv:2106.15928", "PMC12345", SHA, "CorpusId:7"])
_WORDS = st.lists(st.one_of(_WORD, _ID), min_size=1, max_size=8).map(" ".join)
_LABELLED = re.compile(r"(?:pmid|pmcid|doi|arxiv|corpusid):?\s\S+", re.IGNORECASE)


@given(title=_WORDS, abstract=_WORDS, between=st.sampled_from(["\n\n", "\n", "\r\n\r\n", " ", "\t", "\u2029"]))
@example(title="10.1038/nrn3241", abstract="We show.", between="\n\n")
@example(title="PMID", abstract="We show 12345678", between="\n")
@example(title="10.1038/nrn3241", abstract="10.1038/nrn3241", between=" ")
@settings(max_examples=120)
def test_a_title_and_an_abstract_are_never_an_identifier(title: str, abstract: str, between: str) -> None:
    text = f"{title}{between}{abstract}"
    found = parse_identifier(text)
    # "PMID", a space, and a number: two words, and one identifier all the same.
    if found is not None:
        assert _LABELLED.fullmatch(" ".join(text.split()))
        assert len(found.value) < 30


@given(st.text(max_size=400))
@settings(max_examples=120)
def test_an_identifier_is_one_short_word(text: str) -> None:
    found = parse_identifier(text)
    if found is not None:
        assert found.kind in get_args(IdentifierKind)
        assert re.fullmatch(r"[!-~]{1,230}", found.value)


@given(st.from_regex(r"\A10\.[0-9]{4,9}/[a-zA-Z0-9._;()/:-]{1,60}\Z"))
def test_a_parsed_doi_is_parsed_again(text: str) -> None:
    if found := parse_identifier(text):
        assert parse_identifier(found.value) == found
        assert parse_identifier(f"https://doi.org/{found.value}") == found


# Values of a field


@pytest.mark.parametrize(
    ("value", "pmid"),
    [
        *(("PMID: 12", "12"), ("https://pubmed.ncbi.nlm.nih.gov/12/", "12"), (12.0, "12"), (12, "12")),
        *(("12.5", ""), ("0", ""), (float("nan"), ""), (True, ""), ("1E+3", ""), ("9" * 12, ""), ("x12", "")),
        *((10**400, ""), (10**12, ""), (-12, "")),
    ],
)
def test_a_pmid_is_a_pmid_or_nothing(value, pmid):
    assert pmid_of(value) == pmid


def test_a_doi_keeps_its_case_only_without_a_prefix():
    assert (doi_of("doi:10.1000/X "), doi_of("10.1000/X")) == ("10.1000/x", "10.1000/X")
