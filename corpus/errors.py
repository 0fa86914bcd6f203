"""The base class of all errors that this project raises on purpose, and the errors of unreadable files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class CociteAtlasError(Exception):
    """What happened, to what, and what to do next, in words for the person at the screen.

    Pages and the command line catch this and nothing broader.
    """


def validation_reason(error: "ValidationError") -> str:
    """The first problem that pydantic found in a file, on one line: where it is, and what is wrong."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}"[:200] if place else problem["msg"][:200]


class UnreadableFileError(CociteAtlasError):
    """A file that cannot be read, or not to its end. The base class of the three below."""

    def __init__(self, reason: str, *, advice: str):
        super().__init__(reason, advice)
        self.reason = reason
        self.advice = advice
        self.file = ""
        self.records: int | None = None

    def locate(self, *, file: str, records: int | None = None) -> None:
        """Add what only the caller knows: the file's name and how many records were read before this."""
        self.file = file
        self.records = records

    def __str__(self) -> str:
        place = f"{self.file}: " if self.file else ""
        before = "" if self.records is None else f" Records read before that: {self.records:,}."
        return f"{place}{self.reason}.{before} {self.advice}"


class UnknownFormatError(UnreadableFileError):
    """A file that holds something else than the formats that are read."""


class DamagedFileError(UnreadableFileError):
    """A file that ends too early, or breaks the rules of its format where no single record can be blamed."""


class UnsafeFileError(UnreadableFileError):
    """A file refused because reading on could cost more memory or time than any library needs."""
