"""The file preview panel: a file as a reader sees it, its first records, and for a table which column is what."""

from collections.abc import Mapping, Sequence

import streamlit as st

from corpus.paper import Paper
from corpus.readers.report import Preview
from corpus.text.markdown import escaped

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
_PAPERS, _PROBLEMS = 3, 5  # of the head, that are shown
_ABSTRACT = 180  # characters


def file_preview(
    preview: Preview, *, called: str, key: str, columns: Mapping[str, str], keep_without_abstract: bool
) -> None:
    """Draw what a file holds. called: its name, of unknown origin. columns: of a table, as they are chosen; its
    selectboxes have the keys of `column_keys`.
    """
    st.caption(f":material/check: Read as {escaped(preview.format)}.")
    if preview.headers:
        _columns(preview, key=key, columns=columns)
        if "title" not in columns:
            return
    _papers(preview.papers[:_PAPERS])
    _left_out(preview, called=called, keep_without_abstract=keep_without_abstract)


def column_keys(key: str) -> dict[str, str]:
    """By field of a paper, the key in `st.session_state` of what its selectbox holds."""
    return {field: f"{key}-column-{field}" for field in FIELDS}


def chosen_columns(state: Mapping[str, object], *, key: str) -> dict[str, str]:
    """A field of a paper → header, as the selectboxes say; fields that no column has are not in it."""
    chosen = {field: state.get(name) for field, name in column_keys(key).items()}
    return {field: header for field, header in chosen.items() if isinstance(header, str) and header != _NONE}


def told_columns(chosen: Mapping[str, str], *, recognised: Mapping[str, str]) -> dict[str, str]:
    """What a reader is to be told so that it reads a table as it is chosen: a field → header, "" for no column.

    Only what a person changed: where a field is left as it was recognised, its other columns go on standing in for
    empty cells, and an export of this app is read exactly.
    """
    changed = {field: chosen.get(field, "") for field in FIELDS if chosen.get(field) != recognised.get(field)}
    taken = set(changed.values())  # a column that is given to one field by hand is guessed to be no other's
    return changed | {field: header for field, header in chosen.items() if header in taken}


def set_columns(columns: Mapping[str, str], *, key: str) -> dict[str, str]:
    """What to put into `st.session_state` so that the selectboxes say `columns`."""
    return {name: columns.get(field, _NONE) for field, name in column_keys(key).items()}


def _columns(preview: Preview, *, key: str, columns: Mapping[str, str]) -> None:
    missing = [FIELDS[field].lower() for field in ("title", "abstract") if field not in columns]
    if missing:
        st.warning(
            f"No column was recognised as the {' or the '.join(missing)}. Say below which one it is.",
            icon=":material/table:",
        )
    with st.expander("Which column is what", expanded=bool(missing), icon=":material/view_column:", key=f"{key}-which"):
        fields = list(column_keys(key).items())
        for start in range(0, len(fields), 2):  # a row at a time, so that a phone keeps their order
            for place, (field, name) in zip(st.columns(2), fields[start : start + 2], strict=True):
                with place:
                    st.selectbox(FIELDS[field], [_NONE, *preview.headers], key=name, format_func=_header)


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


def _left_out(preview: Preview, *, called: str, keep_without_abstract: bool) -> None:
    """What of the head is left out, and why."""
    head = f"the first {len(preview.papers) + len(preview.problems):,} records"
    if not preview.papers and not preview.problems:
        st.warning(f"No record was found in the beginning of {escaped(called)}.", icon=":material/info:")
    bare = sum(not paper.abstract for paper in preview.papers)
    if bare and not keep_without_abstract:
        st.caption(
            f":material/info: Of {head}, {bare} without an abstract would be left out. Keep them by the switch above."
        )
    if preview.problems:
        st.caption(f":material/info: Of {head}, {len(preview.problems)} cannot be read:")
        for problem in preview.problems[:_PROBLEMS]:
            st.caption(escaped(f"{problem.place}: {problem.reason}"))
