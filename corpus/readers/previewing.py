"""Previews: the first papers of a file and how its columns are understood, before anything is built of it."""

from dataclasses import dataclass

from corpus.paper import Paper
from corpus.readers.columns import Columns
from corpus.readers.report import Problem


@dataclass(frozen=True, slots=True)
class Preview:
    """The head of a file.

    headers: of a table; empty for other formats. columns: for each field that was found, its header, as it was guessed
    or given. papers: the first ones, those without an abstract among them. problems: of the records before and between
    them; or why, where the columns do not tell where the titles are. vector_columns: of a Parquet file,
    those that can be vectors.
    """

    format: str
    headers: tuple[str, ...]
    columns: Columns
    papers: tuple[Paper, ...]
    problems: tuple[Problem, ...]
    vector_columns: tuple[str, ...] = ()
