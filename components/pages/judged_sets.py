"""Judged sets on the Evaluate page: the first one in a click, from a corpus's topics, from files, and deleting one."""

import re
from collections.abc import Callable
from typing import Any

import streamlit as st

from components.atlas.corpora import atlases_of, corpora
from components.atlas.paths import DEFAULT_ATLAS
from components.evaluation import sets
from components.jobs import runner
from components.pages import frame, jobs, resources, session
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import SetError
from corpus.judged_sets.topics import build_from_topics
from corpus.text.markdown import escaped

_UPLOAD_MB = 200  # of one file, as in .streamlit/config.toml


def first_step() -> None:
    """Draw what the page is for, and a way to try it without any data."""
    with st.container(key="first-step"):
        st.subheader("Check every score yourself", anchor=False)
        st.markdown(
            "A **judged set** says for some papers, the queries, which other papers are relevant to them. An encoder "
            "ranks the candidates of each query by distance. **MAP** and **NDCG%20** measure how high the relevant "
            "ones are, computed as the encoders' authors do. So you can check published scores on your own machine, "
            "and compare your own model with them."
        )
        st.markdown(
            "You have no judged set yet. To try the page, make one from the default corpus: two papers count as "
            "relevant to each other if they share rare MeSH headings or keywords. It has **no human judgements**, so "
            "compare its scores only with each other."
        )
        if st.button(
            "Make a set from the default corpus", type="primary", icon=":material/auto_awesome:", key="first-set"
        ):
            _make_from_topics(DEFAULT_ATLAS, _free_name(f"{DEFAULT_ATLAS}-topics"))
        st.caption("To check published scores, upload the files of a published set under “Add a judged set”.")


def add_set() -> None:
    """Draw the ways to add a set."""
    files, topics = st.tabs(["Upload files", "From topics"])
    with files:
        _from_files()
    with topics:
        _from_topics()


@st.fragment
def _from_topics() -> None:
    st.caption(
        "Papers of a corpus that share rare topics (MeSH headings, keywords) count as relevant to each other. Without "
        "human judgements, such a set compares encoders on your own field, but not with published scores."
    )
    names = sorted(corpora(), key=lambda name: name != DEFAULT_ATLAS)
    corpus = st.selectbox("Corpus", names, format_func=_corpus_title, key="topics-corpus")
    name = _name_input("topics", suggested=_free_name(f"{corpus}-topics" if corpus else "topics"))
    if st.button("Make the set", type="primary", key="topics-go", disabled=not corpus):
        _make_from_topics(corpus, name)


def _corpus_title(corpus: str) -> str:
    atlases = atlases_of(corpus)
    return atlases[0].display_title if atlases else corpus


def _make_from_topics(corpus: str, name: str) -> None:
    def make() -> None:
        sets.check_new_name(name)
        if not (atlases := atlases_of(corpus)):
            raise SetError(f"There is no corpus {corpus!r:.80}. It was deleted.")
        with st.spinner("Finding papers with topics in common…"):
            sets.keep_set(build_from_topics(resources.atlas(atlases[0].name).papers, name=name), name)

    _do_and_show(make, name)


@st.fragment
def _from_files() -> None:
    st.caption(
        "The files of a released set: `abstracts-NAME.jsonl` and `test-pid2anns-NAME.json`, optionally "
        "`NAME-evaluation_splits.json` and `NAME-queries-release.csv`; each may be gzipped. RELISH, TRECCOVID-RF, "
        f"CSFCube and SciDocs have this form. Up to {_UPLOAD_MB} MB per file; for larger ones use `cocite evaluate`."
    )
    files = st.file_uploader(
        "Files of a judged set",
        accept_multiple_files=True,
        type=["json", "jsonl", "csv", "gz"],
        key=f"set-files-{st.session_state.get('set-files-round', 0)}",
    )
    matches = (re.match(r"abstracts-(.+?)(?:-preds)?\.jsonl", file.name.lower()) for file in files)
    name = _name_input("files", suggested=_free_name(next((match[1] for match in matches if match), "my-set")))
    if st.button("Check and add", type="primary", key="set-files-go", disabled=not files):

        def keep() -> None:
            sets.check_new_name(name)
            by_name: dict[str, Any] = {file.name: file for file in files}
            if len(by_name) < len(files):
                raise SetError("Two of the files have the same name. Choose each file once.")
            with st.spinner("Reading and checking the set…"):
                sets.keep_files(name, by_name)
            st.session_state["set-files-round"] = st.session_state.get("set-files-round", 0) + 1

        _do_and_show(keep, name)


def _name_input(key: str, *, suggested: str) -> str:
    typed = st.text_input(
        "Name of the set",
        key=f"set-name-{key}",
        max_chars=64,
        placeholder=suggested,
        help="Lower-case letters, digits, '.', '_' and '-'. Links and commands use it. Published scores are shown for "
        "sets with their authors' name.",
    ).strip()
    return typed or suggested


def _free_name(wanted: str) -> str:
    """A valid name that no set has, similar to `wanted`."""
    base = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("-._")[:56] or "my-set"
    taken, name, number = set(sets.set_names()), base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _do_and_show(work: Callable[[], None], name: str) -> None:
    """Add a set and show it, or draw why it cannot be added."""
    try:
        work()
    except (CociteAtlasError, OSError) as error:
        frame.show_error(error)
        return
    session.show_evaluation(EvaluationView(atlas=session.evaluation_view().atlas, set=name))
    st.rerun()


@st.dialog("Delete the set", icon=":material/delete:")
def delete_dialog(name: str) -> None:
    """Ask whether to delete a set, and do it."""
    st.markdown(
        f"Delete the judged set **{escaped(name)}** from this machine? Its evaluations stay in the leaderboard, but "
        "their queries cannot be opened any more."
    )
    status = runner.latest()
    in_use = status is not None and not status.over and (status.request.kind, status.request.name) == ("evaluate", name)
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key="delete-set-yes", disabled=in_use):
            jobs.attempt(lambda: sets.delete_set(name))
            session.show_evaluation(EvaluationView(atlas=session.evaluation_view().atlas))
            st.rerun()
        if st.button("Cancel", key="delete-set-no"):
            st.rerun()
