"""Identifiers are told from whole texts, and a pasted abstract is never one."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.identifiers import IDENTIFIER_KINDS, Identifier, parse_identifier

_PAPER = "204e3073870fae3d05bcbc2f6a8e263d9b72e776"


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
        (_PAPER.upper(), "s2", _PAPER),
        ("CorpusId:215416146", "s2", "CorpusId:215416146"),
        ("https://api.semanticscholar.org/CorpusID:215416146", "s2", "CorpusId:215416146"),
        (f"https://www.semanticscholar.org/paper/Attention-is-All/{_PAPER}?sort=x", "s2", _PAPER),
        ("﻿10.1038/nrn3241​"[:-1], "doi", "10.1038/nrn3241"),
    ],
)
def test_identifiers_and_their_addresses(text: str, kind: str, value: str | None) -> None:
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
        f"{_PAPER}0",
        "deafbeef",
        "10.1038/nrn3241，这是一个很长的摘要",
        "10.1038/" + "x" * 400,
        "https://doi.org/10.1038/nrn3241 Abstract follows",
    ],
)
def test_other_texts_are_none(text: str) -> None:
    assert parse_identifier(text) is None


_WORD = st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=20)
_ID = st.sampled_from(["10.1038/nrn3241", "PMID:123", "33283989", "arXiv:2106.15928", "PMC12345", _PAPER, "CorpusId:7"])
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
def test_what_is_found_is_one_short_word_of_the_text(text: str) -> None:
    found = parse_identifier(text)
    if found is not None:
        assert found.kind in IDENTIFIER_KINDS
        assert re.fullmatch(r"[!-~]{1,230}", found.value)


@given(st.from_regex(r"\A10\.[0-9]{4,9}/[a-zA-Z0-9._;()/:-]{1,60}\Z"))
def test_the_value_of_a_doi_is_found_again(text: str) -> None:
    if found := parse_identifier(text):
        assert parse_identifier(found.value) == found
        assert parse_identifier(f"https://doi.org/{found.value}") == found
