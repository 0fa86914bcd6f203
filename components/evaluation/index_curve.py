"""Index curves of atlases: measure, keep on disk, summarise, draw, export. Only this module touches .curves/.

<home>/.evaluations/.curves/<atlas>.json    the curve of an atlas (`components.index.benchmark.Curve`)
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
from pydantic import TypeAdapter, ValidationError

from components.atlas.manifest import Manifest
from components.atlas.paths import atlas_folder, home, home_errors
from components.atlas.store import VECTORS, Atlas
from components.index.benchmark import (
    DEFAULTS,
    TARGET_RECALL,
    Curve,
    CurveSettings,
    MeasuredAtlas,
    Point,
    measure_curve,
)
from components.mapping.palette import Palette
from corpus.errors import CociteAtlasError, validation_reason
from corpus.io.files import write_text
from corpus.progress import Progress, no_progress
from corpus.text.markdown import escaped

_CURVE = TypeAdapter(Curve)
_MAX_BYTES = 4 * 2**20  # of a file: MAX_POINTS take a quarter of it
_CSV_COLUMNS = (
    "papers", "M", "ef_construction", "ef_search", "k",
    "recall", "recall_off_rows", "p50_ms", "p95_ms", "build_seconds", "exact_p50_ms", "exact_p95_ms",
)  # fmt: skip

LOWEST_DRAWN_RECALL = 0.8  # nobody would use an index below it
_HIGHEST_DRAWN_RECALL = 1.006
# Indices of the palette's region colours that stand out from the page and stay distinct for every reader.
LINE_COLOURS = (0, 1, 6, 7, 4)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
_TICKS = [float(f"{digit}e{power}") for power in range(-4, 5) for digit in (1, 2, 5)]  # ms
_LABEL_SIZE = (0.08, 0.05)  # the least distance of two labels, as shares of the plot's width and height


class CurveDamaged(CociteAtlasError):
    """A stored curve that cannot be read, or holds values that no curve can have."""


class CurveBusy(CociteAtlasError):
    """Another process measures the same atlas."""


# Measure and store


def measure_atlas(atlas: Atlas, *, settings: CurveSettings = DEFAULTS, progress: Progress = no_progress) -> Curve:
    """Measure the curve of an atlas's vectors; its own M and ef_search are among the default settings.

    The points of a graph are stored once it is measured (see `read_curve`), so a stop loses only the graph at hand. A
    partial curve never replaces a complete one of the same vectors.
    Raises CurveRefused, CurveBusy where another process measures the same atlas, and what `progress` raises.
    """
    manifest = atlas.manifest
    about = MeasuredAtlas(
        atlas=atlas.name,
        encoder=manifest.encoder.name,
        vectors=manifest.files[VECTORS].sha256,
        m=manifest.index.m,
        ef_search=manifest.index.ef_search,
    )
    with _measuring_lock(atlas.name):
        try:
            stored = read_curve(atlas.name)
        except CurveDamaged:  # replaced by the new one
            stored = None
        complete = stored is not None and stored.complete and stored.about.vectors == about.vectors

        def keep(curve: Curve) -> None:
            if curve.complete or not complete:
                save_curve(curve)

        return measure_curve(atlas.vectors, settings=settings, about=about, keep=keep, progress=progress)


def save_curve(curve: Curve) -> None:
    """Store the curve of an atlas, replacing the previous one. Raises NoSuchAtlas for an invalid name, NoSpaceLeft."""
    path = _path(curve.about.atlas)
    with home_errors():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_json(curve))


def read_curve(atlas: str) -> Curve | None:
    """The stored curve of an atlas; None where there is none. Raises CurveDamaged, NoSuchAtlas for an invalid name."""
    path = _path(atlas)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES:,} bytes")
        curve = _CURVE.validate_json(content)
        if curve.about.atlas != atlas:
            raise ValueError(f"it is that of {curve.about.atlas!r:.80}")
        if len({(point.m, point.size, point.ef_search) for point in curve.points}) < len(curve.points):
            raise ValueError("a point is listed twice")
        if any(point.size > curve.rows for point in curve.points):
            raise ValueError("a point has more papers than there are")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CurveDamaged(f"The curve of {atlas!r} cannot be read ({error.strerror}). Measure it again.") from error
    except ValueError as error:
        reason = validation_reason(error) if isinstance(error, ValidationError) else str(error)
        raise CurveDamaged(f"The stored curve of {atlas!r} is damaged ({reason}). Measure it again.") from error
    return curve


@contextmanager
def _measuring_lock(atlas: str) -> Iterator[None]:
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


def _path(atlas: str) -> Path:
    atlas_folder(atlas)  # raises for an invalid name, which must not become a path
    return home() / ".evaluations" / ".curves" / f"{atlas}.json"


# Summarise


@dataclass(frozen=True, slots=True)
class SufficientSetting:
    """The point of a graph with the smallest ef_search whose recalls both reach the target; None where none does."""

    size: int
    m: int
    point: Point | None
    exact_ms: float | None

    @property
    def times_faster(self) -> float | None:
        """How many times faster than exact search, by the medians; None where either is unknown."""
        if self.point is None or not self.exact_ms or not self.point.p50_ms:
            return None
        return self.exact_ms / self.point.p50_ms


def sufficient_settings(curve: Curve, *, target: float = TARGET_RECALL) -> list[SufficientSetting]:
    """The sufficient setting of each measured graph, by size and M."""
    settings = []
    for size in curve.sizes:
        exact = curve.exact_at(size)
        for m in curve.ms:
            if line := curve.line(size=size, m=m):
                point = next((point for point in line if min(point.recall, point.recall_off_rows) >= target), None)
                settings.append(SufficientSetting(size, m, point, exact.p50_ms if exact else None))
    return settings


def summary(curve: Curve) -> str:
    """The fastest sufficient setting over the whole corpus, in one or two sentences."""
    if not curve.points:
        return "Nothing was measured."
    size, recall = curve.sizes[-1], f"ann_recall_at_{curve.k} of {TARGET_RECALL}"
    reached = [
        (setting.point, setting.exact_ms)
        for setting in sufficient_settings(curve)
        if setting.size == size and setting.point
    ]
    text = f"Over {size:,} papers no setting reaches an {recall}."
    if reached:
        best, exact_ms = min(reached, key=lambda pair: pair[0].p50_ms)
        exact = "" if exact_ms is None else f", exact search {exact_ms:.2f} ms"
        text = (
            f"Over {size:,} papers, M {best.m} with ef_search {best.ef_search} is the fastest that reaches an {recall} "
            f"on and off the rows: {best.p50_ms:.2f} ms a query{exact}."
        )
    return f"{text} {partial_note(curve)}".strip()


def partial_note(curve: Curve) -> str:
    """A sentence where points are missing; "" for a complete curve."""
    if curve.complete:
        return ""
    return f"Partial: {len(curve.points):,} of {curve.planned:,} points were measured before it was stopped."


def stale_note(curve: Curve, manifest: Manifest) -> str:
    """A sentence where the curve is not of the atlas's present vectors; else ""."""
    if curve.about.vectors == manifest.files[VECTORS].sha256:
        return ""
    return (
        f"This curve was measured on {curve.made[:10]} over {curve.rows:,} papers by {curve.about.encoder or '–'}. The "
        "atlas has changed since. Measure it again."
    )


