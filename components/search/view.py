"""View: what a link says. Everything about a page but the pasted text, to and from query parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from components.atlas.facets import Filters
from components.atlas.paths import DEFAULT_ATLAS

Colour = Literal["region", "year", "topic"]
Tab = Literal["results", "queries", "all", "index"]
Point = tuple[float, float]

K_CHOICES = (5, 10, 20, 50, 100)
PAIR_K_CHOICES = (5, 10, 20, 50)  # beside each other; what moved between longer lists nobody reads
DEFAULT_K = 10
MOST_SEEDS = 50  # ids in a link; a link much longer than 2,000 characters breaks in mail and chat
MOST_CORNERS = 48  # of a lasso, after thinning: what a hand drew is known again, and the link stays short
_MOST_VALUES = 20  # venues or topics asked for at once
_LONGEST = 300  # characters of one value
_LONGEST_NAME = 64  # of an atlas
_DIGITS = 3  # of a map coordinate: a thousandth of the map's half, under a pixel
_WINDOW_DIGITS = 6  # of a window's bounds: it may be a thousand times narrower than the map, and must not jump


@dataclass(frozen=True, slots=True)
class View:
    """What is shown. ids are papers' ids.

    like: the seeds of a search; empty where the query is pasted text or there is none. paper: the opened card.
    area: corners of the selected area, in map coordinates; around: its papers are the seeds.
    camera: x0, x1, y0, y1 of the map's window.
    """

    atlas: str = DEFAULT_ATLAS
    like: tuple[str, ...] = ()
    k: int = DEFAULT_K
    filters: Filters = Filters()  # noqa: RUF009  (frozen)
    colour: Colour = "region"
    paper: str = ""
    area: tuple[Point, ...] = ()
    around: bool = False
    camera: tuple[float, float, float, float] | None = None

    def in_atlas(self, name: str) -> "View":
        """The same way of looking at another atlas: what belongs to this one's papers is dropped."""
        return View(atlas=name, k=self.k, colour=self.colour)

    def to_params(self) -> dict[str, str | list[str]]:
        """As query parameters; what is at its default is left out, so a plain page has a plain address."""
        params: dict[str, str | list[str]] = {}
        if self.atlas != DEFAULT_ATLAS:
            params["atlas"] = self.atlas
        if self.like:
            params["like"] = list(self.like)
        if self.k != DEFAULT_K:
            params["k"] = str(self.k)
        if self.filters.years:
            params["years"] = f"{self.filters.years[0]}-{self.filters.years[1]}"
        if self.filters.venues:
            params["venue"] = list(self.filters.venues)
        if self.filters.topics:
            params["topic"] = list(self.filters.topics)
        if self.colour != "region":
            params["colour"] = self.colour
        if self.paper:
            params["paper"] = self.paper
        if self.area:
            params["area"] = _numbers([value for point in self.area for value in point])
        if self.around:
            params["from"] = "area"
        if self.camera:
            params["window"] = _numbers(self.camera, digits=_WINDOW_DIGITS)
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "View":
        """The view that query parameters ask for. Never raises: what is not understood is left at its default."""
        first = {name: values[0] for name, values in params.items() if values}
        view = cls(
            atlas=first.get("atlas", DEFAULT_ATLAS)[:_LONGEST_NAME],
            like=_texts(params.get("like", ()), most=MOST_SEEDS),
            paper=first.get("paper", "")[:_LONGEST],
            filters=Filters(
                years=_years(first.get("years", "")),
                venues=_texts(params.get("venue", ()), most=_MOST_VALUES),
                topics=_texts(params.get("topic", ()), most=_MOST_VALUES),
            ),
        )
        for k in K_CHOICES:
            if first.get("k") == str(k):
                view = replace(view, k=k)
        for colour in get_args(Colour):
            if first.get("colour") == colour:
                view = replace(view, colour=colour)
        corners = _parse_numbers(first.get("area", ""), most=2 * MOST_CORNERS)
        if len(corners) >= 6 and len(corners) % 2 == 0:
            view = replace(view, area=tuple(zip(corners[::2], corners[1::2], strict=True)))
        if view.area and first.get("from") == "area":
            view = replace(view, around=True)
        window = _parse_numbers(first.get("window", ""), most=4, digits=_WINDOW_DIGITS)
        return replace(view, camera=rounded_window(window))


