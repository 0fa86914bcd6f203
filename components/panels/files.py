"""The file preview panel: a file's first records as a reader sees them, and the choice of a table's columns."""

from collections.abc import Mapping

import streamlit as st

from components.search.markup import plural
from corpus.readers.report import Preview
from corpus.text.markdown import escaped

# Fields of a paper → labels, in the order of the form.
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
_MAX_PAPERS, _MAX_PROBLEMS = 3, 5  # shown of the first records
_MAX_ABSTRACT_CHARS = 180


def file_preview(
    preview: Preview, *, name: str, key: str, columns: Mapping[str, str], keep_without_abstract: bool
) -> None:
    """Draw what a file holds. name: of unknown origin. columns: of a table, as chosen (see `chosen_columns`)."""
    st.caption(f":material/check: Recognised as {escaped(preview.format)}.")
    if preview.headers:
        _columns(preview, key=key, columns=columns)
        if "title" not in columns:
            return
    for paper in preview.papers[:_MAX_PAPERS]:
        authors = ", ".join(paper.authors[:2]) + (" …" if len(paper.authors) > 2 else "")
        facts = " · ".join(filter(None, [authors, paper.venue, str(paper.year or "")]))
        abstract = paper.abstract[:_MAX_ABSTRACT_CHARS].rstrip() + (
            "…" if len(paper.abstract) > _MAX_ABSTRACT_CHARS else ""
        )
        with st.container(gap=None):
            st.markdown(f"**{escaped(paper.title[:300])}**" if paper.title else "*No title*")
            st.caption(escaped(facts) + ("  \n" if facts else "") + (escaped(abstract) or "*No abstract*"))
    _left_out(preview, name=name, keep_without_abstract=keep_without_abstract)


def chosen_columns(state: Mapping[str, object], *, key: str) -> dict[str, str]:
    """Field of a paper → header, as the selectboxes in `state` say; without fields that no column was chosen for."""
    chosen = {field: state.get(f"{key}-column-{field}") for field in FIELDS}
    return {field: header for field, header in chosen.items() if isinstance(header, str) and header != _NONE}


def column_state(columns: Mapping[str, str], *, key: str) -> dict[str, str]:
    """The values of `st.session_state` with which the selectboxes show `columns`."""
    return {f"{key}-column-{field}": columns.get(field, _NONE) for field in FIELDS}


def changed_columns(chosen: Mapping[str, str], *, recognised: Mapping[str, str]) -> dict[str, str]:
    """The columns to pass to a reader: field → header, "" for no column.

    Only what was changed: for a field as it was recognised, the reader fills empty cells from further columns, and
    reads an export of this app exactly.
    """
    changed = {field: chosen.get(field, "") for field in FIELDS if chosen.get(field) != recognised.get(field)}
    taken = set(changed.values())  # a reader uses a given column for no other field, unless that is given too
    return changed | {field: header for field, header in chosen.items() if header in taken}


def _columns(preview: Preview, *, key: str, columns: Mapping[str, str]) -> None:
    missing = [FIELDS[field].lower() for field in ("title", "abstract") if field not in columns]
    if missing:
        st.warning(
            f"No column was recognised as the {' or the '.join(missing)}. Choose it below.", icon=":material/table:"
        )
    with st.expander("Columns", expanded=bool(missing), icon=":material/view_column:", key=f"{key}-which"):
        fields = list(FIELDS.items())
        for start in range(0, len(fields), 2):  # row by row, so that a phone keeps their order
            for place, (field, label) in zip(st.columns(2), fields[start : start + 2], strict=True):
                with place:
                    st.selectbox(
                        label,
                        [_NONE, *preview.headers],
                        key=f"{key}-column-{field}",
                        format_func=lambda header: header[:80] or "(no name)",
                    )


def _left_out(preview: Preview, *, name: str, keep_without_abstract: bool) -> None:
    """The records that are left out, and why."""
    first = f"the first {plural(len(preview.papers) + len(preview.problems), 'record')}"
    if not preview.papers and not preview.problems:
        st.warning(f"The beginning of {escaped(name)} has no records.", icon=":material/info:")
    bare = sum(not paper.abstract for paper in preview.papers)
    if bare and not keep_without_abstract:
        st.caption(
            f":material/info: Of {first}, {bare} without an abstract will be left out. Use the switch above to keep "
            "them."
        )
    if preview.problems:
        st.caption(f":material/info: Of {first}, {len(preview.problems)} cannot be read:")
        for problem in preview.problems[:_MAX_PROBLEMS]:
            st.caption(escaped(f"{problem.place}: {problem.reason}"))
