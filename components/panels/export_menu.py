"""The export menu panel: some papers as CSV, RIS, BibTeX or JSON Lines, made only when they are asked for."""

from collections.abc import Callable, Sequence

import streamlit as st

from corpus.export import to_bibtex, to_csv, to_jsonl, to_ris
from corpus.paper import Paper


def export_menu(papers: Callable[[], list[Paper]], *, name: str, distances: Sequence[float] | None = None) -> None:
    """Draw the menu. name: of the files and of the menu's keys. distances: one a paper, for the CSV."""
    with st.popover("Export", icon=":material/download:"):
        for label, ending, mime, content in (
            ("CSV, for a spreadsheet", "csv", "text/csv", lambda: to_csv(papers(), distances=distances)),
            ("RIS, for Zotero or EndNote", "ris", "application/x-research-info-systems", lambda: to_ris(papers())),
            ("BibTeX", "bib", "application/x-bibtex", lambda: to_bibtex(papers())),
            ("JSON Lines, for a program", "jsonl", "application/x-ndjson", lambda: to_jsonl(papers())),
        ):
            st.download_button(label, content, f"{name}.{ending}", mime, key=f"{name}-{ending}", on_click="ignore")
