"""Reading full texts: files, folders and archives in, citing sentences out, streamed, by one process or several."""

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import BinaryIO

from corpus.cocitations.archives import is_ignored, members_of, printable
from corpus.cocitations.documents import Document, documents_in, read_documents
from corpus.cocitations.full_text import CitingSentence, FullTextError, FullTextReport, Refusal
from corpus.progress import Progress, no_progress

READING = "Reading the full texts"  # the stage of progress, in bytes

_BATCH_BYTES = 2**20  # that a worker gets at once
_BATCH_DOCUMENTS = 256  # sending costs a millisecond, reading one of S2ORC some ten
_BATCHES_PER_WORKER = 2  # on their way, so that no worker waits for the files
_SMALL_BYTES = 4 * 2**20  # two seconds' work; starting a process takes one

_Outcome = tuple[list[CitingSentence], FullTextReport]


@dataclass(frozen=True, slots=True)
class _File:
    """A file. place: its name in reports. identity: the same for one file under two names. refusal: why it cannot be
    read."""

    place: str
    path: Path
    size: int = 0
    identity: tuple[int, int] = (-1, -1)
    refusal: str = ""


def read_citing_sentences(
    paths: Sequence[Path], *, workers: int = 0, progress: Progress = no_progress, report: FullTextReport
) -> Generator[CitingSentence, None, None]:
    """The citing sentences of full texts: JATS, S2ORC, CORD-19, unarXive and lines of sentences, recognised by content.

    paths: files, and folders with everything in them; tar and zip archives; gzip, bzip2 and xz. A file that is given
    twice is read once. workers: processes that parse; 0 for one per processor, or this process alone where the files
    are small. The sentences and their order are the same for any number.
    report: complete when all sentences have been taken. It lists what could not be read; nothing ends because of that.
    Closing the generator ends the workers. Raises FullTextError for a path that does not exist, and, while sentences
    are taken, where a worker dies.
    """
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110 (Path raises for a file in a folder that may not be searched)
            raise FullTextError(f"{path}: there is no such file or folder. Check the path.")
    files = _files(paths)
    if not workers:
        small = all(path.is_file() for path in paths) and sum(file.size for file in files) < _SMALL_BYTES
        workers = 1 if small else os.cpu_count() or 1
    return _citing_sentences(files, workers=workers, progress=progress, report=report)


def _citing_sentences(
    files: list[_File], *, workers: int, progress: Progress, report: FullTextReport
) -> Generator[CitingSentence, None, None]:
    total = sum(file.size for file in files)
    with closing(_batches(files)) as batches, closing(_outcomes(batches, workers=workers)) as outcomes:
        for (sentences, batch_report), done in outcomes:
            report.add(batch_report)
            yield from sentences
            progress(READING, min(done, total), total)
    progress(READING, total, total)


# Workers


def _outcomes(
    batches: Iterator[tuple[list[Document], int]], *, workers: int
) -> Generator[tuple[_Outcome, int], None, None]:
    """What each batch gives, in order, with the bytes of files up to its end."""
    if workers == 1:
        for documents, done in batches:
            yield read_documents(documents), done
        return
    # Not forked: this process may have threads, and a GPU.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    waiting: deque[tuple[Future[_Outcome], int]] = deque()
    try:
        for documents, done in batches:
            waiting.append((pool.submit(read_documents, documents), done))
            if len(waiting) > _BATCHES_PER_WORKER * workers:
                future, before = waiting.popleft()
                yield future.result(), before
        for future, done in waiting:
            yield future.result(), done
    except BrokenProcessPool as error:
        raise FullTextError(
            "A process that read full texts has died; it may have run out of memory. Try again with fewer workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True, name="exit-with-parent").start()


def _exit_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


# Files


def _batches(files: list[_File]) -> Generator[tuple[list[Document], int], None, None]:
    """The documents of all files in batches, with the bytes of files up to the end of each."""
    batch: list[Document] = []
    size = done = 0
    with closing(_documents(files)) as documents:
        for document, done in documents:
            batch.append(document)
            size += len(document.data)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_DOCUMENTS:
                yield batch, done
                batch, size = [], 0
    if batch:
        yield batch, done


def _documents(files: list[_File]) -> Generator[tuple[Document, int], None, None]:
    before = 0
    for each in files:
        try:
            with _open(each) as file:
                for member in members_of(file, place=each.place, size=each.size):
                    if isinstance(member, Refusal):
                        yield Document(member.place, refusal=member.reason), before + file.tell()
                        continue
                    for document in documents_in(member.stream, member.place):
                        yield document, before + file.tell()
        except FullTextError as error:
            yield Document(each.place, refusal=str(error)), before
        before += each.size


def _open(file: _File) -> BinaryIO:
    if file.refusal:
        raise FullTextError(file.refusal)
    try:
        if not file.path.is_file():  # a pipe or a device has no size and may never end
            raise FullTextError("this is no file. Check the path.")
        return file.path.open("rb")
    except OSError as error:
        raise FullTextError(f"it cannot be opened ({error.strerror or error}). Check its permissions.") from error


def _files(paths: Sequence[Path]) -> list[_File]:
    """The files of the paths, those of a folder sorted by name, each once."""
    names = [path.name for path in paths]
    seen: set[tuple[int, int]] = set()
    files: list[_File] = []
    for path in paths:
        # A name that does not depend on where the folder is, unless two paths share it.
        place = path.name if path.name and names.count(path.name) == 1 else str(path)
        for file in _walk(path, printable(place)):
            if file.refusal or file.identity not in seen:
                seen.add(file.identity)
                files.append(file)
    return files


def _walk(path: Path, place: str) -> Iterator[_File]:
    """A file, or all files below a folder. A link to a folder is not followed: it may lead back."""
    waiting = [(path, place)]
    while waiting:
        path, place = waiting.pop()
        try:
            if not path.is_dir():
                status = path.stat()
                yield _File(place, path, status.st_size, (status.st_dev, status.st_ino))
                continue
            with os.scandir(path) as entries:
                inner = sorted((entry for entry in entries if _is_wanted(entry)), key=lambda entry: entry.name)
        except OSError as error:
            yield _File(place, path, refusal=f"it cannot be read ({error.strerror or error}). Check its permissions.")
            continue
        waiting += [(Path(entry.path), f"{place}/{printable(entry.name)}") for entry in reversed(inner)]


def _is_wanted(entry: "os.DirEntry[str]") -> bool:
    is_linked_folder = entry.is_symlink() and entry.is_dir()
    return not is_ignored(entry.name) and not is_linked_folder and (entry.is_dir() or entry.is_file())
