"""What a link says: everything about a page except the pasted text, to and from query parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from components.atlas.facets import Filters
from components.atlas.paths import DEFAULT_ATLAS

Colour = Literal["region", "year", "topic"]
Tab = Literal["results", "queries", "all", "index"]
Point = tuple[float, float]
Params = dict[str, str | list[str]]

K_CHOICES = (5, 10, 20, 50, 100)
PAIR_K_CHOICES = (5, 10, 20, 50)  # nobody reads what moved between two longer lists
DEFAULT_K = 10
MAX_SEEDS = 50  # ids in a link: mail and chat break links much longer than 2,000 characters
MAX_CORNERS = 48  # of a lasso, after thinning: the shape is still recognisable and the link stays short
_MAX_VALUES = 20  # venues or topics
_MAX_CHARS = 300  # of one value
_MAX_NAME_CHARS = 64  # of an atlas
_DIGITS = 3  # of a map coordinate: a thousandth of half the map, less than a pixel
_WINDOW_DIGITS = 6  # of a window's bounds: a window may be a thousand times narrower than the map, and must not jump


@dataclass(frozen=True, slots=True)
class View:
    """What the Explore page shows. ids are papers' ids.

    like: the seeds of a search; empty where the query is a pasted text or there is none. paper: the opened card.
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
        """The same settings for another atlas, without what belongs to this atlas's papers."""
        return View(atlas=name, k=self.k, colour=self.colour)

    def to_params(self) -> Params:
        """As query parameters, without defaults: a plain page has a plain address."""
        filters = self.filters
        return _given(
            atlas=self.atlas if self.atlas != DEFAULT_ATLAS else "",
            like=list(self.like),
            k=str(self.k) if self.k != DEFAULT_K else "",
            years=f"{filters.years[0]}-{filters.years[1]}" if filters.years else "",
            venue=list(filters.venues),
            topic=list(filters.topics),
            colour=self.colour if self.colour != "region" else "",
            paper=self.paper,
            area=_numbers([value for point in self.area for value in point]),
            window=_numbers(self.camera or (), digits=_WINDOW_DIGITS),
            **{"from": "area" if self.around else ""},
        )

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "View":
        """The view that query parameters ask for. Never raises: what is not valid keeps its default."""
        first = _first_values(params)
        colours: dict[str, Colour] = {colour: colour for colour in get_args(Colour)}
        numbers = _parse_numbers(first.get("area", ""), max_count=2 * MAX_CORNERS)
        area = (
            tuple(zip(numbers[::2], numbers[1::2], strict=True)) if len(numbers) >= 6 and len(numbers) % 2 == 0 else ()
        )
        return cls(
            atlas=(first.get("atlas") or DEFAULT_ATLAS)[:_MAX_NAME_CHARS],
            like=_texts(params.get("like", ()), max_count=MAX_SEEDS),
            k=next((k for k in K_CHOICES if first.get("k") == str(k)), DEFAULT_K),
            filters=Filters(
                years=_years(first.get("years", "")),
                venues=_texts(params.get("venue", ()), max_count=_MAX_VALUES),
                topics=_texts(params.get("topic", ()), max_count=_MAX_VALUES),
            ),
            colour=colours.get(first.get("colour", ""), "region"),
            paper=first.get("paper", "")[:_MAX_CHARS],
            area=area,
            around=bool(area) and first.get("from") == "area",
            camera=rounded_window(_parse_numbers(first.get("window", ""), max_count=4, digits=_WINDOW_DIGITS)),
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """What the Compare page shows. left, right: atlases; empty where the page is to choose. like, k: as in `View`."""

    left: str = ""
    right: str = ""
    like: tuple[str, ...] = ()
    k: int = DEFAULT_K

    def to_params(self) -> Params:
        """As query parameters, without defaults."""
        return _given(
            left=self.left, right=self.right, like=list(self.like), k=str(self.k) if self.k != DEFAULT_K else ""
        )

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "Pair":
        """The pair that query parameters ask for; `atlas` stands for `left`. Never raises."""
        view, first = View.from_params(params), _first_values(params)
        left, right = first.get("left") or first.get("atlas", ""), first.get("right", "")
        names = (left[:_MAX_NAME_CHARS], right[:_MAX_NAME_CHARS])
        return cls(*names, view.like, view.k if view.k in PAIR_K_CHOICES else DEFAULT_K)


@dataclass(frozen=True, slots=True)
class EvaluationView:
    """What the Evaluate page shows. Each is empty where the page is to choose.

    set, facet, split: of the judged set. system, beside: ids of evaluations. query: the opened one, by its name in the
    set. tab: the opened tab. atlas: whose index is measured, and the one that links to other pages lead to.
    """

    atlas: str = ""
    set: str = ""
    facet: str = ""
    split: str = ""
    system: str = ""
    beside: str = ""
    query: str = ""
    tab: Tab = "results"

    def to_params(self) -> Params:
        """As query parameters, without defaults."""
        values = {name: str(getattr(self, name)) for name in self.__dataclass_fields__}
        return _given(**values | {"tab": "" if self.tab == "results" else self.tab})

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> "EvaluationView":
        """What query parameters ask for. Never raises: what is not valid keeps its default."""
        first = {name: value[:_MAX_CHARS] for name, value in _first_values(params).items()}
        tabs: dict[str, Tab] = {tab: tab for tab in get_args(Tab)}
        names = {name: first.get(name, "")[:_MAX_NAME_CHARS] for name in ("atlas", "set")}
        texts = {name: first.get(name, "") for name in ("facet", "split", "system", "beside", "query")}
        return cls(**names, **texts, tab=tabs.get(first.get("tab", ""), "results"))


def thinned(corners: Sequence[Point]) -> tuple[Point, ...]:
    """At most MAX_CORNERS of a polygon's corners, evenly taken, rounded as in links."""
    step = max(1, -(-len(corners) // MAX_CORNERS))
    return tuple((round(float(x), _DIGITS), round(float(y), _DIGITS)) for x, y in corners[::step])


def rounded_window(window: Sequence[float]) -> tuple[float, float, float, float] | None:
    """x0, x1, y0, y1 of a window, rounded as in links; None for what is no window or has no width after rounding."""
    if len(window) != 4:
        return None
    x0, x1, y0, y1 = (round(float(value), _WINDOW_DIGITS) for value in window)
    return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None


def rows_inside(coordinates: NDArray[np.float32], corners: Sequence[Point]) -> NDArray[np.int64]:
    """int64: the rows whose points (n, 2) lie inside a closed polygon, by the even-odd rule, in order."""
    inside = np.zeros(len(coordinates), dtype=np.bool_)
    x, y = coordinates[:, 0].astype(np.float64), coordinates[:, 1].astype(np.float64)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return np.flatnonzero(inside)


def _given(**values: str | list[str]) -> Params:
    return {name: value for name, value in values.items() if value}


def _first_values(params: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: values[0] for name, values in params.items() if values}


def _numbers(values: Sequence[float], *, digits: int = _DIGITS) -> str:
    return "_".join(f"{value:.{digits}f}".rstrip("0").rstrip(".") for value in values)


def _parse_numbers(text: str, *, max_count: int, digits: int = _DIGITS) -> list[float]:
    parts = text.split("_")
    if not text or len(parts) > max_count or any(len(part) > 16 for part in parts):
        return []
    try:
        values = [round(float(part), digits) for part in parts]
    except ValueError:
        return []
    return values if all(abs(value) < 1e6 for value in values) else []


def _texts(values: Sequence[str], *, max_count: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value[:_MAX_CHARS] for value in values[:max_count] if value))


def _years(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    if not (dash and all(part.isascii() and part.isdigit() and len(part) <= 4 for part in (first, last))):
        return None
    return (int(first), int(last)) if int(first) <= int(last) else None
