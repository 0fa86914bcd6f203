"""Judged sets as their makers release them, written by the tests."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.judged_sets.model import DataIssue, JudgedSet


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


def counts(handled: Sequence[DataIssue]) -> dict[str, int]:
    """What was met, how often."""
    return {one.kind: one.count for one in handled}


POOLS = {"1": {"2": 2, "3": 1, "4": 0, "5": 0, "6": 0}, "2": {"1": 0, "3": 2, "4": 2, "5": 1, "6": 0}}
SPLITS = {"dev": ["1"], "test": ["2"]}


def planted(folder: Path, name: str = "relish", **more: Any) -> Path:
    """A small set of two queries and six papers."""
    return release(folder, name, papers=texts(*range(1, 7)), pools=POOLS, splits=SPLITS, **more)


def as_ids(judged: JudgedSet) -> dict[str, dict[str, int]]:
    """The grades of each query's pool, by id."""
    return {
        pool.query: dict(zip((judged.papers[row].id for row in pool.rows), pool.grades.tolist(), strict=True))
        for pool in judged.pools
    }


def cube(folder: Path) -> Path:
    """CSFCube in small: three facets, two folds, queries 1 to 4, of which 4 has no method."""
    write(folder / "abstracts-csfcube-preds.jsonl", texts(*range(1, 9)), lines=True)
    splits: dict[str, dict[str, list[str]]] = {}
    for facet in ("background", "method", "result"):
        asked = [q for q in "1234" if (q, facet) != ("4", "method")]
        pools = {q: {"cands": list("5678"), "relevance_adju": [len(facet) % 4, 1, 0, 3]} for q in asked}
        write(folder / f"test-pid2anns-csfcube-{facet}.json", pools)
        halves = [[f"{q}_{facet}" for q in asked[:2]], [f"{q}_{facet}" for q in asked[2:]]]
        splits[facet] = {
            "fold1_dev": halves[1], "fold1_test": halves[0], "fold2_dev": halves[0], "fold2_test": halves[1],
        }  # fmt: skip
    splits["all"] = {key: [q for facet in splits.values() for q in facet[key]] for key in splits["method"]}
    write(folder / "evaluation_splits.json", splits)
    return folder
