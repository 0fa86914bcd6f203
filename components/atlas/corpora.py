"""Corpora and their atlases, one for each encoder: listing, renaming, deleting, and builds that were stopped."""

import contextlib
import hashlib
import re
import shutil
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from components.atlas import paths, store
from components.atlas.manifest import MAX_TITLE_CHARS, AtlasName, Count, Manifest
from components.atlas.paths import DEFAULT_ATLAS, MAX_NAME_CHARS, NoSuchAtlas, build_lock
from components.encoder.base import Precision
from components.encoder.catalogue import CATALOGUE
from corpus.errors import CociteAtlasError
from corpus.io.files import write_text

_MAX_SLUG_CHARS = 40  # of a corpus's name, so that an encoder's fits behind it
_REQUEST = "request.json"
_MAX_REQUEST_BYTES = 64 * 1024

Kind = Literal["build", "add"]


class AtlasKept(CociteAtlasError):
    """The default atlas, which cannot be deleted or renamed: it would be assembled again at the next start."""


class BadTitle(CociteAtlasError):
    """A title of a corpus that is empty or too long."""


def atlas_name_for(corpus: str, encoder: str, *, precision: str = "float32") -> str:
    """The name of the atlas of a corpus by an encoder: `<corpus>--<encoder>`, 64 characters at most.

    encoder: a catalogue name, or the path of a folder or zip, which gives its last part and a hash of the whole.

    >>> atlas_name_for("medline", "tfidf-svd")
    'medline--tfidf-svd'
    >>> atlas_name_for("medline", "specter", precision="bfloat16")
    'medline--specter-bfloat16'
    >>> atlas_name_for("medline", "/models/My Model.zip")
    'medline--my-model.zip-f8319e78'
    """
    if encoder not in CATALOGUE:
        slug = re.sub(r"[^a-z0-9._-]+", "-", Path(encoder).name.lower()).strip("-") or "encoder"
        encoder = f"{slug}-{_short_hash(encoder)}"
    if precision != "float32":
        encoder = f"{encoder}-{precision}"
    name = f"{corpus}--{encoder}"
    if len(name) > MAX_NAME_CHARS:
        name = f"{name[: MAX_NAME_CHARS - 9]}-{_short_hash(name)}"
    return name


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def _manifests() -> list[Manifest]:
    manifests = []
    for name in paths.atlas_names():
        # A damaged one is reported where it is opened by name; here it must not hide the others.
        with contextlib.suppress(CociteAtlasError):
            manifests.append(store.read_manifest(name))
    return manifests


def atlases_of(corpus: str) -> list[Manifest]:
    """The readable atlases of a corpus: the one of its own name first, the others by name."""
    manifests = [manifest for manifest in _manifests() if manifest.corpus == corpus]
    return sorted(manifests, key=lambda manifest: (manifest.name != corpus, manifest.name))


def corpora() -> list[str]:
    """The corpora of all readable atlases, sorted."""
    return sorted({manifest.corpus for manifest in _manifests()})


def corpus_titles() -> dict[str, str]:
    """The display title of each corpus, by its name, sorted by name."""
    titles: dict[str, str] = {}
    for manifest in _manifests():
        if manifest.corpus not in titles or manifest.name == manifest.corpus:
            titles[manifest.corpus] = manifest.display_title
    return dict(sorted(titles.items()))


def taken_names() -> set[str]:
    """The default atlas's name, and those of all atlases and of builds that can be resumed.

    What a killed import left in a work folder has no request, and is in nobody's way.
    """
    builds = (work.parent.name for work in paths.work_folders() if _read_request(work) is not None)
    return {DEFAULT_ATLAS, *paths.atlas_names(), *builds}


def free_name(title: str, *, taken: Collection[str] = ()) -> str:
    """A name for a new corpus, made from its title, that no atlas, no unfinished build and none of `taken` has.

    >>> free_name("Sjögren’s syndrome: a library"), free_name("文献")
    ('sjogrens-syndrome-a-library', 'corpus')
    """
    decomposed = unicodedata.normalize("NFKD", title.lower()).replace("'", "").replace("’", "")
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG_CHARS].strip("-") or "corpus"
    builds = (work.parent.name for work in paths.work_folders())
    return paths.free_name(slug, {*taken, *taken_names(), *corpora(), *builds})


def rename_corpus(corpus: str, title: str) -> None:
    """Give a corpus another title, in all of its atlases or in none. Its name, and links to it, stay as they are.

    Raises BadTitle, NoSuchAtlas where there is no such corpus, AtlasBusy, AtlasKept for the default corpus; OSError.
    """
    plain = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    if not 0 < len(plain) <= MAX_TITLE_CHARS:
        raise BadTitle(f"A title has between 1 and {MAX_TITLE_CHARS} characters; this has {len(plain)}.")
    if corpus == DEFAULT_ATLAS:
        raise AtlasKept(f"{corpus!r} is the default corpus: it is shipped under its name.")
    manifests = atlases_of(corpus)
    if not manifests:
        raise NoSuchAtlas(f"No corpus is called {corpus!r}, so there is nothing to rename.")
    with contextlib.ExitStack() as locks:
        for manifest in manifests:
            locks.enter_context(build_lock(manifest.name))
        for manifest in manifests:
            now = store.read_manifest(manifest.name)  # a build may have ended before the lock was ours
            write_text(paths.atlas_folder(now.name) / paths.MANIFEST, replace(now, title=plain).to_json())


