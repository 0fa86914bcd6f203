"""Judged sets written in the released format, each file whole or not at all; `read_released` gives the same again."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from corpus.judged_sets.judged import HandledKind, JudgedSet, Pool, SetError
from corpus.judged_sets.released import FACETS_TOGETHER, SETTINGS, file_kind, relevant_grade
from corpus.readers.cells import guarded

# What is in the set, and so is met again where it is read; all else was left out, and must not be forgotten.
_MET_AGAIN: frozenset[HandledKind] = frozenset(
    {"title_only", "pool_under_five", "without_positive", "in_two_splits", "query_in_no_split"}
)


def write_released(judged: JudgedSet, folder: Path) -> None:
    """Write a set into a folder, which is made. A set that nobody released, or of which something was left out when it
    was read, gets a set.json beside its files.

    Raises SetError where its name or a facet cannot be part of a file's name, and OSError.
    """
    name = judged.name
    facets = sorted({pool.group for pool in judged.pools}) if judged.facet else [""]
    texts = f"abstracts-{name}.jsonl"
    pool_files = {facet: f"test-pid2anns-{name}{'-' if facet else ''}{facet}.json" for facet in facets}
    if name.endswith("-preds") or not all(file_kind(file) for file in (texts, *pool_files.values())):
        raise SetError(f"{name!r:.80} cannot be the name of a set's files: use a–z, 0–9, '.', '_' and '-'.")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / texts, (_line(paper.id, paper.title, paper.abstract) for paper in judged.papers))
    for facet, file in pool_files.items():
        _write(folder / file, _pools(judged, [pool for pool in judged.pools if not facet or pool.group == facet]))
    _write(folder / f"{name}-evaluation_splits.json", [json.dumps(_splits(judged, facets), indent=1), "\n"])
    if not judged.facet and any(pool.group for pool in judged.pools):
        _write(folder / f"{name}-queries-release.csv", _queries(judged))
    lost = [asdict(one) for one in judged.handled if one.kind not in _MET_AGAIN]
    if judged.origin != "released" or judged.relevant_from != relevant_grade(name) or lost:
        settings = {
            "relevant_from": judged.relevant_from,
            # What stands in these files is no longer what was released.
            "origin": "own" if judged.origin == "released" else judged.origin,
            "rules": judged.rules,
            "handled": lost,
        }
        _write(folder / SETTINGS, [json.dumps(settings, indent=1), "\n"])


def _line(id: str, title: str, abstract: str) -> str:
    return json.dumps({"paper_id": id, "title": title, "abstract": [abstract] if abstract else []}) + "\n"


def _pools(judged: JudgedSet, pools: list[Pool]) -> Iterator[str]:
    ids = [json.dumps(paper.id) for paper in judged.papers]
    yield "{"
    for number, pool in enumerate(pools):
        candidates = ", ".join(ids[row] for row in pool.rows.tolist())
        grades = ", ".join(map(str, pool.grades.tolist()))
        yield f'{"," if number else ""}\n{ids[pool.row]}: {{"cands": [{candidates}], "relevance_adju": [{grades}]}}'
    yield "\n}\n"


def _splits(judged: JudgedSet, facets: list[str]) -> dict[str, object]:
    if not judged.facet:
        return dict(_by_fold(judged, ""))
    return {facet: _by_fold(judged, "" if facet == FACETS_TOGETHER else facet) for facet in (FACETS_TOGETHER, *facets)}


def _by_fold(judged: JudgedSet, facet: str) -> dict[str, list[str]]:
    """The splits of the queries of one facet, or of all, as the file names them: by fold where any has several."""
    group_of = {pool.query: pool.group for pool in judged.pools}
    folded = any(len(folds) > 1 for folds in judged.splits.values())
    return {
        f"fold{number}_{name}" if folded else name: [q for q in fold if not facet or group_of[q] == facet]
        for name, folds in judged.splits.items()
        for number, fold in enumerate(folds or ((),), start=1)
    }


def _queries(judged: JudgedSet) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["paper_id", "topic_ids", "title"])
    for pool in judged.pools:
        paper = judged.papers[pool.row]
        writer.writerow([guarded(paper.id), guarded(pool.group), guarded(paper.title)])
    yield out.getvalue()


def _write(path: Path, pieces: Iterable[str]) -> None:
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
