"""Cards: a paper and the meaning of its distance as plain values, which assets/papers.js draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.atlas.store import Atlas
from components.mapping.palette import DARK, LIGHT
from components.mapping.region_names import is_generic, key
from components.search.search import Hit
from corpus.paper import Paper

_MAX_AUTHORS = 4  # shown; further ones are counted
_MAX_TOPICS = 5
_MIN_PAPERS_FOR_SHARES = 10  # with fewer, each pair is 2 % of all pairs or more


def paper_card(atlas: Atlas, row: int, *, hit: Hit | None = None, expanded: bool = False) -> dict[str, Any]:
    """One row as plain values, none of them markup. hit: adds rank and distance. expanded: shows the abstract."""
    paper, region = atlas.paper(row), atlas.region_of(row)
    card: dict[str, Any] = {
        "row": row,
        "title": paper.title,
        "byline": " · ".join(part for part in (short_byline(paper), paper.venue, str(paper.year or "")) if part),
        "abstract": paper.abstract,
        "topics": list(paper.topics[:_MAX_TOPICS]),
        "region": region.name if region else None,
        "regionColour": [LIGHT.regions[region.colour], DARK.regions[region.colour]] if region else None,
        "links": links(paper),
        "expanded": expanded,
    }
    if hit is not None:
        shares = has_pair_shares(atlas)
        card |= {
            "rank": hit.rank,
            "distance": f"{hit.l2_distance:.3f}" if hit.l2_distance < 10 else f"{hit.l2_distance:.2f}",
            "closeness": closeness(hit.share_farther) if shares else 0.0,
            "share": share_words(hit.share_farther) if shares else "",
            "meaning": f"L2 distance {hit.l2_distance:.4f}" + (f": {meaning(hit.share_farther)}" if shares else ""),
        }
    return card


def has_pair_shares(atlas: Atlas) -> bool:
    """Whether a corpus has enough pairs of papers for shares of them to mean something."""
    return len(atlas) >= _MIN_PAPERS_FOR_SHARES


def compared_card(
    atlas: Atlas, row: int, *, hit: Hit | None = None, note: tuple[str, str] | None = None, marks: dict[str, int]
) -> dict[str, Any]:
    """One row for one of two lists side by side: without topics and region.

    note: a sign and words. marks: build → the paper's row, of each atlas that has it, to highlight it there too.
    """
    card = paper_card(atlas, row, hit=hit)
    return card | {"topics": [], "region": None, "regionColour": None, "note": note, "marks": marks}


def rank_note(rank: int, other: int | None, *, k: int, depth: int, held: bool = True) -> tuple[str, str]:
    """A paper's place in the other of two lists of k papers, as a sign and words.

    other: its rank by the other atlas, which was searched to `depth`; None beyond it. held: whether the other atlas
    has the paper at all.

    >>> rank_note(2, 5, k=10, depth=100), rank_note(5, 2, k=10, depth=100), rank_note(1, 1, k=10, depth=100)
    (('▼', 'Rank 5 in the other list, 3 lower'), ('▲', 'Rank 2 in the other list, 3 higher'), ('=', 'Same rank in the other list'))
    >>> rank_note(3, 34, k=10, depth=100), rank_note(3, None, k=10, depth=100)
    (('○', 'Not in the other list (rank 34)'), ('○', 'Not in the other list (beyond rank 100)'))
    """  # noqa: E501
    if not held:
        return "○", "Not in the other atlas"
    if other is None or other > k:
        return "○", f"Not in the other list ({f'rank {other}' if other else f'beyond rank {depth}'})"
    if other == rank:
        return "=", "Same rank in the other list"
    sign, direction = ("▲", "higher") if other < rank else ("▼", "lower")
    return sign, f"Rank {other} in the other list, {abs(other - rank)} {direction}"


def subject_topics(topics: Sequence[str], *, count: int) -> list[str]:
    """The first topics that name a subject, not a study design or population; each once, however spelled."""
    subjects: dict[str, str] = {}
    for topic in topics:
        if len(subjects) < count and not is_generic(key(topic)):
            subjects.setdefault(key(topic), topic)
    return list(subjects.values())


def short_byline(paper: Paper) -> str:
    """The first authors by family name, and the number of further ones."""
    names = [author.split(",")[0].strip() for author in paper.authors[:_MAX_AUTHORS]]
    more = len(paper.authors) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def links(paper: Paper) -> list[tuple[str, str]]:
    """Where a paper can be read, as (name, address)."""
    pubmed = [("PubMed", f"https://pubmed.ncbi.nlm.nih.gov/{paper.pmid}/")] if paper.pmid else []
    doi = [("DOI", f"https://doi.org/{paper.doi}")] if paper.doi else []
    web = [("Web", paper.url)] if paper.url and not paper.pmid else []
    return pubmed + doi + web


def share_words(share_farther: float) -> str:
    """The share of random pairs that are closer, in a few characters; never 0 %, which a sample cannot show.

    >>> share_words(0.9984), share_words(1.0), share_words(0.41)
    ('top 0.16 %', 'top 0.01 %', 'top 59 %')
    """
    top = max(100 * (1 - share_farther), 0.01)
    return f"top {top:.2f} %" if top < 1 else f"top {top:.1f} %" if top < 10 else f"top {top:.0f} %"


def closeness(share_farther: float) -> float:
    """The length of a distance's bar, 0 to 1, on a log scale: 0.25, 0.5, 0.75 for the nearest 10 %, 1 %, 0.1 % of
    random pairs. On a linear scale the bars of all hits of a search would be full.

    >>> round(closeness(0.9), 2), round(closeness(0.999), 2), closeness(1.0)
    (0.25, 0.75, 1.0)
    """
    return float(np.clip(-np.log10(max(1 - share_farther, 1e-4)) / 4, 0.0, 1.0))


def meaning(share_farther: float) -> str:
    """The share of random pairs that are farther apart, in words.

    >>> meaning(0.998)
    'closer than 99.8 % of random pairs'
    """
    closer = min(100 * share_farther, 99.99)
    digits = 2 if closer > 99.9 else 1 if closer > 90 else 0
    return f"closer than {closer:.{digits}f} % of random pairs"
