"""Bytes from a server to JSON or XML, safely, and the values in them, whatever their kind."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from lxml import etree

from corpus.readers.medline_xml import root_name
from corpus.readers.report import UnreadableFileError, UnsafeFileError
from corpus.sources.errors import BadAnswer
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs

_HEAD_BYTES = 65_536  # in which an XML answer's root element must begin
_MOST_MARKUP = 200_000  # characters; text that is still this long is refused further on


class Garbled(Exception):
    """An answer that cannot be read. Asked again, the server may give a whole one."""


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in an answer. Raises Garbled for anything else."""
    try:
        # Not strict: answers with tabs and line feeds within texts come from real services.
        value = json.loads(body.decode("utf-8-sig"), strict=False, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # a wrong byte, an integer of thousands of digits, nesting
        raise Garbled(f"it is not JSON ({clean(str(error))[:80]})") from error
    if not isinstance(value, dict):
        raise Garbled("its JSON is no object")
    return value


def read_xml(body: bytes) -> Any:
    """The root element of an answer. Raises Garbled for anything but XML, and BadAnswer for XML that is an attack.

    Entities are refused before a parser that could expand them sees them; nothing is fetched.
    """
    try:
        root_name(body[:_HEAD_BYTES])
    except UnsafeFileError as error:
        raise BadAnswer(f"its XML is not safe to read: {error.reason}") from error
    except UnreadableFileError as error:
        raise Garbled(error.reason) from error
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise Garbled(f"its XML is malformed or ends too early ({clean(error.msg or '')[:80]})") from error


def text_in(value: object) -> str:
    """A text as it is, a whole number in digits, and "" for all else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def map_in(value: object) -> Mapping[str, Any]:
    """An object as it is; an empty one for all else."""
    return value if isinstance(value, dict) else {}


def list_in(value: object) -> list[Any]:
    """A list as it is; an empty one for all else."""
    return value if isinstance(value, list) else []


def year_in(value: object) -> int | None:
    """A year from 1000 to 2999: a number, or a text or date that begins with one; None for all else."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    digits = text_in(value).strip()[:4]
    return int(digits) if len(digits) == 4 and digits.isascii() and digits.isdigit() and digits[0] in "12" else None


def count_in(value: object) -> int:
    """A count, as a number or in digits. Raises BadAnswer for all else."""
    digits = text_in(value).strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 13):
        raise BadAnswer(f"it says {clean(str(value))[:40]!r} where a count should be")
    return int(digits)


def first_text(*values: object) -> str:
    """The first of some values that is a text with something in it; "" where none is."""
    return next((text for text in map(text_in, values) if text.strip()), "")


def cleaned(texts: Iterable[object]) -> list[str]:
    """The texts among some values, on one line each, without empty ones."""
    return [text for text in (clean(text_in(value)) for value in texts) if text]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def title_in(value: object) -> str:
    """A title on one line, without markup."""
    return clean(plain(text_in(value)[:_MOST_MARKUP]))


def abstract_in(value: object) -> str:
    """An abstract without markup, its paragraphs on lines of their own."""
    return clean_paragraphs(plain(text_in(value)[:_MOST_MARKUP]))
