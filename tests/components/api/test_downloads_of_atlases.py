"""Whole atlases over HTTP: as a browser downloads them, each the same as on the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.api.routes import ARCHIVE, PREFIX, download_path, map_routes
from components.atlas.archive import import_archive, write_archive
from components.atlas.store import Atlas, open_atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces
from corpus.export import EXPORTS, export_pieces
from corpus.paper import papers_in
from corpus.readers import read

FILES = [
    *(f"papers.{export.ending}" for export in EXPORTS.values()),
    *(export.ending for export in VECTOR_EXPORTS.values()),
    ARCHIVE,
]


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


@pytest.fixture
def client(topics: str) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=map_routes(open_atlas))) as client:
        yield client


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_saved_under_a_name_of_its_own(client: TestClient, atlas: Atlas, file: str) -> None:
    answer = client.get(download_path(atlas, file))
    assert answer.status_code == 200
    name = file.removeprefix("papers.")
    assert answer.headers["content-disposition"] == f'attachment; filename="topics.{name}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not answer.headers["content-type"].startswith("text/html")
    assert answer.content


@pytest.mark.parametrize("format", EXPORTS)
def test_papers_are_those_of_the_export(client: TestClient, atlas: Atlas, format: str) -> None:
    answer = client.get(download_path(atlas, f"papers.{EXPORTS[format].ending}"))
    assert answer.content == b"".join(export_pieces(papers_in(atlas.papers), format))


def test_papers_read_back_are_the_same(client: TestClient, atlas: Atlas, tmp_path: Path) -> None:
    for format, export in EXPORTS.items():
        (tmp_path / "file").write_bytes(client.get(download_path(atlas, f"papers.{export.ending}")).content)
        with read(tmp_path / "file") as reading:
            assert list(reading) == list(papers_in(atlas.papers)), format


def test_vectors_are_those_of_the_export(client: TestClient, atlas: Atlas) -> None:
    for format, export in VECTOR_EXPORTS.items():
        assert client.get(download_path(atlas, export.ending)).content == b"".join(vector_pieces(atlas, format))
    table = pq.read_table(io.BytesIO(client.get(download_path(atlas, "vectors.parquet")).content))
    assert np.array_equal(np.array(table["vector"].to_pylist(), np.float32), atlas.vectors)


def test_an_archive_can_be_imported(client: TestClient, atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(client.get(download_path(atlas, ARCHIVE)).content)
    write_archive("topics", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert import_archive(tmp_path / "a.zip").name == "topics-2"


@pytest.mark.parametrize("file", FILES)
def test_what_is_not_there_is_said(client: TestClient, atlas: Atlas, file: str) -> None:
    assert client.get(f"{PREFIX}/nowhere/{atlas.build}/{file}").status_code == 404
    assert client.get(f"{PREFIX}/topics/{'0' * 16}/{file}").status_code == 410
    assert client.post(download_path(atlas, file)).status_code == 405
    assert client.get(download_path(atlas, file + "x")).status_code == 404
    assert client.get(download_path(atlas, f"../{file}")).status_code in (404, 410)


def test_a_lexical_atlas_whose_encoder_is_gone_makes_no_half_archive(
    client: TestClient, topics: str, home: Path
) -> None:
    from components.atlas.reencode import reencode
    from components.encoder.catalogue import LEXICAL

    atlas = open_atlas(reencode(topics, encoder=LEXICAL).name)
    keep_open = {atlas.name: atlas}
    (home / atlas.name / atlas.build / "encoder.npz").unlink()
    with TestClient(Starlette(routes=map_routes(keep_open.__getitem__))) as client:
        answer = client.get(download_path(atlas, ARCHIVE))
    assert answer.status_code == 404
    assert "encoder.npz is missing" in answer.text


def test_csv_over_http_runs_no_formula(client: TestClient, atlas: Atlas) -> None:
    rows = list(csv.reader(io.StringIO(client.get(download_path(atlas, "papers.csv")).content.decode("utf-8-sig"))))
    assert len(rows) == len(atlas) + 1
