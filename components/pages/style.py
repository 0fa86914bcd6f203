"""The page's own style: what Streamlit's theme cannot say. A constant; nothing of it comes from data."""

import streamlit as st

_CSS = """
<style>
  [data-testid="stMainBlockContainer"] { max-width: 1560px; padding: 1.1rem 2rem 3rem; }
  [data-testid="stHeader"] { background: transparent; height: 0; min-height: 0; }
  .st-key-masthead { border-bottom: 1px solid var(--st-border-color, rgb(128 128 128 / 25%)); padding-bottom: .55rem; }
  .st-key-masthead h1 { font-size: 1.55rem; font-weight: 600; padding: 0; letter-spacing: -.01em; }
  [data-testid="stForm"] { padding: 0; }
  /* The map stays in view while the list is read. */
  [data-testid="stColumn"]:has(.st-key-map-side) { position: sticky; top: 1rem; align-self: flex-start;
    max-height: calc(100vh - 1.5rem); overflow-y: auto; scrollbar-width: thin; }
  .st-key-result-head, .st-key-read { gap: .25rem !important; }
  [class*="st-key-example-"] button, [class*="st-key-example-"] button * { text-align: left; }
  dl.facts dt, dl.facts dd { margin-left: 0; }
  .st-key-preparation { max-width: 46rem; margin: 12vh auto 0; }
  dl.facts { margin: 0; font-size: .88rem; line-height: 1.45; max-width: 34rem; }
  dl.facts dt { opacity: .68; font-size: .8rem; overflow-wrap: anywhere; }
  dl.facts dd { margin: 0 0 .55rem; overflow-wrap: anywhere; }
  h3 { font-size: 1.15rem !important; padding: .2rem 0 !important; }
  @media (max-width: 640px) {
    [data-testid="stColumn"]:has(.st-key-map-side) { position: static; max-height: none; }
    [data-testid="stMainBlockContainer"] { padding: .7rem .9rem 2rem; }
    .st-key-masthead h1 { font-size: 1.3rem; }
  }
</style>
"""


def style() -> None:
    """Add the page's style; once a run, before anything is drawn."""
    st.html(_CSS)
