"""Co-citation contexts: the filters that choose citing sentences, with counts of what each drops."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corpus.cocitations.full_text import CitingSentence
from corpus.cocitations.pairs import PairsError

MAX_CITED = 1_000  # a sentence of so many papers gives half a million pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextRules:
    """Which sentences are kept; the defaults are SPECTER-CoCite's. Raises PairsError for bounds that leave nothing.

    least_cited, most_cited: distinct papers with a title and an abstract. least_words, most_words: separated by white
    space, citation markers included. bracket: whether the sentence must contain one of ( ) [ ], as most markers do.
    """

    least_cited: int = 2
    most_cited: int = 3
    least_words: int = 5
    most_words: int = 60
    bracket: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.least_cited <= self.most_cited <= MAX_CITED:
            raise PairsError(
                f"The number of cited papers was given as {self.least_cited} to {self.most_cited}. Give a range within "
                f"2 to {MAX_CITED:,}."
            )
        if not 0 <= self.least_words <= self.most_words:
            raise PairsError(
                f"The number of words was given as {self.least_words} to {self.most_words}. Give a range from 0 up."
            )


@dataclass(slots=True)
class ContextReport:
    """How many sentences cite something, how many each filter dropped, and how many were kept.

    The filters are applied in this order, and the first that a sentence fails counts it: cited_alone (too few papers
    cited), too_short, too_long, without_bracket, unknown (too few of the papers in the corpus), cited_in_crowd (too
    many), repeated_text (equal to an earlier one except for digits), repeated_set (the citing paper cited the same set
    before).
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
        """Each filter in words, in order, with what it dropped."""
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
        """The counts, by name."""
        return asdict(self)


class ContextFilter:
    """The filters over one stream of sentences: first on the text, and on what is cited once the papers are known."""

    def __init__(self, rules: ContextRules) -> None:
        self.report = ContextReport()
        self._rules = rules
        self._texts: set[bytes] = set()  # hashes: some hundred bytes per context
        self._sets: set[bytes] = set()

    def passes_text_filters(self, sentence: CitingSentence) -> bool:
        """Whether a sentence passes the filters that need no corpus. Call it once for each sentence."""
        rules, report = self._rules, self.report
        report.sentences += 1
        words = len(sentence.sentence.split())
        if len(sentence.cited) < rules.least_cited:
            report.cited_alone += 1
        elif words < rules.least_words:
            report.too_short += 1
        elif words > rules.most_words:
            report.too_long += 1
        elif rules.bracket and not re.search(r"[()\[\]]", sentence.sentence):
            report.without_bracket += 1
        else:
            return True
        return False

    def is_context(self, citing: str, sentence: str, cited: Sequence[int]) -> bool:
        """Whether a sentence that passed is a context. cited: the distinct rows of its known papers."""
        rules, report = self._rules, self.report
        if len(cited) < rules.least_cited:
            report.unknown += 1
        elif len(cited) > rules.most_cited:
            report.cited_in_crowd += 1
        elif not _add(" ".join(re.sub(r"\d+", "", sentence).split()), self._texts):
            report.repeated_text += 1
        elif not _add(f"{sorted(cited)} {citing}", self._sets):
            report.repeated_set += 1
        else:
            report.kept += 1
            return True
        return False


def _add(text: str, seen: set[bytes]) -> bool:
    """Add a text's hash to a set; whether it is new."""
    before = len(seen)
    seen.add(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
    return len(seen) > before
