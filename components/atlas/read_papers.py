"""Files of papers → one table of them, none twice, with the account of the reading and all that was left out."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.atlas import store
from corpus.dedup import Merger
from corpus.errors import CociteAtlasError
from corpus.readers import Columns, UnreadableFileError, WithoutAbstract, problems_table, read

_BETWEEN = 1024  # papers between two words of progress


class NothingToBuild(CociteAtlasError):
    """Files that hold no paper with a title and an abstract."""


@dataclass(frozen=True, slots=True)
class Papers:
    """What was read. papers: a table with `SCHEMA`. account: for the manifest's source. problems: all left out."""

    papers: pa.Table
    account: dict[str, Any]
    problems: pa.Table


def read_files(
    files: Sequence[Path],
    *,
    columns: Sequence[Columns | None] | None = None,
    without_abstract: WithoutAbstract = "leave_out",
    on_progress: Callable[[int, int], None],
) -> Papers:
    """The papers of some files, merged.

    columns: for each file, which headers its fields stand under; without_abstract: see `corpus.readers.read`.
    on_progress: told how much is read, in thousandths of a file, and of how much; may raise to stop.
    Raises NothingToBuild, TooManyPapers, UnreadableFileError.
    """
    merger = Merger()
    reports = []
    for number, (path, mapping) in enumerate(zip(files, columns or [None] * len(files), strict=True)):
        with read(path, columns=mapping, without_abstract=without_abstract) as reading:
            for paper in reading:
                merger.add(paper, report=reading.report, place=reading.place)
                if reading.report.kept % _BETWEEN == 0:
                    on_progress(round(1000 * (number + reading.fraction)), 1000 * len(files))
        on_progress(1000 * (number + 1), 1000 * len(files))
        reports.append(reading.report)
    if not len(merger):
        wanted = "a title and an abstract" if without_abstract == "leave_out" else "a title"
        bare = any(report.empty for report in reports) and without_abstract == "leave_out"
        raise NothingToBuild(
            f"{', '.join(path.name for path in files)}: no record has {wanted}, so there is nothing to search in. "
            f"{' '.join(report.summary() for report in reports)}"
            f"{' To keep records that have a title alone: --keep-without-abstract' if bare else ''}"
        )
    return Papers(
        papers=pa.concat_tables(merger.tables()).combine_chunks(),
        account={"reports": [report.to_dict() for report in reports], "merged": merger.merged},
        problems=problems_table(reports),
    )


def described(
    files: Sequence[Path], *, columns: Sequence[Columns | None] | None, without_abstract: WithoutAbstract
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What is recorded of files and of how they are read: for each what it was, and what is so for all of them.

    Raises UnreadableFileError where one cannot be read.
    """
    sealed = [
        sealed_file(path) | ({"columns": dict(mapping)} if mapping else {})
        for path, mapping in zip(files, columns or [None] * len(files), strict=True)
    ]
    return sealed, {"without_abstract": without_abstract} if without_abstract != "leave_out" else {}


def sealed_file(path: Path) -> dict[str, Any]:
    """What is recorded of a file of papers. Raises UnreadableFileError where it cannot be read."""
    try:
        return {"name": path.name, **asdict(store.seal(path))}
    except OSError as error:
        unreadable = UnreadableFileError(
            f"it cannot be read ({error.strerror})", advice="Check the path, and who may read it."
        )
        unreadable.locate(file=path.name)
        raise unreadable from error
