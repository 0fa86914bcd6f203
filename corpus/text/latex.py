"""LaTeX in BibTeX fields as plain text, by pylatexenc."""

import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

# Most text has none of these, and is no LaTeX.
_LATEX = re.compile(r"[\\{}$~]|--|``|''|[?!]`")
# An escape; a formula, by Pandoc's rules for dollar signs, so that "$5 or $10" is none; and special characters that
# exporters do not escape.
_BARE = re.compile(
    r"\\.|(?P<dollars>\$\$?)(?=\S)(?P<formula>(?=[^$]*[\\^_<>=+])[^$]{1,500}?|[^$\s]{1,100}?)(?<![\s\\])(?P=dollars)"
    r"(?:(?!\d)|(?<=[a-z}<>=]\$))|[$%&#]",
    re.DOTALL,
)
# H$_2$O is H2O, as with <sub>; but 10$^5$ is not 105.
_SCRIPT = re.compile(r"\\.|(?<!10)\^|_", re.DOTALL)
_TEXT_SCRIPT = re.compile(r"(?<!\d)10(?:\\textsuperscript\b\s*|(?P<dollar>\$)\^)|\\text(?:super|sub)script\b\s*")
_SIMPLE = re.compile(r"\\([%&$#_])")
# Spaces, at which text may be cut, and what forbids a cut: a command, whose argument may follow a space, or a group.
_MARKS = re.compile(r"\\(?:begin|end)\b|\\[a-zA-Z]+\s*|\\[`'\"^~=.]\s*|\\.|[{}]|\$\$?|\s+", re.DOTALL)
_LINKED = re.compile(r"\\href\s*\{[^{}]*\}")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
# Dropped from text that cannot be converted.
_COMMAND = re.compile(r"\\[a-zA-Z]+\s*|[{}]")
_MAX_CHARS = 60_000  # more than an abstract may have; a longer text is refused later


def from_latex(text: str) -> str:
    """LaTeX as plain text, one line per paragraph. Never raises.

    >>> from_latex(r"{DNA} repair in \\'Evora: 10 % at $\\alpha < 0.05$, \\$5, CO$_2$")
    'DNA repair in Évora: 10 % at α < 0.05, $5, CO2'
    """
    if not _LATEX.search(text) or len(text) > _MAX_CHARS:
        return text
    paragraphs = (paragraph.replace("\n", " ") for paragraph in _BLANK_LINE.split(text))
    return "\n".join(map(_printed, paragraphs))


def verbatim(text: str) -> str:
    """A DOI or an address without the escapes and braces of LaTeX.

    >>> verbatim(r"\\url{https://doi.org/10.1000/a\\_b}")
    'https://doi.org/10.1000/a_b'
    """
    text = re.sub(r"\$([<>])\$", r"\1", text.replace(r"\url", "").replace(r"$\backslash$", ""))
    return re.sub(r"\\(?=[_%&#$~^{}])", "", text).replace("{", "").replace("}", "").strip()


def _printed(text: str) -> str:
    text = _BARE.sub(_escaped, _TEXT_SCRIPT.sub(_script, _LINKED.sub("", text)))
    return "".join(map(_converted, _stretches(text)))


def _stretches(latex: str) -> Iterator[str]:
    """LaTeX cut at spaces outside groups and formulas, since pylatexenc is slow with plain words."""
    start = depth = 0
    formula = False
    for mark in _MARKS.finditer(latex):
        sign = mark[0]
        if sign in "{}":
            depth = max(0, depth + (1 if sign == "{" else -1))
        elif sign in (r"\begin", r"\end"):
            depth = max(0, depth + (1 if sign == r"\begin" else -1))
        elif sign[0] == "$":
            formula = not formula
        elif sign in ("\\(", "\\["):
            formula = True
        elif sign in ("\\)", "\\]"):
            formula = False
        elif sign[0] != "\\" and not depth and not formula:
            yield latex[start : mark.end()]
            start = mark.end()
    yield latex[start:]


def _converted(latex: str) -> str:
    if not _LATEX.search(latex):
        return latex
    simple = _SIMPLE.sub(r"\1", latex)
    if not _LATEX.search(_SIMPLE.sub("", latex)):
        return simple
    try:
        return str(_converter().latex_to_text(latex, tolerant_parsing=True))
    except (RecursionError, IndexError, ValueError, AttributeError, TypeError, KeyError):
        # Thousands of open braces; a macro without its argument.
        return _COMMAND.sub("", latex)


def _script(found: re.Match[str]) -> str:
    return f"10\\textasciicircum{{}}{found['dollar'] or ''}" if found[0].startswith("10") else ""


def _escaped(found: re.Match[str]) -> str:
    if found["formula"] is not None:
        return f"${_SCRIPT.sub(lambda script: script[0] if script[0][0] == chr(92) else '', found['formula'])}$"
    return f"\\{found[0]}" if len(found[0]) == 1 else found[0]


class _Silent(logging.Filter):
    """Drop pylatexenc's warnings of macros without arguments: the user can do nothing about them."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return False


@cache
def _converter() -> Any:
    from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

    for module in ("latex2text", "latexwalker"):
        logging.getLogger(f"pylatexenc.{module}").addFilter(_Silent())
    context = get_default_latex_context_db()
    context.add_context_category(
        "bibliographies",
        prepend=True,
        macros=[
            MacroTextSpec("url", simplify_repl=_last_argument),
            MacroTextSpec("textbraceleft", simplify_repl="{"),
            MacroTextSpec("textbraceright", simplify_repl="}"),
            MacroTextSpec("textasciicircum", simplify_repl="^"),  # pylatexenc gives a similar letter
        ],
    )
    return LatexNodes2Text(latex_context=context, math_mode="text", keep_comments=True)


def _last_argument(node: Any, l2tobj: Any) -> str:
    arguments = node.nodeargd.argnlist if node.nodeargd else []
    return str(l2tobj.nodelist_to_text(arguments[-1:]))
