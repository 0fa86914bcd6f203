"""Judged sets of the ir_datasets package, where that is installed: a query's pool is the documents judged for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corpus.judged_sets.checking import HIGHEST_GRADE, RawPool, Tally, judged_set, pool_paper
from corpus.judged_sets.judged import JudgedSet, PoolPaper, SetError
from corpus.judged_sets.reading import identifier
from corpus.judged_sets.released import READING_POOLS
from corpus.judged_sets.texts import READING_TEXTS
from corpus.paper import Paper
from corpus.progress import Progress, no_progress
from corpus.sources.errors import SourceError
from corpus.sources.ir_sets import document_paper, load_dataset

_RULES = (
    "From the set {id} of ir_datasets. The text of a query stands for its paper, with the query's description as the "
    "abstract where it has one. Its pool is the documents that were judged for it. Grades below 0 count as 0, and what "
    "is graded 1 or more is relevant. All queries are one split."
)
_TITLES = ("text", "title", "query")  # the fields of a query that may hold its text, the first that does
_ABSTRACTS = ("description", "question")  # a narrative also says what is not wanted
_QUERY = "query-"  # before a query's own id: those of documents are often the same numbers
_EVERY = 1_000
_MOST = 5_000_000  # judgements; more are no set of papers


def read_ir_dataset(id: str, *, progress: Progress = no_progress) -> JudgedSet:
    """The judged set with this id of ir_datasets (beir/scifact/test), which the package may fetch.

    Raises SetError where the package or the set is not there, has no queries or no judgements, or cannot be read; and
    what `progress` does.
    """
    with _told(id):
        dataset = load_dataset(id)
        if not (dataset.has_queries() and dataset.has_qrels()):
            raise SetError(f"The set {id[:80]!r} has no queries with judgements. Choose a part of it that has.")
        judged = _judged(dataset, id=id, progress=progress)
        tally = Tally()
        papers = _documents(dataset, {document for pool in judged.values() for document, _ in pool}, tally, progress)
        pools = []
        for query in dataset.queries_iter():
            number = identifier(query.query_id)
            if number in judged:
                name = _QUERY + number
                while name in papers:
                    name = _QUERY + name
                papers[name] = pool_paper(name, _first(query, _TITLES), _first(query, _ABSTRACTS))
                candidates, grades = zip(*judged.pop(number), strict=True)
                pools.append(RawPool(name, name, candidates, grades))
        # What is left of the judgements is of queries that the set does not have.
        pools += [RawPool(_QUERY + number, "", (), ()) for number in judged]
    return judged_set(
        name=f"ir:{id}",
        origin="own",
        papers=papers,
        pools=pools,
        splits={},
        relevant_from=1,
        rules=_RULES.format(id=id),
        more_handled=tally.handled(),
    )


def _judged(dataset: Any, *, id: str, progress: Progress) -> dict[str, list[tuple[str, int]]]:
    """The documents that were judged for each query, with their grades."""
    judged: dict[str, list[tuple[str, int]]] = {}
    for number, judgement in enumerate(dataset.qrels_iter(), start=1):
        if number % _EVERY == 0:
            progress(READING_POOLS, 0, 100)
        if number > _MOST:
            raise SetError(f"The set {id[:80]!r} has more than {_MOST:,} judgements. Choose a smaller one.")
        grade = min(max(0, int(judgement.relevance)), HIGHEST_GRADE)
        judged.setdefault(identifier(judgement.query_id), []).append((identifier(judgement.doc_id), grade))
    return judged


def _documents(dataset: Any, wanted: set[str], tally: Tally, progress: Progress) -> dict[str, PoolPaper]:
    papers: dict[str, PoolPaper] = {}
    for number, document in enumerate(dataset.docs_iter(), start=1):
        if number % _EVERY == 0:
            progress(READING_TEXTS, 0, 100)
        if identifier(document.doc_id) not in wanted:
            continue
        paper = document_paper(document)
        if isinstance(paper, Paper):
            if paper.id in papers:
                tally.add("repeated_paper", paper.id)
            papers.setdefault(paper.id, pool_paper(paper.id, paper.title, paper.abstract))
    return papers


def _first(query: Any, names: tuple[str, ...]) -> str:
    """The first of a query's fields that is a text and not empty."""
    return next((text for name in names if isinstance(text := getattr(query, name, None), str) and text.strip()), "")


@contextmanager
def _told(id: str) -> Iterator[None]:
    """What the package raises, as sentences; requests' errors are OSErrors."""
    try:
        yield
    except SourceError as error:
        raise SetError(str(error)) from error
    except (OSError, ValueError, RuntimeError, EOFError, LookupError) as error:
        raise SetError(
            f"ir_datasets could not read {id[:80]!r} ({type(error).__name__}). "
            "Check the network, and whether the set must be fetched by hand: ir-datasets.com tells."
        ) from error
