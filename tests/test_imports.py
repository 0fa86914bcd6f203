"""What each entry point loads: heavy packages are imported where they are used, so that light things stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "accelerate", "bibtexparser", "hnswlib", "httpx2", "lxml", "numba", "pandas", "plotly", "pyarrow", "pylatexenc",
    "rich", "scipy", "sklearn", "streamlit", "torch", "transformers", "umap",
}  # fmt: skip
# Module → the heavy packages that it may load, itself or through others.
ALLOWED = {
    "corpus.paper": {"pyarrow"},
    "corpus.identifiers": set(),
    "corpus.progress": set(),
    "corpus.readers": {"pyarrow"},
    "corpus.sources": set(),
    "components.encoder.bi_encoder": {"pyarrow"},
    "components.encoder.catalogue": set(),
    "components.evaluation.metrics": set(),
    "components.atlas.store": {"pyarrow", "hnswlib"},
    "components.search.search": {"pyarrow", "hnswlib"},
    "components.cli.main": {"rich"},
    "components.jobs.store": set(),
    "components.training.settings": set(),
    "components.api.routes": {"pyarrow", "hnswlib"},
}


@pytest.mark.parametrize("module", ALLOWED)
def test_an_entry_point_loads_only_what_it_may(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) <= ALLOWED[module]
