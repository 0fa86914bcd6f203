"""Systematic reviews as a judged set: each included paper asks for the others among all that its review screened."""

from pathlib import Path

from corpus.judged_sets.checking import RawPool, Tally, judged_set, pool_paper
from corpus.judged_sets.judged import JudgedSet, PoolPaper, SetError
from corpus.judged_sets.reading import grade_in, identifier, json_lines, texts_of
from corpus.judged_sets.texts import READING_TEXTS
from corpus.progress import Progress, no_progress

_INCLUDED = 2
_RULES = (
    "Constructed from the records that systematic reviews screened, with their grades: 2 included, 1 passed the "
    "screen of abstracts, 0 left out. Each included paper is a query against all other records of its review; relevant "
    "is what was included, too. Records of a review with the same text count once, with their highest grade: a copy of "
    "the query would be found by anything. All queries are one split."
)


def build_screening(records: Path, *, progress: Progress = no_progress) -> JudgedSet:
    """The set of a file of records, JSON Lines of topic, pid, title, abstract and rel (0, 1, 2), gzip or not.

    Raises SetError, and what `progress` does.
    """
    tally = Tally()
    papers: dict[str, PoolPaper] = {}
    reviews: dict[str, dict[tuple[str, ...], tuple[str, int]]] = {}  # review → text → id and grade
    for number, record in json_lines(records, stage=READING_TEXTS, progress=progress):
        place = f"{records.name}, line {number}"
        topic, pid, grade = identifier(record.get("topic")), identifier(record.get("pid")), grade_in(record.get("rel"))
        if not topic or not pid or grade is None or grade > _INCLUDED:
            raise SetError(f"{place}: it needs a topic, a pid, and rel as 0, 1 or 2. Correct it.")
        try:
            paper = pool_paper(pid, texts_of(record, "title", place=place), texts_of(record, "abstract", place=place))
        except SetError as error:
            raise SetError(f"{place}: {error}") from error
        review = reviews.setdefault(topic, {})
        # Records that have no text are no copies of each other.
        text = (paper.title, paper.abstract) if paper.title or paper.abstract else ("", "", str(number))
        if text in review:
            tally.add("repeated_paper", pid)
            review[text] = (review[text][0], max(grade, review[text][1]))
        else:
            # One paper may be in two reviews, and asks in each.
            id = pid if pid not in papers else f"{topic}-{pid}"
            while id in papers:
                id += "+"
            papers[id] = pool_paper(id, paper.title, paper.abstract)
            review[text] = (id, grade)
    return judged_set(
        name="screening",
        origin="constructed",
        papers=papers,
        pools=(
            RawPool(
                query=query,
                paper=query,
                candidates=[id for id, _ in review.values() if id != query],
                grades=[grade for id, grade in review.values() if id != query],
                group=topic,
            )
            for topic, review in reviews.items()
            for query, included in review.values()
            if included == _INCLUDED
        ),
        splits={},
        relevant_from=_INCLUDED,
        rules=_RULES,
        more_handled=tally.handled(),
    )
