"""Answers as JSON or XML, read safely, and the values in them, whatever their type."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from corpus.errors import UnreadableFileError, UnsafeFileError
from corpus.io.safe_xml import PARSER_OPTIONS, root_name
from corpus.sources.errors import BadAnswer
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs

_HEAD_BYTES = 65_536  # in which an XML answer's root element must begin
_MAX_MARKUP_CHARS = 200_000  # a text that is still this long is refused later, by the limits of a record


class UnreadableAnswer(Exception):
    """An answer that cannot be read. The same request may give a whole one."""


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in an answer. Raises UnreadableAnswer for anything else."""
    try:
        # Not strict: real services send tabs and line feeds within strings.
        value = json.loads(body.decode("utf-8-sig"), strict=False, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"it is not JSON ({clean(str(error))[:80]})") from error
    if not isinstance(value, dict):
        raise UnreadableAnswer("its JSON is not an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_xml(body: bytes) -> Any:
    """The root element of an answer. Raises UnreadableAnswer, and BadAnswer for XML that is an attack.

    Entities are refused before a parser that could expand them sees them; nothing is fetched.
    """
    from lxml import etree

    try:
        root_name(body[:_HEAD_BYTES])
    except UnsafeFileError as error:
        raise BadAnswer(f"its XML is not safe to read: {error.reason}") from error
    except UnreadableFileError as error:
        raise UnreadableAnswer(error.reason) from error
    try:
        return etree.fromstring(body, etree.XMLParser(**PARSER_OPTIONS))
    except etree.XMLSyntaxError as error:
        raise UnreadableAnswer(f"its XML is malformed or incomplete ({clean(error.msg or '')[:80]})") from error


def as_text(value: object) -> str:
    """A string as it is, a whole number in digits, "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def as_object(value: object) -> Mapping[str, Any]:
    """An object as it is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """A list as it is; an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_count(value: object) -> int:
    """A count, as a number or in digits. Raises BadAnswer for anything else."""
    digits = as_text(value).strip()
    if not re.fullmatch(r"[0-9]{1,12}", digits):
        raise BadAnswer(f"it says {clean(str(value))[:40]!r} where a count should be")
    return int(digits)


def as_title(value: object) -> str:
    """A title on one line, without markup."""
    return clean(plain(as_text(value)[:_MAX_MARKUP_CHARS]))


def as_abstract(value: object) -> str:
    """An abstract without markup, each paragraph on a line."""
    return clean_paragraphs(plain(as_text(value)[:_MAX_MARKUP_CHARS]))


def first_text(*values: object) -> str:
    """The first value that is a text with something in it; "" where there is none."""
    return next((text for text in map(as_text, values) if text.strip()), "")


def clean_texts(values: Iterable[object]) -> list[str]:
    """The texts among some values, each on one line, without empty ones."""
    return [text for text in (clean(as_text(value)) for value in values) if text]


# Words in lower case that begin a family name and do not end a given one.
_PARTICLES = re.compile(
    r"af|al|am|ap|auf|aus|av|bin|da|dal|das|de|degli|dei|del|della|den|der|des|di|do|dos|du|e|el|ibn|la|las|le|les|lo|"
    r"los|op|'t|te|ten|ter|the|to|und|van|vom|von|y|zu|zum|zur"
)
_SUFFIXES = re.compile(r"(?:jr|sr)\.?|ii|iii|iv", re.IGNORECASE)
_GROUPS = re.compile(
    r"alliance|association|authors|board|cent(?:er|re)|collaborat(?:ion|ive|ors)|committee|community|company|consortium|"
    r"corporation|council|department|foundation|group|initiative|institute|investigators|laboratory|network|"
    r"organi[sz]ation|office|project|program(?:me)?|registry|society|study|subcommittee|task|team|trial|union|"
    r"university|working",
    re.IGNORECASE,
)


def family_first(name: str) -> str:
    """A person's name as "Family, Given"; unchanged for one word, for a group, and where it has a comma already.

    >>> family_first("Ludwig van Beethoven"), family_first("Martin L. King Jr."), family_first("Turing, Alan")
    ('van Beethoven, Ludwig', 'King, Martin L. Jr.', 'Turing, Alan')
    >>> family_first("The ATLAS Collaboration"), family_first("Plato")
    ('The ATLAS Collaboration', 'Plato')
    """
    name = clean(name)
    words = name.split()
    if "," in name or len(words) < 2 or _is_group(words):
        return name
    suffix = words.pop() if len(words) > 2 and _SUFFIXES.fullmatch(words[-1]) else ""
    start = len(words) - 1
    while start > 1 and _PARTICLES.fullmatch(words[start - 1]):
        start -= 1
    return f"{' '.join(words[start:])}, {' '.join(filter(None, (*words[:start], suffix)))}"


def _is_group(words: list[str]) -> bool:
    if words[0].lower() in ("the", "on") or any(character.isdigit() for word in words for character in word):
        return True
    return any(_GROUPS.fullmatch(word.strip("().;:")) for word in words[1:])
