"""Markup in fields: HTML, JATS and MathML tags and entities read as the text that they stand for."""

import re
from html import unescape
from html.entities import html5

# Elements by how surely a tag of that name is one. Text has "a<b>c" and "Map<title>" of its own: those below lose
# their tags only in pairs, or where a prefix (jats:, mml:) or an attribute tells.
_ONLY_IN_PAIRS = (
    "a|b|i|p|q|s|u|abstract|address|alternatives|article|big|body|caption|center|cite|code|disp-formula|disp-quote|"
    "email|ext-link|fig|fn|font|footer|header|head|html|inline-formula|inline-graphic|kbd|label|list|list-item|main|"
    "maction|math|menclose|merror|mfenced|mfrac|mi|mmultiscripts|mn|mo|mover|mpadded|mphantom|mroot|mrow|ms|msqrt|"
    "mstyle|msub|msubsup|msup|mtable|mtd|mtext|mtr|munder|munderover|named-content|none|ol|option|overline|"
    "roman|sans-serif|sc|sec|section|semantics|small|strike|styled-content|table|tbody|td|th|thead|title|tr|tt|ul|uri|"
    "var|xref"
)
_SURELY = (
    "bold|blockquote|br|break|del|div|dl|dt|dd|em|h[1-6]|hr|img|ins|italic|li|mprescripts|mspace|monospace|span|strong|"
    "sub|sup|underline"
)
_NAME = rf"(?P<prefix>[a-z]{{1,8}}:)?(?P<name>{_ONLY_IN_PAIRS}|{_SURELY})"
# What follows a name holds a "=": "a<b and c>d" is no tag. The quantifiers give nothing back, so that hostile text is
# gone through once.
_ATTRIBUTES = r"(?P<attributes>(?:\s++[\w:.-]++\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=]++))*+)\s*+"
_TAG = re.compile(rf"<(?P<close>/?){_NAME}{_ATTRIBUTES}/?>", re.IGNORECASE)
_CLOSING = re.compile(rf"</(?:[a-z]{{1,8}}:)?(?P<name>{_ONLY_IN_PAIRS})\s*+>", re.IGNORECASE)
_BLOCKS = re.compile(
    r"abstract|blockquote|br|break|d[dlt]|disp-formula|disp-quote|div|h[1-6]|hr|li|list|list-item|ol|p|sec|section|"
    r"title|tr|ul",
    re.IGNORECASE,
)
# Comments, and instructions to programs.
_UNSEEN = re.compile(r"<!--(?:(?!<!--).)*?-->|<\?[a-z][^<>]*+\?>", re.IGNORECASE | re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[((?:(?!<!\[CDATA\[).)*?)\]\]>", re.DOTALL)
# The same formula once more, for programs; and what is no text. Looking for an end stops where another of that name
# begins, whatever its prefix: else hostile text, each tag with a prefix of its own, is gone through for each of them.
_HIDDEN = re.compile(
    r"<(?P<tag>(?:[a-z]{1,8}:)?(?P<name>annotation(?:-xml)?|script|style|tex-math))(?:\s[^<>]*+)?>"
    r"(?:(?!<(?:[a-z]{1,8}:)?(?P=name)\b).)*?</(?P=tag)\s*+>",
    re.IGNORECASE | re.DOTALL,
)
_MATH = re.compile(
    r"<(?P<math>(?:[a-z]{1,8}:)?math)(?:\s[^<>]*+)?>(?:(?!<(?:[a-z]{1,8}:)?math\b).)*?</(?P=math)\s*+>",
    re.IGNORECASE | re.DOTALL,
)
# A heading in an abstract labels what follows it.
_HEADING = re.compile(
    r"<(?P<heading>(?:jats:)?title|h[1-6])(?:\s[^<>]*+)?>(?P<label>(?:(?!<(?P=heading)\b).){0,300}?)</(?P=heading)\s*+>"
    r"(?P<gap>\s*+(?:<(?:jats:)?p(?:\s[^<>]*+)?>\s*+)?)(?P<more>[^<\s]|<(?!/))?",
    re.IGNORECASE | re.DOTALL,
)
_NO_LABEL = frozenset({"abstract", "summary"})
# Without the exponent's height 10<sup>5</sup> would read 105.
_POWER_OF_TEN = re.compile(r"(?<!\d)(10)<sup>(?=\s*+[-+−–]?\d)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:(?:amp|#38|#x26);)*(#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
# Tags inside escaped tags inside … : honest text has two layers.
_LAYERS = 5


def plain(text: str) -> str:
    """Text without markup: entities (also escaped twice) as characters, tags of HTML, JATS and MathML taken away.

    Blocks end a line, and headings label what follows them; `clean` or `clean_paragraphs` is for the spaces. What
    only looks like markup stays as it is.

    >>> plain("<jats:title>Aim</jats:title><p>H<sub>2</sub>O &amp;amp; p &lt; 0.05, a<b and c>d</p>").split("\\n")
    ['', 'Aim: H2O & p < 0.05, a<b and c>d', '']
    """
    for _layer in range(_LAYERS):
        before = text
        if "<" in text:
            text = _without_tags(text)
        if "&" in text:
            text = _ENTITY.sub(_character, text)
        if text == before:
            break
    return text


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if name.startswith("#"):
        return unescape(f"&{name};")
    return html5.get(f"{name};", entity[0])


def _without_tags(text: str) -> str:
    text = _CDATA.sub(r"\1", _UNSEEN.sub(" ", text))
    text = _MATH.sub(_formula, _HIDDEN.sub(" ", text))
    text = _POWER_OF_TEN.sub(r"\1^<sup>", _HEADING.sub(_label, text))
    closed = {found["name"].lower(): found.start() for found in _CLOSING.finditer(text)}

    def replacement(tag: re.Match[str]) -> str:
        name = tag["name"].lower()
        opens_pair = tag.start() < closed.get(name, -1)
        sure = tag["close"] or tag["prefix"] or tag["attributes"] or opens_pair or re.fullmatch(_SURELY, name)
        if not sure and not (name == "p" and _between_sentences(text, tag)):
            return tag[0]
        return "\n" if _BLOCKS.fullmatch(name) else ""

    return _TAG.sub(replacement, text)


def _between_sentences(text: str, tag: re.Match[str]) -> bool:
    """Whether a lone <p> stands where a paragraph can begin, as it does not in "n<p>m"."""
    before = text[max(0, tag.start() - 20) : tag.start()].rstrip(" ")
    return not before or before.endswith((".", "?", "!", ":", "\n", ">"))


def _label(heading: re.Match[str]) -> str:
    label = " ".join(_TAG.sub("", heading["label"]).split())
    more = heading["more"] or ""
    if label.casefold().rstrip(":.") in _NO_LABEL:
        label = ""
    elif label and more:
        label = f"{label} " if label.endswith((":", ".", "?", "!")) else f"{label}: "
    return f"\n{label}{more}" if more else f"\n{label}\n{heading['gap']}"


def _formula(math: re.Match[str]) -> str:
    """What a formula says on one line: its parts in their order, fractions with a slash."""
    from lxml import etree, html

    try:
        root = html.fragment_fromstring(math[0])
    except etree.LxmlError:
        return math[0]
    for element in root.iter():
        name = str(element.tag).rpartition(":")[2]
        if name == "mfrac" and len(element) == 2:
            element[0].tail = "/"
            if len(element[1]):
                element[1].text, element[1].tail = f"({element[1].text or ''}", f"){element[1].tail or ''}"
        elif name in ("msup", "msubsup") and len(element) and (element[0].text or "").strip() == "10":
            element[0].tail = "^"
        elif name in ("mspace", "mtr", "mtd"):
            element.tail = f" {element.tail or ''}"
    said = " ".join("".join(root.itertext()).split())
    # What was escaped in the formula is text now, and must not pass for a tag in the next round.
    return said.replace("&", "&amp;").replace("<", "&lt;")
