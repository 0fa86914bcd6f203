"""The colours of the map and of all that refers to it: one accent, muted regions, a ramp of years.

Region colours were found by a search: muted, none of them red, and every two of them, the accent and the grey of
unlabelled points as far apart in CIE Lab as possible, for full colour vision and without red, green or blue cones
(Machado 2009). tests/components/mapping/test_palette.py checks this. The accent is the only warm red on the page, so
that the query and its hits stand out for every reader.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one theme, as hex. years: from early to late. faded: papers that a filter leaves out."""

    regions: tuple[str, ...]
    unlabelled: str
    faded: str
    accent: str
    ink: str
    halo: str
    years: tuple[str, ...]


LIGHT = Palette(
    regions=("#3979c8", "#0e5c4c", "#d3a05d", "#ce9ddd", "#6d8056", "#4b4871", "#a16e91", "#5b431c"),
    unlabelled="#b9bcc2",
    faded="#dfe0e3",
    accent="#d9480f",
    ink="#1f2328",
    halo="#fcfbf8",
    # Viridis, its greens darkened and without its lightest end, which vanishes on white.
    years=("#440154", "#3b528b", "#21918c", "#52b45f", "#b5cc18"),
)
DARK = Palette(
    regions=("#b2b5ff", "#39ab8d", "#fbda93", "#9778c6", "#d7e6be", "#7594ab", "#8fdede", "#83703e"),
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
    """Both palettes as plain values, by theme, for the browser."""
    return {"light": asdict(LIGHT), "dark": asdict(DARK)}


def css_colours(*, dark: bool) -> str:
    """A theme's accent, quiet line and background as custom properties of CSS."""
    palette = DARK if dark else LIGHT
    return f"--accent:{palette.accent};--quiet:{palette.unlabelled};--faded:{palette.faded};--halo:{palette.halo}"
