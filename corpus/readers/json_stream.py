"""JSON that is no list of lines: one list, a service's answers, or objects over many lines, value by value."""

from collections.abc import Iterator

from corpus.io.decoding import head_text, text_lines
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.readers.json_shapes import RecordError, paper_of
from corpus.readers.json_values import BrokenJson, JsonValues
from corpus.readers.report import DamagedFileError, Found, Rejected, UnsafeFileError

FORMAT = "JSON"
UNIT = "record"

_ANSWERS = frozenset({"results", "data", "papers", "works", "items"})  # under which services list what they found
_HEAD_BYTES = 65_536  # in which an answer must come to its list


def is_json_stream(head: str) -> bool:
    """Whether a file's first text, which begins with a brace or a bracket, is JSON but no JSON Lines."""
    start = head.lstrip()
    return start.startswith("[") or _is_answer(start) or start[1:].lstrip(" \t\r")[:1] == "\n"


def read_json_stream(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each record of a list, of a service's answers, or of JSON objects gives, in its order.

    Raises DamagedFileError where the JSON breaks off or breaks its rules: no later record can be told from it.
    """
    answers = _is_answer(head_text(stream.head(_HEAD_BYTES)).lstrip())
    values = JsonValues(text_lines(stream), most=limits.record_bytes)
    try:
        for number, record in enumerate(values.records(lists=_ANSWERS if answers else None), start=1):
            try:
                yield number, paper_of(record)
            except RecordError as error:
                yield number, Rejected("damaged", f"{error}. Correct it, or drop the record.")
    except BrokenJson as error:
        raise DamagedFileError(
            f"its JSON is malformed or ends too early ({error})",
            advice="Download it again, or write one record a line, so that one that is damaged costs no other.",
        ) from error


def _is_answer(start: str) -> bool:
    """Whether the first object is a service's answer: it lists objects, and has no title before that."""
    if not start.startswith("{"):
        return False
    values = JsonValues(iter([start]), most=len(start))
    try:
        for key in values.keys_of_object():
            if key == "title":
                return False
            if key in _ANSWERS and values.next() == "[":
                values.take("[")
                return values.next() in ("{", "]")
            values.value()
    except (BrokenJson, UnsafeFileError, RecordError):  # the head ends within
        pass
    return False
