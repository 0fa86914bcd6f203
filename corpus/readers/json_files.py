"""JSON files: JSON Lines, one list, a service's answers, or objects over many lines; read record by record."""

import json
from collections.abc import Iterator
from typing import NoReturn

from corpus.errors import DamagedFileError, UnsafeFileError
from corpus.io.decoding import bounded_lines, head_text, text_lines
from corpus.io.json_values import BrokenJson, JsonValues
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.json_shapes import RecordError, json_paper
from corpus.readers.report import Record, Rejected

LINES_FORMAT, LINES_UNIT = "JSON Lines", "line"
FORMAT, UNIT = "JSON", "record"

_RESULT_KEYS = frozenset({"results", "data", "papers", "works", "items"})  # under which services list what they found
_HEAD_BYTES = 65_536  # in which an answer must reach its list


def is_json_lines(head: str) -> bool:
    """Whether a file's head, which begins with a brace or a bracket, is JSON Lines and no other JSON."""
    start = head.lstrip()
    return not (start.startswith("[") or _is_answer(start) or start[1:].lstrip(" \t\r")[:1] == "\n")


def read_jsonl(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:
    """What each line of a JSON Lines file gives; blank lines are skipped."""
    for number, line in enumerate(bounded_lines(stream, max_chars=limits.line_bytes), start=1):
        if line is None:
            reason = f"the line has more than {limits.line_bytes:,} characters. Shorten it, or drop it."
            yield number, Rejected("damaged", reason)
        elif stripped := line.strip():
            yield number, _line_paper(stripped)


def read_json(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:
    """What each record of a list, of a service's answers, or of JSON objects gives.

    Raises DamagedFileError where the JSON breaks off or is malformed: no later record can be recognised.
    """
    answers = _is_answer(head_text(stream.head(_HEAD_BYTES)).lstrip())
    values = JsonValues(text_lines(stream), max_chars=limits.record_bytes)
    try:
        for number, record in enumerate(values.records(lists=_RESULT_KEYS if answers else None), start=1):
            try:
                yield number, json_paper(record)
            except RecordError as error:
                yield number, Rejected("damaged", f"{error}. Correct it, or drop the record.")
    except BrokenJson as error:
        raise DamagedFileError(
            f"its JSON is malformed or ends too early ({error})",
            advice="Download it again, or write one record a line, so that one that is damaged costs no other.",
        ) from error


def _line_paper(line: str) -> Paper | Rejected:
    try:
        return json_paper(json.loads(line, parse_constant=_refuse_constant))
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}, character {error.pos + 1}). Correct it"
    except RecursionError:
        reason = "lists or objects nested too deep. Flatten it"
    except RecordError as error:
        reason = f"{error}. Correct it"
    except ValueError as error:  # an integer of thousands of digits
        reason = f"not readable as JSON ({error}). Correct it"
    return Rejected("damaged", f"{reason}, or drop the record.")


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"{name} is not JSON")


def _is_answer(start: str) -> bool:
    """Whether the first object is a service's answer: it lists objects, and has no title before the list."""
    if not start.startswith("{"):
        return False
    values = JsonValues(iter([start]), max_chars=len(start))
    try:
        for key in values.keys_of_object():
            if key == "title":
                return False
            if key in _RESULT_KEYS and values.next() == "[":
                values.take("[")
                return values.next() in ("{", "]")
            values.value()
    except (BrokenJson, UnsafeFileError):  # the head ends within a value
        pass
    return False
