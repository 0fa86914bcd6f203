"""The files of a checkpoint where they lie, in folders and in zips; a zip is checked before anything in it is read."""

import hashlib
import io
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from components.encoder.errors import EncoderUnavailable, first_line
from corpus.io.streams import ZIP_ERRORS, zip_member_problem

MAX_ARCHIVE = 4 * 1024**3  # bytes unpacked; a BERT-large in float32 is 1.3 GB
MAX_SMALL = 64 * 1024**2  # bytes; tokenizers of many languages take 20 MB
_MAX_MEMBERS = 10_000
_PIECE = 1024**2


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file on the disk, or a member of a zip on the disk. size: bytes, unpacked."""

    path: Path
    member: str
    size: int

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, from the first on. Raises EncoderUnavailable where they cannot be read."""
        try:
            if not self.member:
                with self.path.open("rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    yield file
        except PermissionError as error:
            raise EncoderUnavailable(f"{self.place} cannot be opened. Check who may read it.") from error
        # A damaged member shows while it is read: as a wrong sum, a broken stream, or an end too soon.
        except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, *ZIP_ERRORS) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise EncoderUnavailable(f"{self.place} cannot be read ({reason}). Fetch it again.") from error

    def read(self, *, most: int = MAX_SMALL) -> bytes:
        """All of its bytes. Raises EncoderUnavailable where there are more than `most`, whatever the zip declares."""
        with self.open() as file:
            content = file.read(min(most, self.size) + 1)
        if len(content) > most or (self.member and len(content) != self.size):
            raise EncoderUnavailable(f"{self.place} is larger than it may be: more than {most:,} bytes.")
        return content

    def stream(self) -> IO[bytes]:
        """Its bytes as a stream that can be moved in: a zip's member is unpacked into memory, within its bounds."""
        if not self.member:
            try:
                return self.path.open("rb")
            except OSError as error:
                raise EncoderUnavailable(f"{self.place} cannot be opened ({error.strerror}).") from error
        return io.BytesIO(self.read(most=MAX_ARCHIVE))

    def sha256(self) -> str:
        """SHA-256 (hex) of its bytes."""
        digest = hashlib.sha256()
        with self.open() as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    @property
    def place(self) -> str:
        """What it is called in errors."""
        return f"{self.path.name}: {self.member}" if self.member else f"{self.path.parent.name}/{self.path.name}"


StoredFiles = Mapping[str, StoredFile]


def in_folder(folder: Path, names: tuple[str, ...]) -> dict[str, StoredFile]:
    """Those of the files that a folder holds, by their names relative to it."""
    found = {}
    for name in names:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[name] = StoredFile(path=folder / name, member="", size=status.st_size)
    return found


def in_zip(path: Path, names: tuple[str, ...], *, marks: tuple[str, ...]) -> dict[str, StoredFile]:
    """Those of the files that a zip holds, in its outermost folder that holds one of `marks`.

    Raises EncoderUnavailable for what is no zip, and for one with a member that is not what a model's files are.
    """
    sizes = _checked_members(path)
    roots = {
        member.removesuffix(mark)
        for mark in marks
        for member in sizes
        if (member == mark or member.endswith(f"/{mark}")) and not member.startswith("__MACOSX/")
    }
    if not roots:
        return {}
    depth = min(root.count("/") for root in roots)
    outermost = [root for root in roots if root.count("/") == depth]
    if len(outermost) > 1:
        raise EncoderUnavailable(f"{path.name} holds several models ({len(outermost)} folders). Give each its own zip.")
    return {
        name: StoredFile(path=path, member=outermost[0] + name, size=sizes[outermost[0] + name])
        for name in names
        if outermost[0] + name in sizes
    }


def _checked_members(path: Path) -> dict[str, int]:
    """The files in a zip and their sizes. Nothing is unpacked, so a name can lead nowhere; odd ones are refused yet."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, NotImplementedError, *ZIP_ERRORS) as error:
        raise EncoderUnavailable(f"{path.name} is not a readable zip ({first_line(error)}). Fetch it again.") from error
    if len(members) > _MAX_MEMBERS:
        raise EncoderUnavailable(f"{path.name} holds {len(members):,} files; a model has a few.")
    sizes: dict[str, int] = {}
    for info in members:
        if reason := zip_member_problem(info, sizes, max_bytes=MAX_ARCHIVE):
            raise EncoderUnavailable(f"{path.name} is refused: {info.orig_filename!r:.100} in it {reason}.")
        if not info.is_dir():
            sizes[info.filename] = info.file_size
    if sum(sizes.values()) > MAX_ARCHIVE:
        raise EncoderUnavailable(f"{path.name} is refused: unpacked it would take {sum(sizes.values()):,} bytes.")
    return sizes
