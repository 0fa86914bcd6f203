"""The routes as a browser asks them: answers are decoded by hand and compared with the atlas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.api.routes import map_routes
from components.atlas.archive import write_archive
from components.atlas.archive_import import import_archive
from components.atlas.reencode import reencode
from components.atlas.store import Atlas, open_atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces
from components.encoder.catalogue import LEXICAL
from components.search.map_data import (
    ARCHIVE,
    DOWNLOADS,
    MAX_TITLES,
    NO_CODE,
    PLOTLY_PATH,
    PREFIX,
    atlas_path,
    points_payload,
)
from corpus.export import EXPORTS, export_pieces
from corpus.paper import Paper, papers_in
from corpus.readers import read


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


@pytest.fixture
def client(topics: str) -> Iterator[TestClient]:
    """A browser in front of the routes, which open atlases of this test's home."""
    with TestClient(Starlette(routes=map_routes(open_atlas))) as client:
        yield client


# The map


def test_points_are_served_once_and_for_all(client: TestClient, atlas: Atlas) -> None:
    answer = client.get(atlas_path(atlas, "points"))
    assert answer.content == points_payload(atlas)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({}, lambda paper: True),
        ({"topic": ["valve repair", "photometry"]}, lambda paper: {"valve repair", "photometry"} & {*paper.topics}),
        ({"venue": ["Journal of galaxy 1"]}, lambda paper: paper.venue == "Journal of galaxy 1"),
        (
            {"years": ["2001-2002"], "topic": ["galaxy"], "k": ["5"]},
            lambda paper: paper.year in (2001, 2002) and "galaxy" in paper.topics,
        ),
        ({"topic": ["nothing & <none>"]}, lambda paper: False),
        ({"years": ["x"], "topic": [""]}, lambda paper: True),
    ],
)
def test_a_mask_has_one_bit_per_paper(
    client: TestClient, atlas: Atlas, query: dict[str, list[str]], passes: Callable[[Paper], object]
) -> None:
    content = client.get(f"{atlas_path(atlas, 'mask')}?{urlencode(query, doseq=True)}").content
    assert len(content) == 2  # 12 bits
    bits = [(content[row >> 3] >> (row & 7)) & 1 for row in range(len(atlas))]  # as map.js reads them
    assert bits == [int(bool(passes(atlas.paper(row)))) for row in range(len(atlas))]


def test_topics_are_coded_by_the_first_that_a_paper_has(client: TestClient, atlas: Atlas) -> None:
    asked = ["valve repair", "heart", "unknown", "photometry"]
    codes = client.get(f"{atlas_path(atlas, 'topics')}?{urlencode({'topic': asked}, doseq=True)}").content
    expected = [
        next((asked.index(topic) for topic in asked if topic in atlas.paper(row).topics), NO_CODE)
        for row in range(len(atlas))
    ]
    assert list(codes) == expected
    assert set(expected) == {0, 1, 3, NO_CODE}


def test_titles_come_by_row_and_bad_rows_are_ignored(client: TestClient, atlas: Atlas) -> None:
    answer = client.get(f"{atlas_path(atlas, 'papers')}?rows=3,x,-1,0,4000,3")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json() == [
        {"row": row, "title": paper.title, "venue": paper.venue, "year": paper.year, "region": None}
        for row, paper in ((row, atlas.paper(row)) for row in (3, 0, 3))
    ]
    assert len(client.get(f"{atlas_path(atlas, 'papers')}?rows={','.join(['1'] * 99)}").json()) == MAX_TITLES


@pytest.mark.parametrize("rows", ["", ",,", "-1", "12", "9" * 5000, "1e1", "0x1", "٣", " 1", "../0"])
def test_invalid_rows_give_no_titles(client: TestClient, atlas: Atlas, rows: str) -> None:
    answer = client.get(atlas_path(atlas, "papers"), params={"rows": rows})
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_point_takes_at_most_8_bytes(client: TestClient, atlas: Atlas) -> None:
    files = ("points", "mask?topic=heart", "topics?topic=heart")
    assert sum(len(client.get(atlas_path(atlas, file)).content) for file in files) <= 8 * len(atlas)


