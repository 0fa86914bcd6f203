"""Words and cells of reports: scores as papers print them, what was met in a set, and texts as Markdown."""

import re
from collections.abc import Iterable, Sequence

from components.evaluation.results import MAP, NDCG_20_PERCENT, Evaluation
from corpus.judged_sets.model import Handled, HandledKind
from corpus.text.markdown import escaped

_HANDLED: dict[HandledKind, str] = {
    "query_without_text": "queries without a text, left out",
    "candidate_without_text": "candidates without a text, left out of their pools",
    "title_only": "papers with a title alone or an abstract alone, ranked by what is there",
    "repeated_query": "queries that were judged more than once; the last judgement counts",
    "repeated_candidate": "candidates that were twice in a pool; each counts once, with its last grade",
    "query_in_its_pool": "queries that were in their own pool, left out of it",
    "empty_pool": "queries without any candidate, left out",
    "pool_under_five": "pools of fewer than five; their NDCG%20 is 0",
    "without_positive": "queries without a relevant candidate; their average precision is 0",
    "split_without_pool": "names in a split that have no pool, left out",
    "repeated_in_split": "queries that a split names twice; each counts once",
    "in_two_splits": "queries in two splits; each counts in both",
    "query_in_no_split": "queries that no split names; they count in no figure",
    "repeated_paper": "records of papers, or texts of one review, that came again; each counts once",
}
# A word, with a bracket or a stop at its ends, that Markdown cannot take for more; and what begins a list.
_PLAIN = re.compile(r"\(?[A-Za-z0-9]+(?:[._,/+'-][A-Za-z0-9]+)*\)?[.,;:]?")
_BEGINS_LIST = re.compile(r"\d+[.)]")
_NUMBER = re.compile(r"\**[+−]?\d[\d,.]*(?: to \d[\d.]*)?\**|–")


def handled_words(handled: Iterable[Handled]) -> list[str]:
    """What was met in a set, and what was done with it, with its count."""
    words = []
    for one in handled:
        names = f" (such as {', '.join(one.examples)})" if one.examples else ""
        words.append(f"{one.count:,} {_HANDLED[one.kind]}{names}")
    return words


def percent(fraction: float | None) -> str:
    """A score as papers print it; a dash where there is none.

    >>> percent(0.38184), percent(None)
    ('38.18', '–')
    """
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """A difference of two scores in points of percent, signed; a dash where there is none.

    >>> points(0.0123), points(-0.5), points(None)
    ('+1.23', '−50.00', '–')
    """
    return "–" if difference is None else f"{100 * difference:+.2f}".replace("-", "−")


def called(evaluation: Evaluation) -> str:
    """The system's name, and its precision where that is not the usual one."""
    system = evaluation.system
    return f"{system.name} ({system.precision})" if system.precision not in ("", "float32") else system.name


def set_words(evaluation: Evaluation) -> str:
    """The set, its facet and the split: csfcube (method), split test."""
    facet = f" ({evaluation.facet})" if evaluation.facet else ""
    return f"{evaluation.set_name}{facet}, split {evaluation.split}"


def summary(evaluation: Evaluation) -> str:
    """What came of it, in a sentence."""
    means = evaluation.means
    return (
        f"{called(evaluation)} on {set_words(evaluation)}: MAP {percent(means[MAP])} %, "
        f"NDCG%20 {percent(means[NDCG_20_PERCENT])} %, over {evaluation.queries:,} queries."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers, but for the first column, are set to the right."""
    rows = list(rows)
    rules = [
        "---:" if i and rows and all(_NUMBER.fullmatch(row[i]) for row in rows) else "---" for i in range(len(head))
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rules, *rows])


def one_line(text: str) -> str:
    """A text of unknown origin on one line, without what no screen shows."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cell(text: str) -> str:
    """Such a text as Markdown that shows it and does nothing else, within a table or without.

    >>> cell("It has 2 (of 3): a-b, www.x.y and *z*|"), cell("1. x")
    ('It has 2 (of 3): a-b, www\\u2060\\\\.x\\\\.y and \\\\*z\\\\*\\\\|', '1\\\\. x')
    """
    words = one_line(text).split(" ")
    plain = [bool(_PLAIN.fullmatch(word)) and not word.lower().startswith(("www.", "(www.")) for word in words]
    plain[0] = plain[0] and not _BEGINS_LIST.fullmatch(words[0])
    return " ".join(word if as_it_is else escaped(word) for word, as_it_is in zip(words, plain, strict=True))


def code(text: str) -> str:
    """Such a text between backticks."""
    return one_line(text).replace("`", "'").replace("|", "/")
