"""Corpora and their atlases: one for every encoder, those whose building was stopped, and taking one away."""

import contextlib
import hashlib
import json
import re
import shutil
import unicodedata
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import filelock
import numpy as np

from components.atlas import paths, store
from components.atlas.manifest import MAX_TITLE_CHARS, PRECISIONS, Manifest
from components.atlas.paths import NoSuchAtlas
from components.encoder import CATALOGUE
from corpus.errors import CociteAtlasError
from corpus.io.files import write_text

_LONGEST_NAME = 64
_LONGEST_SLUG = 40  # of a corpus's name, so that an encoder's fits behind it
_REQUEST = "request.json"
_LARGEST_REQUEST = 64 * 1024  # bytes; a path of an encoder is the longest thing in it

Kind = Literal["build", "add"]


class AtlasKept(CociteAtlasError):
    """The default atlas, which is not taken away: it would be assembled again at the next start."""


class BadTitle(CociteAtlasError):
    """A title of a corpus that is empty or too long."""


# Which there are


def atlas_name_for(corpus: str, encoder: str, *, precision: str = "float32") -> str:
    """The name of the atlas of a corpus by an encoder: `<corpus>--<encoder>`, 64 characters at most.

    encoder: a catalogue name, or where its folder or zip lies; that is told by its last part and a hash of all of it.

    >>> atlas_name_for("medline", "tfidf-svd")
    'medline--tfidf-svd'
    >>> atlas_name_for("medline", "specter", precision="bfloat16")
    'medline--specter-bfloat16'
    >>> atlas_name_for("medline", "/models/My Model.zip")
    'medline--my-model.zip-f8319e78'
    """
    told = encoder
    if encoder not in CATALOGUE:
        slug = re.sub(r"[^a-z0-9._-]+", "-", Path(encoder).name.lower()).strip("-") or "encoder"
        told = f"{slug}-{_short_hash(encoder)}"
    if precision != "float32":
        told = f"{told}-{precision}"
    name = f"{corpus}--{told}"
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 9]}-{_short_hash(name)}"
    return name


def atlases_of(corpus: str) -> list[Manifest]:
    """The atlases of a corpus that can be read: the one of its own name first, the others by name."""
    found = [manifest for manifest in _manifests() if manifest.corpus == corpus]
    return sorted(found, key=lambda manifest: (manifest.name != corpus, manifest.name))


def corpora() -> list[str]:
    """The corpora of all atlases that can be read, sorted."""
    return sorted({manifest.corpus for manifest in _manifests()})


def corpus_titles() -> dict[str, str]:
    """What people call each corpus, by its name, sorted by name."""
    titles: dict[str, str] = {}
    for manifest in _manifests():
        if manifest.corpus not in titles or manifest.name == manifest.corpus:
            titles[manifest.corpus] = manifest.display_title
    return dict(sorted(titles.items()))


def free_name(title: str, *, taken: Collection[str] = ()) -> str:
    """A name for a new corpus, made of its title, that no atlas, no unfinished build and none of `taken` has.

    >>> free_name("Sjögren’s syndrome: a library"), free_name("文献")
    ('sjogrens-syndrome-a-library', 'corpus')
    """
    decomposed = unicodedata.normalize("NFKD", title.lower()).replace("'", "").replace("’", "")
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-") or "corpus"
    used = {paths.DEFAULT_ATLAS, *taken, *paths.atlas_names(), *corpora()}
    used |= {work.parent.name for work in paths.work_folders()}
    number, name = 1, slug
    while name in used:
        number += 1
        name = f"{slug}-{number}"
    return name


def rename_corpus(corpus: str, title: str) -> None:
    """Give a corpus another title, in every atlas of it or in none. Its name, and links to it, stay as they are.

    Raises BadTitle, NoSuchAtlas where there is no such corpus, AtlasBusy, AtlasKept for the default corpus; OSError.
    """
    plain = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    if not 0 < len(plain) <= MAX_TITLE_CHARS:
        raise BadTitle(f"A title has between 1 and {MAX_TITLE_CHARS} characters; this has {len(plain)}.")
    if corpus == paths.DEFAULT_ATLAS:
        raise AtlasKept(f"{corpus!r} is the default corpus: it is shipped under its name.")
    found = atlases_of(corpus)
    if not found:
        raise NoSuchAtlas(f"No corpus is called {corpus!r}, so there is nothing to rename.")
    with contextlib.ExitStack() as held:
        for manifest in found:
            held.enter_context(paths.build_lock(manifest.name))
        for manifest in found:
            now = store.read_manifest(manifest.name)  # a build may have ended before the lock was ours
            write_text(paths.atlas_folder(now.name) / paths.MANIFEST, replace(now, title=plain).to_json())


def delete_corpus(corpus: str) -> None:
    """Take all atlases of a corpus away, the one of its own name last.

    Raises AtlasKept for the default corpus, NoSuchAtlas, AtlasBusy; OSError.
    """
    if corpus == paths.DEFAULT_ATLAS:
        raise AtlasKept(f"{corpus!r} is the default corpus: it is shipped, and assembled again at the next start.")
    found = atlases_of(corpus)
    if not found:
        raise NoSuchAtlas(f"No corpus is called {corpus!r}, so there is nothing to delete.")
    for manifest in reversed(found):
        delete_atlas(manifest.name)


def disk_use(name: str) -> int:
    """Bytes that an atlas takes on the disk, the work of a build under way among them; 0 where there is none."""
    total = 0
    with contextlib.suppress(OSError):  # a folder that is taken away meanwhile ends the walk
        for path in paths.atlas_folder(name).rglob("*"):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size if path.is_file() else 0
    return total


