"""Sentences of a paragraph, and the papers that each cites. sentencex finds them; this module corrects its boundaries.

sentencex knows neither citations nor some abbreviations of papers. So a boundary is removed within a citation, within
brackets, behind "Eqs." and before a lower-case word; and a marker behind a full stop ("… cells. [3] Then") stays with
the sentence that it closes.
"""

import bisect
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from corpus.cocitations.full_text import CitingSentence, FullText, Reference
from corpus.cocitations.markers import DASH

Span = tuple[int, int]

_MAX_BRACKETED = 1_000  # characters; two brackets further apart are hardly a pair
_SURROGATES = re.compile("[\ud800-\udfff]")  # JSON may hold one alone, and sentencex takes only UTF-8
# Abbreviations that end no sentence: never, before a number, and before a marker.
_OPEN = (
    r"eqn?s?|figs?|tabs?|refs?|secs?|sects?|supp?l?|supplem|cf|e\.?g|i\.?e|vs|viz|approx|resp|chap|thms?|lem|def|prop|cor|"
    r"pp|vols?|nos|drs?|prof|st|mt|subsp|ssp|cv|w\.r\.t"
)
_OPEN_BEFORE_NUMBER = r"no|art|ch|ex|pls?|p|para|app|ca|spp?|n|ser|ver|var|box"
_OPEN_BEFORE_MARKER = r"al|no|ed"
_LAST_WORD = r"(?<![^\W\d_])(?<![^\W\d_]\.)(?:{})\.\s*$"
_ENDS_OPEN = re.compile(_LAST_WORD.format(_OPEN), re.IGNORECASE)
_ENDS_OPEN_BEFORE_NUMBER = re.compile(_LAST_WORD.format(_OPEN_BEFORE_NUMBER), re.IGNORECASE)
_ENDS_OPEN_BEFORE_MARKER = re.compile(_LAST_WORD.format(f"{_OPEN}|{_OPEN_BEFORE_MARKER}"), re.IGNORECASE)
_LONE = re.compile(r"[()\[\]{}]")
_ITEM = re.compile(r"[(\[](?:\d{1,2}|[a-z]|[ivx]{1,4})[)\]]")  # "(1)", "(a)", "(iv)" before an item of a list
_FIRST_WORD = re.compile(r"[^\s,;:()\[\]]+")
_SPACE = re.compile(r"\s*")
_CLOSES = re.compile(r"[.?!…][\"'”’»)\]]*\s*$")
_BRACKETED = re.compile(r"\[\s*\d{1,4}[a-z]?(?:[\s,;\u00ad\u2010-\u2015\u2212-]{1,3}\d{1,4}[a-z]?){0,99}\s*\]")
_WITHIN_GROUP = re.compile(rf"[\s,;&\[\]()]*(?:(?:{DASH}|\band\b)[\s\[\](),]*)?")
_MAX_BETWEEN = 12  # characters between two markers of one group
_CLOSER_OF = {"(": ")", "[": "]", "{": "}"}


def sentences_in(text: str, *, spans: Sequence[Span] = ()) -> list[Span]:
    """The sentences of a text as character spans that cover all of it. None splits a marker.

    spans: of its citation markers. White space between two sentences belongs to the first.

    >>> text = "Cells grow, as Smith et al. saw (Fig. 2). [3] Then see Eqs. 1 and 2. They died."
    >>> [text[start:end] for start, end in sentences_in(text)]
    ['Cells grow, as Smith et al. saw (Fig. 2). [3] ', 'Then see Eqs. 1 and 2. ', 'They died.']
    """
    if not text:
        return []
    from sentencex import get_sentence_boundaries  # slow to import

    groups = _groups(text, spans)
    brackets = _brackets(text)
    boundaries = [sentence["start_index"] for sentence in get_sentence_boundaries("en", _masked(text, brackets))]
    kept = _corrected(text, boundaries, groups, inside=_inside(text, [*groups, *brackets]))
    return list(pairwise([0, *kept, len(text)]))


def citing_sentences(full_text: FullText, *, place: str) -> list[CitingSentence]:
    """The sentences of a full text that cite at least one paper, in order.

    A citation belongs to the sentence in which its span begins. Two references that share an identifier are one paper.
    place: names a citing paper without an identifier.
    """
    found = []
    for paragraph in full_text.paragraphs:
        if not paragraph.citations:
            continue
        sentences = sentences_in(paragraph.text, spans=[(each.start, each.end) for each in paragraph.citations])
        ends = [end for _start, end in sentences]
        keys_in: dict[int, dict[str, None]] = {}
        for citation in paragraph.citations:
            number = bisect.bisect_right(ends, citation.start)
            keys_in.setdefault(number, {}).update(dict.fromkeys(citation.cited))
        for number, keys in sorted(keys_in.items()):
            start, end = sentences[number]
            sentence = " ".join(paragraph.text[start:end].split())
            cited = _distinct(full_text.references[key] for key in keys)
            found.append(CitingSentence(full_text.paper.key or place, sentence, cited))
    return found


def _distinct(references: Iterable[Reference]) -> tuple[Reference, ...]:
    """The references without those that share an identifier with an earlier one."""
    seen: set[str] = set()
    kept = []
    for reference in references:
        if seen.isdisjoint(reference.identifiers):
            kept.append(reference)
        seen.update(reference.identifiers)
    return tuple(kept)


