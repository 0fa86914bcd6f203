"""map.js and map_model.js in Chromium: a blank page with plotly.js and twelve planted points, without the app."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from components.mapping.palette import LIGHT, palettes
from tests.browser.conftest import PATIENCE

ASSETS = Path(__file__).parents[2] / "components" / "panels" / "assets"
NO_CODE = 255
N, SCALE = 12, 0.001
X = np.array([-900, 900, -900, 900, 0, 100, 200, 300, -100, -200, -300, 0])
Y = np.array([-900, -900, 900, 900, 0, 0, 0, 0, 300, 300, 300, -500])
REGIONS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, NO_CODE, NO_CODE, NO_CODE])
YEARS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, NO_CODE])
TOPICS = bytes([0, 1] * 5 + [NO_CODE] * 2)
MASK = np.packbits([row % 2 == 0 for row in range(N)], bitorder="little").tobytes()
BAD = "<img src=x onerror='window.hacked=1'>"
FILES = {
    "/map.js": (ASSETS / "map_model.js").read_bytes() + (ASSETS / "map.js").read_bytes(),
    "/plotly.js": (importlib.resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes(),
    "/a/points": X.astype("<i2").tobytes()
    + Y.astype("<i2").tobytes()
    + REGIONS.astype("u1").tobytes()
    + YEARS.astype("u1").tobytes(),
    "/a/mask": MASK,
    "/a/topics": TOPICS,
    "/": f"""<!doctype html><meta charset="utf-8">
        <style>{(ASSETS / "map.css").read_text()} #host {{ width: 800px }}</style>
        <div id="host">{(ASSETS / "map.html").read_text()}</div>""".encode(),
}
DATA: dict[str, Any] = {
    "build": "b", "events": ["opened", "area", "camera", "colour"], "url": "/a", "plotly": "/plotly.js", "count": N,
    "scale": SCALE, "palettes": palettes(), "description": "A map", "colour": "region", "years": [2000, 2010],
    "topics": ["hearts", "stars"], "topicQuery": "topic=hearts&topic=stars", "mask": "", "regions": [], "query": None,
    "hits": [], "opened": None, "compact": False, "area": [], "camera": None,
}  # fmt: skip


class Map:
    """The map in a page. sent: the triggers that it set. failing: paths that answer with an error."""

    def __init__(self, page: Any) -> None:
        self.page, self.failing, self.requests = page, set[str](), list[str]()
        page.route("**/*", self._answer)
        page.goto("http://map.test/")
        page.evaluate(
            """async () => { window.model = await import('/map.js'); window.sent = [];
                const parentElement = document.getElementById('host');
                window.update = (data) => { window.cleanUp = model.default({
                    parentElement, data, setTriggerValue: (name, value) => sent.push([name, value]) }); } }"""
        )

    def _answer(self, route: Any) -> None:
        url = urlsplit(route.request.url)
        self.requests.append(url.path)
        if url.path in self.failing:
            route.fulfill(status=410, body="This atlas has been built again.")
        elif url.path == "/a/papers":
            row = int(url.query.removeprefix("rows="))
            card = {"row": row, "title": f"{BAD} {row}", "venue": BAD, "year": 2000, "region": None}
            route.fulfill(body=json.dumps([card]), content_type="application/json")
        else:
            kind = {"/": "text/html", "/a": "application/octet-stream"}.get(url.path[:2], "text/javascript")
            route.fulfill(body=FILES[url.path], content_type=kind)

    def draw(self, **changes: Any) -> None:
        """Update the map and wait until it is drawn."""
        self.page.evaluate("(data) => update(data)", DATA | changes)
        self.page.wait_for_function(
            "() => document.querySelector('.plot').data && document.querySelector('.note').hidden", timeout=PATIENCE
        )
        self.page.evaluate(
            "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
        )

    def traces(self) -> list[dict[str, Any]]:
        return self.page.evaluate(
            """() => document.querySelector('.plot').data.map((trace) => ({ mode: trace.mode,
                x: Array.from(trace.x), y: Array.from(trace.y), rows: trace.customdata ?? null,
                marker: { ...trace.marker, color: trace.marker?.color?.length && typeof trace.marker.color !== 'string'
                    ? Array.from(trace.marker.color) : trace.marker?.color } }))"""
        )

    def window(self) -> list[float]:
        return self.page.evaluate(
            "() => { const { xaxis, yaxis } = document.querySelector('.plot')._fullLayout;"
            " return [...xaxis.range, ...yaxis.range] }"
        )

    def sent(self, name: str) -> list[Any]:
        return [value for sent, value in self.page.evaluate("() => sent") if sent == name]

    def wait_for(self, name: str) -> Any:
        self.page.wait_for_function("(name) => sent.some(([sent]) => sent === name)", arg=name, timeout=PATIENCE)
        return self.sent(name)[-1]

    def pixel(self, row: int) -> tuple[float, float]:
        """Where a paper is on the page."""
        x, y = self.page.evaluate(
            """([x, y]) => { const plot = document.querySelector('.plot'), box = plot.getBoundingClientRect();
                const { xaxis, yaxis } = plot._fullLayout;
                return [box.left + xaxis.l2p(x), box.top + yaxis.l2p(y)] }""",
            [X[row] * SCALE, Y[row] * SCALE],
        )
        return x, y

    def legend(self) -> list[str]:
        return self.page.locator(".legend > span").all_inner_texts()

    def model(self, call: str, *args: Any) -> Any:
        """The result of a function of the model."""
        return self.page.evaluate(f"(args) => model.{call}(...args)", list(args))


@pytest.fixture
def plotted(chromium: Any) -> Iterator[Map]:
    context = chromium.new_context(viewport={"width": 820, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Map(page)
    context.close()
    assert errors == []


# Drawing


def test_points_are_where_the_bytes_say(plotted: Map) -> None:
    plotted.draw()
    faded, shown = plotted.traces()
    assert (faded["rows"], sorted(shown["rows"])) == ([], list(range(N)))
    assert shown["rows"][:3] == [9, 10, 11]  # unlabelled ones first, below the others
    assert shown["x"] == pytest.approx([X[row] * SCALE for row in shown["rows"]], abs=1e-6)
    assert shown["y"] == pytest.approx([Y[row] * SCALE for row in shown["rows"]], abs=1e-6)
    codes = [len(LIGHT.regions) if REGIONS[row] == NO_CODE else REGIONS[row] for row in shown["rows"]]
    assert shown["marker"]["color"] == pytest.approx([code + 0.5 for code in codes])
    assert plotted.legend() == ["Papers (too few or too scattered for regions)"]
    assert plotted.page.locator(".plot").get_attribute("aria-label") == "A map"


def test_a_mask_fades_the_excluded_papers(plotted: Map) -> None:
    plotted.draw(mask="topic=x")
    faded, shown = plotted.traces()
    assert faded["rows"] == list(range(1, N, 2))
    assert sorted(shown["rows"]) == list(range(0, N, 2))
    assert faded["marker"]["color"] == LIGHT.faded
    assert plotted.legend()[-1] == "Excluded by the filters"
    plotted.draw()
    assert plotted.traces()[0]["rows"] == []


def test_colours_follow_years_and_topics(plotted: Map) -> None:
    plotted.draw(colour="year")
    assert plotted.legend() == ["20002010"]  # both ends of the ramp
    assert max(plotted.traces()[1]["marker"]["color"]) == 11.5  # the paper without a year
    plotted.page.get_by_role("button", name="Topic").click()
    assert plotted.wait_for("colour") == "topic"
    plotted.page.wait_for_function("() => document.querySelector('[data-colour=topic]').ariaPressed === 'true'")
    shown = plotted.traces()[1]
    codes = dict(zip(shown["rows"], shown["marker"]["color"], strict=True))
    assert [codes[row] for row in range(N)] == [0.5, 1.5] * 5 + [2.5] * 2
    assert plotted.legend() == ["hearts", "stars", "None of these topics"]


def test_the_query_is_a_star_with_rings_and_lines(plotted: Map) -> None:
    plotted.draw(query=[0.1, 0.2], hits=[4, 5], opened=5)
    lines, rings, star = plotted.traces()[2:]
    assert lines["x"] == pytest.approx([0.1, 0.0, None, 0.1, 0.1, None])
    assert (rings["rows"], rings["x"]) == ([4, 5], pytest.approx([0.0, 0.1]))
    assert rings["marker"]["size"][1] > rings["marker"]["size"][0]  # the opened one
    assert (star["marker"]["symbol"], star["x"], star["y"]) == ("star", [0.1], [0.2])
    assert plotted.legend()[:2] == ["Your query", "Nearest papers"]
    # A paper that is pointed at in a list is highlighted: by row, or by the rows of several atlases.
    for detail in (7, {"b": 7, "other": 3}):
        plotted.page.evaluate("(detail) => dispatchEvent(new CustomEvent('cocite:highlight', { detail }))", detail)
        assert [trace["rows"] for trace in plotted.traces()[2:]] == [None, [4, 5], [7], None]
    plotted.page.evaluate("() => dispatchEvent(new CustomEvent('cocite:highlight', { detail: null }))")
    assert len(plotted.traces()) == 5


def test_the_star_is_drawn_over_the_points(plotted: Map) -> None:
    plotted.draw(query=[0.1, 0.2], hits=[4])
    # The canvas of the points is below the drawing of the star, whose background is clear.
    assert plotted.page.evaluate(
        """() => { const plot = document.querySelector('.plot'), points = plot.querySelector('.gl-container');
            const background = getComputedStyle(plot.querySelector('.main-svg')).backgroundColor;
            return [getComputedStyle(points).zIndex, background] }"""
    ) == ["-1", "rgba(0, 0, 0, 0)"]


def test_labels_do_not_overlap(plotted: Map) -> None:
    regions = [
        {"name": "Largest", "x": 0, "y": 0, "size": 9, "first": 0},
        {"name": "Hidden by the largest", "x": 0.02, "y": 0.01, "size": 5, "first": 0},
        {"name": BAD, "x": 0.5, "y": 0.5, "size": 2, "first": 0},
        {"name": "Outside", "x": 5, "y": 5, "size": 8, "first": 0},
    ]
    plotted.draw(regions=regions)
    labels = plotted.page.locator(".labels span")
    assert labels.all_inner_texts() == ["Largest", BAD]
    assert plotted.legend() == ["Colours mark regions (colours repeat)", "Between regions"]
    plotted.draw(regions=[*regions[:1], regions[1] | {"first": 1}])  # the query's region comes first
    assert labels.all_inner_texts() == ["Hidden by the largest"]
    plotted.draw(regions=regions, colour="year")
    assert labels.count() == 0


# What a person does


def test_a_click_reports_the_paper_and_pointing_shows_its_title(plotted: Map) -> None:
    plotted.draw()
    plotted.page.mouse.move(*plotted.pixel(3), steps=4)
    tip = plotted.page.locator(".tip b")
    tip.wait_for()
    assert tip.inner_text() == f"{BAD} 3"
    plotted.page.mouse.down()
    plotted.page.mouse.up()
    assert plotted.wait_for("opened") == {"row": 3}
    plotted.page.mouse.move(*[value + 60 for value in plotted.pixel(11)], steps=4)
    plotted.page.locator(".tip").wait_for(state="hidden")
    assert plotted.page.evaluate("() => window.hacked === undefined")


def test_a_box_reports_its_corners(plotted: Map) -> None:
    plotted.draw()
    plotted.page.get_by_role("button", name="Box").click()
    (x0, y0), (x1, y1) = plotted.pixel(8), plotted.pixel(7)
    plotted.page.mouse.move(x0 - 9, y0 - 9)
    plotted.page.mouse.down()
    plotted.page.mouse.move(x1 + 9, y1 + 9, steps=5)
    plotted.page.mouse.up()
    corners = np.array(plotted.wait_for("area")["corners"])
    low, high = corners.min(axis=0), corners.max(axis=0)
    points = np.stack([X, Y], axis=1) * SCALE
    assert [row for row in range(N) if (low <= points[row]).all() and (points[row] <= high).all()] == [4, 5, 6, 7, 8]
    # The area comes back from Python as a shape, with a button to clear it.
    plotted.draw(area=corners.tolist())
    assert plotted.page.evaluate("() => document.querySelector('.plot').layout.shapes.length") == 1
    plotted.page.get_by_role("button", name="Clear").click()
    assert plotted.sent("area")[-1] == {"corners": []}


def test_the_keyboard_moves_and_zooms(plotted: Map) -> None:
    plotted.draw()
    whole = plotted.window()
    plot = plotted.page.locator(".plot")
    plot.press("+")
    near = plotted.window()
    assert near[1] - near[0] == pytest.approx(0.75 * (whole[1] - whole[0]), rel=0.01)
    plot.press("ArrowRight")
    assert plotted.window()[0] > near[0]
    assert plotted.window()[2:] == pytest.approx(near[2:], abs=1e-6)
    assert len(plotted.wait_for("camera")["window"]) == 4
    plot.press("Control+0")
    assert plotted.window()[0] > near[0]
    plot.press("0")
    assert plotted.window() == pytest.approx(whole, abs=0.01)
    plotted.page.wait_for_function("() => sent.filter(([name]) => name === 'camera').at(-1)[1].window.length === 0")


def test_buttons_go_to_the_hits_and_to_the_whole_map(plotted: Map) -> None:
    plotted.draw(query=[0.1, 0.05], hits=[4, 5, 6])
    whole = plotted.window()
    plotted.page.get_by_role("button", name="⌖ Hits").click()
    plotted.page.wait_for_function("() => sent.some(([name]) => name === 'camera')")
    x0, x1, *_ = plotted.window()
    assert x1 - x0 < 0.5 * (whole[1] - whole[0])
    assert x0 < 0 < 0.2 < x1
    plotted.page.get_by_role("button", name="⤢ All").click()
    plotted.page.wait_for_function("() => sent.at(-1)[1].window?.length === 0")
    assert plotted.window() == pytest.approx(whole, abs=0.01)
    # A window of a link is shown at once, and not reported again.
    plotted.draw(camera=[-0.5, 0.5, -0.5, 0.5])
    assert plotted.window()[0] == pytest.approx(-0.5, abs=0.3)


def test_nothing_is_reported_that_nobody_listens_to(plotted: Map) -> None:
    plotted.draw(events=["opened"], topics=[], years=None)
    assert plotted.page.get_by_role("button", name="Lasso").is_hidden()
    assert plotted.page.get_by_role("button", name="Topic").is_disabled()
    assert plotted.page.get_by_role("button", name="Year").is_disabled()
    plotted.page.get_by_role("button", name="Region").click()
    assert plotted.sent("colour") == []


def test_a_failed_request_is_shown_and_tried_again(plotted: Map) -> None:
    plotted.failing = {"/a/points"}
    plotted.page.evaluate("(data) => update(data)", DATA)
    note = plotted.page.locator(".note")
    note.filter(has_text="could not be loaded").wait_for()
    assert note.inner_text() == (
        "The map could not be loaded. This atlas has been built again. Reload the page to try again."
    )
    plotted.failing.clear()
    plotted.draw()
    plotted.draw(colour="year")
    assert plotted.requests.count("/a/points") == 2


def test_a_removed_map_draws_no_more(plotted: Map) -> None:
    plotted.draw()
    plotted.page.evaluate("() => { cleanUp(); dispatchEvent(new CustomEvent('cocite:highlight', { detail: 1 })) }")
    plotted.page.wait_for_function("() => !document.querySelector('.plot').data")


# The model


def test_windows_are_compared_up_to_the_proportions_of_the_plot(plotted: Map) -> None:
    assert plotted.model("sameWindow", [-1, 1, -1, 1], [-1, 1, -1, 1])
    assert plotted.model("sameWindow", [-1, 1, -2, 2], [-1, 1, -1, 1])  # widened on one axis
    assert not plotted.model("sameWindow", [-1, 1, -1, 1], [-0.5, 0.5, -0.5, 0.5])
    assert plotted.model("windowAfterKey", "x", [0, 1, 0, 1], [0, 1, 0, 1]) is None
    assert plotted.model("wholeWindow", {"x": [], "y": []}) == pytest.approx([-1.1, 1.1, -1.1, 1.1])


def test_selections_and_colours_are_plain_values(plotted: Map) -> None:
    assert plotted.model("selectedCorners", {"lassoPoints": {"x": [0, 1, 2], "y": [3, 4, 5]}}) == [
        [0, 3],
        [1, 4],
        [2, 5],
    ]
    assert plotted.model("selectedCorners", {"points": []}) is None
    assert plotted.model("pointedRow", {"points": [{}, {"customdata": 7}]}) == 7
    assert plotted.model("ramp", ["#000000", "#ffffff"], 0.5) == "rgb(128,128,128)"
    assert plotted.model("ramp", ["#000000", "#ffffff"], 9) == "rgb(255,255,255)"
    sizes = [plotted.model("pointSize", count, [0, 1], None) for count in (10, 1_000, 10_000, 100_000)]
    assert sizes == [8, 5, 3.5, 2.5]
