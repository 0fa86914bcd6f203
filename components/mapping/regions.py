"""Regions: clusters of the map, their names and their colours."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.mapping import region_names as words

Array = npt.NDArray[Any]
Regions = npt.NDArray[np.int32]

_MIN_SAMPLES = 5  # a quarter of the default map is then in no region (a third with 10); fewer find random clots
_CROWD = 10  # papers around a region's centre; fewer may be one lab's series
_MAX_SHARE = 10  # a region has at most a tenth of the map, where it can be divided: else one is "medicine"
_PRIOR = 20.0  # papers; the weight of the assumption that a region is like the corpus, against terms of five papers
_MAX_NAME_CHARS = 32  # about what fits between two centres on a laptop's map
_MIN_SHARE = 0.22  # of a region's papers; a name that covers fewer gets a second term
_MIN_SHARE_ONE_WORD = 0.45  # one word is mostly a broad one: "brain", "soil", "cancer"
_TERMS = 6  # one line on a card
_MIN_PAPERS = 3  # of a term, in the corpus and in a region; fewer are chance
_TOPICAL = 0.1  # share of a term's papers that have it as a topic: then it is a name, as "brain" is, not "robotic"


@dataclass(frozen=True, slots=True)
class Region:
    """A named cluster of the map.

    id: its number in regions.npy, 0 for the largest. name: unique. size: papers. x, y: map coordinates of a paper in a
    dense part. terms: the distinguishing ones, best first. colour: index in the palette, not that of a neighbour.
    """

    id: int
    name: str
    size: int
    x: float
    y: float
    terms: tuple[str, ...] = ()
    colour: int = 0


def find_regions(coordinates: Array, *, min_size: int | None = None) -> Regions:
    """The region of every map point, by density (HDBSCAN): int32 (n,), -1 for points between regions.

    coordinates: float (n, 2), finite. Ids are in order of size, 0 for the largest; equal sizes in order of their first
    point. min_size: points of the smallest region; by default `smallest_region`, which gives some 20 to 45 regions. A
    map with fewer than two clusters of that size has no regions: all -1.
    """
    n = len(coordinates)
    smallest = smallest_region(n) if min_size is None else min_size
    if n < 2 * smallest or bool((coordinates == coordinates[0]).all()):
        return np.full(n, -1, dtype=np.int32)
    return _by_size(_cluster(coordinates.astype(np.float64), smallest))


def smallest_region(n: int) -> int:
    """Points of the smallest region of a map of n: 13 for 300, 100 for 18,000, half a percent of larger maps."""
    return max(10, round(3 / 4 * math.sqrt(n)), n // 200)


def _cluster(points: Array, smallest: int) -> Regions:
    from sklearn.cluster import HDBSCAN

    # Without a limit the most stable split of most maps is "the mainland and one island". A small map has few
    # subjects, each a larger share: hence the second bound.
    largest = max(len(points) // _MAX_SHARE, 20 * smallest)
    samples = min(_MIN_SAMPLES, smallest)
    found = HDBSCAN(min_cluster_size=smallest, min_samples=samples, max_cluster_size=largest, copy=True)
    labels = np.asarray(found.fit_predict(points), dtype=np.int32)
    # HDBSCAN drops a dense cluster over the limit that cannot be divided. The leaves of the same tree still have it,
    # and only such leaves consist of points without a label.
    leaves = HDBSCAN(
        min_cluster_size=smallest, min_samples=samples, cluster_selection_method="leaf", copy=True
    ).fit_predict(points)
    for leaf in range(int(leaves.max()) + 1):
        members = leaves == leaf
        if bool((labels[members] == -1).all()):
            labels[members] = labels.max() + 1
    return labels


def _by_size(labels: Regions) -> Regions:
    ids, first, counts = np.unique(labels, return_index=True, return_counts=True)
    real = ids >= 0
    order = ids[real][np.lexsort((first[real], -counts[real]))]
    renamed = np.full(len(labels), -1, dtype=np.int32)
    for new, old in enumerate(order):
        renamed[labels == old] = new
    return renamed


def name_regions(
    regions: Array, titles: Sequence[str], topics: Sequence[Sequence[str]], *, coordinates: Array
) -> list[Region]:
    """The regions of a map with their names, terms and centres, in the order of their ids.

    regions: integers (n,) from `find_regions`. titles: (n). topics: (n), MeSH headings and keywords. coordinates: float
    (n, 2). A term is a topic, or one or two words of titles. Its score is its share of the region's papers times the
    log of the ratio of that to its share of the corpus (its part of the KL divergence, with an informative prior). The
    next terms are scored over papers that earlier terms do not cover, so that synonyms lose. Regions with the same
    first term each get a second one that the others lack.
    """
    labels = np.asarray(regions, dtype=np.int64)
    count = int(labels.max(initial=-1)) + 1
    members = [np.flatnonzero(labels == region) for region in range(count)]
    vocabulary = _Vocabulary(titles, topics)
    terms = [vocabulary.distinguishing(rows) for rows in members]
    names = _names(vocabulary, members, terms)
    found = []
    for region, rows in enumerate(members):
        x, y = dense_centre(coordinates[rows].astype(np.float64))
        shown = tuple(vocabulary.surface(term) for term in terms[region])
        found.append(Region(id=region, name=names[region], size=len(rows), x=x, y=y, terms=shown))
    return found


def dense_centre(points: Array) -> tuple[float, float]:
    """The position of a region's name: of points (n, 2), n ≥ 1, the one in the densest place near the median."""
    from sklearn.neighbors import KDTree

    to_median = np.square(points - np.median(points, axis=0)).sum(axis=1)
    inner = points[np.argsort(to_median, kind="stable")[: len(points) // 2 + 1]]
    reach, _ = KDTree(points).query(inner, k=min(_CROWD + 1, len(points)))
    x, y = inner[int(np.argmin(reach[:, -1]))]
    return float(x), float(y)


class _Vocabulary:
    """The terms of all papers: a sparse matrix, papers × terms, and each term's spelling as a heading."""

    def __init__(self, titles: Sequence[str], topics: Sequence[Sequence[str]]) -> None:
        from scipy.sparse import csr_matrix

        in_topics = self._in_topics = Counter(
            key for paper in topics for key in {words.key(form) for form in map(words.plain, paper)}
        )
        ends = [0]
        columns: list[int] = []
        ids: dict[str, int] = {}
        forms: Counter[str] = Counter()
        for title, topic_list in zip(titles, topics, strict=True):
            spoken = {*words.ngrams(title, in_topics), *map(words.plain, topic_list)}
            named = [form for form in spoken if not words.is_generic(words.key(form))]
            columns.extend(ids.setdefault(key, len(ids)) for key in sorted({words.key(form) for form in named}))
            forms.update(named)
            ends.append(len(columns))
        ones = np.ones(len(columns), dtype=np.float32)
        papers = csr_matrix((ones, columns, ends), shape=(len(titles), len(ids)))
        often = np.asarray(papers.sum(axis=0)).ravel() >= _MIN_PAPERS
        self._papers = papers[:, np.flatnonzero(often)]
        self._keys = [key for key, kept in zip(ids, often, strict=True) if kept]
        uses: dict[str, dict[str, int]] = {key: {} for key in self._keys}
        for form, times in forms.items():
            if (key := words.key(form)) in uses:
                uses[key][form] = times
        self._forms = {key: words.heading(found) for key, found in uses.items()}
        count = np.asarray(self._papers.sum(axis=0)).ravel()
        self._share = count / max(len(titles), 1)
        # Topics, chosen by authors and indexers, are names. Words only of titles are often half of a name ("stem"), a
        # quality ("robotic") or part of a sentence; two words less often than one.
        chosen = np.array([in_topics[key] for key in self._keys]) / np.maximum(count, 1)
        floor = np.array([0.6 if " " in key else 0.3 for key in self._keys])
        noun = np.array([0.6 if words.is_adjective(self._forms[key]) else 1.0 for key in self._keys])
        self._weight = (floor + (1 - floor) * np.minimum(chosen / _TOPICAL, 1.0)) * noun

    def surface(self, term: int) -> str:
        """A term as a heading."""
        return self._forms[self._keys[term]]

    def weight(self, term: int) -> float:
        """How likely a term is a name, above 0 and at most 1."""
        return float(self._weight[term])

    def enough(self, term: int) -> float:
        """The share of a region's papers that a term must have to be the region's whole name."""
        return _MIN_SHARE if " " in self._keys[term] else _MIN_SHARE_ONE_WORD

    def same(self, one: int, other: int) -> bool:
        """Whether two terms are equal, or one is the other's initials (MRI)."""
        return one == other or words.is_acronym(self._keys[one], self._keys[other])

    def overlap(self, one: int, other: int) -> bool:
        """Whether two terms share a word, as "Air Pollution" and "Air Quality" do."""
        return bool(set(self._keys[one].split()) & set(self._keys[other].split()))

    def together(self, one: int, other: int) -> str:
        """Two terms as one name: "Robotic Surgery" where it is a topic, else "Stroke & Atrial Fibrillation"."""
        for pair in ((one, other), (other, one)):
            # Only as a topic: titles have "cancer proliferation", too, as part of a longer phrase.
            if (phrase := " ".join(self._keys[term] for term in pair)) in self._forms and self._in_topics[phrase]:
                return self._forms[phrase]
        name = f"{self.surface(one)} & {self.surface(other)}"
        initials = words.initials(self._keys[one])
        if len(name) > _MAX_NAME_CHARS and initials in self._forms:
            name = f"{self._forms[initials]} & {self.surface(other)}"
        return name

    def share(self, rows: Array, term: int) -> float:
        """The share of the papers in `rows` that have a term."""
        return float(self._papers[rows][:, [term]].sum()) / len(rows)

    def distinguishing(self, rows: Array, *, at_most: int = _TERMS) -> list[int]:
        """The terms that distinguish the papers in `rows` from the corpus, best first, without near-synonyms."""
        region = self._papers[rows]
        uncovered = np.ones(len(rows), dtype=np.float32)
        total = np.asarray(region.sum(axis=0)).ravel()
        lift = np.log((total + _PRIOR * self._share) / (len(rows) + _PRIOR) / np.maximum(self._share, 1e-12))
        possible = (lift > 0) & (total >= _MIN_PAPERS)
        chosen: list[int] = []
        while len(chosen) < at_most:
            fresh = np.asarray(region.T @ uncovered).ravel()
            score = np.where(possible, (0.5 * fresh + 0.5 * total if chosen else total) * lift * self._weight, 0.0)
            best = int(np.argmax(score)) if len(score) else 0
            if not len(score) or score[best] <= 0:
                break
            best = self._longer(best, total, possible)
            chosen.append(best)
            alike = [words.alike(self._keys[other], self._keys[best]) for other in np.flatnonzero(possible)]
            possible[np.flatnonzero(possible)[alike]] = False
            uncovered[np.asarray(region[:, [best]].todense()).ravel() > 0] = 0.0
        return chosen

    def _longer(self, term: int, total: Array, possible: Array) -> int:
        """A longer term in place of one that is mostly a part of it: "hip fracture" for "hip"."""
        part = set(self._keys[term].split())
        best = term
        for other in np.flatnonzero(possible & (total >= 0.5 * total[term])):
            longer = set(self._keys[other].split())
            if part < longer and (best == term or total[other] > total[best]):
                best = int(other)
        return best


def _names(vocabulary: _Vocabulary, members: list[Array], terms: list[list[int]]) -> list[str]:
    """The regions' names: the first term, with a second where it covers too little or another region has it, too."""
    names: list[str] = []
    taken: set[str] = set()
    for region, chosen in enumerate(terms):
        namesakes = [r for r, others in enumerate(terms) if chosen and others and vocabulary.same(chosen[0], others[0])]
        proposals = _proposals(
            vocabulary, members, chosen, region=region, namesakes=namesakes, firsts={t[0] for t in terms if t}
        )
        for name in proposals if chosen else ():
            same = " ".join(sorted(words.key(name).split()))
            if len(name) <= _MAX_NAME_CHARS and same not in taken:
                break
        else:
            name = same = f"Region {region + 1}"
        taken.add(same)
        names.append(name)
    return names


def _proposals(
    vocabulary: _Vocabulary,
    members: list[Array],
    terms: list[int],
    *,
    region: int,
    namesakes: list[int],
    firsts: set[int],
) -> Iterator[str]:
    """Possible names of one region, best first."""
    rows = members[region]
    first, others = terms[0], terms[1:]
    alone = len(namesakes) == 1
    if not alone:
        kin = np.concatenate([members[other] for other in namesakes])

        def apart(term: int) -> float:
            share = vocabulary.share(rows, term)
            return share * float(np.log(share / vocabulary.share(kin, term))) * vocabulary.weight(term)

        # A first term of another region says little about this one.
        others = sorted(others, key=lambda term: (term not in firsts, apart(term)), reverse=True)
    if alone and vocabulary.share(rows, first) >= vocabulary.enough(first):
        yield vocabulary.surface(first)
    yield from (vocabulary.together(first, second) for second in others if not vocabulary.overlap(first, second))
    yield from map(vocabulary.surface, terms)


def region_colours(regions: Sequence[Region], *, n_colours: int = 10) -> list[int]:
    """A palette index (0 … n_colours - 1) for each region, in their order; neighbours never share one.

    n_colours: 3 or more. Neighbours are regions of which one is among the other's (n_colours - 1) // 2 nearest centres.
    In such a graph, and in any part of it, some region has at most n_colours - 1 neighbours, so that colouring the best
    connected regions first always leaves a colour. A region takes an unused colour, or the one whose nearest use is
    farthest away.
    """
    centres = np.array([(region.x, region.y) for region in regions], dtype=np.float64).reshape(-1, 2)
    away = np.sqrt(np.square(centres[:, None] - centres[None]).sum(axis=2))
    neighbours: list[set[int]] = [set() for _ in regions]
    for region in range(len(regions)):
        nearest = [int(other) for other in np.argsort(away[region], kind="stable") if other != region]
        for other in nearest[: (n_colours - 1) // 2]:
            neighbours[region].add(other)
            neighbours[other].add(region)
    colours = [-1] * len(regions)
    for region in _best_connected_first(neighbours):
        free = set(range(n_colours)) - {colours[other] for other in neighbours[region]}
        used = [other for other in range(len(regions)) if colours[other] >= 0]

        def nearest_use(colour: int, region: int = region, used: list[int] = used) -> float:
            return min((float(away[region, o]) for o in used if colours[o] == colour), default=np.inf)

        colours[region] = max(sorted(free), key=nearest_use)
    return colours


def _best_connected_first(neighbours: list[set[int]]) -> list[int]:
    """The regions in an order in which each has few neighbours before it (smallest degree last)."""
    left = [set(others) for others in neighbours]
    waiting = set(range(len(neighbours)))
    order: list[int] = []
    while waiting:
        region = min(waiting, key=lambda one: (len(left[one]), one))
        waiting.remove(region)
        order.append(region)
        for other in left[region]:
            left[other].discard(region)
    return order[::-1]