def delete_corpus(corpus: str) -> None:
    """Delete all atlases of a corpus, the one of its own name last.

    Raises AtlasKept for the default corpus, NoSuchAtlas, AtlasBusy; OSError.
    """
    if corpus == DEFAULT_ATLAS:
        raise AtlasKept(f"{corpus!r} is the default corpus: it is shipped, and assembled again at the next start.")
    manifests = atlases_of(corpus)
    if not manifests:
        raise NoSuchAtlas(f"No corpus is called {corpus!r}, so there is nothing to delete.")
    for manifest in reversed(manifests):
        delete_atlas(manifest.name)


def disk_use(name: str) -> int:
    """Bytes of all files in an atlas's folder, a running build's included; 0 where there is none."""
    total = 0
    with contextlib.suppress(OSError):  # a folder that is deleted meanwhile ends the walk
        for path in paths.atlas_folder(name).rglob("*"):
            with contextlib.suppress(OSError):
                total += path.lstat().st_size if path.is_file() else 0
    return total


def delete_atlas(name: str) -> None:
    """Delete an atlas and all of its files, at once for whoever opens it later; open ones stay usable.

    Raises AtlasKept for the default atlas, NoSuchAtlas, AtlasBusy; OSError.
    """
    if name == DEFAULT_ATLAS:
        raise AtlasKept(f"{name!r} is the default atlas: it is shipped, and assembled again at the next start.")
    folder = paths.atlas_folder(name)
    if not (folder / paths.MANIFEST).is_file():
        raise NoSuchAtlas(f"No atlas is called {name!r}, so there is nothing to delete.")
    with build_lock(name):
        (folder / paths.MANIFEST).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != paths.LOCK:  # without the file two could hold the lock
                path.unlink(missing_ok=True)


# Unfinished builds


class Request(BaseModel):
    """What a build was asked for, kept in its work folder. Older requests lack a kind.

    base: the atlas whose papers are encoded again, or to which papers are added; "" for a build from files.
    encoder: a catalogue name, or the absolute path of a folder or zip. papers: to encode; 0 until they are read.
    """

    model_config = ConfigDict(frozen=True)

    corpus: AtlasName
    base: AtlasName | Literal[""]
    encoder: str
    precision: Precision
    started: AwareDatetime
    papers: Count = Field(0, strict=True)
    kind: Kind = "build"


class Unfinished(Request):
    """A build that was stopped or killed, and is resumed when the same is asked for again.

    rows_done: of `papers` that are encoded already; `papers` is 0 where they were not all read.
    """

    name: str
    rows_done: int


def note_request(
    work: Path, *, corpus: str, base: str, encoder: str, precision: Precision, papers: int = 0, kind: Kind = "build"
) -> None:
    """Write into a work folder what is being built there."""
    started = datetime.now(UTC).replace(microsecond=0)
    request = Request(
        corpus=corpus, base=base, encoder=encoder, precision=precision, started=started, papers=papers, kind=kind
    )
    write_text(work / _REQUEST, request.model_dump_json(indent=1) + "\n")


def unfinished() -> list[Unfinished]:
    """The builds that were stopped or killed, the latest first; not those that are running."""
    builds = []
    for work in paths.work_folders():
        request = _read_request(work)
        if request is not None and not paths.being_built(work.parent.name):
            rows = min(_rows_done(work), request.papers)
            builds.append(Unfinished(**dict(request), name=work.parent.name, rows_done=rows))
    return sorted(builds, key=lambda build: build.started, reverse=True)


def discard_unfinished(name: str) -> None:
    """Delete the work of unfinished builds of an atlas; the atlas itself stays. Raises AtlasBusy, NoSuchAtlas."""
    if not paths.atlas_folder(name).is_dir():
        raise NoSuchAtlas(f"No atlas is called {name!r}, and no build of that name was started.")
    with build_lock(name):
        for work in paths.work_folders(name):
            shutil.rmtree(work, ignore_errors=True)


def discard_additions(name: str) -> None:
    """Delete the work of unfinished additions to an atlas. The caller holds its build lock."""
    for work in paths.work_folders(name):
        request = _read_request(work)
        if request is not None and request.kind == "add":
            shutil.rmtree(work, ignore_errors=True)


def _read_request(work: Path) -> Request | None:
    """The request in a work folder; None where there is no valid one."""
    path = work / _REQUEST
    try:
        if path.stat().st_size > _MAX_REQUEST_BYTES:
            return None
        return Request.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _rows_done(work: Path) -> int:
    """How many rows have their vectors in a work folder, by the headers of its files."""
    rows = 0
    for path in work.glob("vectors-*.npy"):
        with contextlib.suppress(OSError, ValueError, EOFError):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            rows += len(array) if isinstance(array, np.ndarray) and array.ndim == 2 else 0
    return rows
