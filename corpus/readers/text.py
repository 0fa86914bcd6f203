"""Text as this project keeps it: NFC, no control characters, single spaces."""

import re
import unicodedata
from collections.abc import Iterable

# Control characters that are no white space; lone surrogates, which UTF-8 cannot hold; the byte order mark;
# and the marks that reorder text on screen, with which a title can be made to read as another.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """One line of text in NFC, without control characters, with single spaces and none at the ends.

    >>> clean(" Cafe\\u0301 \\n au\\x00 lait ")
    'Café au lait'
    """
    return " ".join(unicodedata.normalize("NFC", _UNWANTED.sub("", text)).split())


def clean_paragraphs(text: str) -> str:
    """As `clean`, but line feeds go on parting paragraphs; empty ones are dropped.

    >>> clean_paragraphs("BACKGROUND:  One.\\r\\n\\n RESULTS: Two. ")
    'BACKGROUND: One.\\nRESULTS: Two.'
    """
    return "\n".join(filter(None, map(clean, text.split("\n"))))


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts, cleaned, without empty ones and without those that differ only in case from an earlier one.

    >>> distinct(["Asthma", "asthma ", "", "Child"])
    ('Asthma', 'Child')
    """
    first_of: dict[str, str] = {}
    for text in map(clean, texts):
        if text:
            first_of.setdefault(text.casefold(), text)
    return tuple(first_of.values())
