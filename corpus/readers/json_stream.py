"""JSON that is no list of lines: one list, a service's answers, or objects over many lines, value by value."""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from corpus.readers.decoding import head_text, text_lines
from corpus.readers.json_shapes import RecordError, paper_of
from corpus.readers.limits import Limits
from corpus.readers.report import DamagedFileError, Found, Rejected, UnsafeFileError
from corpus.readers.streams import CappedStream

FORMAT = "JSON"
UNIT = "record"

_ANSWERS = frozenset({"results", "data", "papers", "works", "items"})  # under which services list what they found
_HEAD_BYTES = 65_536  # in which an answer must come to its list
_SPACE = " \t\n\r"


class _Broken(Exception):
    """Text that is no JSON, or ends within it."""


def is_json_stream(head: str) -> bool:
    """Whether a file's first text, which begins with a brace or a bracket, is JSON but no JSON Lines."""
    start = head.lstrip()
    return start.startswith("[") or _is_answer(start) or start[1:].lstrip(" \t\r")[:1] == "\n"


def read_json_stream(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each record of a list, of a service's answers, or of JSON objects gives, in its order.

    Raises DamagedFileError where the JSON breaks off or breaks its rules: no later record can be told from it.
    """
    answers = _is_answer(head_text(stream.head(_HEAD_BYTES)).lstrip())
    values = _Values(text_lines(stream), most=limits.record_bytes)
    try:
        for number, record in enumerate(values.records(answers=answers), start=1):
            try:
                yield number, paper_of(record)
            except RecordError as error:
                yield number, Rejected("damaged", f"{error}. Correct it, or drop the record.")
    except _Broken as error:
        raise DamagedFileError(
            f"its JSON is malformed or ends too early ({error})",
            advice="Download it again, or write one record a line, so that one that is damaged costs no other.",
        ) from error


def _is_answer(start: str) -> bool:
    """Whether the first object is a service's answer: it lists objects, and has no title before that."""
    if not start.startswith("{"):
        return False
    values = _Values(iter([start]), most=len(start))
    try:
        for key in values.keys_of_object():
            if key == "title":
                return False
            if key in _ANSWERS and values.next() == "[":
                values.take("[")
                return values.next() in ("{", "]")
            values.value()
    except (_Broken, UnsafeFileError, RecordError):  # the head ends within
        pass
    return False


class _Values:
    """A text as JSON values, one after another, of which no more than the present one is kept."""

    def __init__(self, pieces: Iterator[str], *, most: int) -> None:
        self._pieces = pieces
        self._most = most
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def records(self, *, answers: bool) -> Iterator[Any]:
        """The members of lists, also of those in objects where these are answers; other values as they are."""
        while first := self.next():
            if first == "[":
                yield from self._members()
            elif first == "{" and answers:
                for key in self.keys_of_object():
                    if key in _ANSWERS and self.next() == "[":
                        yield from self._members()
                    else:
                        self.value()
            else:
                yield self.value()

    def keys_of_object(self) -> Iterator[str]:
        """The keys of an object; each one's value is to be taken before the next."""
        self.take("{")
        while self.next() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise _Broken("an object has a key that is no text")
            self.take(":")
            yield key
            if self.next() != "}":
                self.take(",")
        self.take("}")

    def next(self) -> str:
        """The next character that is no space, without taking it; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(1):
                return ""

    def take(self, wanted: str) -> None:
        """Take one character, which must be the one that is wanted."""
        if (found := self.next()) != wanted:
            raise _Broken(f"{wanted!r} is missing before {found!r}" if found else "it ends too early")
        self._at += 1

    def value(self) -> Any:
        """Take one value."""
        if not self.next():
            raise _Broken("it ends too early")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # A number may go on in the next piece.
                if end < len(self._text) or not self._read(1):
                    self._at = end
                    return value
            except RecursionError as error:
                raise _Broken("lists or objects nested too deep") from error
            except json.JSONDecodeError as error:
                # Twice as much each time, so that a long value is not gone through again for every piece of it.
                if not self._read(len(self._text) - self._at):
                    raise _Broken(error.msg) from error
            except ValueError as error:  # an integer of thousands of digits
                raise _Broken(str(error)) from error

    def _members(self) -> Iterator[Any]:
        self.take("[")
        while self.next() != "]":
            yield self.value()
            if self.next() != "]":
                self.take(",")
        self.take("]")

    def _read(self, least: int) -> bool:
        """Read at least so many characters more; False where there are no more at all."""
        more: list[str] = []
        length = 0
        while length < least and (piece := next(self._pieces, "")):
            more.append(piece)
            length += len(piece)
        self._text = self._text[self._at :] + "".join(more)
        self._at = 0
        if len(self._text) > self._most:
            raise UnsafeFileError(
                f"one record has more than {self._most:,} characters",
                advice="Drop that record, or check that the file is what you think.",
            )
        return bool(more)


def _refuse_constant(name: str) -> NoReturn:
    raise _Broken(f"{name} is not JSON")
