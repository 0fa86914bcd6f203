"""Bytes per point sent to the browser: our routes against a plotly figure with hover titles."""

import gzip
from urllib.parse import urlencode

import numpy as np
from report import Row

from components.atlas.facets import Filters
from components.atlas.store import Atlas
from components.search.map_data import points_payload, topic_codes


def measure(atlas: Atlas) -> list[Row]:
    """Points, a mask and topics as the routes send them; the figure as its JSON, plain and compressed."""
    import plotly.express as px

    topics = atlas.facets.topics[:8]
    mask = atlas.facets.mask(Filters(topics=(topics[0],)))
    ours = points_payload(atlas) + np.packbits(mask).tobytes() + topic_codes(atlas, topics).tobytes()
    asked = len(urlencode([("topic", topic) for topic in topics]))
    figure = px.scatter(
        x=atlas.coordinates[:, 0],
        y=atlas.coordinates[:, 1],
        color=atlas.region_ids.astype(str),
        hover_name=atlas.papers["title"].to_pylist(),
        render_mode="webgl",
    )
    theirs = figure.to_json().encode()
    n = len(atlas)
    name = "plotly figure JSON with hover titles"
    return [
        Row("map", "points, a mask and topics, a point", "bytes", (len(ours) + asked) / n, len(theirs) / n, name),
        Row("map", "the same, gzipped, a point", "bytes", _gzipped(ours) / n, _gzipped(theirs) / n, name),
    ]


def _gzipped(content: bytes) -> int:
    return len(gzip.compress(content, compresslevel=6))
