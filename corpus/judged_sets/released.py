"""Judged sets in the format of RELISH, TRECCOVID-RF, CSFCube and SciDocs: read and written.

abstracts-<d>.jsonl             paper_id, title, abstract (a list of sentences)
test-pid2anns-<d>.json          {query: {"cands": [...], "relevance_adju": [...]}}; <d>-<facet> for sets with facets
<d>-evaluation_splits.json      {"dev": [...], "test": [...]}; by facets and folds for CSFCube
<d>-queries-release.csv         paper_id, topic_ids; optional
set.json                        relevant_from, origin, rules, handled: of sets that were not released
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from corpus.io.files import beside
from corpus.judged_sets.files import (
    READING_POOLS,
    Members,
    identifier,
    json_items,
    read_texts,
    small_json,
    table_rows,
    whole_grades,
)
from corpus.judged_sets.model import (
    DataIssue,
    DataIssueKind,
    JudgedSet,
    Origin,
    Pool,
    PoolPaper,
    RawPool,
    SetError,
    Tally,
    judged_set,
)
from corpus.progress import Progress, no_progress
from corpus.text.cells import guard_cell
from corpus.text.plain import clean

SETTINGS = "set.json"
FACETS_TOGETHER = "all"
FileKind = Literal["texts", "pools", "splits", "queries", "settings"]

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}?"
_PATTERNS: dict[FileKind, re.Pattern[str]] = {
    "texts": re.compile(rf"abstracts-(?P<name>{_WORD})(?:-preds)?\.jsonl(?:\.gz)?"),
    "pools": re.compile(rf"test-pid2anns-(?P<name>{_WORD})\.json(?:\.gz)?"),
    "splits": re.compile(rf"(?:(?P<name>{_WORD})-)?evaluation_splits\.json(?:\.gz)?"),
    "queries": re.compile(rf"(?P<name>{_WORD})-queries-release\.csv(?:\.gz)?"),
    "settings": re.compile(r"set\.json"),
}
_RELEVANT_FROM = {"relish": 2, "csfcube": 2, "treccovid": 1}
_SCIDOCS = re.compile(r"scid(?:ocs|cite|cocite|coread|coview)")
_FOLD = re.compile(r"fold(?P<fold>[0-9]{1,3})_(?P<split>.+)")
_DEV = "dev"  # only its first fold is used: one fold's dev queries are another's test queries
_MAX_SPLIT_CHARS = 64


@dataclass(frozen=True, slots=True)
class ReleasedFiles:
    """The files of one set in a folder. pools: by facet; under "" for a set without facets."""

    name: str
    texts: Path
    pools: Mapping[str, Path]
    splits: Path | None
    queries: Path | None
    settings: Path | None

    @property
    def facets(self) -> tuple[str, ...]:
        """The set's facets; empty where it has none."""
        return tuple(facet for facet in self.pools if facet)


def file_kind(name: str) -> FileKind | None:
    """Which file of a released set has this name; None for any other name, and for every path.

    >>> file_kind("abstracts-relish.jsonl.gz"), file_kind("../abstracts-relish.jsonl")
    ('texts', None)
    """
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(name)), None)


