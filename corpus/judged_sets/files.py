"""Files of judged sets: lines, tables, long JSON and papers' texts, of bounded size. Errors name the place."""

import csv
import json
import re
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from corpus.errors import UnreadableFileError
from corpus.io.decoding import bounded_lines, head_text, text_lines
from corpus.io.json_values import BrokenJson, JsonValues, json_type
from corpus.io.limits import Limits
from corpus.io.streams import CappedStream
from corpus.judged_sets.model import PoolPaper, SetError, Tally, pool_paper
from corpus.progress import Progress, no_progress
from corpus.text.cells import unguard_cell
from corpus.text.plain import clean

READING_POOLS = "Reading the judgements"
# CORD-19's table has more than 1 GB. Rows of equal grades compress as far as gzip can: only the total shows a bomb.
LIMITS = Limits(file_bytes=4 * 2**30, unpacked_bytes=4 * 2**30, unpacked_ratio=1_100, record_bytes=32 * 2**20)
_SMALL_BYTES = 32 * 2**20  # of a file that is read at once: splits, topics
SMALL_LIMITS = Limits(file_bytes=_SMALL_BYTES, unpacked_bytes=_SMALL_BYTES, record_bytes=_SMALL_BYTES)
MAX_JUDGEMENTS = 20_000_000  # TRECCOVID-RF would have 11 million
_WHOLE = re.compile(r"-?[0-9]{1,9}")
_EVERY = 1_000  # lines between two reports of progress
_HEAD_BYTES = 65_536


@contextmanager
def opened(path: Path, *, limits: Limits = LIMITS) -> Iterator[CappedStream]:
    """The bytes of a file, gzip or not. Errors of reading it become a SetError that names the file."""
    stream: CappedStream | None = None
    try:
        stream = CappedStream(path, limits)
        yield stream
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise SetError(str(error)) from error
    except BrokenJson as error:
        raise SetError(f"{path.name}: it is not JSON, or is incomplete ({error}). Download it again.") from error
    except csv.Error as error:
        raise SetError(f"{path.name}: it is not a table ({error}). Download it again.") from error
    finally:
        if stream is not None:
            stream.close()


