"""Papers are found by their ids in every written form, and by nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from components.atlas.store import Atlas, AtlasParts, open_atlas, write_atlas
from components.search.find_row import find_row
from corpus.paper import Paper, paper_at, to_table


@pytest.fixture
def atlas(atlas_parts: Callable[..., AtlasParts], home: object) -> Atlas:
    parts = atlas_parts()
    papers = [paper_at(parts.papers, row) for row in range(60)]
    papers[7] = replace(papers[7], id="x", pmid="12345678", doi="https://doi.org/10.1000/ABC.1")
    papers[8] = replace(papers[8], id="y", pmid="123456789", doi="10.1000/abc.12")
    papers[9] = replace(papers[9], id="PMC77")
    papers[10] = replace(papers[10], id="87654321")
    papers[11] = Paper(id="2101.00001", title="t", abstract="a")
    write_atlas(replace(parts, papers=to_table(papers)))
    return open_atlas("one")


@pytest.mark.parametrize(
    ("typed", "row"),
    [
        ("0-3", 3),
        (" 0-3\n", 3),
        ("12345678", 7),
        ("PMID: 12345678", 7),
        ("https://pubmed.ncbi.nlm.nih.gov/12345678/", 7),
        ("10.1000/abc.1", 7),
        ("doi:10.1000/ABC.1", 7),
        ("https://doi.org/10.1000/abc.12", 8),
        ("pmc77", 9),
        ("87654321", 10),
        ("arXiv:2101.00001v2", 11),
        *((text, None) for text in ("", " ", "10.1000/abc", "99999999", "0-3 and more", "0-3\n0-4", "x" * 400, "\x00")),
        ("As 10.1000/abc.1 shows", None),
    ],
)
def test_an_id_finds_its_paper(atlas: Atlas, typed: str, row: int | None) -> None:
    assert find_row(atlas, typed) == row
