"""Pasted text → title and abstract: what was understood, and what the person who pasted it should know."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

LONGEST_TITLE = 300  # characters; a first line longer than this is no title but an abstract without one
LONGEST_PASTE = 50_000  # characters looked at: thirty abstracts; an encoder reads two pages at the most
_FULL_TEXT_WORDS = 1500

# What copied text is often headed by. In a line it needs a colon: "Abstract algebra and …" is a title.
_TITLE = re.compile(r"^\s*title\s*[:–—]\s*", re.IGNORECASE)
_ABSTRACT = re.compile(r"^\s*(?:abstract|summary)\s*(?:[:–—]\s*|\n\s*)", re.IGNORECASE)
_BLOCKS = ("p", "br", "div", "h1", "h2", "h3", "h4", "li", "title", "abstract", "section", "jats:p", "jats:title")
_TAG = re.compile(
    r"</?(?:p|br|i|b|em|strong|sub|sup|div|span|h[1-6]|a|ul|ol|li|script|style|section|abstract|title|jats:\w+|mml:\w+)"
    r"(?:\s[^<>=]*=[^<>]*|\s*)/?>",  # what follows a name holds a "=": "a<b and c>d" is no tag
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-f]{2,5});", re.IGNORECASE)
# A "<" that begins no tag, comment or declaration: in an abstract it means "less than", and the parser would take
# what follows it for a tag that never ends, or refuse it ("<![").
_LESS_THAN = re.compile(r"<(?!/?[a-z][\w:.-]*(?:\s[^<>=]*=[^<>]*|\s*)/?>|[!?][a-z][^<>]*>)", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!<!--).)*?-->", re.DOTALL)
# The first class leaves out what the second looks for, so that a long run of either is gone through once.
_LATEX = re.compile(r"\\(?:[a-zA-Z]{2,}\s*\{|begin\{|[\"'`^~=.][a-zA-Z{])|\$[^$\n\\^_]*[\\^_][^$\n]*\$")
_PER_CENT = re.compile(r"(?<=[^\\\n])%")
# The commonest words of English prose. Abstracts hold 25–40 % of them; other languages hold under 5 %.
_ENGLISH = frozenset(
    re.findall(
        r"\w+", "the of and in to a is for with that was by on as were are from be this an we at or which it has"
    )
)
_ENOUGH_WORDS = 12  # too few words to tell a language by


@dataclass(frozen=True, slots=True)
class QueryText:
    """A paste as it was understood. notes: sentences for the person who pasted it, empty where all is plain."""

    title: str
    abstract: str
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.title or self.abstract)


def understand(paste: str) -> QueryText:
    """The title and the abstract in a pasted text.

    The title is what stands before the first blank line, or else the first line, where that is no longer than
    LONGEST_TITLE. HTML and LaTeX are read as plain text. Never raises; what is odd is said in `notes`.

    >>> understand("A title\\n\\nAn abstract.")
    QueryText(title='A title', abstract='An abstract.', notes=())
    """
    notes: list[str] = []
    text = paste.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    if len(text) > LONGEST_PASTE:
        notes.append(
            f"You pasted {len(text):,} characters; the first {LONGEST_PASTE:,} were looked at. "
            "A title and abstract alone give the best neighbours."
        )
        text = text[:LONGEST_PASTE]
    elif len(text.split()) > _FULL_TEXT_WORDS:
        notes.append("This is longer than an abstract. A title and abstract alone give the best neighbours.")
    if _TAG.search(text) or _ENTITY.search(text):
        text = _without_html(text)
        notes.append("HTML was read as plain text.")
    if _LATEX.search(text):
        text = _without_latex(text)
        notes.append("LaTeX was read as plain text.")
    title, abstract = _split(text.strip())
    words = f"{title} {abstract}".split()
    english = _looks_english(words)
    if len(words) == 1 and english:
        notes.append("One word says little: the papers nearest to a title and abstract are nearer to the point.")
    elif not abstract and words:
        notes.append("A title alone was read. With its abstract the neighbours are better.")
    if not title and abstract:
        notes.append("No title line was found, so all of it was read as the abstract.")
    if not english:
        notes.append(
            "This does not look like English. The encoder was trained on English text: expect poor neighbours."
        )
    return QueryText(title=title, abstract=abstract, notes=tuple(notes))


def _split(text: str) -> tuple[str, str]:
    head, *rest = re.split(r"\n[ \t]*\n", text, maxsplit=1)
    if not rest or len(_plain(head)) > LONGEST_TITLE:
        # No blank line, or a long paragraph before it: the first line decides.
        head, *rest = text.split("\n", maxsplit=1)
    if _ABSTRACT.match(text):
        return "", _plain(_ABSTRACT.sub("", text, count=1))
    title = _plain(_TITLE.sub("", head, count=1))
    if len(title) > LONGEST_TITLE:
        return "", _plain(text)
    return title, _plain(_ABSTRACT.sub("", rest[0], count=1)) if rest else ""


def _without_html(text: str) -> str:
    parser = _Text()
    parser.feed(_LESS_THAN.sub("&lt;", _COMMENT.sub(" ", text)))
    parser.close()
    return "".join(parser.parts)


class _Text(HTMLParser):
    """Collects the text of a page; scripts and styles are no text, and blocks end a line."""

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

    # The converter drops what a document class would print elsewhere; here it is the very text that is wanted.
    latex = re.sub(r"\\(?:title|section|subsection|paragraph)\*?\s*\{", "{", text)
    # Within a line of an abstract "%" is per cent, and not the beginning of a comment that hides the rest.
    latex = _PER_CENT.sub(r"\\%", latex)
    try:
        plain: str = LatexNodes2Text(math_mode="text").latex_to_text(latex, tolerant_parsing=True)
    except (RecursionError, IndexError, ValueError):
        # Braces opened thousands deep; "\verb" at the very end and its like, which the converter trips over.
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