def delete_atlas(name: str) -> None:
    """Take an atlas away, and the work of its unfinished builds. Its manifest goes first: then it is no atlas.

    Whoever has it open keeps it. Raises AtlasKept for the default atlas, AtlasBusy, NoSuchAtlas; OSError where its
    manifest may not be removed.
    """
    if name == paths.DEFAULT_ATLAS:
        raise AtlasKept(f"{name!r} is the default atlas: it is shipped, and assembled again at the next start.")
    folder = paths.atlas_folder(name)
    if not (folder / paths.MANIFEST).is_file():
        raise NoSuchAtlas(f"No atlas is called {name!r}, so there is nothing to delete.")
    with paths.build_lock(name):
        (folder / paths.MANIFEST).unlink(missing_ok=True)
        _clear(folder)


def being_built(name: str) -> bool:
    """Whether a process, this one among them, is building the atlas of a name at this moment."""
    path = paths.atlas_folder(name) / paths.LOCK
    if not path.is_file():
        return False
    try:
        with filelock.FileLock(path, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # a home that may only be read: nobody builds there
        return False


# Unfinished builds


@dataclass(frozen=True, slots=True)
class Request:
    """What a build was asked for, kept in its work folder.

    base: the atlas whose papers are encoded again, or to which papers are added; empty for a build from files.
    encoder: a catalogue name, or where its folder or zip lies (absolute). started: ISO 8601, UTC. papers: to encode;
    0 until they are read. kind: "add" where papers are added to an atlas. Requests from before that lack it.
    """

    corpus: str
    base: str
    encoder: str
    precision: str
    started: str
    papers: int = 0
    kind: Kind = "build"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A build that was stopped or killed, and goes on when the same is asked for again.

    rows_done: of rows_total papers that are encoded already; rows_total is 0 where they were not read to the end.
    kind: "add" where papers are added to the atlas `name`, which is the base, too.
    """

    name: str
    corpus: str
    base: str
    encoder: str
    precision: str
    rows_done: int
    rows_total: int
    started: datetime
    kind: Kind = "build"


def note_request(
    work: Path, *, corpus: str, base: str, encoder: str, precision: str, papers: int = 0, kind: Kind = "build"
) -> None:
    """Write into a work folder what is being built there, as of now."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    request = Request(corpus, base, encoder, precision, started, papers, kind)
    write_text(work / _REQUEST, json.dumps(asdict(request), indent=1) + "\n")


def unfinished() -> list[Unfinished]:
    """The builds that were stopped or killed, the last one begun first; not those that are under way."""
    found: list[Unfinished] = []
    for work in paths.work_folders():
        request = _read_request(work / _REQUEST)
        name = work.parent.name
        if request is None or being_built(name):
            continue
        found.append(
            Unfinished(
                name=name,
                corpus=request.corpus,
                base=request.base,
                encoder=request.encoder,
                precision=request.precision,
                rows_done=min(_rows_done(work), request.papers),
                rows_total=request.papers,
                started=datetime.fromisoformat(request.started),
                kind=request.kind,
            )
        )
    return sorted(found, key=lambda build: build.started, reverse=True)


def discard_unfinished(name: str) -> None:
    """Throw away what unfinished builds of an atlas have done; the atlas itself stays.

    Raises AtlasBusy, NoSuchAtlas.
    """
    folder = paths.atlas_folder(name)
    if not folder.is_dir():
        raise NoSuchAtlas(f"No atlas is called {name!r}, and none of that name was begun.")
    with paths.build_lock(name):
        for work in paths.work_folders(name):
            shutil.rmtree(work, ignore_errors=True)


def discard_additions(name: str) -> None:
    """Throw away what unfinished additions to an atlas have done. The caller holds its build lock."""
    for work in paths.work_folders(name):
        request = _read_request(work / _REQUEST)
        if request is not None and request.kind == "add":
            shutil.rmtree(work, ignore_errors=True)


def _manifests() -> list[Manifest]:
    found = []
    for name in paths.atlas_names():
        # A damaged one is told of where it is opened by name; here it must not hide the others.
        with contextlib.suppress(CociteAtlasError):
            found.append(store.read_manifest(name))
    return found


def _clear(folder: Path) -> None:
    """Empty an atlas's folder, but for the lock that is held: without it two could hold one."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != paths.LOCK:
            path.unlink(missing_ok=True)


def _read_request(path: Path) -> Request | None:
    """The request in a file; None where there is none that can be trusted."""
    try:
        if path.stat().st_size > _LARGEST_REQUEST:
            return None
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        request = Request(**raw)
        texts = (request.corpus, request.base, request.encoder, request.precision, request.started)
        if not all(isinstance(text, str) for text in texts) or request.precision not in PRECISIONS:
            return None
        if request.kind not in get_args(Kind):
            return None
        if not isinstance(request.papers, int) or isinstance(request.papers, bool) or not 0 <= request.papers < 2**63:
            return None
        paths.atlas_folder(request.corpus)
        paths.atlas_folder(request.base or request.corpus)
        if datetime.fromisoformat(request.started).tzinfo is None:
            return None
    except (OSError, ValueError, TypeError, RecursionError, NoSuchAtlas):
        return None
    return request


def _rows_done(work: Path) -> int:
    """Rows whose vectors lie in a work folder, as the headers of their files say."""
    rows = 0
    for path in work.glob("vectors-*.npy"):
        with contextlib.suppress(OSError, ValueError, EOFError):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            rows += len(array) if isinstance(array, np.ndarray) and array.ndim == 2 else 0
    return rows


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
