"""Judged sets as their makers release them, written by the tests."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.pools import Handled


def write(path: Path, content: object, *, lines: bool = False) -> None:
    """JSON, or a line of it for each member; gzip where the name ends in .gz."""
    text = "".join(json.dumps(one) + "\n" for one in content) if lines else json.dumps(content)  # type: ignore[attr-defined]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def texts(*ids: object) -> list[dict[str, Any]]:
    """A record of abstracts-<d>.jsonl for each id."""
    return [{"paper_id": id, "title": f"Title {id}", "abstract": [f"First of {id}.", "Second."]} for id in ids]


def release(
    folder: Path,
    name: str,
    *,
    papers: Sequence[Mapping[str, Any]],
    pools: Mapping[str, Mapping[str, int]],
    splits: object = None,
    packed: str = "",
) -> Path:
    """The files of a set without facets. packed: ".gz", or nothing."""
    write(folder / f"abstracts-{name}.jsonl{packed}", papers, lines=True)
    judged = {query: {"cands": [*pool], "relevance_adju": [*pool.values()]} for query, pool in pools.items()}
    write(folder / f"test-pid2anns-{name}.json{packed}", judged)
    if splits is not None:
        write(folder / f"{name}-evaluation_splits.json{packed}", splits)
    return folder


def counts(handled: Sequence[Handled]) -> dict[str, int]:
    """What was met, how often."""
    return {one.kind: one.count for one in handled}
