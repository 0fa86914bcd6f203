"""The obvious Streamlit script, as the peer of the whole app."""

from pathlib import Path

import numpy as np

from components.atlas.store import Atlas

_SCRIPT = """
import numpy as np, plotly.express as px, streamlit as st, sys, torch
sys.path.insert(0, {benchmarks!r})
from plain import PlainEncoder

data = np.load("points.npz", allow_pickle=False)
encoder = st.cache_resource(lambda: PlainEncoder({model!r}))()
text = st.text_area("Title and abstract")
if st.button("Search"):
    distances = np.linalg.norm(data["vectors"] - encoder.encode([text])[0], axis=1)
    st.subheader("10 nearest papers")
    for row in np.argsort(distances)[:10]:
        st.text(data["titles"][row])
x, y = data["coordinates"].T
st.plotly_chart(px.scatter(x=x, y=y, color=data["regions"].astype(str), hover_name=data["titles"]))
"""


def write_plain_app(folder: Path, atlas: Atlas, model: Path) -> Path:
    """The script in an empty folder, with the same points, titles and vectors beside it."""
    np.savez(
        folder / "points.npz",
        vectors=atlas.vectors,
        coordinates=atlas.coordinates,
        regions=atlas.region_ids,
        titles=np.array(atlas.papers["title"].to_pylist()),
    )
    script = folder / "plain_app.py"
    script.write_text(_SCRIPT.format(benchmarks=str(Path(__file__).parent), model=str(model)), encoding="utf-8")
    return script
