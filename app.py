"""Cocite Atlas: page set-up and navigation. Computes nothing.

`streamlit run app.py` imports this file once for the server (routes and all) and runs it again, as `__main__`, for
every page that is drawn.
"""

from pathlib import Path

import streamlit as st

from components.api.routes import map_routes
from components.pages import frame, resources
from components.pages.compare import compare
from components.pages.corpora import corpora_page
from components.pages.encoders import encoders
from components.pages.evaluate import evaluate
from components.pages.explore import explore

# A local file: Streamlit fetches Material icons of a page from the internet.
ICON = str(Path(__file__).parent / "components" / "panels" / "assets" / "icon.svg")


def main() -> None:
    """Draw the page that the address asks for."""
    st.set_page_config(page_title="Cocite Atlas", page_icon=ICON, layout="wide")
    pages = {
        "Explore": st.Page(explore, title="Explore", default=True),
        "Compare": st.Page(compare, title="Compare"),
        "Corpora": st.Page(corpora_page, title="Corpora", url_path="corpora"),
        "Evaluate": st.Page(evaluate, title="Evaluate", url_path="evaluate"),
        "Encoders": st.Page(encoders, title="Encoders"),
    }
    frame.begin(pages)
    st.navigation(list(pages.values()), position="hidden").run()


if __name__ == "__main__":
    main()
else:
    app = st.App(__file__, routes=map_routes(resources.atlas))
