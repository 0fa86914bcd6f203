"""Reading full texts: files, folders and archives in, citing sentences out, streamed, by one process or several."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

from corpus.cocitations.cutting import Content, contents_of
from corpus.cocitations.documents import Outcome, read_contents
from corpus.cocitations.full_text import CitingSentence, FullTextError
from corpus.cocitations.full_text_report import FullTextReport, Refusal
from corpus.cocitations.members import is_passed_over, members_of, open_file, shown

ReadingProgress = Callable[[int, int], None]  # bytes of the files that are done, and of all files

_BATCH_BYTES = 2**20  # that a worker is sent at once, and
_BATCH_DOCUMENTS = 256  # documents at most: sending costs a millisecond, reading one of S2ORC some ten
_BATCHES_A_WORKER = 2  # on their way, so that none waits for the files; each at most a batch and one large document


@dataclass(frozen=True, slots=True)
class _File:
    """A file to read. place: what it is called in reports. refusal: why it cannot be read.

    identity: the same for one file under two names.
    """

    place: str
    path: Path
    size: int = 0
    identity: tuple[int, int] = (-1, -1)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Documents that are read together. done: bytes of all files up to its end."""

    contents: list[Content]
    done: int


def read_citing_sentences(
    paths: Sequence[Path],
    *,
    workers: int = 1,
    progress: ReadingProgress | None = None,
    report: FullTextReport,
) -> Iterator[CitingSentence]:
    """The citing sentences of full texts: JATS, S2ORC, CORD-19, unarXive and lines of sentences, told by the content.

    paths: files, and folders with all that lies in them; tar and zip archives; gzip, bzip2 and xz. A file that is given
        twice is read once.
    workers: processes that parse; with 1 this one does. The sentences and their order are the same for any number.
    report: complete once all sentences are taken. What cannot be read is in it, and ends nothing.
    Closing the iterator ends the workers. Raises FullTextError for a path that is not there, and, while sentences are
    taken, where a worker dies.
    """
    if workers < 1:
        raise FullTextError(f"{workers} workers cannot read. Give 1 or more.")
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  # Path raises where a folder may not be looked into
            raise FullTextError(f"{path}: there is no such file or folder. Check the path.")
    return _citing_sentences(_files(paths), workers=workers, progress=progress, report=report)


def _citing_sentences(
    files: list[_File], *, workers: int, progress: ReadingProgress | None, report: FullTextReport
) -> Iterator[CitingSentence]:
    total = sum(file.size for file in files)
    with closing(_batches(files)) as batches, closing(_outcomes(batches, workers=workers)) as outcomes:
        for outcome, done in outcomes:
            report.add(outcome.report)
            yield from outcome.sentences
            if progress is not None:
                progress(min(done, total), total)
    if progress is not None:
        progress(total, total)


def _outcomes(batches: Iterator[_Batch], *, workers: int) -> Generator[tuple[Outcome, int], None, None]:
    """What came of each batch, in their order."""
    if workers == 1:
        for batch in batches:
            yield read_contents(batch.contents), batch.done
        return
    # Not forked: this process may have threads, and a GPU.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_work)
    waiting: deque[tuple[Future[Outcome], int]] = deque()
    try:
        for batch in batches:
            waiting.append((pool.submit(read_contents, batch.contents), batch.done))
            if len(waiting) > _BATCHES_A_WORKER * workers:
                yield _next_of(waiting)
        while waiting:
            yield _next_of(waiting)
    except BrokenProcessPool as error:
        raise FullTextError(
            "A process that read full texts has died; it may have run out of memory. Try again with fewer workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next_of(waiting: deque[tuple[Future[Outcome], int]]) -> tuple[Outcome, int]:
    future, done = waiting.popleft()
    return future.result(), done


def _begin_work() -> None:
    """What a worker does first: leave Ctrl-C to the process that it works for, and end where that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _batches(files: list[_File]) -> Generator[_Batch, None, None]:
    """The documents of all files, in their order, some at a time."""
    contents: list[Content] = []
    size = done = 0
    with closing(_contents(files)) as found:
        for content, done in found:
            contents.append(content)
            size += len(content.data)
            if size >= _BATCH_BYTES or len(contents) >= _BATCH_DOCUMENTS:
                yield _Batch(contents, done)
                contents, size = [], 0
    if contents:
        yield _Batch(contents, done)


def _contents(files: list[_File]) -> Generator[tuple[Content, int], None, None]:
    """The documents of all files, each with the bytes of files that were read up to it."""
    before = 0
    for each in files:
        try:
            if each.refusal:
                raise FullTextError(each.refusal)
            with open_file(each.path) as file:
                for member in members_of(file, place=each.place, size=each.size):
                    if isinstance(member, Refusal):
                        yield Content(member.place, refusal=member.reason), before + file.tell()
                        continue
                    for content in contents_of(member):
                        yield content, before + file.tell()
        except FullTextError as error:
            yield Content(each.place, refusal=str(error)), before
        before += each.size


def _files(paths: Sequence[Path]) -> list[_File]:
    """The files of the paths, those of a folder sorted by name, each once."""
    names = [path.name for path in paths]
    seen: set[tuple[int, int]] = set()
    files: list[_File] = []
    for path in paths:
        # The same name whatever folder all of it lies in, unless two of the paths share it.
        place = path.name if path.name and names.count(path.name) == 1 else str(path)
        for file in _walk(path, shown(place)):
            if file.refusal or file.identity not in seen:
                seen.add(file.identity)
                files.append(file)
    return files


def _walk(path: Path, place: str) -> Iterator[_File]:
    """A file, or the files of a folder and of those in it. A link to a folder is not followed: it may lead back."""
    waiting = [(path, place)]
    while waiting:
        path, place = waiting.pop()
        try:
            if not path.is_dir():
                status = path.stat()
                yield _File(place, path, status.st_size, (status.st_dev, status.st_ino))
                continue
            with os.scandir(path) as entries:
                inner = sorted((entry for entry in entries if _is_meant(entry)), key=lambda entry: entry.name)
        except OSError as error:
            yield _File(place, path, refusal=f"it cannot be read ({error.strerror or error}). Check who may read it.")
            continue
        waiting += [(Path(entry.path), f"{place}/{shown(entry.name)}") for entry in reversed(inner)]


def _is_meant(entry: "os.DirEntry[str]") -> bool:
    is_linked_folder = entry.is_symlink() and entry.is_dir()
    return not is_passed_over(entry.name) and not is_linked_folder and (entry.is_dir() or entry.is_file())
