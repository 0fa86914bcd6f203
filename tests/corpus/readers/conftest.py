"""Reads bytes as a file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.readers import read
from corpus.readers.report import Reading, WithoutAbstract

ReadData = Callable[..., tuple[list[Paper], Reading]]


@pytest.fixture
def read_data(tmp_path: Path) -> ReadData:
    """read_data(data, **limits): the papers of a file named "library", and its reading. Each record is counted once."""

    def read_file(
        data: str | bytes, *, columns: dict[str, str] | None = None, without_abstract: WithoutAbstract = "leave_out",
        **limits: int,
    ) -> tuple[list[Paper], Reading]:  # fmt: skip
        path = tmp_path / "library"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        with read(path, columns=columns, without_abstract=without_abstract, limits=Limits(**limits)) as reading:
            papers = list(reading)
        report = reading.report
        assert report.read == report.kept + report.left_out
        assert report.kept == len(papers)
        return papers, reading

    return read_file
