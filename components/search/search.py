"""Search an atlas: from a text or from papers, filtered, without the query's own paper, and placed on the map."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc

from components.atlas.facets import Filters
from components.atlas.map_state import PLACING_NEIGHBOURS
from components.atlas.store import Atlas
from components.encoder.base import Encoder
from components.index.exact import Vectors
from components.mapping.projection import near_on_map, place
from corpus.errors import CociteAtlasError

MAX_HITS = 200  # nobody reads a longer list; the map is for that
MAP_SHARE = 0.01  # "near on the map": among the nearest 1 % of all points to the query's place

# The same text encoded twice differs by rounding alone. As a share of the median distance of random pairs this is
# wide enough for half precision and for a few changed characters, and closer than any two different papers lie.
_SAME_TEXT = 0.02
_SHORTEST_TITLE = 12  # letters and digits; shorter ones ("Editorial", "Reply") belong to many papers
_SPARE = 8  # own rows that are fetched beyond k and dropped; more of them are excluded from the search


class NoKnownWord(CociteAtlasError):
    """The query's vector is zero: a lexical encoder knows none of its words."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to search for.

    vector: float32 (d,). fingerprint: of the checkpoint that made it. title: to recognise its own paper by; may be
    empty. seeds: the rows that the vector is the mean of.
    """

    vector: Vectors
    fingerprint: str
    title: str = ""
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of the answer. rank from 1. share_farther: of random pairs of the corpus, 0 to 1."""

    rank: int
    row: int
    l2_distance: float
    share_farther: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a query.

    own: rows left out because they are the query's own paper or its seeds. candidates: number of rows that the filters
    let through, without own ones. point: the query's place on the map. near_on_map: number of hits that are near on
    the map too (see MAP_SHARE).
    """

    hits: tuple[Hit, ...]
    own: tuple[int, ...]
    candidates: int
    point: tuple[float, float]
    near_on_map: int

    @property
    def rows(self) -> list[int]:
        """The rows of the hits, nearest first."""
        return [hit.row for hit in self.hits]


def text_query(encoder: Encoder, title: str, abstract: str) -> Query:
    """Encode a title and abstract as a query. Raises EncoderUnavailable."""
    return Query(vector=encoder.encode([(title, abstract)])[0], fingerprint=encoder.fingerprint, title=title)


def seed_query(atlas: Atlas, rows: Sequence[int]) -> Query:
    """Query by one or more papers of the atlas: the mean of their vectors, normalised where the atlas's vectors are.

    Raises ValueError for no rows, IndexError for rows that the atlas does not have.
    """
    if not rows:
        raise ValueError("seed_query needs at least one row")
    if not all(0 <= row < len(atlas) for row in rows):
        raise IndexError(f"rows {list(rows)} of an atlas of {len(atlas)}")
    vector = atlas.vectors[list(rows)].mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(vector))
    if atlas.manifest.encoder.normalised and length > 0:
        vector /= length
    return Query(
        vector=vector.astype(np.float32),
        fingerprint=atlas.manifest.encoder.fingerprint,
        title=atlas.paper(rows[0]).title if len(rows) == 1 else "",
        seeds=tuple(dict.fromkeys(rows)),
    )


def search(atlas: Atlas, query: Query, *, k: int, filters: Filters = Filters()) -> SearchResult:  # noqa: B008
    """The k nearest papers that the filters let through, without the query's own: k of them whenever k exist.

    Raises FingerprintMismatch where the query was encoded by another checkpoint than the atlas; NoKnownWord for a zero
    vector in an atlas of normalised vectors; ValueError for a k outside 1 … MAX_HITS.
    """
    atlas.check_fingerprint(query.fingerprint)
    # The mean of several seeds may be zero; that is a valid query.
    if atlas.manifest.encoder.normalised and len(query.seeds) < 2 and not np.any(query.vector):
        raise NoKnownWord(
            f"None of the words occurs in this corpus, so {atlas.manifest.encoder.name} cannot compare them with "
            "anything. Add words to the text, or search with another encoder."
        )
    if not 1 <= k <= MAX_HITS:
        raise ValueError(f"k = {k}: ask for 1 to {MAX_HITS} papers")
    allowed = atlas.facets.mask(filters)
    # The query's own paper is sought in the whole corpus, so that a filter cannot hide it.
    nearest = atlas.index.exact.search(query.vector, k=PLACING_NEIGHBOURS)
    own = set(query.seeds)
    own.update(
        int(row)
        for row, distance in zip(nearest.rows, nearest.l2_distances, strict=True)
        if _is_own(atlas, query, int(row), float(distance))
    )
    passing = len(atlas) if allowed is None else int(allowed.sum())
    others = passing - sum(1 for row in own if allowed is None or allowed[row])
    if len(own) > _SPARE:
        # Many seeds: excluding them is cheaper than fetching and dropping them.
        allowed = np.ones(len(atlas), dtype=np.bool_) if allowed is None else allowed
        allowed[list(own)] = False
    found = atlas.index.search(query.vector, k=k + min(len(own), _SPARE), allowed=allowed)
    kept = [
        (int(row), float(distance))
        for row, distance in zip(found.rows, found.l2_distances, strict=True)
        if int(row) not in own
    ][:k]
    hits = tuple(
        Hit(rank=rank, row=row, l2_distance=distance, share_farther=atlas.share_of_pairs_farther(distance))
        for rank, (row, distance) in enumerate(kept, start=1)
    )
    x, y = place(atlas.coordinates, nearest.rows, nearest.l2_distances).tolist()
    point = (x, y)
    return SearchResult(
        hits=hits,
        own=tuple(sorted(own)),
        candidates=others,
        point=point,
        near_on_map=_near_on_map(atlas, point, hits),
    )


def first_hits(atlas: Atlas, result: SearchResult, *, k: int) -> SearchResult:
    """The result for k papers, cut from a result for more."""
    hits = result.hits[:k]
    return replace(result, hits=hits, near_on_map=_near_on_map(atlas, result.point, hits))


def example_rows(atlas: Atlas, *, count: int = 3) -> list[int]:
    """Rows of papers that make good first queries: in the middle of distant regions, with a full abstract."""
    lengths = pc.utf8_length(atlas.papers["abstract"]).to_numpy()
    chosen: list[int] = []
    regions = sorted(atlas.manifest.regions, key=lambda region: -region.size)[: 4 * count]
    while regions and len(chosen) < count:
        # The next region is the one farthest from those chosen; the first is the largest.
        region = regions[0]
        if chosen:
            taken = atlas.coordinates[chosen]
            region = max(regions, key=lambda r: float(np.linalg.norm(taken - (r.x, r.y), axis=1).min()))
        regions.remove(region)
        members = np.flatnonzero((atlas.region_ids == region.id) & (lengths > 800) & (lengths < 2200))
        if len(members):
            centre = np.linalg.norm(atlas.coordinates[members] - (region.x, region.y), axis=1)
            chosen.append(int(members[centre.argmin()]))
    return chosen or list(range(min(count, len(atlas))))


def _near_on_map(atlas: Atlas, point: tuple[float, float], hits: Sequence[Hit]) -> int:
    rows = np.array([hit.row for hit in hits], dtype=np.int64)
    return near_on_map(atlas.coordinates, np.array(point), rows, share=MAP_SHARE) if hits else 0


def _is_own(atlas: Atlas, query: Query, row: int, l2_distance: float) -> bool:
    """Whether a near row is the query's own paper: the same text, or the same title unless that is short."""
    typical = float(np.median(atlas.pair_distances)) if len(atlas.pair_distances) else 0.0
    # The lexical encoder has one dimension for a single paper; in it, any two texts are the same.
    if l2_distance <= _SAME_TEXT * typical and atlas.manifest.dimensions > 1:
        return True
    title = _title_key(query.title)
    return len(title) >= _SHORTEST_TITLE and title == _title_key(atlas.paper(row).title)


def _title_key(title: str) -> str:
    """A title's letters and digits, without case or accents, so that a copied title matches."""
    plain = unicodedata.normalize("NFKD", title).casefold()
    return "".join(character for character in plain if character.isalnum())
