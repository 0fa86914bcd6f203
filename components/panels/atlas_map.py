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
_MAP = st.components.v2.component(
    "cocite_atlas_map",
    html=(_ASSETS / "map.html").read_text(encoding="utf-8"),
    css=(_ASSETS / "map.css").read_text(encoding="utf-8"),
    # Streamlit takes one script: the two files share one scope, and only the second exports.
    js="".join((_ASSETS / name).read_text(encoding="utf-8") for name in ("map_model.js", "map.js")),
    # plotly.js measures and styles in the document; its hover layer would be lost in a shadow root.
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
    """Draw the map, or a sentence where there are too few papers for one.

    The callbacks handle triggers in `st.session_state[key]`: `opened` {row}, `area` {corners}, `camera` {window},
    `colour` (a view's colour). Without on_area nothing can be selected; without on_camera moving the map is not
    reported. topics: those that "colour by topic" distinguishes, at most as many as the palette has colours.
    """
    if reason := no_map(atlas.manifest):
        st.info(reason, icon=":material/map:")
        return
    base = st.get_option("server.baseUrlPath").strip("/")
    root = f"/{base}" if base else ""
    mask = {name: value for name, value in view.to_params().items() if name in ("years", "venue", "topic")}
    query_region = atlas.region_of(result.hits[0].row) if result and result.hits else None
    callbacks = {"opened": on_opened, "colour": on_colour, "area": on_area, "camera": on_camera}
    data: dict[str, Any] = {
        "build": atlas.build,
        "events": [name for name, callback in callbacks.items() if callback],
        "url": f"{root}{atlas_path(atlas)}",
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
        "opened": atlas.row_of(view.paper) if view.paper else None,
        "compact": bool(view.paper or view.area),
        "area": [list(corner) for corner in view.area],
        "camera": list(view.camera) if view.camera else None,
    }
    events: dict[str, Any] = {f"on_{name}_change": call or (lambda: None) for name, call in callbacks.items()}
    _MAP(key=key, data=data, **events)


def _description(atlas: Atlas, result: SearchResult | None) -> str:
    """The map in words, for screen readers."""
    text = f"Map of {len(atlas):,} papers in {len(atlas.manifest.regions)} regions. Arrow keys move it, + and − zoom."
    if result and result.hits:
        region = atlas.region_of(result.hits[0].row)
        text += f" The query is a star, its {len(result.hits)} nearest papers are rings."
        text += f" The nearest paper is in {region.name}." if region else ""
    return text
