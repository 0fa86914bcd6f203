"""Judged sets in the format in which RELISH, TRECCOVID-RF, CSFCube and SciDocs were released: read, and written.

abstracts-<d>.jsonl             paper_id, title, abstract (a list of sentences)
test-pid2anns-<d>.json          {query: {"cands": [...], "relevance_adju": [...]}}; <d>-<facet> where judged by facets
<d>-evaluation_splits.json      {"dev": [...], "test": [...]}; by facets and folds for CSFCube
<d>-queries-release.csv         paper_id, topic_ids; may be absent
set.json                        relevant_from, origin, rules, handled: of sets that nobody released
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from corpus.judged_sets.checking import RawPool, Tally, judged_set
from corpus.judged_sets.judged import Handled, HandledKind, JudgedSet, Origin, PoolPaper, SetError
from corpus.judged_sets.reading import Members, grade_in, identifier, json_items, small_json, table_rows
from corpus.judged_sets.texts import read_texts
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean

READING_POOLS = "Reading the judgements"
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
_DEVELOPED_ON = "dev"  # of folds, the first alone: what one is developed on, another is tested on
_LONGEST_RULES = 20_000  # characters
_LONGEST_EXAMPLE = 1_000  # characters of a name
_LONGEST_SPLIT = 64  # characters of its name


@dataclass(frozen=True, slots=True)
class ReleasedFiles:
    """The files of one set in a folder. pools: by facet; "" where there are none."""

    name: str
    texts: Path
    pools: Mapping[str, Path]
    splits: Path | None
    queries: Path | None
    settings: Path | None

    @property
    def facets(self) -> tuple[str, ...]:
        """By which the set judges a paper; empty where it has none."""
        return tuple(facet for facet in self.pools if facet)


def file_kind(name: str) -> FileKind | None:
    """Which file of a released set has this name; None for any other. A name that is one is no path.

    >>> file_kind("abstracts-relish.jsonl.gz"), file_kind("../abstracts-relish.jsonl")
    ('texts', None)
    """
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(name)), None)


def released_files(folder: Path, *, name: str = "", called: str = "") -> ReleasedFiles:
    """The files of a set; of the only one in the folder where no name is given. called: what errors call the folder.

    Raises SetError.
    """
    place = called or str(folder)
    try:
        there = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError as error:
        raise SetError(f"{folder} is no folder that can be read. Give the one with the set's files.") from error
    found: dict[str, Path] = {}
    twins: dict[str, tuple[Path, Path]] = {}  # two files of texts for one set
    for path in there.values():
        if m := _PATTERNS["texts"].fullmatch(path.name):
            if m["name"] in found:
                twins[m["name"]] = found[m["name"]], path
            found[m["name"]] = path
    if name and name not in found:
        told = f"It has those of: {', '.join(found)}" if found else "Add it, or give another folder"
        raise SetError(f"{place} has no abstracts-{name}.jsonl, the texts of {name}. {told}.")
    if not name and len(found) != 1:
        several = f"the texts of several sets ({', '.join(found)}); give those of one"
        told = several if found else "no abstracts-<set>.jsonl"
        raise SetError(f"{place} has {told}. A set has abstracts-<set>.jsonl and test-pid2anns-<set>.json.")
    name = name or next(iter(found))
    if name in twins:
        raise _twins(*twins[name])
    pools: dict[str, Path] = {}
    for file, path in there.items():
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
            both = [there[file] for file in (wanted, f"{wanted}.gz") if file in there]
            if len(both) == 2:
                raise _twins(*both)
            if both:
                return both[0]
        return None

    return ReleasedFiles(
        name=name,
        texts=found[name],
        pools={"": pools[""]} if "" in pools else dict(sorted(pools.items())),
        splits=first(f"{name}-evaluation_splits.json", "evaluation_splits.json"),
        queries=first(f"{name}-queries-release.csv"),
        settings=there.get(SETTINGS),
    )


def _twins(one: Path, other: Path) -> SetError:
    return SetError(f"{one.name} and {other.name} are for the same. Keep one of them.")


def relevant_grade(name: str) -> int:
    """The lowest grade that is relevant in a set of that name, as its makers say; 1 in any other."""
    return _RELEVANT_FROM.get(name, 1)


def is_released(name: str) -> bool:
    """Whether a set of that name was released in this format."""
    return name in _RELEVANT_FROM or _SCIDOCS.fullmatch(name) is not None


def read_released(folder: Path, *, name: str = "", facet: str = "", progress: Progress = no_progress) -> JudgedSet:
    """The set in a folder. name: found from the files where it is empty.

    facet: of a set that judges by facets, one of them, or "all" for all together; queries are then called <id>_<facet>.
    Without a file of splits, all queries are the split "all". Raises SetError, and what `progress` does.
    """
    files = released_files(folder, name=name)
    chosen = _chosen(files, facet)
    settings = _settings(files)
    splits = _splits(files, facet)
    groups = _groups(files)
    tally = Tally(settings.handled)
    papers = read_texts(files.texts, tally=tally, progress=progress)
    return judged_set(
        name=files.name,
        facet=facet,
        origin=settings.origin,
        papers=papers,
        pools=(pool for one in chosen for pool in _pools(files.pools[one], one, groups, papers, progress)),
        splits=splits,
        relevant_from=settings.relevant_from,
        rules=settings.rules,
        more_handled=tally.handled(),
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    relevant_from: int
    origin: Origin
    rules: str = ""
    handled: tuple[Handled, ...] = ()


def _chosen(files: ReleasedFiles, facet: str) -> Sequence[str]:
    if not files.facets:
        if facet:
            raise SetError(f"{files.name} has no facets, and so no {facet!r}. Ask for it without one.")
        return ("",)
    if facet == FACETS_TOGETHER:
        return files.facets
    if facet not in files.facets:
        told = f"no facet {facet!r}" if facet else "facets"
        raise SetError(f"{files.name} has {told}. Choose one: {', '.join(files.facets)}, or {FACETS_TOGETHER}.")
    return (facet,)


def _settings(files: ReleasedFiles) -> _Settings:
    if files.settings is None:
        return _Settings(relevant_grade(files.name), "released" if is_released(files.name) else "own")
    raw = small_json(files.settings)
    place = files.settings.name
    if not isinstance(raw, dict):
        raise SetError(f"{place}: it should be an object with relevant_from, origin and rules. Correct it.")
    grade, origin, rules = grade_in(raw.get("relevant_from", 1)), raw.get("origin", "own"), raw.get("rules", "")
    if not grade:
        raise SetError(f"{place}: relevant_from is {raw['relevant_from']!r:.40}; it is a grade, 1 or more. Correct it.")
    if origin not in ("constructed", "own"):
        raise SetError(f"{place}: origin is {origin!r:.40}; it is constructed or own. Correct it, or delete the file.")
    if not isinstance(rules, str) or len(rules) > _LONGEST_RULES:
        raise SetError(f"{place}: rules should be a text of at most {_LONGEST_RULES:,} characters. Correct it.")
    return _Settings(grade, origin, rules, _handled(raw.get("handled", []), place=place))


def _handled(raw: object, *, place: str) -> tuple[Handled, ...]:
    """What was met when the set was made."""
    found = []
    for one in raw if isinstance(raw, list) else [None]:
        kind, count, examples = (
            (one.get(key) for key in ("kind", "count", "examples")) if isinstance(one, dict) else "???"
        )
        if (
            kind not in get_args(HandledKind)
            or type(count) is not int
            or not 0 < count < 2**53
            or not isinstance(examples, list)
            or not all(isinstance(name, str) and len(name) <= _LONGEST_EXAMPLE for name in examples)
        ):
            raise SetError(f"{place}: handled should be a list of objects with kind, count and examples. Correct it.")
        found.append(Handled(cast(HandledKind, kind), count, tuple(map(clean, examples[:5]))))
    return tuple(found)


def _pools(
    path: Path, facet: str, groups: Mapping[str, str], papers: Mapping[str, PoolPaper], progress: Progress
) -> Iterator[RawPool]:
    ids = _Ids(papers)
    for key, value in json_items(path, stage=READING_POOLS, progress=progress):
        query = identifier(key)
        place = f"{path.name}, query {query[:60]!r}"
        told = dict(value) if isinstance(value, Members) else {}
        candidates, grades = told.get("cands"), told.get("relevance_adju")
        if not query or not isinstance(candidates, list) or not isinstance(grades, list):
            raise SetError(f'{place}: it should be {{"cands": [ids], "relevance_adju": [grades]}}. Correct it.')
        if len(candidates) != len(grades):
            raise SetError(
                f"{place}: {len(candidates):,} candidates and {len(grades):,} grades. Give each candidate one."
            )
        yield RawPool(
            query=f"{query}_{facet}" if facet else query,
            paper=query,
            candidates=ids.of(candidates, place=place),
            grades=whole_grades(grades, place=place),
            group=facet or groups.get(query, ""),
        )


def whole_grades(grades: list[Any], *, place: str) -> list[int]:
    """Grades that are whole numbers, 0 or more. Raises SetError for any that is not."""
    if set(map(type, grades)) <= {int} and min(grades, default=0) >= 0:
        return grades
    found = []
    for grade in grades:
        whole = grade_in(grade)
        if whole is None:
            raise SetError(f"{place}: {grade!r:.40} is no grade. Grades are whole numbers, 0 or more: correct it.")
        found.append(whole)
    return found


class _Ids:
    """Ids of candidates as this project keeps them; those of the papers are looked up, which is all but always."""

    def __init__(self, papers: Mapping[str, PoolPaper]) -> None:
        self._known = {id: id for id in papers}

    def of(self, values: list[Any], *, place: str) -> list[str]:
        if set(map(type, values)) <= {str}:
            found = list(map(self._known.get, values))
            if None not in found:
                return found  # type: ignore[return-value]
        return [self._of(value, place) for value in values]

    def _of(self, value: object, place: str) -> str:
        id = identifier(value)
        if not id:
            raise SetError(f"{place}: {value!r:.40} is no id of a candidate. Ids are texts or numbers: correct it.")
        return self._known.get(id, id)


def _splits(files: ReleasedFiles, facet: str) -> dict[str, list[list[str]]]:
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
        if not 0 < len(key) <= _LONGEST_SPLIT:
            raise SetError(f"{place}: {name[:80]!r} is no name of a split: use 1 to {_LONGEST_SPLIT} characters.")
        queries = [identifier(query) for query in value] if isinstance(value, list) else [""]
        if not all(queries):
            raise SetError(f"{place}: {key[:40]!r} should be a list of ids of queries. Correct it.")
        if m := _FOLD.fullmatch(key):
            folds.setdefault(m["split"], {})[int(m["fold"])] = queries
        else:
            splits[key] = [queries]
    for split, by_fold in folds.items():
        ordered = [by_fold[number] for number in sorted(by_fold)]
        splits[split] = ordered[:1] if split == _DEVELOPED_ON else ordered
    return splits


def _groups(files: ReleasedFiles) -> dict[str, str]:
    """The topic of each query, where the file of queries names it."""
    groups: dict[str, str] = {}
    if files.queries is not None:
        for _, row in table_rows(files.queries, stage=READING_POOLS):
            topics = clean(row.get("topic_ids", ""))
            if files.settings is None and re.fullmatch(r"\[['\"\w, ]*\]", topics):  # a list as Python writes it
                topics = ", ".join(re.findall(r"\w+", topics))
            groups[identifier(row.get("paper_id") or row.get("pid"))] = topics
    return groups
