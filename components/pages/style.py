"""The page's own style: what Streamlit's theme cannot say. A constant; nothing of it comes from data."""

import streamlit as st

_CSS = """
<style>
  [data-testid="stMainBlockContainer"] { max-width: 1560px; padding: 1.1rem 2rem 3rem; }
  [data-testid="stHeader"] { background: transparent; height: 0; min-height: 0; }
  .st-key-masthead { border-bottom: 1px solid var(--st-border-color, rgb(128 128 128 / 25%)); padding-bottom: .55rem; }
  .st-key-masthead h1 { font-size: 1.55rem; font-weight: 600; padding: 0; letter-spacing: -.01em; }
  .st-key-ways a { padding: .1rem .45rem; }
  .st-key-ways p { font-size: .95rem; }
  .st-key-encoder-side h3 { overflow-wrap: anywhere; }
  table.scores, table.mix { border-collapse: collapse; font-size: .85rem; margin: .4rem 0; }
  table.scores caption, table.mix caption { text-align: left; opacity: .68; font-size: .8rem; padding-bottom: .2rem; }
  table.scores td, table.scores th { padding: .1rem 1.1rem .1rem 0; text-align: left; font-weight: 400; }
  table.scores th { opacity: .68; }
  table.scores td:last-child, table.mix td:last-child { text-align: right; font-variant-numeric: tabular-nums; }
  table.scores caption, table.mix caption { white-space: nowrap; }
  [class*="st-key-built-"] a, .st-key-build a { border: 1px solid var(--st-border-color, rgb(128 128 128 / 40%));
    border-radius: 999px; padding: .25rem .9rem; }
  table.mix td { padding: .05rem .6rem .05rem 0; }
  table.mix td:nth-child(2) { width: 14rem; }
  table.mix .bar { display: block; height: .6rem; border-radius: .15rem; background: var(--st-primary-color, #d9480f); }
  [data-testid="stForm"] { padding: 0; }
  /* The map stays in view while the list is read. */
  [data-testid="stColumn"]:has(.st-key-map-side) { position: sticky; top: 1rem; align-self: flex-start;
    max-height: calc(100vh - 1.5rem); overflow-y: auto; scrollbar-width: thin; }
  .st-key-result-head, .st-key-read { gap: .25rem !important; }
  [class*="st-key-example-"] button, [class*="st-key-example-"] button * { text-align: left; }
  dl.facts dt, dl.facts dd { margin-left: 0; }
  .st-key-preparation { max-width: 46rem; margin: 12vh auto 0; }
  dl.facts { margin: 0 !important; padding: 0; font-size: .88rem; line-height: 1.45; max-width: 34rem; }
  dl.facts dt { opacity: .68; font-size: .8rem; overflow-wrap: anywhere; }
  dl.facts dd { margin: 0 0 .55rem; overflow-wrap: anywhere; }
  h3 { font-size: 1.15rem !important; padding: .2rem 0 !important; }
  @media (max-width: 640px) {
    [data-testid="stColumn"]:has(.st-key-map-side) { position: static; max-height: none; }
    [data-testid="stMainBlockContainer"] { padding: .7rem .9rem 2rem; }
    .st-key-masthead h1 { font-size: 1.3rem; }
    /* A long list would push what is chosen in it out of sight. */
    .st-key-encoder-list { max-height: 15.5rem; overflow-y: auto; }
  }
  /* The Compare page. */
  .st-key-comparison { gap: .6rem; }
  .slopes { position: relative; margin: .7rem 0 .15rem; }
  .slopes-ends { display: flex; justify-content: space-between; font-size: .75rem; opacity: .68; }
  .slopes i { position: absolute; display: block; }
  .slopes .line { height: 0; border-top: 1.5px solid currentColor; opacity: .55; transform-origin: 0 0; }
  .slopes .both, .slopes .alone { border-radius: 50%; transform: translate(-50%, -50%); box-sizing: border-box; }
  .slopes .both { background: currentColor; }
  .slopes .alone { border: 1.5px solid currentColor; opacity: .6; }
  table.shares { width: 100%; max-width: 46rem; }
  table.shares .bar { background: currentColor; opacity: .55; }
  table.shares caption { white-space: normal; }
  table.shares td { white-space: nowrap; }
  table.shares td:nth-child(2) { width: 80%; }
  [class*="st-key-compared-map-"] .map-root .plot { height: clamp(340px, 58vh, 560px); }
  .st-key-pair-bar { padding: .3rem 0; }
  .st-key-too-few { max-width: 46rem; }
  .st-key-too-few a { border: 1px solid var(--st-border-color, rgb(128 128 128 / 40%)); border-radius: 999px;
    padding: .25rem .9rem; }
  /* The Corpora page. */
  [class*="st-key-corpus-"] img { max-height: 9.5rem; object-fit: contain; }
  [class*="st-key-corpus-"] [data-testid="stElementToolbar"] { display: none; }
  [class*="st-key-corpus-"] a { border: 1px solid var(--st-border-color, rgb(128 128 128 / 40%)); border-radius: 999px;
    padding: .35rem .9rem; }
  [class*="st-key-corpus-"] h3 { overflow-wrap: anywhere; }
  .downloads { display: flex; flex-wrap: wrap; gap: .45rem; align-items: center; padding: .25rem 0; }
  .downloads span { flex-basis: 100%; font-size: .85rem; opacity: .68; }
  .downloads a { border: 1px solid var(--st-border-color, rgb(128 128 128 / 40%)); border-radius: 999px;
    padding: .3rem .85rem; text-decoration: none; color: inherit; font-size: .93rem; }
  .downloads a:hover { border-color: var(--st-primary-color, #d9480f); color: var(--st-primary-color, #d9480f); }
  /* The Evaluate page. */
  .st-key-first-step { max-width: 46rem; }
  table.evaluations { border-collapse: collapse; width: 100%; font-size: .93rem; margin: .2rem 0; }
  table.evaluations th, table.evaluations td { text-align: left; vertical-align: top; font-weight: 400;
    padding: .55rem 1rem .55rem 0; border-top: 1px solid var(--st-border-color, rgb(128 128 128 / 25%)); }
  table.evaluations thead th { border-top: 0; padding: 0 1rem .2rem 0; font-size: .8rem; opacity: .68; }
  table.evaluations tbody th { width: 34%; overflow-wrap: anywhere; font-weight: 600; }
  table.evaluations td { width: 33%; font-variant-numeric: tabular-nums; }
  table.evaluations b { font-weight: 400; font-size: 1.05rem; }
  table.evaluations .best b { font-weight: 700; }
  table.evaluations small, .query-figure small { font-size: .78rem; font-weight: 400; opacity: .72; }
  table.evaluations th small, table.evaluations td small:last-child:not(:nth-child(2)) { display: block; }
  table.evaluations tr.published { opacity: .8; }
  table.evaluations .ends { display: flex; justify-content: space-between; font-size: .72rem; }
  table.evaluations .interval { white-space: nowrap; }
  .scale { display: block; position: relative; height: .7rem; margin: .25rem 0; }
  .scale::before { content: ""; position: absolute; inset: 50% 0 auto; border-top: 1px solid var(--quiet);
    opacity: .6; }
  .scale i { display: block; position: absolute; top: 50%; transform: translate(-50%, -50%); }
  .scale i.line { transform: translate(0, -50%); height: .3rem; border-radius: .15rem; background: var(--accent);
    opacity: .5; }
  i.dot { width: .5rem; height: .5rem; border-radius: 50%; background: var(--accent); }
  i.mark { width: .5rem; height: .5rem; border: 1.5px solid currentColor; rotate: 45deg; box-sizing: border-box; }
  .evaluations-key { font-size: .8rem; opacity: .72; margin: 0; }
  .evaluations-key i { position: static; display: inline-block; transform: none; margin: 0 .3rem 0 .8rem; }
  .evaluations-key i:first-child { margin-left: 0; }
  .wide { overflow-x: auto; }
  table.usual { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
  table.usual caption { text-align: left; opacity: .72; font-size: .8rem; padding-bottom: .3rem; }
  table.usual th, table.usual td { padding: .15rem 1.2rem .15rem 0; font-weight: 400; text-align: right; }
  table.usual th:first-child { text-align: left; }
  table.usual thead th { opacity: .68; }
  .query-figure { font-variant-numeric: tabular-nums; }
  .query-figure small { margin-left: .5rem; }
  [class*="st-key-look-"] button, [class*="st-key-look-"] button * { text-align: left; }
  [class*="st-key-query-row-"] { border-top: 1px solid var(--st-border-color, rgb(128 128 128 / 25%));
    padding-top: .45rem; flex-wrap: nowrap !important; }
  [class*="st-key-board-row-"] { flex-wrap: nowrap !important; }
  .strip { position: relative; height: 1.5rem; border-radius: .25rem; overflow: hidden;
    background: rgb(128 128 128 / 12%); }
  .strip span { position: absolute; inset: 0 auto 0 0; background: rgb(128 128 128 / 20%); }
  .strip i { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: var(--accent); }
  .strip-ends { display: flex; justify-content: space-between; font-size: .75rem; opacity: .68; }
  .strip-told { font-size: .88rem; margin: .2rem 0 0; }
  p.words { font-size: .8rem; line-height: 1.9; margin: 0; overflow-wrap: anywhere; }
  p.words em { font-style: normal; opacity: .68; margin-right: .25rem; }
  p.words span { border: 1px solid var(--st-border-color, rgb(128 128 128 / 40%)); border-radius: 999px;
    padding: .05rem .5rem; white-space: nowrap; }
  p.words span.both { background: color-mix(in srgb, var(--accent) 22%, transparent); border-color: transparent; }
  p.words span.lacking { border-style: dashed; }
  @media (max-width: 640px) { [class*="st-key-corpus-"] img { max-height: 6.5rem; } }
  @media (max-width: 640px) { [class*="st-key-compared-map-"] .map-root .plot { height: 340px; } }
</style>
"""


def style() -> None:
    """Add the page's style; once a run, before anything is drawn."""
    st.html(_CSS)