def _masked(text: str, brackets: list[Span]) -> str:
    """The text, of the same length, with a word in place of each bracketed part.

    sentencex takes "2000) (Table 1" and "(2)" for items of a list, and finds no sentence behind the last of them.
    """
    parts = []
    done = 0
    for start, end in sorted(brackets):
        if start < done:
            continue  # nested
        parts.append(_LONE.sub("x", text[done:start]))
        within = text[start:end]
        opens = start == 0 or _CLOSES.search(text, max(0, start - 10), start) is not None
        if opens and (within[1:2].isupper() or (_ITEM.fullmatch(within) and text[end : end + 2].strip()[:1].isupper())):
            closed = within[-2] in ".?!"
            parts.append("X" + "x" * (len(within) - 2) + ("." if closed else "x"))
        else:
            parts.append("x" * len(within))
        done = end
    parts.append(_LONE.sub("x", text[done:]))
    return _SURROGATES.sub("\ufffd", "".join(parts))


def _brackets(text: str) -> list[Span]:
    """The bracketed parts of a text, brackets included, none longer than `_MAX_BRACKETED`."""
    opened: list[int] = []
    pairs = []
    for found in re.finditer(r"[()\[\]{}]", text):
        if found[0] in _CLOSER_OF:
            opened.append(found.start())
        elif opened and _CLOSER_OF[text[opened[-1]]] == found[0]:
            start = opened.pop()
            if found.end() - start <= _MAX_BRACKETED:
                pairs.append((start, found.end()))
    return pairs


def _groups(text: str, spans: Sequence[Span]) -> list[Span]:
    """The markers of a text with the brackets around them; adjacent ones as one group."""
    markers = {*spans, *(found.span() for found in _BRACKETED.finditer(text))}
    groups: list[Span] = []
    for start, end in sorted(_with_brackets(text, *marker) for marker in markers):
        before = groups[-1] if groups else None
        if before and (start <= before[1] or _stand_together(text, before[1], start)):
            groups[-1] = (before[0], max(before[1], end))
        else:
            groups.append((start, end))
    return [_with_brackets(text, *group) for group in groups]


def _with_brackets(text: str, start: int, end: int) -> Span:
    while start and text[start - 1] in "[(" and text[end : end + 1] == _CLOSER_OF[text[start - 1]]:
        start, end = start - 1, end + 1
    return start, end


def _stand_together(text: str, end: int, start: int) -> bool:
    return start - end <= _MAX_BETWEEN and _WITHIN_GROUP.fullmatch(text, end, start) is not None


def _corrected(text: str, boundaries: list[int], groups: list[Span], *, inside: list[bool]) -> list[int]:
    """The boundaries between sentences, in order, those beside a marker moved to where the sentence ends."""
    kept = set()
    at_markers = []  # from the start of each to the text behind it
    for start, end in groups:
        space = _SPACE.match(text, end)
        after = space.end() if space else end
        at_markers.append((start, after))
        kept.add(_boundary_at(text, start, end, after))
    for boundary in boundaries:
        at = bisect.bisect_right(at_markers, (boundary, len(text))) - 1
        if at >= 0 and at_markers[at][0] <= boundary <= at_markers[at][1] and text[boundary - 1] != "\n":
            continue  # decided above
        if _ends_sentence(text, boundary):
            kept.add(boundary)
    return sorted(boundary for boundary in kept if 0 < boundary < len(text) and not inside[boundary])


def _boundary_at(text: str, start: int, end: int, after: int) -> int:
    """Where a sentence ends at a marker behind a full stop: behind the marker or before it; 0 where none ends."""
    before = text[max(0, start - 40) : start]
    following = text[after : after + 40]
    if not following or following[0] in ".)" or not _CLOSES.search(before) or _ENDS_OPEN_BEFORE_MARKER.search(before):
        return 0
    word = _FIRST_WORD.match(following)
    if text[start].isalpha() or following[0] in ",;:" or (word and _is_lower_case(word[0])):
        return start  # "… cells. [3] showed that": the marker begins a sentence
    return after if after > end or following[0].isupper() else 0


def _ends_sentence(text: str, boundary: int) -> bool:
    """Whether a boundary that sentencex found away from markers is one."""
    before, following = text[max(0, boundary - 40) : boundary], text[boundary : boundary + 60].lstrip()
    if not following:
        return False
    word = _FIRST_WORD.match(following)
    if word and _is_lower_case(word[0]) and not before.endswith("\n"):
        return False
    if following[0].isdigit() and _ENDS_OPEN_BEFORE_NUMBER.search(before):
        return False
    return _ENDS_OPEN.search(before) is None


def _is_lower_case(word: str) -> bool:
    """Whether a word is all lower case and so begins no sentence, unlike "mRNA", "p53", "pH" and "α-helices"."""
    core = word.rstrip(".?!'\"”’")
    return core.isascii() and core.replace("-", "").isalpha() and core.islower()


def _inside(text: str, spans: Iterable[Span]) -> list[bool]:
    """For each place between two characters, whether it lies within a span."""
    steps = [0] * (len(text) + 2)
    for start, end in spans:
        steps[start + 1] += 1
        steps[end] -= 1
    return [depth > 0 for depth in accumulate(steps)]
