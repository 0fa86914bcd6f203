"""Normalised text: NFC, no control characters, single spaces."""

import re
import unicodedata
from collections.abc import Iterable

# Control characters except white space; lone surrogates, which UTF-8 cannot hold; the byte order mark; and the marks
# that reorder text on screen, which can make a title read as another.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)

# NLM's placeholders for a missing title in English.
_NO_TITLE = frozenset({"In Process Citation", "Not Available"})


def clean(text: str) -> str:
    """One line of text in NFC, without control characters, with single spaces and none at the ends.

    >>> clean(" Cafe\\u0301 \\n au\\x00 lait ")
    'Café au lait'
    """
    return " ".join(unicodedata.normalize("NFC", _UNWANTED.sub("", text)).split())


def clean_paragraphs(text: str) -> str:
    """As `clean`, but line feeds still separate paragraphs; empty ones are dropped.

    >>> clean_paragraphs("BACKGROUND:  One.\\r\\n\\n RESULTS: Two. ")
    'BACKGROUND: One.\\nRESULTS: Two.'
    """
    return "\n".join(filter(None, map(clean, text.split("\n"))))


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts, cleaned, without empty ones and without repeats in another case.

    >>> distinct(["Asthma", "asthma ", "", "Child"])
    ('Asthma', 'Child')
    """
    first_of: dict[str, str] = {}
    for text in map(clean, texts):
        if text:
            first_of.setdefault(text.casefold(), text)
    return tuple(first_of.values())


def medline_title(title: str) -> str:
    """A title without the brackets that NLM puts around a translated one; "" for a placeholder.

    >>> medline_title("[Title]."), medline_title("[18F]FDG in [11C]choline"), medline_title("Not Available.")
    ('Title.', '[18F]FDG in [11C]choline', '')
    """
    core = title.rstrip(".")
    if _is_bracketed(core):
        core = core[1:-1].strip()
        title = core if core.endswith((".", "?", "!")) or not title.endswith(".") else f"{core}."
    return "" if core.rstrip(".") in _NO_TITLE else title


def _is_bracketed(text: str) -> bool:
    """Whether the first bracket closes at the very end, as it does not in "[18F]FDG in [11C]choline"."""
    if not (text.startswith("[") and text.endswith("]")):
        return False
    depth = 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth == 0:
            return position == len(text) - 1
    return False
