"""JSON Lines: one record a line, of any shape that is known. Read here, and written in our own."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, NoReturn
from uuid import uuid4

from corpus.io.limits import Limits
from corpus.io.lines import bounded_lines
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.json_shapes import RecordError, paper_of
from corpus.readers.report import Found, Rejected

FORMAT = "JSON Lines"
UNIT = "line"


def read_jsonl(stream: CappedStream, *, limits: Limits) -> Iterator[Found]:
    """What each line of a file gives, in its order; blank lines are passed over."""
    for number, line in enumerate(bounded_lines(stream, most=limits.line_bytes), start=1):
        if line is None:
            reason = f"the line has more than {limits.line_bytes:,} characters. Shorten it, or drop it."
            yield number, Rejected("damaged", reason)
        elif stripped := line.strip():
            yield number, _parse(stripped)


def write_jsonl(papers: Iterable[Paper], path: Path) -> int:
    """Write papers as JSON Lines, gzip where the name ends in .gz, and return how many.

    `read` gives back the same papers, their text cleaned as readers clean it. The file is there whole or not
    at all, and the same papers give the same bytes.
    """
    count = 0
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with part.open("xb") as file:
            with ExitStack() as stack:
                out: IO[bytes] | gzip.GzipFile = file
                if path.suffix == ".gz":
                    # No name and no time in the header: both would change the bytes.
                    packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                    out = stack.enter_context(packed)
                for paper in papers:
                    # backslashreplace turns a lone surrogate into JSON's own escape for it.
                    line = json.dumps(asdict(paper), ensure_ascii=False).encode("utf-8", "backslashreplace")
                    out.write(line + b"\n")
                    count += 1
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _parse(line: str) -> Paper | Rejected:
    try:
        return paper_of(json.loads(line, parse_constant=_refuse_constant))
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg}, character {error.pos + 1}). Correct it"
    except RecursionError:
        reason = "lists or objects nested too deep. Flatten it"
    except RecordError as error:
        reason = f"{error}. Correct it"
    except ValueError as error:  # an integer of thousands of digits
        reason = f"not readable as JSON ({error}). Correct it"
    return Rejected("damaged", f"{reason}, or drop the record.")


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"{name} is not JSON")
