"""The palette as readers with and without full colour vision see it, measured in CIE Lab.

Colour blindness is simulated as in Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of
color vision deficiency", IEEE TVCG 15(6), 2009: its matrices for severity 1.0, on linear RGB.
"""

import itertools
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from components.mapping.palette import DARK, LIGHT, REGION_COLOURS, Palette, palettes

VISIONS = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_D65 = np.array([0.95047, 1.0, 1.08883])
APART = 18.0  # CIE76; a distance of 2.3 is just seen side by side, and points are small and lie scattered

THEMES = pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
SEEN = pytest.mark.parametrize("vision", VISIONS)


def linear(colour: str) -> np.ndarray:
    """A hex colour as linear RGB (3,)."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str = "full") -> np.ndarray:
    """A hex colour in CIE Lab (3,), as it is seen."""
    seen = np.clip(VISIONS[vision] @ linear(colour), 0, 1)
    xyz = _XYZ @ seen / _D65
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, vision: str) -> float:
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it: 1 to 21."""
    darker, lighter = sorted(float(linear(colour) @ _XYZ[1]) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measures_agree_with_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert lab("#ffffff") == pytest.approx([100, 0, 0], abs=0.05)
    assert lab("#ff0000") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    # What colour blindness is: a red and a green that full vision tells apart with ease.
    assert distance("#b87333", "#7f9a35", "full") > 3 * distance("#b87333", "#7f9a35", "deuteranopia")


@THEMES
@SEEN
def test_region_colours_are_distinguishable(palette: Palette, vision: str) -> None:
    for one, other in itertools.combinations(palette.regions, 2):
        assert distance(one, other, vision) >= APART, (one, other)


@THEMES
@SEEN
def test_the_accent_differs_from_all_other_colours(palette: Palette, vision: str) -> None:
    for other in (*palette.regions, palette.unlabelled, palette.faded, palette.halo):
        assert distance(palette.accent, other, vision) >= 1.2 * APART, other


@THEMES
@SEEN
def test_region_colours_differ_from_unlabelled_and_faded_points(palette: Palette, vision: str) -> None:
    for region in palette.regions:
        assert distance(region, palette.unlabelled, vision) >= APART
        assert distance(region, palette.faded, vision) >= 1.2 * APART


@THEMES
def test_contrasts_with_the_background(palette: Palette) -> None:
    assert contrast(palette.accent, palette.halo) >= 3
    assert contrast(palette.ink, palette.halo) >= 7
    assert min(contrast(region, palette.halo) for region in palette.regions) >= 2
    assert contrast(palette.faded, palette.halo) < contrast(palette.unlabelled, palette.halo)
    assert contrast(palette.unlabelled, palette.halo) < min(
        contrast(colour, palette.halo) for colour in palette.regions
    )


@THEMES
def test_only_the_accent_is_a_strong_warm_red(palette: Palette) -> None:
    def chroma_and_hue(colour: str) -> tuple[float, float]:
        _, a, b = lab(colour)
        return float(np.hypot(a, b)), float(np.degrees(np.arctan2(b, a)) % 360)

    strong, red = chroma_and_hue(palette.accent)
    assert 20 < red < 70
    for region in palette.regions:
        chroma, hue = chroma_and_hue(region)
        assert chroma < 52 < strong
        assert 70 < hue < 345


@THEMES
@SEEN
def test_later_years_are_lighter(palette: Palette, vision: str) -> None:
    lightness = [lab(colour, vision)[0] for colour in palette.years]
    assert all(later - earlier > 4 for earlier, later in itertools.pairwise(lightness))


def test_both_themes_have_the_same_colours() -> None:
    assert len(set(LIGHT.regions)) == len(set(DARK.regions)) == REGION_COLOURS
    assert set(palettes()) == {"light", "dark"}
    for palette in (LIGHT, DARK):
        colours = (*palette.regions, palette.unlabelled, palette.faded, palette.accent, palette.ink, palette.halo)
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in (*colours, *palette.years))


def test_map_and_page_share_their_colours() -> None:
    config = tomllib.loads((Path(__file__).parents[3] / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    for name, palette in (("light", LIGHT), ("dark", DARK)):
        theme = config["theme"][name]
        assert theme["primaryColor"] == palette.accent
        assert theme["backgroundColor"] == palette.halo
        assert theme["textColor"] == palette.ink
