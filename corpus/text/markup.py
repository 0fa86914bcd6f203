"""Strip markup: HTML, JATS and MathML tags and entities become the text that they stand for."""

import re
from html import unescape
from html.entities import html5

# Text contains "a<b>c" and "Map<title>". Tags of these names are stripped only in pairs, or if a prefix (jats:, mml:)
# or an attribute shows that they are tags.
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
# An attribute has a "=": "a<b and c>d" is no tag. The possessive quantifiers keep hostile text from backtracking.
_ATTRIBUTES = r"(?P<attributes>(?:\s++[\w:.-]++\s*+=\s*+(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^\s\"'<>=]++))*+)\s*+"
_TAG = re.compile(rf"<(?P<close>/?){_NAME}{_ATTRIBUTES}/?>", re.IGNORECASE)
_CLOSING = re.compile(rf"</(?:[a-z]{{1,8}}:)?(?P<name>{_ONLY_IN_PAIRS})\s*+>", re.IGNORECASE)
_BLOCKS = re.compile(
    r"abstract|blockquote|br|break|d[dlt]|disp-formula|disp-quote|div|h[1-6]|hr|li|list|list-item|ol|p|sec|section|"
    r"title|tr|ul",
    re.IGNORECASE,
)
# Comments and processing instructions.
_UNSEEN = re.compile(r"<!--(?:(?!<!--).)*?-->|<\?[a-z][^<>]*+\?>", re.IGNORECASE | re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[((?:(?!<!\[CDATA\[).)*?)\]\]>", re.DOTALL)
# A formula's second form, for programs; and elements that are no text. The search for an end stops where another
# element of that name begins, whatever its prefix: else hostile text with a prefix per tag takes quadratic time.
_HIDDEN = re.compile(
    r"<(?P<tag>(?:[a-z]{1,8}:)?(?P<name>annotation(?:-xml)?|script|style|tex-math))(?:\s[^<>]*+)?>"
    r"(?:(?!<(?:[a-z]{1,8}:)?(?P=name)\b).)*?</(?P=tag)\s*+>",
    re.IGNORECASE | re.DOTALL,
)
_MATH = re.compile(
    r"<(?P<math>(?:[a-z]{1,8}:)?math)(?:\s[^<>]*+)?>(?:(?!<(?:[a-z]{1,8}:)?math\b).)*?</(?P=math)\s*+>",
    re.IGNORECASE | re.DOTALL,
)
# A heading in an abstract becomes the label of the text after it.
_HEADING = re.compile(
    r"<(?P<heading>(?:jats:)?title|h[1-6])(?:\s[^<>]*+)?>(?P<label>(?:(?!<(?P=heading)\b).){0,300}?)</(?P=heading)\s*+>"
    r"(?P<gap>\s*+(?:<(?:jats:)?p(?:\s[^<>]*+)?>\s*+)?)(?P<more>[^<\s]|<(?!/))?",
    re.IGNORECASE | re.DOTALL,
)
_NO_LABEL = frozenset({"abstract", "summary"})
# Else 10<sup>5</sup> would read 105.
_POWER_OF_TEN = re.compile(r"(?<!\d)(10)<sup>(?=\s*+[-+−–]?\d)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:(?:amp|#38|#x26);)*(#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_MAX_LAYERS = 5  # of escaped tags inside escaped tags; real text has two


def plain(text: str) -> str:
    """Text without markup: entities (also escaped twice) as characters, without tags of HTML, JATS and MathML.

    Blocks end a line, and headings become labels; `clean` or `clean_paragraphs` normalises the spaces. Text that only
    looks like markup stays.

    >>> plain("<jats:title>Aim</jats:title><p>H<sub>2</sub>O &amp;amp; p &lt; 0.05, a<b and c>d</p>").split("\\n")
    ['', 'Aim: H2O & p < 0.05, a<b and c>d', '']
    """
    for _layer in range(_MAX_LAYERS):
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
    """Whether a lone <p> is where a paragraph can begin, unlike in "n<p>m"."""
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
    """A formula on one line: its parts in order, fractions with a slash."""
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
    line = " ".join("".join(root.itertext()).split())
    # Escaped again, so that the next layer does not take its text for tags.
    return line.replace("&", "&amp;").replace("<", "&lt;")
