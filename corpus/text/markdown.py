"""Escape text for Markdown, which Streamlit reads in labels, errors and captions."""

import re

# Characters that begin emphasis, code, a link, a heading, a list, a table, a formula, an icon, a colour or markup.
_MEANINGFUL = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$:<>&]")
# Addresses become links, escaped or not; an invisible word joiner inside keeps them text.
_ADDRESS = re.compile(r"(?i)\b(?:[a-z]+:(?=/)|www(?=\.))|@")
_WORD_JOINER = "\u2060"


def escaped(text: str) -> str:
    """A text of unknown origin as Markdown that shows exactly this text.

    >>> escaped("[x](data) :red[z]")
    '\\\\[x\\\\]\\\\(data\\\\) \\\\:red\\\\[z\\\\]'
    """
    return _MEANINGFUL.sub(r"\\\g<0>", _ADDRESS.sub(rf"\g<0>{_WORD_JOINER}", text))