def json_lines(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with their line numbers. Raises SetError for any other line."""
    with opened(path) as stream:
        for number, line in _lines(path, stream, stage=stage, progress=progress):
            if not line.strip():
                continue
            _check_count(path, number)
            try:
                record = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                raise SetError(f"{path.name}, line {number}: it is not JSON ({error}). Correct it.") from error
            if not isinstance(record, dict):
                raise SetError(f"{path.name}, line {number}: it is {json_type(record)}; it should be an object.")
            yield number, record


def table_rows(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table as header → cell, with their numbers; tab-separated where the header has a tab.

    Headers are in lower case. Cells of tab-separated tables are never quoted: titles contain quotes.
    """
    if csv.field_size_limit() < LIMITS.line_bytes:
        csv.field_size_limit(LIMITS.line_bytes)  # for the whole process: only ever raised
    with opened(path) as stream:
        first = head_text(stream.head(_HEAD_BYTES)).partition("\n")[0]
        lines = (line for _, line in _lines(path, stream, stage=stage, progress=progress))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if "\t" in first else csv.reader(lines)
        header = [clean(cell).lower() for cell in next(rows, [])]
        for number, row in enumerate(rows, start=2):
            if any(row):
                _check_count(path, number)
                yield number, {name: unguard_cell(cell) for name, cell in zip(header, row, strict=False)}


def is_json(path: Path) -> bool:
    """Whether a file begins with a JSON object or list."""
    with opened(path) as stream:
        return head_text(stream.head(_HEAD_BYTES)).lstrip()[:1] in ("{", "[")


class Members(list[tuple[str, Any]]):
    """The members of a JSON object in order; names may repeat."""


def json_items(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[str, Any]]:
    """The keys and values of a file's only JSON object, one by one; keys may repeat. Nested objects are Members."""
    with opened(path) as stream:
        values = JsonValues(text_lines(stream), max_chars=LIMITS.record_bytes, object_of=Members)
        if values.next() != "{":
            raise SetError(f"{path.name}: it does not begin with an object in braces. Check that it is the right file.")
        for key in values.keys_of_object():
            progress(stage, int(100 * stream.fraction), 100)
            yield key, values.value()
        _end(values)


def json_members(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[Any]:
    """The members of a file's only JSON list, one by one."""
    with opened(path) as stream:
        values = JsonValues(text_lines(stream), max_chars=LIMITS.record_bytes)
        if values.next() != "[":
            raise SetError(f"{path.name}: it does not begin with a list in brackets. Check that it is the right file.")
        for member in values.records(lists=None):
            progress(stage, int(100 * stream.fraction), 100)
            yield member


def qrels(path: Path, *, stage: str, progress: Progress = no_progress) -> Iterator[tuple[str, str, int]]:
    """Topic, document and judgement of each row of TREC's qrels: four columns, the second unused."""
    with opened(path) as stream:
        for number, line in _lines(path, stream, stage=stage, progress=progress):
            cells = line.split()
            if not cells:
                continue
            _check_count(path, number, limit=MAX_JUDGEMENTS)
            if len(cells) != 4 or not _WHOLE.fullmatch(cells[3]):
                raise SetError(
                    f"{path.name}, line {number}: expected topic, iteration, document and a whole number as the "
                    f"judgement, separated by spaces; found {clean(line)[:80]!r}. Correct it."
                )
            yield identifier(cells[0]), identifier(cells[2]), int(cells[3])


def small_json(path: Path) -> Any:
    """The JSON of a small file."""
    with opened(path, limits=SMALL_LIMITS) as stream:
        values = JsonValues(text_lines(stream), max_chars=_SMALL_BYTES)
        value = values.value()
        _end(values)
        return value


def identifier(value: object) -> str:
    """An id: a text, or a whole number in its place; "" for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean(value) if isinstance(value, str) else ""


def grade_in(value: object) -> int | None:
    """A grade: a whole number, 0 or more, also written as 2.0; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def whole_grades(grades: list[Any], *, place: str) -> list[int]:
    """Grades as whole numbers, 0 or more. Raises SetError for any other."""
    if set(map(type, grades)) <= {int} and min(grades, default=0) >= 0:
        return grades
    checked = []
    for grade in grades:
        whole = grade_in(grade)
        if whole is None:
            raise SetError(f"{place}: {grade!r:.40} is not a grade. Grades are whole numbers, 0 or more: correct it.")
        checked.append(whole)
    return checked


def texts_of(record: dict[str, Any], key: str, *, place: str) -> str:
    """A text, or a list of sentences joined by spaces; "" where it is missing. place: for the error."""
    value = record.get(key)
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(sentence, str) for sentence in value):
        return " ".join(value)
    if not isinstance(value, str):
        raise SetError(f"{place}: {key} is {json_type(value)}; it should be a text or a list of sentences. Correct it.")
    return value


def _lines(path: Path, stream: CappedStream, *, stage: str, progress: Progress) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(bounded_lines(stream, max_chars=LIMITS.line_bytes), start=1):
        if number % _EVERY == 0:
            progress(stage, int(100 * stream.fraction), 100)
        if line is None:
            raise SetError(
                f"{path.name}, line {number}: it has more than {LIMITS.line_bytes:,} characters. Shorten it."
            )
        yield number, line


def _check_count(path: Path, number: int, *, limit: int = LIMITS.records) -> None:
    """Refuse a file with too many records: a small archive can hold gigabytes of short ones."""
    if number > limit:
        raise SetError(f"{path.name}: it has more than {limit:,} records. Split it.")


def _end(values: JsonValues) -> None:
    if rest := values.next():
        raise BrokenJson(f"{rest!r} follows its end")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


READING_TEXTS = "Reading the texts"
_IDS = ("paper_id", "cord_uid", "pmid", "doc_id", "pid", "id")  # names of the id's field; the first one present counts


def read_texts(
    path: Path,
    *,
    tally: Tally,
    wanted: Container[str] | None = None,
    progress: Progress = no_progress,
) -> dict[str, PoolPaper]:
    """The papers of a file by id, in the file's order; only those in `wanted` where it is given.

    The file is JSON Lines of paper_id (cord_uid, pmid, doc_id, id), title and abstract (a text or a list of sentences),
    or a table with these headers. Of a paper that is listed twice, the first record with both texts counts, else the
    first; the others are counted in `tally`. Raises SetError for any other line.
    """
    papers: dict[str, PoolPaper] = {}
    for place, id, title, abstract in _records(path, progress=progress):
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


def _records(path: Path, *, progress: Progress) -> Iterator[tuple[str, str, str, str]]:
    """Place, id, title and abstract of each record."""
    if is_json(path):
        for number, record in json_lines(path, stage=READING_TEXTS, progress=progress):
            place = f"{path.name}, line {number}"
            id = next((value for key in _IDS if (value := identifier(record.get(key)))), "")
            yield place, id, texts_of(record, "title", place=place), texts_of(record, "abstract", place=place)
        return
    for number, row in table_rows(path, stage=READING_TEXTS, progress=progress):
        if "title" not in row and number == 2:
            raise SetError(
                f"{path.name}: its header is {', '.join(row)[:200]!r}. "
                "It should name an id (PMID, cord_uid, paper_id), title and abstract."
            )
        id = next((value for key in _IDS if (value := identifier(row.get(key)))), "")
        yield f"{path.name}, row {number}", id, row.get("title", ""), row.get("abstract", "")
