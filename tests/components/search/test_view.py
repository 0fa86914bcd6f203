"""Links: whatever a view says comes back from its link, and no link breaks the page."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.atlas.facets import Filters
from components.search.view import (
    DEFAULT_ATLAS,
    DEFAULT_K,
    K_CHOICES,
    MAX_CORNERS,
    MAX_SEEDS,
    PAIR_K_CHOICES,
    EvaluationView,
    Pair,
    Point,
    View,
    rounded_window,
    rows_inside,
    thinned,
)

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
_STEPS = st.integers(-5000, 5000).map(lambda step: step / 1000)  # what a link can say of a place on the map
_WINDOWS = st.tuples(_STEPS, _STEPS, _STEPS, _STEPS).filter(lambda w: w[0] < w[1] and w[2] < w[3])


def several(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=most, unique=True).map(tuple)


_YEARS = st.tuples(st.integers(0, 9999), st.integers(0, 9999)).map(lambda pair: (min(pair), max(pair)))
_VIEWS = st.builds(
    View,
    atlas=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
    like=several(_NAMES, MAX_SEEDS),
    k=st.sampled_from(K_CHOICES),
    filters=st.builds(Filters, years=st.none() | _YEARS, venues=several(_NAMES, 20), topics=several(_NAMES, 20)),
    colour=st.sampled_from(["region", "year", "topic"]),
    paper=st.just("") | _NAMES,
    area=st.just(()) | st.lists(st.tuples(_STEPS, _STEPS), min_size=3, max_size=MAX_CORNERS).map(tuple),
    camera=st.none() | _WINDOWS,
)


def link(view: View) -> dict[str, list[str]]:
    """A view's query parameters as a server reads them: every value a list."""
    return {name: [value] if isinstance(value, str) else value for name, value in view.to_params().items()}


@given(view=_VIEWS)
def test_a_view_comes_back_from_its_link(view: View) -> None:
    assert View.from_params(link(view)) == view


@given(x=st.floats(-1, 1), y=st.floats(-1, 1), width=st.floats(0.001, 4), height=st.floats(0.001, 4))
def test_a_narrow_window_comes_back_where_it_was(x: float, y: float, width: float, height: float) -> None:
    camera = rounded_window([x, x + width, y, y + height])
    assert View.from_params(link(View(camera=camera))).camera == camera
    assert camera is not None
    # map.js takes windows within 2 % of each other for the same, and travels to any other.
    assert max(abs(camera[0] - x), abs(camera[1] - x - width)) < 0.02 * width
    assert max(abs(camera[2] - y), abs(camera[3] - y - height)) < 0.02 * height


@pytest.mark.parametrize("window", [[], [0, 1], [0, 1, 0], [1, 0, 0, 1], [0, 1, 2, 2], [0, 1e-9, 0, 1]])
def test_what_has_no_width_is_no_window(window: list[float]) -> None:
    assert rounded_window(window) is None


def test_a_plain_page_has_a_plain_address() -> None:
    assert View().to_params() == {}
    assert View.from_params({}) == View()


_GARBAGE = (
    st.text(max_size=30)
    | st.text("0123456789.-_einfa ", max_size=60)
    | st.lists(st.floats(allow_nan=True).map(str) | st.integers().map(str), min_size=3, max_size=9).map("_".join)
    | st.sampled_from(["0", "00010", "01001", "0010" + "1" * 5000, "1e9", "٣-٤", "2000-1999", "-", "9999-9999", "½"])
)


@given(
    params=st.dictionaries(
        st.sampled_from(["atlas", "like", "k", "years", "venue", "topic", "colour", "paper", "area", "window", "x"]),
        st.lists(_GARBAGE, max_size=4),
    )
)
def test_garbage_gives_a_view_that_is_one(params: dict[str, list[str]]) -> None:
    view = View.from_params(params)
    assert view.k in K_CHOICES
    assert view.colour in ("region", "year", "topic")
    assert all(math.isfinite(value) for corner in view.area for value in corner)
    assert view.camera is None or (view.camera[0] < view.camera[1] and view.camera[2] < view.camera[3])
    assert View.from_params(link(view)) == view


@pytest.mark.parametrize("k", ["", "0", "-10", "11", "010", "01001", "10.0", "१०", "0010" + "1" * 5000, "99999"])
def test_numbers_of_papers_that_are_not_offered_are_not_shown(k: str) -> None:
    assert View.from_params({"k": [k]}).k == DEFAULT_K


def test_links_are_bounded() -> None:
    long = ["x" * 10_000 + str(i) for i in range(500)]
    view = View.from_params(dict.fromkeys(("atlas", "like", "venue", "topic", "paper", "area", "window"), long))
    assert len(view.atlas) <= 64
    assert sum(len(value) for values in link(view).values() for value in values) < 2000


def test_another_atlas_keeps_the_way_of_looking_alone() -> None:
    view = View(like=("a",), k=20, colour="year", paper="b", area=((0, 0), (0, 1), (1, 1)), camera=(0, 1, 0, 1))
    assert view.in_atlas("other") == View(atlas="other", k=20, colour="year")
    assert view.in_atlas(DEFAULT_ATLAS).to_params() == {"k": "20", "colour": "year"}


# Areas


