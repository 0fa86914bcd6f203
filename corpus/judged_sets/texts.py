"""The texts of the papers of a judged set: JSON Lines or a table, gzip or not."""

from collections.abc import Container, Iterator
from pathlib import Path

from corpus.judged_sets.checking import Tally, pool_paper
from corpus.judged_sets.judged import PoolPaper, SetError
from corpus.judged_sets.reading import identifier, is_json, json_lines, table_rows, texts_of
from corpus.progress import Progress, no_progress

READING_TEXTS = "Reading the texts"
_IDS = ("paper_id", "cord_uid", "pmid", "doc_id", "pid", "id")  # what files call it, the first that is there


def read_texts(
    path: Path,
    *,
    tally: Tally,
    wanted: Container[str] | None = None,
    progress: Progress = no_progress,
) -> dict[str, PoolPaper]:
    """The papers of a file by id, in its order; only `wanted` ones where they are given.

    The file is JSON Lines of paper_id (cord_uid, pmid, doc_id, id), title and abstract (a text or a list of sentences),
    or a table with these headers. Of a paper that is listed more than once counts the first that has both texts, or
    else the first, and the others are counted in `tally`. Raises SetError for any line that is not that.
    """
    papers: dict[str, PoolPaper] = {}
    for place, id, title, abstract in _found(path, progress=progress):
        if wanted is not None and id not in wanted:
            continue
        if not id:
            raise SetError(f"{place}: no id of the paper ({', '.join(_IDS)}). Add it.")
        try:
            paper = pool_paper(id, title, abstract)
        except SetError as error:
            raise SetError(f"{place}: {error}") from error
        before = papers.setdefault(paper.id, paper)
        if before is not paper:
            tally.add("repeated_paper", paper.id)
            if paper.title and paper.abstract and not (before.title and before.abstract):
                papers[paper.id] = paper
    return papers


def complete(papers: dict[str, PoolPaper]) -> dict[str, PoolPaper]:
    """The papers that have both a title and an abstract."""
    return {id: paper for id, paper in papers.items() if paper.title and paper.abstract}


def _found(path: Path, *, progress: Progress) -> Iterator[tuple[str, str, str, str]]:
    """Place, id, title and abstract of each record."""
    if is_json(path):
        for number, record in json_lines(path, stage=READING_TEXTS, progress=progress):
            place = f"{path.name}, line {number}"
            id = next((found for key in _IDS if (found := identifier(record.get(key)))), "")
            yield place, id, texts_of(record, "title", place=place), texts_of(record, "abstract", place=place)
        return
    for number, row in table_rows(path, stage=READING_TEXTS, progress=progress):
        if "title" not in row and number == 2:
            raise SetError(
                f"{path.name}: its header is {', '.join(row)[:200]!r}. "
                "It should name an id (PMID, cord_uid, paper_id), title and abstract."
            )
        id = next((found for key in _IDS if (found := identifier(row.get(key)))), "")
        yield f"{path.name}, row {number}", id, row.get("title", ""), row.get("abstract", "")
