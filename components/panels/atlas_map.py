"""The map panel: all papers, the query and its hits, drawn in the browser by assets/map.js with plotly.js."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from components.atlas.map_state import no_map
from components.atlas.store import Atlas
from components.mapping.palette import palettes
from components.search.map_data import PLOTLY_PATH, atlas_path, map_scale, year_ramp
from components.search.search import SearchResult
from components.search.view import View

_ASSETS = Path(__file__).parent / "assets"
_HTML = """
<div class="map-root">
  <div class="map-bar" role="toolbar" aria-label="Map">
    <span class="group" role="group" aria-label="Colour by">
      <span class="name">Colour</span>
      <button type="button" data-colour="region">Region</button>
      <button type="button" data-colour="year">Year</button>
      <button type="button" data-colour="topic">Topic</button>
    </span>
    <span class="spring"></span>
    <span class="group" role="group" aria-label="Select">
      <span class="name">Select</span>
      <button type="button" data-drag="select" title="Drag a box around papers">Box</button>
      <button type="button" data-drag="lasso" title="Draw around papers">Lasso</button>
      <button type="button" data-do="clear" title="Drop the selection" hidden>Clear</button>
    </span>
    <span class="group" role="group" aria-label="Window">
      <button type="button" data-do="hits" title="Go to the query and its nearest papers">⌖ Hits</button>
      <button type="button" data-do="all" title="Show the whole map">⤢ All</button>
    </span>
  </div>
  <div class="frame">
    <div class="plot" tabindex="0" role="application" aria-roledescription="map"></div>
    <div class="labels" aria-hidden="true"></div>
    <div class="tip" role="status" hidden></div>
    <div class="note" role="status">Loading the map…</div>
  </div>
  <div class="legend"></div>
</div>
"""
_MAP = st.components.v2.component(
    "cocite_atlas_map",
    html=_HTML,
    css=(_ASSETS / "map.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "map.js").read_text(encoding="utf-8"),
    # plotly.js measures and styles in the document; under a shadow root its hover layer would be lost.
    isolate_styles=False,
)


def atlas_map(
    atlas: Atlas,
    view: View,
    result: SearchResult | None,
    *,
    topics: Sequence[str],
    key: str,
    on_opened: Callable[[], None],
    on_colour: Callable[[], None],
    on_area: Callable[[], None] | None = None,
    on_camera: Callable[[], None] | None = None,
) -> None:
    """Draw the map. What a person does comes back through the callbacks, as triggers of `st.session_state[key]`:
    `opened` {row}, `area` {corners}, `camera` {window}, `colour` (a view's colour). Without on_area nothing can be
    framed, without on_camera the page does not hear where the map was moved to.

    topics: those that "colour by topic" tells apart, as many as the palette has colours at the most.
    Where there are too few papers for a map, a sentence that says so stands in its place.
    """
    if why := no_map(atlas.manifest):
        st.info(why, icon=":material/map:")
        return
    base = st.get_option("server.baseUrlPath").strip("/")
    root = f"/{base}" if base else ""
    mask = {name: value for name, value in view.to_params().items() if name in ("years", "venue", "topic")}
    query_region = None if result is None or not result.hits else atlas.region_of(result.hits[0].row)
    opened = atlas.row_of(view.paper) if view.paper else None
    heard = {"opened": on_opened, "colour": on_colour, "area": on_area, "camera": on_camera}
    data: dict[str, Any] = {
        "build": atlas.build,
        "heard": [name for name, callback in heard.items() if callback],
        "place": f"{root}{atlas_path(atlas)}",
        "plotly": f"{root}{PLOTLY_PATH}",
        "count": len(atlas),
        "scale": map_scale(atlas),
        "palettes": palettes(),
        "description": _description(atlas, result),
        "colour": view.colour,
        "years": year_ramp(atlas),
        "topics": list(topics),
        "topicQuery": urlencode([("topic", topic) for topic in topics]),
        "mask": urlencode(mask, doseq=True),
        "regions": [
            {
                "name": region.name,
                "x": region.x,
                "y": region.y,
                "size": region.size,
                "first": int(region == query_region),
            }
            for region in atlas.manifest.regions
        ],
        "query": list(result.point) if result else None,
        "hits": result.rows if result else [],
        "opened": opened,
        "compact": bool(view.paper or view.area),
        "area": [list(corner) for corner in view.area],
        "camera": list(view.camera) if view.camera else None,
    }
    _MAP(
        key=key,
        data=data,
        on_opened_change=on_opened,
        on_area_change=on_area or _nothing,
        on_camera_change=on_camera or _nothing,
        on_colour_change=on_colour,
    )


def _nothing() -> None:
    """What nobody hears of."""


def _description(atlas: Atlas, result: SearchResult | None) -> str:
    words = f"Map of {len(atlas):,} papers in {len(atlas.manifest.regions)} regions. Arrow keys move it, + and − zoom."
    if result and result.hits:
        region = atlas.region_of(result.hits[0].row)
        where = f" The nearest paper lies in {region.name}." if region else ""
        words += f" The query is drawn as a star, its {len(result.hits)} nearest papers as rings.{where}"
    return words