def released_files(folder: Path, *, name: str = "", called: str = "") -> ReleasedFiles:
    """The files of a set; without a name, of the only set in the folder. called: the folder's name in errors.

    Raises SetError.
    """
    place = called or str(folder)
    try:
        by_name = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise SetError(f"{folder} cannot be read as a folder. Give the folder with the set's files.") from error
    texts: dict[str, Path] = {}
    twins: dict[str, tuple[Path, Path]] = {}  # two files of texts for one set
    for path in by_name.values():
        if m := _PATTERNS["texts"].fullmatch(path.name):
            if m["name"] in texts:
                twins[m["name"]] = texts[m["name"]], path
            texts[m["name"]] = path
    if name and name not in texts:
        advice = f"It has the texts of: {', '.join(texts)}" if texts else "Add the file, or give another folder"
        raise SetError(f"{place} has no abstracts-{name}.jsonl, the texts of {name}. {advice}.")
    if not name and len(texts) != 1:
        several = f"the texts of several sets ({', '.join(texts)}); name one"
        problem = several if texts else "no abstracts-<set>.jsonl"
        raise SetError(f"{place} has {problem}. A set has abstracts-<set>.jsonl and test-pid2anns-<set>.json.")
    name = name or next(iter(texts))
    if name in twins:
        raise _twins(*twins[name])
    pools: dict[str, Path] = {}
    for file, path in by_name.items():
        if m := _PATTERNS["pools"].fullmatch(file):
            whole = m["name"]
            if whole == name or whole.startswith(f"{name}-"):
                facet = whole.removeprefix(name).removeprefix("-")
                if facet in pools:
                    raise _twins(pools[facet], path)
                pools[facet] = path
    if not pools:
        raise SetError(f"{place} has no test-pid2anns-{name}.json, the judgements of {name}. Add it.")

    def first(*names: str) -> Path | None:
        for wanted in names:
            both = [by_name[file] for file in (wanted, f"{wanted}.gz") if file in by_name]
            if len(both) == 2:
                raise _twins(*both)
            if both:
                return both[0]
        return None

    return ReleasedFiles(
        name=name,
        texts=texts[name],
        pools={"": pools[""]} if "" in pools else dict(sorted(pools.items())),
        splits=first(f"{name}-evaluation_splits.json", "evaluation_splits.json"),
        queries=first(f"{name}-queries-release.csv"),
        settings=by_name.get(SETTINGS),
    )


def _twins(one: Path, other: Path) -> SetError:
    return SetError(f"{one.name} and {other.name} hold the same. Keep one of them.")


def relevant_grade(name: str) -> int:
    """The lowest relevant grade of a released set; 1 for any other."""
    return _RELEVANT_FROM.get(name, 1)


def is_released(name: str) -> bool:
    """Whether a set of that name was released in this format."""
    return name in _RELEVANT_FROM or _SCIDOCS.fullmatch(name) is not None


def read_released(folder: Path, *, name: str = "", facet: str = "", progress: Progress = no_progress) -> JudgedSet:
    """Read the set in a folder. name: taken from the files where it is empty.

    facet: of a set with facets, one of them, or "all" for all together; queries are then named <id>_<facet>.
    Without a file of splits, all queries are the split "all". Raises SetError, and what `progress` raises.
    """
    files = released_files(folder, name=name)
    facets = _facets(files, facet)
    origin: Origin = "released" if is_released(files.name) else "own"
    grade, rules, tally = relevant_grade(files.name), "", Tally()
    if files.settings is not None:
        settings = _settings(files.settings)
        origin, grade, rules = settings.origin, settings.relevant_from, settings.rules
        tally.extend(DataIssue(i.kind, i.count, tuple(map(clean, i.examples[:5]))) for i in settings.handled)
    splits = _read_splits(files, facet)
    groups = _groups(files)
    papers = read_texts(files.texts, tally=tally, progress=progress)
    return judged_set(
        name=files.name,
        facet=facet,
        origin=origin,
        papers=papers,
        pools=(pool for name in facets for pool in _read_pools(files.pools[name], name, groups, papers, progress)),
        splits=splits,
        relevant_from=grade,
        rules=rules,
        more_handled=tally.handled(),
    )


class _Issue(BaseModel):
    kind: DataIssueKind
    count: Annotated[int, Field(strict=True, gt=0, lt=2**53)]
    examples: list[Annotated[str, Field(max_length=1_000)]]


class _Settings(BaseModel):
    """set.json: what the other files cannot say of a set that was not released."""

    relevant_from: Annotated[int, Field(ge=1)] = 1
    origin: Literal["constructed", "own"] = "own"
    rules: Annotated[str, Field(max_length=20_000)] = ""
    handled: list[_Issue] = []


