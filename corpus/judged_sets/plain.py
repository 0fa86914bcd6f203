"""Any judgements as a judged set: {query: {candidate: grade}} as JSON, or TREC's qrels, and the texts of the papers."""

from collections.abc import Iterator
from pathlib import Path

from corpus.judged_sets.checking import RawPool, Tally, judged_set
from corpus.judged_sets.judged import JudgedSet, SetError
from corpus.judged_sets.reading import Members, identifier, is_json, json_items, qrels
from corpus.judged_sets.released import READING_POOLS, whole_grades
from corpus.judged_sets.texts import read_texts
from corpus.progress import Progress, no_progress

_RULES = "One's own judgements. A query is a paper of the texts, and grade 1 or more is relevant. All are one split."
_QRELS_RULES = " Of the rows of TREC's qrels, a judgement below 0 counts as 0."


def read_plain(judgements: Path, texts: Path, *, name: str, progress: Progress = no_progress) -> JudgedSet:
    """A set of one's own. judgements: a JSON object of queries, each an object of candidates with their grades; or
    four columns as TREC's qrels. texts: see `read_texts`. Queries and candidates are named by the ids of their papers.

    Raises SetError, and what `progress` does.
    """
    tally = Tally()
    papers = read_texts(texts, tally=tally, progress=progress)
    as_json = is_json(judgements)
    return judged_set(
        name=name,
        origin="own",
        papers=papers,
        pools=_of_json(judgements, progress) if as_json else _of_qrels(judgements, progress),
        splits={},
        relevant_from=1,
        rules=_RULES if as_json else _RULES + _QRELS_RULES,
        more_handled=tally.handled(),
    )


def _of_json(path: Path, progress: Progress) -> Iterator[RawPool]:
    for key, value in json_items(path, stage=READING_POOLS, progress=progress):
        query = identifier(key)
        place = f"{path.name}, query {query[:60]!r}"
        candidates = [identifier(candidate) for candidate, _ in value] if isinstance(value, Members) else [""]
        if not query or not all(candidates):
            raise SetError(f"{place}: it should be an object of candidates and their grades. Correct it.")
        yield RawPool(query, query, candidates, whole_grades([grade for _, grade in value], place=place))


def _of_qrels(path: Path, progress: Progress) -> Iterator[RawPool]:
    judged: dict[str, tuple[list[str], list[int]]] = {}
    for query, document, judgement in qrels(path, stage=READING_POOLS, progress=progress):
        candidates, grades = judged.setdefault(query, ([], []))
        candidates.append(document)
        grades.append(max(0, judgement))
    for query, (candidates, grades) in judged.items():
        yield RawPool(query, query, candidates, grades)
