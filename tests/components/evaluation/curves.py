"""What tests of the index curve share: a curve of round figures."""

from __future__ import annotations

from components.evaluation.index_curve import Curve, ExactTime, Measured, Point


def milliseconds(m: int, size: int, ef: int) -> float:
    return ef * (m + 8) * size / 10**8


def planted(*, atlas: str = "one", encoder: str = "an encoder", machine: str = "a machine") -> Curve:
    """A curve of round figures, over 1,000 and 9,000 papers."""
    points = tuple(
        Point(
            size=size,
            m=m,
            ef_construction=200,
            ef_search=ef,
            recall=min(1.0, 0.9 + ef * m / 10_000),
            recall_off_rows=min(1.0, 0.7 + ef * m / 7_500),
            p50_ms=milliseconds(m, size, ef),
            p95_ms=2 * milliseconds(m, size, ef),
            build_seconds=m * size / 10**4,
        )
        for m in (8, 16, 32)
        for size in (1000, 9000)
        for ef in (16, 64, 128, 256)
    )
    return Curve(
        about=Measured(atlas=atlas, encoder=encoder, vectors="0" * 64, m=16, ef_search=64),
        rows=9000,
        dimensions=8,
        k=10,
        queries=50,
        seed=0,
        points=points,
        exact=(ExactTime(1000, 0.5, 0.6), ExactTime(9000, 4.0, 5.0)),
        planned=len(points),
        made="2026-11-22T21:40:00Z",
        machine=machine,
        versions={"python": "3"},
    )
