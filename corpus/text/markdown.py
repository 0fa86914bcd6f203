"""Text as Markdown that shows it and does nothing else, for what Streamlit reads so: labels, errors, captions."""

import re

# Everything that begins emphasis, code, a link, a heading, a list, a table, mathematics, an icon, a colour or markup.
_MEANINGFUL = re.compile(r"[\\`*_{}\[\]()#+\-.!|~$:<>&]")
# What becomes a link by itself, escaped or not: an unseen word joiner in its middle keeps it text.
_ADDRESS = re.compile(r"(?i)\b(?:[a-z]+:(?=/)|www(?=\.))|@")
_WORD_JOINER = "\u2060"


def escaped(text: str) -> str:
    """A text of unknown origin as Markdown that shows just that text.

    >>> escaped("[x](data) :red[z]")
    '\\\\[x\\\\]\\\\(data\\\\) \\\\:red\\\\[z\\\\]'
    """
    return _MEANINGFUL.sub(r"\\\g<0>", _ADDRESS.sub(rf"\g<0>{_WORD_JOINER}", text))
