"""Facets of a corpus: year, venue and topic by row, and the mask of the rows that pass a filter."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NO_YEAR = -1  # of a paper without a year; a filter on years leaves it out


@dataclass(frozen=True, slots=True)
class Filters:
    """What a hit must be. An empty field allows everything; several venues or topics mean any of them.

    years: first and last year, both included. Papers without a year pass only where no years are asked for.
    """

    years: tuple[int, int] | None = None
    venues: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.years or self.venues or self.topics)


class Facets:
    """Years, venues and topics of a table of papers, ready to be filtered by."""

    def __init__(self, papers: pa.Table) -> None:
        self._papers = papers
        self.rows = papers.num_rows

    @cached_property
    def years(self) -> NDArray[np.int16]:
        """int16 (n,): the year by row, `NO_YEAR` where the record has none."""
        years: NDArray[np.int16] = pc.fill_null(self._papers["year"], NO_YEAR).to_numpy().astype(np.int16)
        return years

    @cached_property
    def year_span(self) -> tuple[int, int] | None:
        """The first and the last year of the corpus; None where no paper has one."""
        known = self.years[self.years != NO_YEAR]
        return (int(known.min()), int(known.max())) if len(known) else None

    @cached_property
    def venues(self) -> list[str]:
        """Every venue, by number of papers, then by name."""
        return _by_count(self._papers["venue"])

    @cached_property
    def topics(self) -> list[str]:
        """Every topic, by number of papers, then by name."""
        return _by_count(self._topic_values)

    def rows_with_topic(self, topic: str) -> NDArray[np.int64]:
        """int64: the rows of the papers that have a topic, in order."""
        found = pc.equal(self._topic_values, topic).to_numpy(zero_copy_only=False)
        rows: NDArray[np.int64] = np.unique(self._topic_rows[found])
        return rows

    def mask(self, filters: Filters) -> NDArray[np.bool_] | None:
        """bool (n,): which rows pass a filter; None for an empty filter. Unknown names match no row."""
        if not filters:
            return None
        allowed = np.ones(self.rows, dtype=np.bool_)
        if filters.years:
            first, last = filters.years
            allowed &= (self.years >= first) & (self.years <= last) & (self.years != NO_YEAR)
        if filters.venues:
            wanted = pa.array(filters.venues, type=pa.string())
            allowed &= pc.is_in(self._papers["venue"], value_set=wanted).to_numpy().astype(np.bool_)
        if filters.topics:
            wanted = pa.array(filters.topics, type=pa.string())
            holds = pc.is_in(self._topic_values, value_set=wanted).to_numpy(zero_copy_only=False)
            with_topic = np.zeros(self.rows, dtype=np.bool_)
            with_topic[self._topic_rows[holds]] = True
            allowed &= with_topic
        return allowed

    @cached_property
    def _topics(self) -> pa.ListArray:
        return self._papers["topics"].combine_chunks()

    @cached_property
    def _topic_values(self) -> pa.Array:
        return self._topics.flatten()

    @cached_property
    def _topic_rows(self) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = self._topics.value_parent_indices().to_numpy().astype(np.int64)
        return rows


def _by_count(values: pa.Array) -> list[str]:
    counts = pc.value_counts(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
    pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return [name for name, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0])) if name]
