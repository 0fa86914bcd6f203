"""Cards: what a list says of a paper, and what it says of a distance."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas.store import Atlas, open_atlas
from components.search.cards import closeness, links, meaning, paper_card, share_words, short_byline, subject_topics
from components.search.search import Hit, search, seed_query
from corpus.paper import Paper


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


def test_a_card_says_what_the_paper_says(atlas: Atlas) -> None:
    row = atlas.row_of("heart-5")
    assert row is not None
    paper, card = atlas.paper(row), paper_card(atlas, row)
    assert (card["row"], card["title"], card["abstract"]) == (row, paper.title, paper.abstract)
    assert card["byline"] == "Noether · Journal of heart 2 · 2005"
    assert card["topics"] == list(paper.topics)
    assert card["region"] is card["regionColour"] is None  # twelve papers make no region
    assert "rank" not in card
    json.dumps(card)  # plain values throughout
    assert paper_card(atlas, atlas.row_of("heart-4") or 0)["byline"] == "Noether · Journal of heart 1"  # no year


def test_a_card_of_a_hit_says_its_distance(atlas: Atlas) -> None:
    for hit in search(atlas, seed_query(atlas, [0]), k=5).hits:
        card = paper_card(atlas, hit.row, hit=hit)
        assert card["rank"] == hit.rank
        assert abs(float(card["distance"]) - hit.l2_distance) <= 0.0005
        assert f"L2 distance {hit.l2_distance:.4f}" in card["meaning"]
    assert paper_card(atlas, 0, hit=Hit(1, 0, l2_distance=23.45678, share_farther=0.5))["distance"] == "23.46"


@pytest.mark.parametrize(
    ("authors", "byline"),
    [
        ((), ""),
        (("Curie, Marie",), "Curie"),
        (("World Health Organization",), "World Health Organization"),
        (("<i>Ann</i>, B",), "<i>Ann</i>"),
        (("A, a", "B, b", "C, c", "D, d"), "A, B, C, D"),
        (("A, a", "B, b", "C, c", "D, d", "E, e"), "A, B, C, D and 1 more"),
        (tuple(f"N{i}, x" for i in range(2004)), "N0, N1, N2, N3 and 2,000 more"),
    ],
)
def test_bylines_are_cut_and_counted(authors: tuple[str, ...], byline: str) -> None:
    assert short_byline(Paper(id="x", title="t", abstract="a", authors=authors)) == byline


def test_links_lead_to_where_a_paper_is_read() -> None:
    paper = Paper(id="x", title="t", abstract="a", pmid="123", doi="10.1/a", url="https://example.org")
    assert links(paper) == [("PubMed", "https://pubmed.ncbi.nlm.nih.gov/123/"), ("DOI", "https://doi.org/10.1/a")]
    assert links(Paper(id="x", title="t", abstract="a", url="https://example.org")) == [("Web", "https://example.org")]
    assert links(Paper(id="x", title="t", abstract="a")) == []


def test_subject_topics_leave_out_populations_and_designs() -> None:
    topics = ["Humans", "Male", "Female", "Heart Failure", "Adult", "heart failure", "Sepsis", "COVID-19"]
    assert subject_topics(topics, count=2) == ["Heart Failure", "Sepsis"]
    assert subject_topics(topics, count=9) == ["Heart Failure", "Sepsis", "COVID-19"]
    assert subject_topics([], count=3) == []


@given(share=st.floats(0, 1), other=st.floats(0, 1))
def test_a_share_never_claims_more_than_a_sample_shows(share: float, other: float) -> None:
    top = float(re.fullmatch(r"top ([\d.]+) %", share_words(share)).group(1))
    closer = float(re.search(r"than ([\d.]+) %", meaning(share)).group(1))
    assert top >= 0.01
    assert closer <= 99.99
    assert abs(top - 100 * (1 - share)) <= 0.5
    assert abs(closer - 100 * share) <= 0.5
    assert 0 <= closeness(min(share, other)) <= closeness(max(share, other)) <= 1
