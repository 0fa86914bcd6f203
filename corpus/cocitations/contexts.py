"""Contexts: which citing sentences training pairs are taken from, and the account of what each filter drops."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corpus.cocitations.full_text import CitingSentence
from corpus.cocitations.pairs import PairsError

MOST_CITED = 1_000  # a sentence of so many papers gives half a million pairs
_BRACKETS = frozenset("()[]")
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRules:
    """Which sentences are kept; the defaults are SPECTER-CoCite's. Raises PairsError for bounds that leave nothing.

    least_cited, most_cited: different papers with a title and an abstract. least_words, most_words: what white space
    parts, citation markers among them. bracket: whether one of ( ) [ ] must be in it, as in most markers.
    """

    least_cited: int = 2
    most_cited: int = 3
    least_words: int = 5
    most_words: int = 60
    bracket: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.least_cited <= self.most_cited <= MOST_CITED:
            raise PairsError(
                f"Sentences that cite {self.least_cited} to {self.most_cited} papers were asked for. The least is 2, "
                f"the most {MOST_CITED:,}, and the first may not be above the second."
            )
        if not 0 <= self.least_words <= self.most_words:
            raise PairsError(
                f"Sentences of {self.least_words} to {self.most_words} words were asked for. The first must be 0 or "
                "more and not above the second."
            )


@dataclass(slots=True)
class ContextReport:
    """How many sentences each filter dropped. They stand in this order, and a sentence falls to the first.

    sentences: that cite something; of these cited_alone name too few papers, too_short and too_long have too few or
    too many words, without_bracket holds none, unknown have too few papers in the corpus, cited_in_crowd too many,
    repeated_text equals an earlier one but for digits, repeated_set has a cited set that its citing paper had before.
    """

    sentences: int = 0
    cited_alone: int = 0
    too_short: int = 0
    too_long: int = 0
    without_bracket: int = 0
    unknown: int = 0
    cited_in_crowd: int = 0
    repeated_text: int = 0
    repeated_set: int = 0
    kept: int = 0

    def steps(self, rules: ContextRules) -> list[tuple[str, int]]:
        """What was dropped by which filter, in words, in order."""
        least, most = rules.least_cited, rules.most_cited
        bracket = "no bracket or parenthesis" if rules.bracket else "no bracket or parenthesis (not asked for)"
        return [
            (f"fewer than {least} papers cited", self.cited_alone),
            (f"fewer than {rules.least_words} words", self.too_short),
            (f"more than {rules.most_words} words", self.too_long),
            (bracket, self.without_bracket),
            (f"fewer than {least} of them among the papers", self.unknown),
            (f"more than {most} of them among the papers", self.cited_in_crowd),
            ("equal to an earlier one but for digits", self.repeated_text),
            ("the same papers cited by the same paper before", self.repeated_set),
        ]

    def as_json(self) -> dict[str, Any]:
        """The numbers, by their names."""
        return asdict(self)


class ContextFilter:
    """The filters over one stream of sentences: first by the text, and once papers are known by what is cited.

    Of what it has seen it keeps hashes, some hundred bytes a context.
    """

    def __init__(self, rules: ContextRules) -> None:
        self.report = ContextReport()
        self._rules = rules
        self._texts: set[bytes] = set()
        self._sets: set[bytes] = set()

    def may_be_context(self, sentence: CitingSentence) -> bool:
        """Whether a sentence passes the filters that need no corpus. To be asked once of each."""
        rules, report = self._rules, self.report
        report.sentences += 1
        words = len(sentence.sentence.split())
        if len(sentence.cited) < rules.least_cited:
            report.cited_alone += 1
        elif words < rules.least_words:
            report.too_short += 1
        elif words > rules.most_words:
            report.too_long += 1
        elif rules.bracket and _BRACKETS.isdisjoint(sentence.sentence):
            report.without_bracket += 1
        else:
            return True
        return False

    def is_context(self, citing: str, sentence: str, cited: Sequence[int]) -> bool:
        """Whether a sentence that may be one is a context. cited: rows of its papers that are known, none twice."""
        rules, report = self._rules, self.report
        if len(cited) < rules.least_cited:
            report.unknown += 1
        elif len(cited) > rules.most_cited:
            report.cited_in_crowd += 1
        elif not _is_new(" ".join(_DIGITS.sub("", sentence).split()), self._texts):
            report.repeated_text += 1
        elif not _is_new(f"{sorted(cited)} {citing}", self._sets):
            report.repeated_set += 1
        else:
            report.kept += 1
            return True
        return False


def _is_new(text: str, seen: set[bytes]) -> bool:
    key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key in seen:
        return False
    seen.add(key)
    return True
