"""Disk errors as sentences that name the next step."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import CociteAtlasError


class NoSpaceLeft(CociteAtlasError):
    """The disk is full. What was done so far is kept."""


class CannotWrite(CociteAtlasError):
    """The folder does not exist, or cannot be written to."""


@contextmanager
def disk_errors(folder: Path, *, advice: str = "Check its permissions, or write to another folder.") -> Iterator[None]:
    """Turn an OSError of the body into NoSpaceLeft or CannotWrite. advice: the next step, where writing failed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceLeft(
                f"The disk that holds {folder} is full. Free some space and start again: what was done is kept."
            ) from error
        raise CannotWrite(f"{error.filename or folder}: {error.strerror or error}. {advice}") from error