def _facets(files: ReleasedFiles, facet: str) -> Sequence[str]:
    if not files.facets:
        if facet:
            raise SetError(f"{files.name} has no facets, so no {facet!r}. Leave the facet out.")
        return ("",)
    if facet == FACETS_TOGETHER:
        return files.facets
    if facet not in files.facets:
        problem = f"no facet {facet!r}" if facet else "facets"
        raise SetError(f"{files.name} has {problem}. Choose one: {', '.join(files.facets)}, or {FACETS_TOGETHER}.")
    return (facet,)


def _settings(path: Path) -> _Settings:
    try:
        return _Settings.model_validate(small_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise SetError(f"{path.name}: {field}: {first['msg']}. Correct it, or delete the file.") from error


def _read_pools(
    path: Path, facet: str, groups: Mapping[str, str], papers: Mapping[str, PoolPaper], progress: Progress
) -> Iterator[RawPool]:
    ids = _Ids(papers)
    for key, value in json_items(path, stage=READING_POOLS, progress=progress):
        query = identifier(key)
        place = f"{path.name}, query {query[:60]!r}"
        judgements = dict(value) if isinstance(value, Members) else {}
        candidates, grades = judgements.get("cands"), judgements.get("relevance_adju")
        if not query or not isinstance(candidates, list) or not isinstance(grades, list):
            raise SetError(f'{place}: it should be {{"cands": [ids], "relevance_adju": [grades]}}. Correct it.')
        if len(candidates) != len(grades):
            raise SetError(
                f"{place}: {len(candidates):,} candidates and {len(grades):,} grades. Give each candidate one grade."
            )
        yield RawPool(
            query=f"{query}_{facet}" if facet else query,
            paper=query,
            candidates=ids.of(candidates, place=place),
            grades=whole_grades(grades, place=place),
            group=facet or groups.get(query, ""),
        )


class _Ids:
    """Cleans ids of candidates; those of known papers, nearly all, by a lookup."""

    def __init__(self, papers: Mapping[str, PoolPaper]) -> None:
        self._known = {id: id for id in papers}

    def of(self, values: list[Any], *, place: str) -> list[str]:
        if set(map(type, values)) <= {str}:
            known = list(map(self._known.get, values))
            if None not in known:
                return known  # type: ignore[return-value]
        return [self._of(value, place) for value in values]

    def _of(self, value: object, place: str) -> str:
        id = identifier(value)
        if not id:
            raise SetError(f"{place}: {value!r:.40} is not an id of a candidate. Ids are texts or numbers: correct it.")
        return self._known.get(id, id)


def _read_splits(files: ReleasedFiles, facet: str) -> dict[str, list[list[str]]]:
    if files.splits is None:
        return {}
    raw, place = small_json(files.splits), files.splits.name
    if files.facets and isinstance(raw, dict):
        if facet not in raw:
            raise SetError(f"{place}: it has no splits for {facet!r}, only for {', '.join(raw)[:200]}. Correct it.")
        raw = raw[facet]
    if not isinstance(raw, dict):
        raise SetError(f"{place}: it should be an object of splits, each a list of queries. Correct it.")
    splits: dict[str, list[list[str]]] = {}
    folds: dict[str, dict[int, list[str]]] = {}
    for name, value in raw.items():
        key = clean(name)
        if not 0 < len(key) <= _MAX_SPLIT_CHARS:
            raise SetError(f"{place}: {name[:80]!r} is not a name of a split: use 1 to {_MAX_SPLIT_CHARS} characters.")
        queries = [identifier(query) for query in value] if isinstance(value, list) else [""]
        if not all(queries):
            raise SetError(f"{place}: {key[:40]!r} should be a list of ids of queries. Correct it.")
        if m := _FOLD.fullmatch(key):
            folds.setdefault(m["split"], {})[int(m["fold"])] = queries
        else:
            splits[key] = [queries]
    for split, by_fold in folds.items():
        ordered = [by_fold[number] for number in sorted(by_fold)]
        splits[split] = ordered[:1] if split == _DEV else ordered
    return splits


def _groups(files: ReleasedFiles) -> dict[str, str]:
    """The topic of each query, where the file of queries has it."""
    groups: dict[str, str] = {}
    if files.queries is not None:
        for _, row in table_rows(files.queries, stage=READING_POOLS):
            topics = clean(row.get("topic_ids", ""))
            if files.settings is None and re.fullmatch(r"\[['\"\w, ]*\]", topics):  # a list as Python writes it
                topics = ", ".join(re.findall(r"\w+", topics))
            groups[identifier(row.get("paper_id") or row.get("pid"))] = topics
    return groups


# Writing

# Issues that reading the written files finds again. The others were left out and are recorded in set.json.
_FOUND_AGAIN: frozenset[DataIssueKind] = frozenset(
    {"title_only", "pool_under_five", "without_positive", "in_two_splits", "query_in_no_split"}
)


def write_released(judged: JudgedSet, folder: Path) -> None:
    """Write a set to a folder, which is created, each file atomically; `read_released` gives the same set.

    A set that was not released, or of which something was left out, gets a set.json. Raises SetError where its name or
    a facet cannot be part of a file's name, and OSError.
    """
    name = judged.name
    facets = sorted({pool.group for pool in judged.pools}) if judged.facet else [""]
    texts = f"abstracts-{name}.jsonl"
    pool_files = {facet: f"test-pid2anns-{name}{'-' if facet else ''}{facet}.json" for facet in facets}
    if name.endswith("-preds") or not all(file_kind(file) for file in (texts, *pool_files.values())):
        raise SetError(f"{name!r:.80} cannot be the name of a set's files: use a–z, 0–9, '.', '_' and '-'.")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / texts, map(_paper_line, judged.papers))
    for facet, file in pool_files.items():
        _write(folder / file, _pool_lines(judged, [pool for pool in judged.pools if not facet or pool.group == facet]))
    _write(folder / f"{name}-evaluation_splits.json", [json.dumps(_splits_of(judged, facets), indent=1), "\n"])
    if not judged.facet and any(pool.group for pool in judged.pools):
        _write(folder / f"{name}-queries-release.csv", _queries(judged))
    left_out = [asdict(issue) for issue in judged.handled if issue.kind not in _FOUND_AGAIN]
    if judged.origin != "released" or judged.relevant_from != relevant_grade(name) or left_out:
        settings = {
            "relevant_from": judged.relevant_from,
            # These files no longer hold what was released.
            "origin": "own" if judged.origin == "released" else judged.origin,
            "rules": judged.rules,
            "handled": left_out,
        }
        _write(folder / SETTINGS, [json.dumps(settings, indent=1), "\n"])


