"""The colours of the map and of everything that speaks of it: one accent, muted regions, a ramp of years.

Regions after Paul Tol's colour-blind safe qualitative schemes ("muted" and "light", personal.sron.nl/~pault), without
their reds: the accent is the only warm red on the page, so the query and its hits stay apart for every reader.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one theme, as hex. years: a ramp from early to late. faded: what a filter leaves out."""

    regions: tuple[str, ...]
    unlabelled: str
    faded: str
    accent: str
    ink: str
    halo: str
    years: tuple[str, ...]


LIGHT = Palette(
    regions=("#5566aa", "#117733", "#44aa99", "#999933", "#aa4499", "#6699cc", "#b8860b", "#6b7280"),
    unlabelled="#b9bcc2",
    faded="#dfe0e3",
    accent="#d9480f",
    ink="#1f2328",
    halo="#fcfbf8",
    # Viridis without its lightest end, which vanishes on white.
    years=("#440154", "#3b528b", "#21918c", "#5ec962", "#b5cc18"),
)
DARK = Palette(
    regions=("#8fa3e8", "#5fc08a", "#44bbaa", "#bbcc55", "#d79bd5", "#99ddff", "#e0c068", "#a9b1bd"),
    unlabelled="#5c626b",
    faded="#33373d",
    accent="#ff8a4c",
    ink="#e8e6e1",
    halo="#14171b",
    # The same ramp without its darkest end, which vanishes on black.
    years=("#6a5acd", "#4f9bd9", "#35b8a6", "#7ad151", "#fde725"),
)
REGION_COLOURS = len(LIGHT.regions)


def palettes() -> dict[str, dict[str, Any]]:
    """Both palettes as plain values, by theme, for the pieces of the page that run in the browser."""
    return {"light": asdict(LIGHT), "dark": asdict(DARK)}
