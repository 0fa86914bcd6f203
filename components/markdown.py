"""Text as Markdown that shows it and does nothing else, for what Streamlit reads so: labels, errors, captions."""

# Everything that begins emphasis, code, a link, a heading, a list, a table, mathematics, an icon, a colour or markup.
_MEANINGFUL = frozenset(r"\`*_{}[]()#+-.!|~$:<>&@")


def escaped(text: str) -> str:
    """A text of unknown origin as Markdown that shows just that text.

    >>> escaped("[x](javascript:y) :red[z]")
    '\\\\[x\\\\]\\\\(javascript\\\\:y\\\\) \\\\:red\\\\[z\\\\]'
    """
    return "".join(f"\\{character}" if character in _MEANINGFUL else character for character in text)
