"""Stored judged sets, found by name. Only this module reads or writes <home>/.sets/.

<home>/.sets/<name>/            the files of the released format (see corpus.judged_sets.released)
<home>/.sets/<name>/card.json   the set's summary, and the files that it was made of
"""

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import humanize
from pydantic import TypeAdapter

from components.atlas.paths import NAME, home, home_errors
from corpus.io.files import write_text
from corpus.judged_sets.model import DataIssue, JudgedSet, SetError
from corpus.judged_sets.released import FACETS_TOGETHER, file_kind, read_released, released_files, write_released
from corpus.progress import Progress, no_progress

IR_DATASETS = "ir:"  # prefix of the id of a set of ir_datasets
MAX_FILES_BYTES = 4 * 2**30  # of all files of a stored set
MAX_FILES = 20  # CSFCube has seven
_CARD = "card.json"
_MAX_CARD_BYTES = 2**20  # the rules may have 20,000 characters
_PART_BYTES = 2**20
_WORK_AGE_S = 86_400  # after which an unfinished set is deleted


@dataclass(frozen=True, slots=True)
class SetCard:
    """The summary of a stored set.

    facets: empty where it has none; else papers, pools, splits and handled are those of all facets together. splits:
    the number of queries of each. bytes: on disk.
    """

    name: str
    facets: tuple[str, ...]
    splits: Mapping[str, int]
    papers: int
    pools: int
    candidates: int
    origin: str
    relevant_from: int
    rules: str
    handled: tuple[DataIssue, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class _CardFile:
    """files: name, bytes and time of change (ns) of each file of the set, by which a changed one is noticed."""

    files: tuple[tuple[str, int, int], ...]
    card: SetCard


_CARD_FILE = TypeAdapter(_CardFile)


def set_names() -> list[str]:
    """The names of the stored sets, sorted."""
    with suppress(OSError):
        return sorted(path.name for path in _root().iterdir() if NAME.fullmatch(path.name) and _is_folder(path))
    return []


def read_set(name: str, *, data: Path | None = None, facet: str = "", progress: Progress = no_progress) -> JudgedSet:
    """A judged set, by its stored name, or by "ir:" and an id of ir_datasets.

    data: a folder of the released format, read in place of a stored set; `name` may then be "". facet: as in
    `read_released`. Raises SetError, which names the stored sets where this is none, and what `progress` raises.
    """
    if data is not None:
        return read_released(data, name=name, facet=facet, progress=progress)
    if name.startswith(IR_DATASETS):
        from corpus.judged_sets.ir_pools import read_ir_dataset

        if facet:
            raise SetError(f"{name} has no facets, so no {facet!r}. Leave the facet out.")
        return read_ir_dataset(name.removeprefix(IR_DATASETS), progress=progress)
    # Evaluations find a set by its stored name, which need not be that of its files.
    return replace(read_released(_stored(name), facet=facet, progress=progress), name=name)


def describe(name: str, *, progress: Progress = no_progress) -> SetCard:
    """The summary of a stored set, computed again only when its files have changed. Raises SetError."""
    folder = _stored(name)
    files = _files_of(folder)
    path = folder / _CARD
    with suppress(OSError, ValueError):
        if path.stat().st_size <= _MAX_CARD_BYTES:
            stored = _CARD_FILE.validate_json(path.read_bytes())
            if stored.files == files:
                return replace(stored.card, name=name)
    card = _card(folder, name=name, progress=progress)
    with suppress(OSError):  # a read-only folder
        _write_card(folder, card)
    return card


def keep_set(judged: JudgedSet, name: str) -> SetCard:
    """Store a set. Raises SetError where the name is invalid or taken, NoSpaceLeft, CannotWrite."""
    with _new_set(name) as work:
        write_released(replace(judged, name=name), work)
    return describe(name)


def keep_files(name: str, files: Mapping[str, BinaryIO], *, progress: Progress = no_progress) -> SetCard:
    """Store a set from its files, by their names; nothing is stored of a set that cannot be read.

    Raises SetError for a name that is not one of a released set's files, for too many bytes, and as `read_released`
    does; NoSpaceLeft, CannotWrite, and what `progress` raises.
    """
    if unknown := [file for file in files if file_kind(file) is None]:
        raise SetError(
            f"{unknown[0]!r:.80} is not a file of a judged set. Give abstracts-<set>.jsonl, test-pid2anns-<set>.json "
            "and, where they exist, <set>-evaluation_splits.json, <set>-queries-release.csv and set.json. To make a "
            "set of your own judgements: cocite judged-sets make plain --help"
        )
    if len(files) > MAX_FILES:
        raise SetError(f"These are {len(files)} files; a set has at most {MAX_FILES}. Give one set at a time.")
    with _new_set(name) as work:
        left = MAX_FILES_BYTES
        for file, content in files.items():
            with (work / file).open("xb") as target:
                while part := content.read(_PART_BYTES):
                    left -= len(part)
                    if left < 0:
                        limit = humanize.naturalsize(MAX_FILES_BYTES, binary=True)
                        raise SetError(f"{file}: the files exceed {limit} together. Give a smaller set.")
                    target.write(part)
        released_files(work, called="The upload")  # so that errors do not name the temporary folder
        _write_card(work, _card(work, name=name, progress=progress))
    return describe(name, progress=progress)


def delete_set(name: str) -> None:
    """Delete a stored set, if there is one; its evaluations stay. Raises SetError for an invalid name."""
    gone = _root() / f".gone-{secrets.token_hex(8)}"
    with home_errors(), suppress(FileNotFoundError):
        _folder(name).rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def check_new_name(name: str) -> None:
    """Raise SetError where a new set cannot have this name."""
    if _folder(name).exists():
        raise SetError(f"There is a judged set {name!r} already. Give this one another name, or delete that one.")


def _root() -> Path:
    return home() / ".sets"


def _folder(name: str) -> Path:
    if not NAME.fullmatch(name):
        raise SetError(
            f"{name!r:.80} cannot be the name of a set: use up to 64 of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    return _root() / name


def _stored(name: str) -> Path:
    folder = _folder(name)
    if not _is_folder(folder):
        known = ", ".join(set_names()) or "none yet"
        raise SetError(f"There is no judged set {name!r}. Stored sets: {known}.")
    return folder


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@contextmanager
def _new_set(name: str) -> Iterator[Path]:
    """A temporary folder, renamed to that of the set when the body succeeds."""
    check_new_name(name)
    with home_errors():
        _delete_unfinished()
        work = _root() / f".new-{secrets.token_hex(8)}"
        work.mkdir(parents=True)
        try:
            yield work
            try:
                work.rename(_folder(name))
            except OSError:  # a folder that is not empty is never replaced: another process was faster
                check_new_name(name)
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _delete_unfinished() -> None:
    """Delete what a killed process left while it stored or deleted a set."""
    for path in _root().glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in _root().glob(".new-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _WORK_AGE_S:
                shutil.rmtree(path, ignore_errors=True)


def _card(folder: Path, *, name: str, progress: Progress) -> SetCard:
    facets = released_files(folder).facets
    judged = read_released(folder, facet=FACETS_TOGETHER if facets else "", progress=progress)
    return SetCard(
        name=name,
        facets=facets,
        splits={split: sum(map(len, folds)) for split, folds in judged.splits.items()},
        papers=len(judged.papers),
        pools=len(judged.pools),
        candidates=sum(len(pool.rows) for pool in judged.pools),
        origin=judged.origin,
        relevant_from=judged.relevant_from,
        rules=judged.rules,
        handled=judged.handled,
        bytes=sum(size for _, size, _ in _files_of(folder)),
    )


def _files_of(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """As in `_CardFile`."""
    paths = [path for path in sorted(folder.iterdir()) if path.name != _CARD and path.is_file()]
    return tuple((path.name, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in paths)


def _write_card(folder: Path, card: SetCard) -> None:
    text = json.dumps(asdict(_CardFile(_files_of(folder), card)), ensure_ascii=False) + "\n"
    write_text(folder / _CARD, text.encode("utf-8", "replace").decode())  # names may have lone surrogates
