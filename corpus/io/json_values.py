"""Read a long JSON text value by value; only the current value is kept in memory."""

import json
from collections.abc import Callable, Container, Iterator
from typing import Any, NoReturn

from corpus.errors import UnsafeFileError

_SPACE = " \t\n\r"


class BrokenJson(Exception):
    """Text that is not JSON, or ends within a value."""


class JsonValues:
    """A text of JSON values, one after another."""

    def __init__(
        self,
        pieces: Iterator[str],
        *,
        max_chars: int,
        object_of: Callable[[list[tuple[str, Any]]], Any] | None = None,
    ) -> None:
        """pieces: the text. max_chars: of one value. object_of: makes an object of its members; a dict where None."""
        self._pieces = pieces
        self._max_chars = max_chars
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=object_of)

    def records(self, *, lists: Container[str] | None) -> Iterator[Any]:
        """Every value, but the members of a list in place of the list. Raises BrokenJson and UnsafeFileError.

        lists: where given, an object gives the members of the lists under these keys in place of itself.
        """
        while first := self.next():
            if first == "[":
                yield from self._members()
            elif first == "{" and lists is not None:
                for key in self.keys_of_object():
                    if key in lists and self.next() == "[":
                        yield from self._members()
                    else:
                        self.value()
            else:
                yield self.value()

    def keys_of_object(self) -> Iterator[str]:
        """The keys of an object; the caller takes each one's value before the next key."""
        self.take("{")
        while self.next() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise BrokenJson("an object has a key that is no text")
            self.take(":")
            yield key
            self._take_comma_unless("}")
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
        """Take one character. Raises BrokenJson if it is not the wanted one."""
        if (found := self.next()) != wanted:
            raise BrokenJson(f"{wanted!r} is missing before {found!r}" if found else "it ends too early")
        self._at += 1

    def value(self) -> Any:
        """Take one value."""
        if not self.next():
            raise BrokenJson("it ends too early")
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
                # A number may go on in the next piece.
                if end < len(self._text) or not self._read(1):
                    self._at = end
                    return value
            except RecursionError as error:
                raise BrokenJson("lists or objects nested too deep") from error
            except json.JSONDecodeError as error:
                # Twice as much each time, so that a long value is not parsed again for every piece of it.
                if not self._read(len(self._text) - self._at):
                    raise BrokenJson(error.msg) from error
            except ValueError as error:  # an integer of thousands of digits
                raise BrokenJson(str(error)) from error

    def _members(self) -> Iterator[Any]:
        self.take("[")
        while self.next() != "]":
            yield self.value()
            self._take_comma_unless("]")
        self.take("]")

    def _take_comma_unless(self, end: str) -> None:
        if self.next() != end:
            self.take(",")
            if self.next() == end:
                raise BrokenJson(f"a comma stands before {end!r}")

    def _read(self, least: int) -> bool:
        """Read at least so many characters more; False where there are none."""
        more: list[str] = []
        length = 0
        while length < least and (piece := next(self._pieces, "")):
            more.append(piece)
            length += len(piece)
        self._text = self._text[self._at :] + "".join(more)
        self._at = 0
        if len(self._text) > self._max_chars:
            raise UnsafeFileError(
                f"one record has more than {self._max_chars:,} characters",
                advice="Drop that record, or check that the file is what you think.",
            )
        return bool(more)


def json_type(value: object) -> str:
    """What kind of JSON value this is, in words."""
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _refuse_constant(name: str) -> NoReturn:
    raise BrokenJson(f"{name} is not JSON")
