"""Parse a pasted text into title and abstract, with notes for the person who pasted it."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from components.encoder.base import TextCoverage

MAX_TITLE_CHARS = 300  # a longer first line is an abstract without a title
MAX_PASTE_CHARS = 50_000  # thirty abstracts; an encoder reads two pages at most
_FULL_TEXT_WORDS = 1500

# Headings of copied text. Within a line they need a colon: "Abstract algebra and …" is a title.
_TITLE = re.compile(r"^\s*title\s*[:–—]\s*", re.IGNORECASE)
_ABSTRACT = re.compile(r"^\s*(?:abstract|summary)\s*(?:[:–—]\s*|\n\s*)", re.IGNORECASE)
_BLOCKS = ("p", "br", "div", "h1", "h2", "h3", "h4", "li", "title", "abstract", "section", "jats:p", "jats:title")
_TAG = re.compile(
    r"</?(?:p|br|i|b|em|strong|sub|sup|div|span|h[1-6]|a|ul|ol|li|script|style|section|abstract|title|jats:\w+|mml:\w+)"
    r"(?:\s[^<>=]*=[^<>]*|\s*)/?>",  # attributes contain "=": "a<b and c>d" is no tag
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-f]{2,5});", re.IGNORECASE)
# A "<" that begins no tag, comment or declaration means "less than" in an abstract; the parser would read what
# follows it as a tag that never ends, or fail ("<![").
_LESS_THAN = re.compile(r"<(?!/?[a-z][\w:.-]*(?:\s[^<>=]*=[^<>]*|\s*)/?>|[!?][a-z][^<>]*>)", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
# The first class excludes what the second matches, so that a long run of either is scanned once.
_LATEX = re.compile(r"\\(?:[a-zA-Z]{2,}\s*\{|begin\{|[\"'`^~=.][a-zA-Z{])|\$[^$\n\\^_]*[\\^_][^$\n]*\$")
_PER_CENT = re.compile(r"(?<=[^\\\n])%")
# The commonest words of English prose: 25–40 % of an English abstract, under 5 % of one in another language.
_ENGLISH = frozenset(
    re.findall(
        r"\w+", "the of and in to a is for with that was by on as were are from be this an we at or which it has"
    )
)
_ENOUGH_WORDS = 12  # with fewer, only the script is checked


@dataclass(frozen=True, slots=True)
class QueryText:
    """A parsed paste. notes: sentences about what was unusual in it."""

    title: str
    abstract: str
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.title or self.abstract)


def understand(paste: str) -> QueryText:
    """Split a pasted text into title and abstract.

    The title is the text before the first blank line, or else the first line, unless it is longer than
    MAX_TITLE_CHARS. HTML and LaTeX become plain text. Never raises.

    >>> understand("A title\\n\\nAn abstract.")
    QueryText(title='A title', abstract='An abstract.', notes=())
    """
    notes: list[str] = []
    text = paste.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    if len(text) > MAX_PASTE_CHARS:
        notes.append(
            f"You pasted {len(text):,} characters; only the first {MAX_PASTE_CHARS:,} were used. "
            "A title and abstract alone give the best matches."
        )
        text = text[:MAX_PASTE_CHARS]
    elif len(text.split()) > _FULL_TEXT_WORDS:
        notes.append("This is longer than an abstract. A title and abstract alone give the best matches.")
    if _TAG.search(text) or _ENTITY.search(text):
        text = _without_html(text)
        notes.append("HTML was converted to plain text.")
    if _LATEX.search(text):
        text = _without_latex(text)
        notes.append("LaTeX was converted to plain text.")
    title, abstract = _split(text.strip())
    words = f"{title} {abstract}".split()
    english = _looks_english(words)
    if len(words) == 1 and english:
        notes.append("One word is little to go on. Add a title and abstract for better matches.")
    elif not abstract and words:
        notes.append("This is only a title. Add the abstract for better matches.")
    if not title and abstract:
        notes.append("No title was found, so the whole text was read as the abstract.")
    if not english:
        notes.append(
            "This does not look like English. The encoder was trained on English text, so expect poor matches."
        )
    return QueryText(title=title, abstract=abstract, notes=tuple(notes))


def coverage_words(coverage: TextCoverage) -> str:
    """How much of a text an encoder read, after "The encoder …".

    >>> coverage_words(TextCoverage(words_read=250, words=400, tokens_read=256, max_tokens=256))
    'read the first 250 of 400 words (at most 256 word pieces)'
    """
    read, words = f"{coverage.words_read:,}", f"{coverage.words:,} word{'s' if coverage.words != 1 else ''}"
    if coverage.complete:
        return f"read all {words}"
    if coverage.skips:
        return f"knows {read} of {words} (the others are rare in this corpus)"
    return f"read the first {read} of {words} (at most {coverage.max_tokens} word pieces)"


def _split(text: str) -> tuple[str, str]:
    head, *rest = re.split(r"\n[ \t]*\n", text, maxsplit=1)
    if not rest or len(_plain(head)) > MAX_TITLE_CHARS:
        # No blank line, or a long paragraph before it: the first line decides.
        head, *rest = text.split("\n", maxsplit=1)
    if _ABSTRACT.match(text):
        return "", _plain(_ABSTRACT.sub("", text, count=1))
    title = _plain(_TITLE.sub("", head, count=1))
    if len(title) > MAX_TITLE_CHARS:
        return "", _plain(text)
    return title, _plain(_ABSTRACT.sub("", rest[0], count=1)) if rest else ""


def _without_html(text: str) -> str:
    parser = _Text()
    parser.feed(_LESS_THAN.sub("&lt;", _COMMENT.sub(" ", text)))
    parser.close()
    return "".join(parser.parts)


class _Text(HTMLParser):
    """Collect the text of a page, without scripts and styles; block elements end a line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in ("script", "style")
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in ("script", "style")))
        if tag in _BLOCKS:
            self.parts.append("\n\n" if tag in ("h1", "h2", "h3", "title") else "\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _without_latex(text: str) -> str:
    from pylatexenc.latex2text import LatexNodes2Text

    # The converter drops titles and headings, which a document class would print; here they are wanted.
    latex = re.sub(r"\\(?:title|section|subsection|paragraph)\*?\s*\{", "{", text)
    # In an abstract "%" means per cent; the converter would read it as the beginning of a comment.
    latex = _PER_CENT.sub(r"\\%", latex)
    try:
        plain: str = LatexNodes2Text(math_mode="text").latex_to_text(latex, tolerant_parsing=True)
    except (RecursionError, IndexError, ValueError):
        # Thousands of nested braces, or "\verb" at the end of the text: the converter fails on them.
        return text
    return plain


def _plain(text: str) -> str:
    return " ".join(text.split())


def _looks_english(words: list[str]) -> bool:
    if len(words) < _ENOUGH_WORDS:
        letters = [c for c in "".join(words) if c.isalpha()]
        return not letters or sum(c < "ɐ" for c in letters) >= len(letters) / 2
    sample = [word.strip(".,;:()").lower() for word in words[:400]]
    return sum(word in _ENGLISH for word in sample) >= 0.1 * len(sample)
