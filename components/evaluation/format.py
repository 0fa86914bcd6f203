"""Labels, numbers and Markdown cells of evaluations, shared by reports, pages and model cards."""

import re
from collections.abc import Iterable, Sequence

from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.results import Evaluation
from corpus.judged_sets.model import DataIssue, DataIssueKind
from corpus.text.markdown import escaped

_ISSUES: dict[DataIssueKind, str] = {
    "query_without_text": "queries without a text, left out",
    "candidate_without_text": "candidates without a text, left out of their pools",
    "title_only": "papers with only a title or only an abstract, ranked by what is there",
    "repeated_query": "queries that were judged more than once; the last judgement counts",
    "repeated_candidate": "candidates that were twice in a pool; each counts once, with its last grade",
    "query_in_its_pool": "queries that were in their own pool, left out of it",
    "empty_pool": "queries without any candidate, left out",
    "pool_under_five": "pools of fewer than five; their NDCG%20 is 0",
    "without_positive": "queries without a relevant candidate; their average precision is 0",
    "split_without_pool": "names in a split that have no pool, left out",
    "repeated_in_split": "queries that a split names twice; each counts once",
    "in_two_splits": "queries in two splits; each counts in both",
    "query_in_no_split": "queries that no split names; they count in no score",
    "repeated_paper": "repeated papers, or repeated texts of one review; each counts once",
}
# A word, with a bracket or a full stop at its ends, without meaning in Markdown; and the beginning of a list.
_PLAIN = re.compile(r"\(?[A-Za-z0-9]+(?:[._,/+'-][A-Za-z0-9]+)*\)?[.,;:]?")
_LIST_MARKER = re.compile(r"\d+[.)]")
_NUMBER = re.compile(r"\**[+−]?\d[\d,.]*(?: to \d[\d.]*)?\**|–")


def issue_descriptions(handled: Iterable[DataIssue]) -> list[str]:
    """The issues of a set and how each was handled, with counts and examples."""
    return [
        f"{issue.count:,} {_ISSUES[issue.kind]}" + (f" (such as {', '.join(issue.examples)})" if issue.examples else "")
        for issue in handled
    ]


def percent(fraction: float | None) -> str:
    """A score as papers print it; a dash where there is none.

    >>> percent(0.38184), percent(None)
    ('38.18', '–')
    """
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """A difference of two scores in percentage points, signed; a dash where there is none.

    >>> points(0.0123), points(-0.5), points(None)
    ('+1.23', '−50.00', '–')
    """
    return "–" if difference is None else f"{100 * difference:+.2f}".replace("-", "−")


def system_label(evaluation: Evaluation) -> str:
    """The system's name, and its precision where that is not float32."""
    system = evaluation.system
    return f"{system.name} ({system.precision})" if system.precision not in ("", "float32") else system.name


def set_label(evaluation: Evaluation) -> str:
    """The set, its facet and the split: csfcube (method), split test."""
    facet = f" ({evaluation.facet})" if evaluation.facet else ""
    return f"{evaluation.set_name}{facet}, split {evaluation.split}"


def summary(evaluation: Evaluation) -> str:
    """MAP and NDCG%20 of an evaluation, in a sentence."""
    means = evaluation.means
    return (
        f"{system_label(evaluation)} on {set_label(evaluation)}: MAP {percent(means[MAP])} %, "
        f"NDCG%20 {percent(means[NDCG_20_PERCENT])} %, over {evaluation.queries:,} queries."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers, except the first, are aligned right."""
    rows = list(rows)
    rules = [
        "---:" if i and rows and all(_NUMBER.fullmatch(row[i]) for row in rows) else "---" for i in range(len(head))
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rules, *rows])


def one_line(text: str) -> str:
    """A text of unknown origin on one line, without unprintable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cell(text: str) -> str:
    """A text of unknown origin as Markdown that only shows it, in a table or outside.

    >>> cell("It has 2 (of 3): a-b, www.x.y and *z*|"), cell("1. x")
    ('It has 2 (of 3): a-b, www\\u2060\\\\.x\\\\.y and \\\\*z\\\\*\\\\|', '1\\\\. x')
    """
    words = one_line(text).split(" ")
    plain = [bool(_PLAIN.fullmatch(word)) and not word.lower().startswith(("www.", "(www.")) for word in words]
    plain[0] = plain[0] and not _LIST_MARKER.fullmatch(words[0])
    return " ".join(word if as_it_is else escaped(word) for word, as_it_is in zip(words, plain, strict=True))


def code(text: str) -> str:
    """A text of unknown origin to put between backticks."""
    return one_line(text).replace("`", "'").replace("|", "/")
