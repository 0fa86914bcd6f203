"""Problems: every record of some readings that was left out, as a table to keep and as a CSV to look through."""

import csv
import io
from collections.abc import Iterable

import pyarrow as pa

from corpus.readers.cells import guarded
from corpus.readers.report import ReadReport

PROBLEMS_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("file", "place", "kind", "reason")]
)


def problems_table(reports: Iterable[ReadReport]) -> pa.Table:
    """The problems of all reports, in their order, with `PROBLEMS_SCHEMA`."""
    problems = [problem for report in reports for problem in report.problems]
    columns = [
        pa.array([getattr(problem, field.name) for problem in problems], type=field.type) for field in PROBLEMS_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=PROBLEMS_SCHEMA)


def problems_csv(problems: Iterable[ReadReport] | pa.Table | None) -> bytes:
    """The problems of some reports, or of a table of them, as CSV (UTF-8 with its mark), safe in a spreadsheet."""
    table = problems if isinstance(problems, pa.Table) else problems_table(problems or ())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(PROBLEMS_SCHEMA.names)
    for batch in table.select(PROBLEMS_SCHEMA.names).to_batches(max_chunksize=1024):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            writer.writerow([guarded(value) for value in row])
    return text.getvalue().encode("utf-8-sig", "replace")
