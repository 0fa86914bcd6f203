"""Builds, growth, archives, fetches, pairs and trainings that are killed before any file operation lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash_points import SCENARIOS

ROOT = Path(__file__).resolve().parents[1]
KILLS = 5  # spread over the operations; `make test-all` kills before every one


def kill(name: str, folder: Path, points: int) -> dict[str, int]:
    """Run the harness in a process of its own, with one thread: a fork must not meet others."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "crash_points.py"), name, str(folder), str(points)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **one_thread},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    counts: dict[str, int] = json.loads(process.stdout.splitlines()[-1])
    return counts


@pytest.mark.parametrize("name", SCENARIOS)
def test_work_that_is_killed_is_whole_and_is_taken_up(name: str, tmp_path: Path) -> None:
    counts = kill(name, tmp_path, KILLS)
    assert counts["kills"] == min(KILLS, counts["operations"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_work_that_is_killed_before_any_operation_is_taken_up(name: str, tmp_path: Path) -> None:
    counts = kill(name, tmp_path, 0)
    assert counts["kills"] == counts["operations"]