# Export


def to_json(curve: Curve) -> str:
    """The curve as it is stored."""
    return json.dumps(asdict(curve), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(curve: Curve) -> str:
    """A row per point; all cells are numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for p in curve.points:
        exact = curve.exact_at(p.size)
        setting = (p.size, p.m, p.ef_construction, p.ef_search, curve.k)
        measured = (p.recall, p.recall_off_rows, p.p50_ms, p.p95_ms, p.build_seconds)
        writer.writerow([*setting, *measured, *((exact.p50_ms, exact.p95_ms) if exact else ("", ""))])
    return file.getvalue()


def to_markdown(curve: Curve) -> str:
    """A Markdown document: what was measured, on which machine, and every point."""
    by = f" by {escaped(curve.about.encoder)}" if curve.about.encoder else ""
    versions = escaped(", ".join(f"{package} {version}" for package, version in curve.versions.items()))
    constructions = ", ".join(map(str, sorted({point.ef_construction for point in curve.points}))) or "–"
    lines = [
        f"# Neighbour index of {escaped(curve.about.atlas or 'vectors')}",
        "",
        summary(curve),
        "",
        f"{curve.rows:,} vectors of {curve.dimensions} dimensions{by}. Recall is ann_recall_at_{curve.k} against exact "
        f"search: of {curve.queries:,} rows, each asked for its nearest others, and of as many queries moved off the "
        "rows, as pasted texts lie. Times are of one query off the rows, asked alone, on one thread. Sizes are nested "
        f"samples, seed {curve.seed}; ef_construction is {constructions}.",
        "",
        f"Measured {escaped(curve.made)} on {escaped(curve.machine)}; {versions}.",
        "",
        "| papers | M | ef_search | recall | recall off the rows | median ms | 95 % ms | build s | exact median ms |",
        "|" + " ---: |" * 9,
    ]
    for p in curve.points:
        exact = curve.exact_at(p.size)
        lines.append(
            f"| {p.size:,} | {p.m} | {p.ef_search} | {p.recall:.4f} | {p.recall_off_rows:.4f} | {p.p50_ms:.3f} "
            f"| {p.p95_ms:.3f} | {p.build_seconds:.1f} | {'' if exact is None else f'{exact.p50_ms:.3f}'} |"
        )
    return "\n".join(lines) + "\n"


# Draw


def figure(curve: Curve, *, size: int, out_of_sample: bool, palette: Palette) -> Any:
    """A plotly Figure of the graphs over `size` rows: recall against time, a line per M, exact search as a reference.

    out_of_sample: the recall of queries off the rows, as pasted texts, else of rows. The atlas's own setting is ringed.
    Points below LOWEST_DRAWN_RECALL, or without a time, are not drawn; without any, the figure has no data.
    """
    import plotly.graph_objects as go

    lines = {m: _drawn(curve.line(size=size, m=m), out_of_sample=out_of_sample) for m in curve.ms}
    lines = {m: line for m, line in lines.items() if line}
    points = [point for line in lines.values() for point in line]
    exact = curve.exact_at(size)
    exact_ms = exact.p50_ms if exact and exact.p50_ms > 0 else None
    times = [point.p50_ms for point in points] + ([exact_ms] if exact_ms else [])
    x_range = [math.log10(0.7 * min(times, default=0.1)), math.log10(1.5 * max(times, default=10.0))]
    labelled = _labelled(points, x_range, out_of_sample=out_of_sample)
    drawing = go.Figure()
    for place, (m, line) in enumerate(lines.items()):
        colour = palette.regions[LINE_COLOURS[place % len(LINE_COLOURS)]]
        drawing.add_scatter(
            name=f"M {m}",
            mode="lines+markers+text",
            x=[point.p50_ms for point in line],
            y=[_recall(point, out_of_sample=out_of_sample) for point in line],
            text=[str(point.ef_search) if point in labelled else "" for point in line],
            textposition="bottom right",
            textfont={"size": 11, "color": colour},
            cliponaxis=False,
            line={"color": colour, "width": 2},
            marker={"color": colour, "size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            customdata=[[point.ef_search, point.p95_ms, point.build_seconds] for point in line],
            hovertemplate=f"M {m}, ef_search %{{customdata[0]}}<br>recall at {curve.k}: %{{y:.4f}}<br>"
            "median %{x:.3f} ms, 95 % within %{customdata[1]:.3f} ms<br>built in %{customdata[2]:.1f} s<extra></extra>",
        )
    own = next((p for p in lines.get(curve.about.m, ()) if p.ef_search == curve.about.ef_search), None)
    if own is not None:
        drawing.add_scatter(
            name="this atlas",
            mode="markers",
            x=[own.p50_ms],
            y=[_recall(own, out_of_sample=out_of_sample)],
            marker={"size": 17, "symbol": "circle-open", "color": palette.accent, "line": {"width": 3}},
            hoverinfo="skip",
            cliponaxis=False,
        )
    if exact_ms is not None:
        drawing.add_shape(
            type="line",
            x0=exact_ms,
            x1=exact_ms,
            yref="paper",
            y0=0,
            y1=1,
            line={"color": palette.ink, "width": 1.5, "dash": "dash"},
        )
        drawing.add_annotation(
            text=f"exact search: {exact_ms:.2f} ms",
            x=math.log10(exact_ms),  # annotations, unlike shapes, take the logarithm
            y=0.02,
            yref="paper",
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12, "color": palette.ink},
        )
    drawing.update_layout(
        template="none",
        height=420,
        margin={"l": 64, "r": 16, "t": 36, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "'Source Sans', sans-serif", "color": palette.ink, "size": 13},
        hoverlabel={"bgcolor": palette.halo, "font": {"color": palette.ink}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": palette.ink}},
    )
    axis = {"color": palette.ink, "gridcolor": palette.faded, "linecolor": palette.unlabelled, "zeroline": False}
    drawing.update_xaxes(
        **axis,
        type="log",
        range=x_range,
        tickvals=_TICKS,
        title={"text": "median time of one query, ms", "font": {"size": 13}},
        fixedrange=True,
    )
    drawing.update_yaxes(
        **axis,
        range=[LOWEST_DRAWN_RECALL, _HIGHEST_DRAWN_RECALL],
        tickformat=".2f",
        title={"text": f"ann_recall_at_{curve.k}", "font": {"size": 13}},
        fixedrange=True,
    )
    return drawing


def count_undrawn(curve: Curve, *, size: int, out_of_sample: bool) -> int:
    """How many points of a size `figure` leaves out."""
    points = [point for point in curve.points if point.size == size]
    return len(points) - len(_drawn(points, out_of_sample=out_of_sample))


def _recall(point: Point, *, out_of_sample: bool) -> float:
    return point.recall_off_rows if out_of_sample else point.recall


def _drawn(points: Sequence[Point], *, out_of_sample: bool) -> list[Point]:
    return [
        point
        for point in points
        if _recall(point, out_of_sample=out_of_sample) >= LOWEST_DRAWN_RECALL and point.p50_ms > 0
    ]


def _labelled(points: Sequence[Point], x_range: Sequence[float], *, out_of_sample: bool) -> set[Point]:
    """The points with room for a label of their ef_search, from the left; the others show it on hover."""
    width, height = x_range[1] - x_range[0], _HIGHEST_DRAWN_RECALL - LOWEST_DRAWN_RECALL
    taken: list[tuple[float, float]] = []
    labelled = set()
    for point in sorted(points, key=lambda point: point.p50_ms):
        x, y = math.log10(point.p50_ms) / width, _recall(point, out_of_sample=out_of_sample) / height
        if all(abs(x - x2) > _LABEL_SIZE[0] or abs(y - y2) > _LABEL_SIZE[1] for x2, y2 in taken):
            taken.append((x, y))
            labelled.add(point)
    return labelled