def winding(point: Point, corners: list[Point]) -> float:
    """How often the corners go round a point, by the sum of the angles that the edges are seen under."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        a = (x0 - point[0], y0 - point[1])
        b = (x1 - point[0], y1 - point[1])
        total += math.atan2(a[0] * b[1] - a[1] * b[0], a[0] * b[0] + a[1] * b[1])
    return total / (2 * math.pi)


def distance_to_edges(point: Point, corners: list[Point]) -> float:
    nearest = math.inf
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        dx, dy = x1 - x0, y1 - y0
        length = dx * dx + dy * dy
        at = 0.0 if length == 0 else max(0.0, min(1.0, ((point[0] - x0) * dx + (point[1] - y0) * dy) / length))
        nearest = min(nearest, math.hypot(x0 + at * dx - point[0], y0 + at * dy - point[1]))
    return nearest


@given(corners=st.lists(st.tuples(_STEPS, _STEPS), min_size=3, max_size=12), seed=st.integers(0, 1000))
def test_a_lasso_holds_what_it_winds_around_an_odd_number_of_times(corners: list[Point], seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-6, 6, (40, 2)).astype(np.float32)
    inside = set(rows_inside(points, corners).tolist())
    for row, (x, y) in enumerate(points.tolist()):
        if distance_to_edges((x, y), corners) > 1e-6:  # on an edge there is no right answer
            assert (row in inside) == (round(winding((x, y), corners)) % 2 == 1)


def test_a_concave_lasso_leaves_its_bay_out() -> None:
    corners = [(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)]
    points = np.array([[1, 1], [2, 0.5], [2, 2], [3.5, 3], [2, 3.9], [5, 1], [-1, 0]], dtype=np.float32)
    assert rows_inside(points, corners).tolist() == [0, 1, 3]


@pytest.mark.parametrize("corners", [[], [(0, 0)], [(0, 0), (1, 1)], [(1, 1)] * 5, [(0, 0), (1, 0), (2, 0)]])
def test_an_area_without_an_inside_holds_nothing(corners: list[Point]) -> None:
    points = np.array([[0.5, 0.5], [1, 1], [1, 0]], dtype=np.float32)
    assert rows_inside(points, corners).tolist() == []
    assert rows_inside(points[:0], [(0, 0), (1, 0), (0, 1)]).tolist() == []


@given(corners=st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), max_size=400))
def test_a_thinned_lasso_is_short_in_order_and_fits_a_link(corners: list[Point]) -> None:
    few = thinned(corners)
    assert len(few) <= MAX_CORNERS
    assert len(few) >= min(len(corners), MAX_CORNERS // 2)
    rounded = [(round(x, 3), round(y, 3)) for x, y in corners]
    places = iter(rounded)
    assert all(corner in places for corner in few)  # a subsequence
    if len(few) >= 3:
        assert View.from_params(link(View(area=few))).area == few


def test_a_thinned_circle_holds_what_the_circle_held() -> None:
    angles = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    circle = list(zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True))
    points = np.random.default_rng(3).uniform(-1, 1, (500, 2)).astype(np.float32)
    away = np.hypot(points[:, 0], points[:, 1])
    points = points[np.abs(away - 1) > 0.01]
    assert rows_inside(points, thinned(circle)).tolist() == rows_inside(points, circle).tolist()


@given(
    pair=st.builds(
        Pair,
        left=st.just("") | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
        right=st.just("") | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True),
        like=several(_NAMES, MAX_SEEDS),
        k=st.sampled_from(PAIR_K_CHOICES),
    )
)
def test_a_pair_comes_back_from_its_link(pair: Pair) -> None:
    params = {name: [value] if isinstance(value, str) else value for name, value in pair.to_params().items()}
    assert Pair.from_params(params) == pair


def test_odd_links_of_a_pair_are_read_as_far_as_they_can_be() -> None:
    assert Pair.from_params({}) == Pair()
    assert Pair.from_params({"atlas": ["a"], "right": ["b"], "k": ["100"]}) == Pair("a", "b")
    assert Pair.from_params({"atlas": ["a"], "left": ["c"]}) == Pair("c")
    assert Pair.from_params({"left": ["x" * 300], "right": ["y" * 300]}) == Pair("x" * 64, "y" * 64)
    assert Pair.from_params({"left": [], "right": [], "like": [], "k": []}) == Pair()


@given(
    st.builds(
        EvaluationView,
        **dict.fromkeys(["atlas", "set", "facet", "split", "system", "beside", "query"], st.text(max_size=12)),
        tab=st.sampled_from(["results", "queries", "all", "index"]),
    )
)
def test_a_link_shows_the_same_evaluation_again(view: EvaluationView) -> None:
    params = {name: [str(value)] for name, value in view.to_params().items()}
    assert EvaluationView.from_params(params) == view
    assert all(value for values in params.values() for value in values)


@given(st.dictionaries(st.sampled_from(["atlas", "set", "split", "tab", "query", "self", "x"]), st.lists(st.text())))
def test_any_link_to_an_evaluation_is_understood_or_ignored(params: dict[str, list[str]]) -> None:
    view = EvaluationView.from_params(params)
    assert view.tab in ("results", "queries", "all", "index")
    assert len(view.set) <= 64
    assert len(view.query) <= 300
