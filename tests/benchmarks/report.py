"""Rows of the benchmark's table, percentiles, and a description of the machine."""

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpus.machine import machine_description

PACKAGES = ("streamlit", "torch", "transformers", "hnswlib", "scikit-learn", "numpy", "plotly")


@dataclass(frozen=True, slots=True)
class Row:
    """One measure: ours beside a named peer's, in the same run. peer: None where there is none to compare with.

    more_is_better: what the ratio says; it is above 1 where ours is better.
    """

    part: str
    measure: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better ours is; None without a peer."""
        if self.peer is None or not self.ours or not self.peer:
            return None
        return self.ours / self.peer if self.more_is_better else self.peer / self.ours

    def to_dict(self) -> dict[str, Any]:
        """As plain values, to come from another process."""
        return asdict(self)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile, in milliseconds."""
    p50, p95 = np.percentile(seconds, (50, 95))
    return 1000 * float(p50), 1000 * float(p95)


def table(rows: Sequence[Row]) -> str:
    """All rows as one Markdown table."""
    lines = ["| part | measure | ours | peer | times better | peer is |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        peer = "" if row.peer is None else f"{_number(row.peer)} {row.unit}".rstrip()
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        ours = f"{_number(row.ours)} {row.unit}".rstrip()
        lines.append(f"| {row.part} | {row.measure} | {ours} | {peer} | {ratio} | {row.peer_name} |")
    return "\n".join(lines)


def machine() -> str:
    """The processor, its cores, the memory and the versions, in three lines."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"Machine: {machine_description()}, {memory:.0f} GiB, {platform.system()} {platform.machine()}\n"
        f"Versions: Python {platform.python_version()}, {versions}\n"
        f"Command: {Path(sys.executable).name} tests/benchmarks {' '.join(sys.argv[1:])}".rstrip()
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.4f}"
