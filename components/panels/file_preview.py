"""The file preview panel: a file as a reader sees it, its first records, and for a table which column is what."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from components.markdown import escaped
from corpus.paper import Paper
from corpus.readers import Preview, Problem

# Fields of a paper in the order in which they are asked about, with what each is called.
FIELDS = {
    "title": "Title",
    "abstract": "Abstract",
    "authors": "Authors",
    "year": "Year",
    "venue": "Journal or venue",
    "doi": "DOI",
    "pmid": "PMID",
    "id": "Id",
    "url": "Link",
    "topics": "Topics or keywords",
}
_NONE = "(none)"
_SHOWN = 5  # problems of the head that are listed
_ABSTRACT = 180  # characters


def file_preview(
    preview: Preview, *, called: str, key: str, keep_without_abstract: bool, on_columns: Callable[[], None]
) -> None:
    """Draw what a file holds. called: its name, of unknown origin. For a table, the selectboxes of its columns have the
    keys of `column_keys`, and on_columns is called when one was changed.
    """
    st.caption(f":material/check: Read as {escaped(preview.format)}.")
    if preview.headers:
        _columns(preview, key=key, on_columns=on_columns)
    _papers(preview.papers)
    left_out = [problem for problem in preview.problems if not (keep_without_abstract and _lacks_abstract(problem))]
    if not preview.papers and not left_out:
        st.caption("No record is in the beginning of this file.")
    if left_out:
        many = f"{len(left_out)} record{'s' if len(left_out) > 1 else ''}"
        st.caption(f":material/info: In the beginning of {escaped(called)}, {many} would be left out:")
        for problem in left_out[:_SHOWN]:
            st.caption(escaped(f"{problem.place}: {problem.reason}"))


def column_keys(key: str) -> dict[str, str]:
    """By field of a paper, the key in `st.session_state` of what its selectbox holds."""
    return {field: f"{key}-column-{field}" for field in FIELDS}


def chosen_columns(state: Mapping[str, object], *, key: str) -> dict[str, str]:
    """A field of a paper → header, as the selectboxes say; fields that no column has are not in it."""
    chosen = {field: state.get(name) for field, name in column_keys(key).items()}
    return {field: header for field, header in chosen.items() if isinstance(header, str) and header != _NONE}


def set_columns(columns: Mapping[str, str], *, key: str) -> dict[str, str]:
    """What to put into `st.session_state` so that the selectboxes say `columns`."""
    return {name: columns.get(field, _NONE) for field, name in column_keys(key).items()}


def _columns(preview: Preview, *, key: str, on_columns: Callable[[], None]) -> None:
    missing = [FIELDS[field].lower() for field in ("title", "abstract") if field not in preview.columns]
    if missing:
        st.warning(
            f"No column was recognised as the {' or the '.join(missing)}. Say below which one it is.",
            icon=":material/table:",
        )
    with st.expander("Which column is what", expanded=bool(missing), icon=":material/table:"):
        places = st.columns(2)
        for number, (field, name) in enumerate(column_keys(key).items()):
            with places[number % 2]:
                st.selectbox(
                    FIELDS[field],
                    [_NONE, *preview.headers],
                    key=name,
                    format_func=_header,
                    on_change=on_columns,
                )


def _header(header: str) -> str:
    return header[:80] or "(no name)"


def _papers(papers: Sequence[Paper]) -> None:
    for paper in papers:
        facts = [", ".join(paper.authors[:2]) + (" …" if len(paper.authors) > 2 else ""), paper.venue]
        facts = [*filter(None, facts), *([str(paper.year)] if paper.year else [])]
        with st.container(gap=None):
            st.markdown(f"**{escaped(paper.title[:300])}**" if paper.title else "*No title*")
            abstract = paper.abstract[:_ABSTRACT].rstrip() + ("…" if len(paper.abstract) > _ABSTRACT else "")
            st.caption(escaped(" · ".join(facts)) + ("  \n" if facts else "") + (escaped(abstract) or "*No abstract*"))


def _lacks_abstract(problem: Problem) -> bool:
    return problem.kind == "empty" and problem.reason.startswith("no abstract")
