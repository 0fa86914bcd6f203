"""Judged sets of the ir_datasets package, where it is installed: a query's pool is the documents judged for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corpus.judged_sets.files import READING_POOLS, READING_TEXTS, identifier
from corpus.judged_sets.model import MAX_GRADE, JudgedSet, PoolPaper, RawPool, SetError, Tally, judged_set, pool_paper
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
_MAX_JUDGEMENTS = 5_000_000


def read_ir_dataset(id: str, *, progress: Progress = no_progress) -> JudgedSet:
    """The judged set with this id of ir_datasets (beir/scifact/test), which the package may download.

    Raises SetError where the package or the dataset is missing, has no queries or judgements, or cannot be read; and
    what `progress` raises.
    """
    with _set_errors(id):
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
        # The remaining judgements belong to queries that the dataset does not have.
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
        if number > _MAX_JUDGEMENTS:
            raise SetError(f"The set {id[:80]!r} has more than {_MAX_JUDGEMENTS:,} judgements. Choose a smaller one.")
        grade = min(max(0, int(judgement.relevance)), MAX_GRADE)
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
def _set_errors(id: str) -> Iterator[None]:
    """Turn the package's errors into SetError; errors of requests are OSErrors."""
    try:
        yield
    except SourceError as error:
        raise SetError(str(error)) from error
    except (OSError, ValueError, RuntimeError, EOFError, LookupError) as error:
        raise SetError(
            f"ir_datasets could not read {id[:80]!r} ({type(error).__name__}). "
            "Check the network, and on ir-datasets.com whether the dataset must be downloaded by hand."
        ) from error