@dataclass(frozen=True, slots=True)
class Pair:
    """What the Compare page shows. left, right: atlases; empty where the page is to choose. like, k: as in `View`."""

    left: str = ""
    right: str = ""
    like: tuple[str, ...] = ()
    k: int = DEFAULT_K

    def to_params(self) -> dict[str, str | list[str]]:
        """As query parameters; what is at its default is left out."""
        params: dict[str, str | list[str]] = {}
        if self.left:
            params["left"] = self.left
        if self.right:
            params["right"] = self.right
        if self.like:
            params["like"] = list(self.like)
        if self.k != DEFAULT_K:
            params["k"] = str(self.k)
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "Pair":
        """The pair that query parameters ask for; `atlas` is the left one. Never raises, as `View.from_params`."""
        view = View.from_params({**params, "atlas": params.get("left") or params.get("atlas") or ("",)})
        right = next(iter(params.get("right", ())), "")[:_LONGEST_NAME]
        k = view.k if view.k in PAIR_K_CHOICES else DEFAULT_K
        return cls(left=view.atlas, right=right, like=view.like, k=k)


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """What the Evaluate page shows. Each is empty where the page is to choose.

    set, facet, split: of the judged set. system, beside: ids of evaluations. query: the one that is looked at, by its
    name in the set. tab: which side of it. atlas: whose index is measured, and where the other pages go back to.
    """

    atlas: str = ""
    set: str = ""
    facet: str = ""
    split: str = ""
    system: str = ""
    beside: str = ""
    query: str = ""
    tab: Tab = "results"

    def to_params(self) -> dict[str, str | list[str]]:
        """As query parameters; what is at its default is left out."""
        told = {name: str(getattr(self, name)) for name in _OF_EVALUATIONS}
        return {name: value for name, value in told.items() if value and (name, value) != ("tab", "results")}

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "EvaluationView":
        """What query parameters ask for. Never raises: what is not understood is left at its default."""
        first = {name: values[0][:_LONGEST] for name, values in params.items() if values}
        view = cls(
            atlas=first.get("atlas", "")[:_LONGEST_NAME],
            set=first.get("set", "")[:_LONGEST_NAME],
            facet=first.get("facet", ""),
            split=first.get("split", ""),
            system=first.get("system", ""),
            beside=first.get("beside", ""),
            query=first.get("query", ""),
        )
        return next((replace(view, tab=tab) for tab in get_args(Tab) if tab == first.get("tab")), view)


_OF_EVALUATIONS = ("atlas", "set", "facet", "split", "system", "beside", "query", "tab")


def thinned(corners: Sequence[Point]) -> tuple[Point, ...]:
    """At most MOST_CORNERS of a polygon's corners, evenly taken, rounded as links round them."""
    step = max(1, -(-len(corners) // MOST_CORNERS))
    return tuple((round(float(x), _DIGITS), round(float(y), _DIGITS)) for x, y in corners[::step])


def rounded_window(window: Sequence[float]) -> tuple[float, float, float, float] | None:
    """x0, x1, y0, y1 of a window, rounded as links round them; None for what is no window, or has no width left."""
    if len(window) != 4:
        return None
    x0, x1, y0, y1 = (round(float(value), _WINDOW_DIGITS) for value in window)
    return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None


def rows_inside(coordinates: NDArray[np.float32], corners: Sequence[Point]) -> NDArray[np.int64]:
    """int64: the rows whose points (n, 2) lie inside a closed polygon, by the even-odd rule, in order."""
    inside = np.zeros(len(coordinates), dtype=np.bool_)
    if len(corners) < 3:
        return np.flatnonzero(inside)
    x, y = coordinates[:, 0].astype(np.float64), coordinates[:, 1].astype(np.float64)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return np.flatnonzero(inside)


def _numbers(values: Sequence[float], *, digits: int = _DIGITS) -> str:
    return "_".join(f"{value:.{digits}f}".rstrip("0").rstrip(".") for value in values)


def _parse_numbers(text: str, *, most: int, digits: int = _DIGITS) -> list[float]:
    parts = text.split("_")
    if not text or len(parts) > most or any(len(part) > 16 for part in parts):
        return []
    try:
        values = [round(float(part), digits) for part in parts]
    except ValueError:
        return []
    return values if all(abs(value) < 1e6 for value in values) else []


def _texts(values: Sequence[str], *, most: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value[:_LONGEST] for value in values[:most] if value))


def _years(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) <= 4 for part in (first, last))):
        return None
    return (int(first), int(last)) if int(first) <= int(last) else None
