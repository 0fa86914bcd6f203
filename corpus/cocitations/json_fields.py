"""Fields of JSON records that anybody may have written: each is what it should be, or nothing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from corpus.cocitations.full_text import FullTextError
from corpus.readers.fields import year_of
from corpus.text.plain import clean

_DATE_CHARS = 100  # a longer text is no date
TITLE_CHARS = 2_000  # a longer text is no title, and would be told with each sentence that cites it


def record_of(content: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """A record as it is, or read from its JSON. Raises FullTextError for what is no object."""
    record = parsed_json(content) if isinstance(content, bytes) else content
    if not isinstance(record, Mapping):
        raise FullTextError("this is no JSON object. Write one object for each document.")
    return record


def parsed_json(content: bytes | str) -> Any:
    """The value of a JSON text. Raises FullTextError for what is none, nested too deep, or has numbers without end."""
    try:
        text = content.decode("utf-8-sig", "replace") if isinstance(content, bytes) else content
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FullTextError(f"this is not JSON ({error.msg}). Correct it, or drop it.") from error
    except RecursionError as error:
        raise FullTextError("its lists or objects are nested too deep. Flatten them, or drop it.") from error
    except ValueError as error:  # an integer of thousands of digits, or a constant that JSON does not know
        raise FullTextError("it holds a number that JSON does not have. Correct it, or drop it.") from error


def object_in(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under a key; an empty one where there is none."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def objects_in(record: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """The objects of the list under a key; what else the list holds is passed over."""
    value = record.get(key)
    yield from (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def text_in(record: Mapping[str, Any], *keys: str) -> str:
    """The text or whole number under the first of these keys that has one, on one line; "" where there is none.

    Of a list, the first member counts.
    """
    for key in keys:
        value = record.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
            return str(value)
        if isinstance(value, str) and (text := clean(value)):
            return text
    return ""


def title_in(record: Mapping[str, Any], *, key: str = "title") -> str:
    """The title of a record; "" where there is none, or it is longer than titles are."""
    title = text_in(record, key)
    return title if len(title) <= TITLE_CHARS else ""


def year_in(record: Mapping[str, Any], *keys: str) -> int | None:
    """The first year that the value under one of these keys names; None where there is none."""
    return next((year for key in keys if (year := year_of(text_in(record, key)[:_DATE_CHARS]))), None)


def caseless(record: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an object by their keys in lower case: services differ in "DOI" and "doi"."""
    return {key.lower(): value for key, value in record.items() if isinstance(key, str)}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