def _paper_line(paper: PoolPaper) -> str:
    abstract = [paper.abstract] if paper.abstract else []
    return json.dumps({"paper_id": paper.id, "title": paper.title, "abstract": abstract}) + "\n"


def _pool_lines(judged: JudgedSet, pools: list[Pool]) -> Iterator[str]:
    ids = [json.dumps(paper.id) for paper in judged.papers]
    yield "{"
    for number, pool in enumerate(pools):
        candidates = ", ".join(ids[row] for row in pool.rows.tolist())
        grades = ", ".join(map(str, pool.grades.tolist()))
        yield f'{"," if number else ""}\n{ids[pool.row]}: {{"cands": [{candidates}], "relevance_adju": [{grades}]}}'
    yield "\n}\n"


def _splits_of(judged: JudgedSet, facets: list[str]) -> dict[str, object]:
    if not judged.facet:
        return dict(_by_fold(judged, ""))
    return {facet: _by_fold(judged, "" if facet == FACETS_TOGETHER else facet) for facet in (FACETS_TOGETHER, *facets)}


def _by_fold(judged: JudgedSet, facet: str) -> dict[str, list[str]]:
    """The splits of one facet's queries, or of all, by fold where any split has several folds."""
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
        writer.writerow([guard_cell(paper.id), guard_cell(pool.group), guard_cell(paper.title)])
    yield out.getvalue()


def _write(path: Path, pieces: Iterable[str]) -> None:
    with beside(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.writelines(pieces)
