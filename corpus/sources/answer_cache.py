"""Answers of servers on the disk: bytes and their SHA-256, bounded in age and in size; nothing that could run."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

_DAY = 86_400.0  # seconds
_SUFFIX = ".answer"
_DIGEST_BYTES = 32
_WRITES_A_SWEEP = 20  # looking at every file takes longer than writing one


class AnswerCache:
    """Answers by question. A file holds the SHA-256 of an answer and the answer; its name is a hash of the question.

    Whatever goes wrong with the disk, an answer is then simply not there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = 256 * 2**20,
        most_seconds: float = _DAY,
        now: Callable[[], float] = time.time,
    ):
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds
        self._now = now
        self._writes = 0

    def get(self, question: str) -> bytes | None:
        """The answer to a question; None where there is none, or an old or a damaged one."""
        path = self._path(question)
        try:
            # Bounded: a file that something else left here may have any size.
            if self._now() - path.stat().st_mtime > self._most_seconds or path.stat().st_size > self._most_bytes:
                return None
            content = path.read_bytes()
        except OSError:
            return None
        digest, answer = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return answer if hashlib.sha256(answer).digest() == digest else None

    def put(self, question: str, answer: bytes) -> None:
        """Keep an answer, and drop the oldest ones where all of them take too much room."""
        path = self._path(question)
        part = path.with_name(f"{path.name}.{uuid4().hex}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(answer).digest() + answer)
            os.utime(part, (self._now(), self._now()))
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return
        if self._writes % _WRITES_A_SWEEP == 0 or len(answer) > self._most_bytes // _WRITES_A_SWEEP:
            self._sweep()
        self._writes += 1

    def _path(self, question: str) -> Path:
        return self._folder / (hashlib.sha256(question.encode("utf-8", "backslashreplace")).hexdigest() + _SUFFIX)

    def _sweep(self) -> None:
        files: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                files.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in files)
        for modified, size, path in sorted(files):
            if total <= self._most_bytes and self._now() - modified <= self._most_seconds:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
