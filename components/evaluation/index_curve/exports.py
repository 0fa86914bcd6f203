"""A curve in words and tables: what suffices at each size, Markdown, CSV."""

import csv
import io
from dataclasses import dataclass

from components.evaluation.index_curve.records import Curve, Point
from corpus.text.markdown import escaped

TARGET = 0.99  # ann_recall_at_k, on the rows and off them: what an atlas's graph is tuned to

_COLUMNS = (
    "papers",
    "M",
    "ef_construction",
    "ef_search",
    "k",
    "recall",
    "recall_off_rows",
    "p50_ms",
    "p95_ms",
    "build_seconds",
    "exact_p50_ms",
    "exact_p95_ms",
)


@dataclass(frozen=True, slots=True)
class Sufficient:
    """The smallest ef_search of a graph whose recalls both reach the target. point: None where none does."""

    size: int
    m: int
    point: Point | None
    exact_ms: float | None

    @property
    def times_faster(self) -> float | None:
        """How many times faster than exact search, by the medians; None where one of the two is not known."""
        if self.point is None or not self.exact_ms or not self.point.p50_ms:
            return None
        return self.exact_ms / self.point.p50_ms


def sufficient(curve: Curve, *, target: float = TARGET) -> list[Sufficient]:
    """For each size and M that was measured, which ef_search is enough."""
    found = []
    for size in curve.sizes:
        exact = curve.exact_at(size)
        for m in curve.ms:
            line = curve.line(size=size, m=m)
            if not line:
                continue
            point = next((one for one in line if min(one.recall, one.recall_off_rows) >= target), None)
            found.append(Sufficient(size=size, m=m, point=point, exact_ms=exact.p50_ms if exact else None))
    return found


def summary(curve: Curve) -> str:
    """What the curve comes to, in a sentence or two."""
    if not curve.points:
        return "Nothing was measured."
    size = curve.sizes[-1]
    enough = [one for one in sufficient(curve) if one.size == size and one.point is not None]
    told = f"Over {size:,} papers no setting reaches an ann_recall_at_{curve.k} of {TARGET}."
    if enough:
        best = min(enough, key=lambda one: one.point.p50_ms if one.point else 0.0)
        assert best.point is not None
        told = (
            f"Over {size:,} papers, M {best.m} with ef_search {best.point.ef_search} is the fastest that reaches an "
            f"ann_recall_at_{curve.k} of {TARGET} on and off the rows: {best.point.p50_ms:.2f} ms a query"
        )
        told += f", exact search {best.exact_ms:.2f} ms." if best.exact_ms is not None else "."
    return told if curve.complete else f"{told} {partial_words(curve)}"


def partial_words(curve: Curve) -> str:
    """That a curve is not all of what was asked for; empty where it is."""
    if curve.complete:
        return ""
    return f"Partial: {len(curve.points):,} of {curve.planned:,} points were measured before it was stopped."


def as_markdown(curve: Curve) -> str:
    """The curve as a Markdown document: what was measured, where, and every point."""
    name = curve.about.atlas or "vectors"
    by = f" by {escaped(curve.about.encoder)}" if curve.about.encoder else ""
    versions = escaped(", ".join(f"{package} {version}" for package, version in curve.versions.items()))
    head = [
        f"# Neighbour index of {escaped(name)}",
        "",
        f"{summary(curve)}",
        "",
        f"{curve.rows:,} vectors of {curve.dimensions} dimensions{by}. Recall is ann_recall_at_{curve.k} against exact "
        f"search: on {curve.queries:,} rows, each asked for its nearest others, and on as many queries moved off the "
        "rows, as pasted texts lie. Times are of one query off the rows, asked alone, on one thread. Sizes are nested "
        f"samples, seed {curve.seed}; ef_construction is {_constructions(curve)}.",
        "",
        f"Measured {escaped(curve.made)} on {escaped(curve.machine)}; {versions}.",
        "",
        "| papers | M | ef_search | recall | recall off the rows | median ms | 95 % ms | build s | exact median ms |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = []
    for point in curve.points:
        exact = curve.exact_at(point.size)
        rows.append(
            f"| {point.size:,} | {point.m} | {point.ef_search} | {point.recall:.4f} | {point.recall_off_rows:.4f} "
            f"| {point.p50_ms:.3f} | {point.p95_ms:.3f} | {point.build_seconds:.1f} "
            f"| {'' if exact is None else f'{exact.p50_ms:.3f}'} |"
        )
    return "\n".join([*head, *rows]) + "\n"


def _constructions(curve: Curve) -> str:
    return ", ".join(map(str, sorted({point.ef_construction for point in curve.points}))) or "–"


def as_csv(curve: Curve) -> str:
    """Every point as a row of CSV; all cells are numbers."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_COLUMNS)
    for point in curve.points:
        exact = curve.exact_at(point.size)
        table.writerow(
            [
                point.size,
                point.m,
                point.ef_construction,
                point.ef_search,
                curve.k,
                point.recall,
                point.recall_off_rows,
                point.p50_ms,
                point.p95_ms,
                point.build_seconds,
                exact.p50_ms if exact else "",
                exact.p95_ms if exact else "",
            ]
        )
    return file.getvalue()
