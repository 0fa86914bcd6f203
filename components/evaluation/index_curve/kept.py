"""Curves on disk: one an atlas, under .evaluations/.curves in the home of atlases. What is read there is checked."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import filelock

from components.atlas.manifest import Manifest
from components.atlas.paths import atlas_folder, home, home_errors
from components.atlas.store import VECTORS
from components.evaluation.index_curve.records import (
    MOST_EF,
    MOST_LINKS,
    MOST_NEIGHBOURS,
    MOST_POINTS,
    MOST_QUERIES,
    Curve,
    ExactTime,
    Measured,
    Point,
)
from corpus.errors import CociteAtlasError
from corpus.io.files import write_text

Record = TypeVar("Record", ExactTime, Measured, Point)

_FORMAT = 1
_LARGEST = 4 * 1024 * 1024  # bytes of a file: MOST_POINTS are a quarter of it
_LONGEST = 300  # characters of a text
_MOST = 1e12  # of what has no bound of its own
# Names of fields, and between what their numbers lie.
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "recall": (0, 1),
    "recall_off_rows": (0, 1),
    "k": (1, MOST_NEIGHBOURS),
    "queries": (1, MOST_QUERIES),
    "planned": (1, MOST_POINTS),
}
_OF_POINTS: Mapping[str, tuple[float, float]] = {"m": (2, MOST_LINKS), "ef_search": (1, MOST_EF), "size": (2, _MOST)}


class CurveDamaged(CociteAtlasError):
    """A kept curve that cannot be read, or that says what no curve can."""


class CurveBusy(CociteAtlasError):
    """Another process measures the same atlas."""


def save_curve(curve: Curve) -> None:
    """Keep the curve of an atlas, in the place of the one before. Raises NoSuchAtlas for a bad name, NoSpaceLeft."""
    path = _path(curve.about.atlas)
    with home_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, as_json(curve))


def read_curve(atlas: str) -> Curve | None:
    """The curve kept of an atlas; None where there is none. Raises CurveDamaged, and NoSuchAtlas for a bad name."""
    path = _path(atlas)
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CurveDamaged(f"The curve of {atlas!r} cannot be read ({error.strerror}). Measure it again.") from error
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"it is longer than {_LARGEST:,} bytes")
        return _curve(json.loads(text), atlas=atlas)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CurveDamaged(
            f"The curve kept of {atlas!r} is damaged or foreign ({error!s:.200}). Measure it again."
        ) from error


def read_curve_if_whole(atlas: str, *, vectors: str) -> Curve | None:
    """The curve kept of an atlas where it is complete and of these very vectors; else None."""
    try:
        found = read_curve(atlas)
    except CurveDamaged:  # which the new one replaces
        return None
    return found if found and found.complete and found.about.vectors == vectors else None


def delete_curve(atlas: str) -> None:
    """Forget the curve of an atlas, if there is one."""
    with home_errors():
        _path(atlas).unlink(missing_ok=True)


def stale(curve: Curve, manifest: Manifest) -> str:
    """Why a curve is not that of an atlas as it is now, in a sentence; empty where it is."""
    if curve.about.vectors == manifest.files[VECTORS].sha256:
        return ""
    return (
        f"This curve was measured on {curve.made[:10]} over {curve.rows:,} papers by {curve.about.encoder or '–'}. The "
        "atlas has changed since. Measure it again."
    )


@contextmanager
def sole_measurer(atlas: str) -> Iterator[None]:
    """Hold the right to measure an atlas. Raises CurveBusy where another process holds it."""
    path = _path(atlas).with_name(f".lock-{atlas}")
    with home_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise CurveBusy(
                f"Another process measures the neighbour index of {atlas!r}. Wait for it, or stop it."
            ) from error
    try:
        yield
    finally:
        lock.release()


def as_json(curve: Curve) -> str:
    """The whole curve as JSON, as it is kept."""
    return json.dumps({"format": _FORMAT, **asdict(curve)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _path(atlas: str) -> Path:
    atlas_folder(atlas)  # refuses what cannot be a name, and so cannot be a file's here
    return home() / ".evaluations" / ".curves" / f"{atlas}.json"


def _curve(raw: Any, *, atlas: str) -> Curve:
    if not isinstance(raw, dict) or raw.get("format") != _FORMAT:
        raise ValueError("it is of another format")
    versions = raw["versions"]
    if not isinstance(versions, dict) or len(versions) > 20:
        raise TypeError("versions are no object")
    points = _list(raw["points"], "points")
    curve = Curve(
        about=_record(Measured, raw["about"], {}),
        rows=int(_number("rows", raw["rows"], int, 1, _MOST)),
        dimensions=int(_number("dimensions", raw["dimensions"], int, 1, _MOST)),
        points=tuple(_record(Point, point, _OF_POINTS) for point in points),
        exact=tuple(_record(ExactTime, time, _OF_POINTS) for time in _list(raw["exact"], "exact")),
        made=_text("made", raw["made"]),
        machine=_text("machine", raw["machine"]),
        versions={_text("a version", name): _text("a version", version) for name, version in versions.items()},
        **{
            name: int(_number(name, raw[name], int, *_BOUNDS.get(name, (0, _MOST))))
            for name in ("k", "queries", "seed", "planned")
        },
    )
    if curve.about.atlas != atlas:
        raise ValueError(f"it is that of {curve.about.atlas!r:.80}")
    if len({(point.m, point.size, point.ef_search) for point in curve.points}) < len(curve.points):
        raise ValueError("a point is in it twice")
    if any(point.size > curve.rows for point in curve.points):
        raise ValueError("it has a point of more papers than there are")
    return curve


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MOST_POINTS:
        raise TypeError(f"{name} are no list, or too many")
    return value


def _record(kind: type[Record], raw: Any, bounds: Mapping[str, tuple[float, float]]) -> Record:
    """A record whose every field is checked: JSON may hold a string where a number must be."""
    if not isinstance(raw, dict):
        raise TypeError(f"a {kind.__name__} is no object")
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = raw[field.name]
        if field.type is str:
            values[field.name] = _text(field.name, value)
        else:
            low, high = {**_BOUNDS, **bounds}.get(field.name, (0, _MOST))
            assert isinstance(field.type, type)
            values[field.name] = _number(field.name, value, field.type, low, high)
    return kind(**values)


def _number(name: str, value: Any, kind: type, low: float, high: float) -> float:
    plain = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    # Written so that what is no number (NaN) fails, too.
    if not plain or not low <= value <= high or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r:.80}")
    return int(value) if kind is int else float(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise TypeError(f"{name} is no text, or a long one")
    return value
