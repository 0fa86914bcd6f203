"""Sentences of a paragraph, and the papers that each cites. sentencex finds them; what it cannot know is mended here.

It knows neither citations nor some abbreviations of papers, so that a boundary is taken away within a citation, within
brackets, behind "Eqs." and before a lower-case word; and a marker behind a full stop ("… cells. [3] Then") is left
to the sentence that it closes.
"""

import bisect
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from corpus.cocitations.full_text import Citation, CitingSentence, FullText, Reference
from corpus.cocitations.identifiers import surest
from corpus.cocitations.ranges import DASH

Span = tuple[int, int]

_MOST_IN_BRACKETS = 1_000  # characters; further apart, the two brackets are hardly a pair
_SURROGATES = re.compile("[\ud800-\udfff]")  # a JSON text may hold a half of one, and sentencex takes UTF-8 alone
# Abbreviations: what ends no sentence, what ends none before a number, and what ends none before a marker.
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
_MOST_BETWEEN = 12  # characters between two markers of one group
_CLOSER_OF = {"(": ")", "[": "]", "{": "}"}


def sentences_in(text: str, *, spans: Sequence[Span] = ()) -> list[Span]:
    """The sentences of a text: character spans that cover all of it, each from where the one before ends.

    spans: of its citation markers; none is torn. White space between two sentences is the first one's.

    >>> text = "Cells grow, as Smith et al. saw (Fig. 2). [3] Then see Eqs. 1 and 2. They died."
    >>> [text[start:end] for start, end in sentences_in(text)]
    ['Cells grow, as Smith et al. saw (Fig. 2). [3] ', 'Then see Eqs. 1 and 2. ', 'They died.']
    """
    if not text:
        return []
    groups = _groups(text, spans)
    brackets = _brackets(text)
    kept = _mended(text, _found(text, brackets), groups, inside=_inside(text, [*groups, *brackets]))
    return list(pairwise([0, *kept, len(text)]))


def citing_sentences(full_text: FullText, *, place: str) -> list[CitingSentence]:
    """The sentences of a full text that cite at least one paper, in its order.

    A citation belongs to the sentence in which its span begins; none is torn. Two references that share an identifier
    are one paper. place: where the full text was read, for a citing paper without an identifier of its own.
    """
    citing = surest(full_text.paper) or place
    found = []
    for paragraph in full_text.paragraphs:
        if not paragraph.citations:
            continue
        sentences = sentences_in(paragraph.text, spans=[(one.start, one.end) for one in paragraph.citations])
        ends = [end for _start, end in sentences]
        cited_in: dict[int, list[Citation]] = {}
        for citation in paragraph.citations:
            cited_in.setdefault(bisect.bisect_right(ends, citation.start), []).append(citation)
        for number, citations in sorted(cited_in.items()):
            start, end = sentences[number]
            keys = dict.fromkeys(key for citation in citations for key in citation.cited)
            sentence = " ".join(paragraph.text[start:end].split())
            cited = _distinct(full_text.references[key] for key in keys)
            found.append(CitingSentence(citing, sentence, cited))
    return found


def _distinct(references: Iterable[Reference]) -> tuple[Reference, ...]:
    """The references, without those that share an identifier with an earlier one."""
    seen: set[str] = set()
    kept = []
    for reference in references:
        if seen.isdisjoint(reference.identifiers):
            kept.append(reference)
        seen.update(reference.identifiers)
    return tuple(kept)


def _found(text: str, brackets: list[Span]) -> list[int]:
    """Where sentences begin, by sentencex, but at the start of the text."""
    from sentencex import get_sentence_boundaries  # what reads no full text needs none

    found = get_sentence_boundaries("en", _masked(text, brackets))
    return [sentence["start_index"] for sentence in found if sentence["start_index"]]


def _masked(text: str, brackets: list[Span]) -> str:
    """The text, as long as it is, with a word in the place of each bracket and all that is in it.

    sentencex takes "2000) (Table 1" and "(2)" for items of a list, and finds no sentence behind the last of them.
    """
    parts = []
    done = 0
    for start, end in sorted(brackets):
        if start < done:
            continue  # within the one before
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
    """The brackets that a text opens and closes, none longer than `_MOST_IN_BRACKETS`, both of their ends included."""
    opened: list[int] = []
    pairs = []
    for found in re.finditer(r"[()\[\]{}]", text):
        if found[0] in _CLOSER_OF:
            opened.append(found.start())
        elif opened and _CLOSER_OF[text[opened[-1]]] == found[0]:
            start = opened.pop()
            if found.end() - start <= _MOST_IN_BRACKETS:
                pairs.append((start, found.end()))
    return pairs


def _groups(text: str, spans: Sequence[Span]) -> list[Span]:
    """The markers of a text with the brackets round them, those that stand together as one."""
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
    return start - end <= _MOST_BETWEEN and _WITHIN_GROUP.fullmatch(text, end, start) is not None


def _mended(text: str, boundaries: list[int], groups: list[Span], *, inside: list[bool]) -> list[int]:
    """The boundaries that part sentences, rising, those beside a marker moved to where the sentence ends."""
    kept = set()
    at_markers = []  # from the start of each to what follows it
    for start, end in groups:
        space = _SPACE.match(text, end)
        after = space.end() if space else end
        at_markers.append((start, after))
        kept.add(_boundary_at(text, start, end, after))
    for boundary in boundaries:
        at = bisect.bisect_right(at_markers, (boundary, len(text))) - 1
        if at >= 0 and at_markers[at][0] <= boundary <= at_markers[at][1] and text[boundary - 1] != "\n":
            continue  # whether one ends here was told above
        if _parts(text, boundary):
            kept.add(boundary)
    return sorted(boundary for boundary in kept if 0 < boundary < len(text) and not inside[boundary])


def _boundary_at(text: str, start: int, end: int, after: int) -> int:
    """Where a sentence ends at a marker behind a full stop: behind it or before it; 0 where none ends there."""
    before = text[max(0, start - 40) : start]
    following = text[after : after + 40]
    if not following or following[0] in ".)" or not _CLOSES.search(before) or _ENDS_OPEN_BEFORE_MARKER.search(before):
        return 0
    word = _FIRST_WORD.match(following)
    if text[start].isalpha() or following[0] in ",;:" or (word and _is_lower_case(word[0])):
        return start  # "… cells. [3] showed that": the marker begins a sentence
    return after if after > end or following[0].isupper() else 0


def _parts(text: str, boundary: int) -> bool:
    """Whether a boundary of sentencex's that lies at no marker ends a sentence."""
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
    """Whether a word begins no sentence: lower case throughout, unlike "mRNA", "p53", "pH" and "α-helices"."""
    core = word.rstrip(".?!'\"”’")
    return core.isascii() and core.replace("-", "").isalpha() and core.islower()


def _inside(text: str, spans: Iterable[Span]) -> list[bool]:
    """Of each place between two characters, whether it lies within one of the spans."""
    steps = [0] * (len(text) + 2)
    for start, end in spans:
        steps[start + 1] += 1
        steps[end] -= 1
    return [depth > 0 for depth in accumulate(steps)]
