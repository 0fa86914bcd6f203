"""The map's routes as a browser asks them: decoded here by hand and held against the atlas."""

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.api.routes import MOST_TITLES, NO_CODE, PREFIX, map_routes, map_scale, plotly_path, points_payload
from components.atlas.store import Atlas, open_atlas
from components.mapping.regions import Region
from corpus.paper import Paper, to_table


@pytest.fixture
def atlas(topics: str) -> Atlas:
    return open_atlas(topics)


@pytest.fixture
def client(topics: str) -> Iterator[TestClient]:
    """A browser before the routes, which open atlases from this test's home."""
    with TestClient(Starlette(routes=map_routes(open_atlas))) as client:
        yield client


@pytest.fixture
def place(atlas: Atlas) -> str:
    return f"{PREFIX}/{atlas.name}/{atlas.build}"


def decode(payload: bytes, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps (n, 2), colours (n,) and years (n,) of a points payload, as its docstring lays it out."""
    assert len(payload) == 6 * n
    steps = np.frombuffer(payload, "<i2", count=2 * n).reshape(2, n).T
    return steps, np.frombuffer(payload, "u1", n, 4 * n), np.frombuffer(payload, "u1", n, 5 * n)


def with_regions_and_years(atlas: Atlas, years: list[int | None], region_ids: list[int]) -> Atlas:
    """The atlas with other years and with three regions in the colours 4, 0 and 7."""
    papers = [replace(atlas.paper(row), year=year) for row, year in enumerate(years)]
    regions = tuple(
        Region(id=i, name=f"r{i}", size=3, x=0.0, y=0.0, terms=(), colour=colour) for i, colour in enumerate((4, 0, 7))
    )
    return Atlas(
        replace(atlas.manifest, regions=regions),
        papers=to_table(papers),
        vectors=atlas.vectors,
        coordinates=atlas.coordinates,
        region_ids=np.array(region_ids, dtype=np.int16),
        pair_distances=atlas.pair_distances,
        index=atlas.index,
    )


def test_points_are_where_the_papers_are(client: TestClient, atlas: Atlas, place: str) -> None:
    answer = client.get(f"{place}/points")
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    steps, colours, years = decode(answer.content, len(atlas))
    scale = map_scale(atlas)
    assert np.abs(steps * scale - atlas.coordinates).max() <= scale / 2 + 1e-7
    assert np.ptp(atlas.coordinates, axis=0).max() > 100 * scale  # the planted map is no single point
    assert (colours == NO_CODE).all()  # twelve papers make no region
    for row in range(len(atlas)):
        year = atlas.paper(row).year
        assert years[row] == (NO_CODE if year is None else year - 2001)


def test_points_have_their_regions_colour(atlas: Atlas) -> None:
    ids = [0, 1, 2, -1, 1, 1, 0, -1, 2, 2, 0, 1]
    known = with_regions_and_years(atlas, [2000] * 12, ids)
    _, colours, years = decode(points_payload(known), 12)
    assert colours.tolist() == [(4, 0, 7, NO_CODE)[i] for i in ids]  # id −1 is the last
    assert years.tolist() == [0] * 12


def test_a_corpus_of_centuries_tells_the_newest_apart(atlas: Atlas) -> None:
    years = [1665, 1700, 1800, None, 1900, 1950, 1999, 2000, 2019, 2020, 1766, 1767]
    _, _, codes = decode(points_payload(with_regions_and_years(atlas, years, [-1] * 12)), 12)
    assert codes[3] == NO_CODE
    assert [int(code) for year, code in zip(years, codes, strict=True) if year] == [
        max(0, year - 1766) for year in years if year
    ]


def test_a_corpus_without_years_has_none(atlas: Atlas) -> None:
    _, _, years = decode(points_payload(with_regions_and_years(atlas, [None] * 12, [-1] * 12)), 12)
    assert (years == NO_CODE).all()


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({}, lambda paper: True),
        ({"topic": ["heart"]}, lambda paper: "heart" in paper.topics),
        ({"topic": ["valve repair", "photometry"]}, lambda paper: {"valve repair", "photometry"} & {*paper.topics}),
        ({"years": ["2002-2003"]}, lambda paper: paper.year in (2002, 2003)),
        ({"venue": ["Journal of galaxy 1"]}, lambda paper: paper.venue == "Journal of galaxy 1"),
        (
            {"years": ["2001-2002"], "topic": ["galaxy"], "k": ["5"]},
            lambda paper: paper.year in (2001, 2002) and "galaxy" in paper.topics,
        ),
        ({"topic": ["nothing & <none>"]}, lambda paper: False),
        ({"years": ["x"], "topic": [""]}, lambda paper: True),
    ],
)
def test_a_mask_has_a_bit_a_paper(
    client: TestClient, atlas: Atlas, place: str, query: dict[str, list[str]], passes: Callable[[Paper], object]
) -> None:
    answer = client.get(f"{place}/mask?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200
    assert len(answer.content) == 2  # 12 bits
    bits = [(answer.content[row >> 3] >> (row & 7)) & 1 for row in range(len(atlas))]  # as map.js reads them
    assert bits == [int(bool(passes(atlas.paper(row)))) for row in range(len(atlas))]


def test_topics_are_coded_by_the_first_that_a_paper_has(client: TestClient, atlas: Atlas, place: str) -> None:
    asked = ["valve repair", "heart", "unknown", "photometry"]
    codes = client.get(f"{place}/topics?{urlencode({'topic': asked}, doseq=True)}").content
    expected = [
        next((asked.index(topic) for topic in asked if topic in atlas.paper(row).topics), NO_CODE)
        for row in range(len(atlas))
    ]
    assert list(codes) == expected
    assert {0, 1, 3, NO_CODE} == set(expected)


def test_more_topics_than_there_are_codes_are_not_wrapped_round(client: TestClient, place: str) -> None:
    asked = [f"unknown {i}" for i in range(NO_CODE)] + ["heart"]
    assert set(client.get(f"{place}/topics?{urlencode({'topic': asked}, doseq=True)}").content) == {NO_CODE}


def test_a_point_takes_at_most_8_bytes(client: TestClient, atlas: Atlas, place: str) -> None:
    total = sum(
        len(client.get(f"{place}/{what}").content) for what in ("points", "mask?topic=heart", "topics?topic=heart")
    )
    assert total <= 8 * len(atlas)


def test_titles_come_by_row(client: TestClient, atlas: Atlas, place: str) -> None:
    answer = client.get(f"{place}/papers?rows=3,0,3")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json() == [
        {"row": row, "title": p.title, "venue": p.venue, "year": p.year, "region": None}
        for row, p in ((row, atlas.paper(row)) for row in (3, 0, 3))
    ]


@pytest.mark.parametrize(
    "rows",
    ["", ",,", "-1", "12", "99999999999999999999", "1e1", "x", "0x1", "٣", " 1", "../0", "None", "9" * 5000],
)
def test_rows_that_are_none_give_no_titles(client: TestClient, place: str, rows: str) -> None:
    answer = client.get(f"{place}/papers", params={"rows": rows})
    assert answer.status_code == 200
    assert answer.json() == []


def test_good_rows_among_bad_ones_are_answered(client: TestClient, place: str) -> None:
    answer = client.get(f"{place}/papers?rows=x,-1,11,4000,0")
    assert [card["row"] for card in answer.json()] == [11, 0]


def test_a_question_holds_so_many_titles_and_no_more(client: TestClient, place: str) -> None:
    answer = client.get(f"{place}/papers?rows=" + ",".join(["1"] * (MOST_TITLES + 30)))
    assert len(answer.json()) == MOST_TITLES


@pytest.mark.parametrize(
    "name", ["nowhere", "..", "%2e%2e", "..%2f..%2fetc", "%2Fetc", "TOPICS", "topics%00", "a" * 300, "%F0%9F%92%A5"]
)
@pytest.mark.parametrize("what", ["points", "mask", "topics", "papers"])
def test_names_of_no_atlas_are_not_found(client: TestClient, atlas: Atlas, name: str, what: str) -> None:
    answer = client.get(f"{PREFIX}/{name}/{atlas.build}/{what}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    assert "Traceback" not in answer.text


def test_an_unknown_name_is_told_from_those_that_are(client: TestClient, atlas: Atlas) -> None:
    answer = client.get(f"{PREFIX}/nowhere/{atlas.build}/points")
    assert "No atlas is called 'nowhere'" in answer.text
    assert "topics" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("build", ["0" * 16, "x", "%2e%2e", "manifest.json"])
def test_an_old_build_is_gone(client: TestClient, atlas: Atlas, build: str) -> None:
    answer = client.get(f"{PREFIX}/{atlas.name}/{build}/points")
    if build != "%2e%2e":  # which a client resolves before it asks
        assert answer.status_code == 410
        assert answer.text == "This atlas has been built again. Reload the page."
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "cache-control" not in answer.headers
    else:
        assert answer.status_code in (404, 410)


def test_a_damaged_atlas_is_said_in_a_sentence(client: TestClient, atlas: Atlas, home: Path, place: str) -> None:
    path = home / atlas.name / atlas.build / "coordinates.npy"
    copy = bytearray(path.read_bytes())
    copy[-1] ^= 1
    path.write_bytes(copy)
    answer = client.get(f"{place}/points")
    assert answer.status_code == 404
    assert "coordinates.npy has been changed since it was built" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_can_be_changed_through_the_routes(client: TestClient, place: str, home: Path) -> None:
    before = sorted(path.relative_to(home) for path in home.rglob("*"))
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, f"{place}/points").status_code == 405
    assert sorted(path.relative_to(home) for path in home.rglob("*")) == before


def test_plotlys_script_is_the_installed_one(client: TestClient) -> None:
    version = importlib.metadata.version("plotly")
    assert plotly_path() == f"/cocite/plotly-{version}.js"
    answer = client.get(plotly_path())
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.text.lstrip().startswith("/**\n* plotly.js v")
    assert len(answer.content) > 1_000_000
    assert client.get("/cocite/plotly-0.0.0.js").status_code == 404


def test_the_default_atlas_is_served_whole(medline_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(medline_home))
    atlas = open_atlas("medline")
    steps, colours, years = decode(points_payload(atlas), len(atlas))
    assert np.abs(steps * map_scale(atlas) - atlas.coordinates).max() <= map_scale(atlas) / 2 + 1e-6
    for row in range(0, len(atlas), 97):
        region, year = atlas.region_of(row), atlas.paper(row).year
        assert colours[row] == (NO_CODE if region is None else region.colour)
        assert years[row] == (NO_CODE if year is None else year - atlas.facets.year_span[0])