def test_plotlys_script_is_the_installed_one(client: TestClient) -> None:
    answer = client.get(PLOTLY_PATH)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text.lstrip().startswith("/**\n* plotly.js v")
    assert client.get("/cocite/plotly-0.0.0.js").status_code == 404


# Downloads


@pytest.mark.parametrize("file", DOWNLOADS)
def test_a_download_has_a_name_and_no_cache(client: TestClient, atlas: Atlas, file: str) -> None:
    answer = client.get(atlas_path(atlas, file))
    assert answer.headers["content-disposition"] == f'attachment; filename="topics.{file.removeprefix("papers.")}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not answer.headers["content-type"].startswith("text/html")
    assert answer.content


def test_downloads_are_the_exports(client: TestClient, atlas: Atlas, tmp_path: Path) -> None:
    for format, export in EXPORTS.items():
        content = client.get(atlas_path(atlas, f"papers.{export.ending}")).content
        assert content == b"".join(export_pieces(papers_in(atlas.papers), format))
        (tmp_path / "file").write_bytes(content)
        with read(tmp_path / "file") as reading:
            assert list(reading) == list(papers_in(atlas.papers)), format
    for format, vectors in VECTOR_EXPORTS.items():
        assert client.get(atlas_path(atlas, vectors.ending)).content == b"".join(vector_pieces(atlas, format))


def test_a_downloaded_archive_can_be_imported(client: TestClient, atlas: Atlas, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(client.get(atlas_path(atlas, ARCHIVE)).content)
    write_archive("topics", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert import_archive(tmp_path / "a.zip").name == "topics-2"


def test_a_lexical_atlas_without_its_encoder_gives_no_half_archive(topics: str, home: Path) -> None:
    atlas = open_atlas(reencode(topics, encoder=LEXICAL).name)
    (home / atlas.name / atlas.build / "encoder.npz").unlink()
    with TestClient(Starlette(routes=map_routes({atlas.name: atlas}.__getitem__))) as client:
        answer = client.get(atlas_path(atlas, ARCHIVE))
    assert answer.status_code == 404
    assert "encoder.npz is missing" in answer.text


# What cannot be answered


@pytest.mark.parametrize(
    "name", ["nowhere", "..", "%2e%2e", "..%2f..%2fetc", "%2Fetc", "TOPICS", "topics%00", "a" * 300, "%F0%9F%92%A5"]
)
@pytest.mark.parametrize("file", ["points", "papers", "papers.csv"])
def test_names_of_no_atlas_are_not_found(client: TestClient, atlas: Atlas, name: str, file: str) -> None:
    answer = client.get(f"{PREFIX}/{name}/{atlas.build}/{file}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert "Traceback" not in answer.text


def test_an_unknown_name_is_answered_with_the_known_ones(client: TestClient, atlas: Atlas) -> None:
    answer = client.get(f"{PREFIX}/nowhere/{atlas.build}/points")
    assert "No atlas is called 'nowhere'" in answer.text
    assert "topics" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("file", ["points", ARCHIVE])
def test_an_old_build_is_gone(client: TestClient, file: str) -> None:
    for build in ("0" * 16, "x", "manifest.json"):
        answer = client.get(f"{PREFIX}/topics/{build}/{file}")
        assert (answer.status_code, answer.text) == (410, "This atlas has been built again. Reload the page.")
        assert "cache-control" not in answer.headers


def test_a_damaged_atlas_is_an_error(client: TestClient, atlas: Atlas, home: Path) -> None:
    path = home / atlas.name / atlas.build / "coordinates.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    answer = client.get(atlas_path(atlas, "points"))
    assert answer.status_code == 404
    assert "coordinates.npy has been changed since it was built" in answer.text


@pytest.mark.parametrize("file", ["points", "papers.ris"])
def test_the_routes_change_nothing(client: TestClient, atlas: Atlas, file: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, atlas_path(atlas, file)).status_code == 405
    assert client.get(atlas_path(atlas, f"{file}x")).status_code == 404
    assert client.get(atlas_path(atlas, f"../{file}")).status_code in (404, 410)
