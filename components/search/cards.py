"""Cards: a paper as a list shows it, and what its distance means. Plain values, for the pieces in the browser."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.atlas.store import Atlas
from components.mapping.palette import DARK, LIGHT
from components.mapping.region_names import is_generic, key
from components.search.search import Hit
from corpus.paper import Paper

_MOST_AUTHORS = 4  # shown; a byline of thousands is cut and counted
_MOST_TOPICS = 5
_FEWEST_FOR_SHARES = 10  # papers; with fewer each pair is 2 % of all and more


def paper_card(atlas: Atlas, row: int, *, hit: Hit | None = None, expanded: bool = False) -> dict[str, Any]:
    """One row as plain values: what components/panels/assets/papers.js draws. Nothing in it is markup."""
    paper, region = atlas.paper(row), atlas.region_of(row)
    card: dict[str, Any] = {
        "row": row,
        "title": paper.title,
        "byline": " · ".join(part for part in (short_byline(paper), paper.venue, str(paper.year or "")) if part),
        "abstract": paper.abstract,
        "topics": list(paper.topics[:_MOST_TOPICS]),
        "region": region.name if region else None,
        "regionColour": [LIGHT.regions[region.colour], DARK.regions[region.colour]] if region else None,
        "links": links(paper),
        "expanded": expanded,
    }
    if hit is not None:
        told = pairs_tell(atlas)
        card |= {
            "rank": hit.rank,
            "distance": f"{hit.l2_distance:.3f}" if hit.l2_distance < 10 else f"{hit.l2_distance:.2f}",
            "closeness": closeness(hit.share_farther) if told else 0.0,
            "share": share_words(hit.share_farther) if told else "",
            "meaning": f"L2 distance {hit.l2_distance:.4f}" + (f": {meaning(hit.share_farther)}" if told else ""),
        }
    return card


def pairs_tell(atlas: Atlas) -> bool:
    """Whether a share of random pairs says anything of a corpus: ten papers are 45 pairs, four are six."""
    return len(atlas) >= _FEWEST_FOR_SHARES


def compared_card(
    atlas: Atlas, row: int, *, hit: Hit | None = None, note: tuple[str, str] | None = None, marks: dict[str, int]
) -> dict[str, Any]:
    """One row as a list beside another one shows it: without topics and region, with what is to be noted of it.

    note: a sign and words. marks: the paper's row in each atlas that has it, by build, to mark it there too.
    """
    card = paper_card(atlas, row, hit=hit)
    return card | {"topics": [], "region": None, "regionColour": None, "note": note, "marks": marks}


def moved(rank: int, there: int | None, *, k: int, depth: int, held: bool = True) -> tuple[str, str]:
    """What became of a paper in the other of two lists of k papers, as a sign and words.

    there: its rank by the other atlas, which was looked through to `depth`; None beyond it. held: whether the other
    atlas holds the paper at all.

    >>> moved(2, 5, k=10, depth=100), moved(5, 2, k=10, depth=100), moved(1, 1, k=10, depth=100)
    (('▼', 'rank 5 in the other list, 3 lower'), ('▲', 'rank 2 in the other list, 3 higher'), ('=', 'the same rank in the other list'))
    >>> moved(3, 34, k=10, depth=100), moved(3, None, k=10, depth=100)
    (('○', 'not in the other list: rank 34 there'), ('○', 'not in the other list: beyond rank 100 there'))
    """  # noqa: E501
    if not held:
        return "○", "not in the other list: the other atlas does not hold it"
    if there is None:
        return "○", f"not in the other list: beyond rank {depth} there"
    if there > k:
        return "○", f"not in the other list: rank {there} there"
    if there == rank:
        return "=", "the same rank in the other list"
    sign, how = ("▲", "higher") if there < rank else ("▼", "lower")
    return sign, f"rank {there} in the other list, {abs(there - rank)} {how}"


def telling_topics(topics: Sequence[str], *, count: int) -> list[str]:
    """The first of some topics that say what a paper is about, and not of what design it is or whom it studied."""
    telling: list[str] = []
    for topic in topics:
        if len(telling) == count:
            break
        if not is_generic(key(topic)) and key(topic) not in map(key, telling):
            telling.append(topic)
    return telling


def short_byline(paper: Paper) -> str:
    """The first authors by family name, and how many more there are."""
    names = [author.split(",")[0].strip() for author in paper.authors[:_MOST_AUTHORS]]
    more = len(paper.authors) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def links(paper: Paper) -> list[tuple[str, str]]:
    """Where a paper can be read, as (name, address)."""
    found = []
    if paper.pmid:
        found.append(("PubMed", f"https://pubmed.ncbi.nlm.nih.gov/{paper.pmid}/"))
    if paper.doi:
        found.append(("DOI", f"https://doi.org/{paper.doi}"))
    if paper.url and not paper.pmid:
        found.append(("Web", paper.url))
    return found


def share_words(share_farther: float) -> str:
    """A share of random pairs in a few characters: never 100 %, which a sample cannot show.

    >>> share_words(0.9984), share_words(1.0), share_words(0.41)
    ('top 0.16 %', 'top 0.01 %', 'top 59 %')
    """
    top = max(100 * (1 - share_farther), 0.01)
    return f"top {top:.2f} %" if top < 1 else f"top {top:.1f} %" if top < 10 else f"top {top:.0f} %"


def closeness(share_farther: float) -> float:
    """The length of a distance's bar, 0 to 1, by powers of ten: the nearest 10 %, 1 %, 0.1 % of random pairs fill a
    quarter, a half, three quarters of it. All hits of a search lie in the last percent; on a plain scale all are full.

    >>> round(closeness(0.9), 2), round(closeness(0.999), 2), closeness(1.0)
    (0.25, 0.75, 1.0)
    """
    return float(np.clip(-np.log10(max(1 - share_farther, 1e-4)) / 4, 0.0, 1.0))


def meaning(share_farther: float) -> str:
    """A share of random pairs in a sentence.

    >>> meaning(0.998)
    'closer than 99.8 % of random pairs of this corpus'
    """
    closer = min(100 * share_farther, 99.99)
    digits = 2 if closer > 99.9 else 1 if closer > 90 else 0
    return f"closer than {closer:.{digits}f} % of random pairs of this corpus"
