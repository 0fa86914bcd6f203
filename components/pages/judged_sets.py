"""Judged sets on the Evaluate page: the first one in a click, one of a corpus's topics, uploaded ones, deleting one."""

import re
from collections.abc import Callable
from typing import Any

import streamlit as st

from components.atlas.corpora import atlases_of, corpora
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.paths import NAME
from components.evaluation import sets
from components.jobs import runner as background
from components.pages import jobs, resources, session
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import SetError
from corpus.judged_sets.topics import build_from_topics
from corpus.text.markdown import escaped

_UPLOAD_MB = 200  # of one file, as .streamlit/config.toml says
_FORMAT = (
    "The files of a released set: `abstracts-NAME.jsonl`, `test-pid2anns-NAME.json`, and if there are any "
    "`NAME-evaluation_splits.json` and `NAME-queries-release.csv`; each may be gzip. RELISH, TRECCOVID-RF, CSFCube and "
    "SciDocs are published so."
)


def first_step() -> None:
    """Draw what the page is for, and a way to try it that needs nothing."""
    with st.container(key="first-step"):
        st.subheader("Check every number yourself", anchor=False)
        st.markdown(
            "A **judged set** says of some papers, the queries, which of some other papers are relevant to them. An "
            "encoder ranks each query's candidates by distance; **MAP** and **NDCG%20** say how far up the relevant "
            "ones stand, computed as the encoders' authors do. So you can check a published table on your own machine, "
            "and put your own model beside it."
        )
        st.markdown(
            "No set is here yet. To try it at once, make one of the default corpus: two of its papers count as "
            "relevant to each other where they share rare MeSH headings or keywords. It needs no judgements: **nobody "
            "judged it**, and its figures can be compared with each other alone."
        )
        if st.button(
            "Make a set of the default corpus's topics", type="primary", icon=":material/auto_awesome:", key="first-set"
        ):
            _made(MEDLINE, _free(f"{MEDLINE}-topics"))
        st.caption("To check published figures, upload the files of a published set under “Add a judged set”.")


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
        "Papers of a corpus that share rare topics (MeSH headings, keywords) count as relevant to each other. Nobody "
        "judged them: good for comparing encoders on your own field, and no published figure."
    )
    names = sorted(corpora(), key=lambda name: name != MEDLINE)
    corpus = st.selectbox("Corpus", names, format_func=_title, key="topics-corpus")
    name = _name("topics", suggested=_free(f"{corpus}-topics" if corpus else "topics"))
    if st.button("Make the set", type="primary", key="topics-go", disabled=not corpus):
        _made(corpus, name)


def _made(corpus: str, name: str) -> None:
    """Make a set of a corpus's topics, keep it, and show it."""

    def make() -> None:
        check_name(name)
        if not (found := atlases_of(corpus)):
            raise SetError(f"There is no corpus {corpus!r:.80}. It was deleted meanwhile.")
        with st.spinner("Looking for papers with topics in common…"):
            sets.keep_set(build_from_topics(resources.atlas(found[0].name).papers, name=name), name)

    _then_show(make, name)


@st.fragment
def _from_files() -> None:
    st.caption(f"{_FORMAT} Up to {_UPLOAD_MB} MB a file; for larger sets: `python -m components.evaluation`.")
    given = st.file_uploader(
        "Files of a judged set",
        accept_multiple_files=True,
        type=["json", "jsonl", "csv", "gz"],
        key=f"set-files-{st.session_state.get('set-files-round', 0)}",
    )
    name = _name("files", suggested=_free(_named_by([one.name for one in given])))
    if st.button("Check and keep them", type="primary", key="set-files-go", disabled=not given):

        def keep() -> None:
            check_name(name)
            files: dict[str, Any] = {one.name: one for one in given}
            if len(files) < len(given):
                raise SetError("Two of the files have the same name. Choose each of them once.")
            with st.spinner("Reading and checking the set…"):
                sets.keep_files(name, files)
            st.session_state["set-files-round"] = st.session_state.get("set-files-round", 0) + 1

        _then_show(keep, name)


def _named_by(files: list[str]) -> str:
    """What a set's files call it."""
    for file in files:
        if found := re.match(r"abstracts-(.+?)(?:-preds)?\.jsonl", file.lower()):
            return found[1]
    return "my-set"


def _name(key: str, *, suggested: str) -> str:
    typed = st.text_input(
        "Name of the set",
        key=f"set-name-{key}",
        max_chars=64,
        placeholder=suggested,
        help="Small letters, digits, '.', '_' and '-'. It stands in links and in the command line. Published figures "
        "are set beside a set that has the name its authors gave it.",
    ).strip()
    return typed or suggested


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a new set. Raises SetError."""
    if not NAME.fullmatch(name):
        raise SetError(
            f"{name!r:.80} cannot be the name of a set: use up to 64 of a–z, 0–9, '.', '_' and '-', "
            "the first a letter or a digit."
        )
    if name in sets.set_names():
        raise SetError(f"There is a set {name} already. Give this one another name, or delete that one.")


def _free(wanted: str) -> str:
    """A name that no set has, near the one that is wanted."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("-._")[:56] or "my-set"
    taken = set(sets.set_names())
    return next(name for number in range(1, len(taken) + 2) if (name := _numbered(plain, number)) not in taken)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _title(corpus: str) -> str:
    found = atlases_of(corpus)
    return found[0].display_title if found else corpus


def _then_show(work: Callable[[], None], name: str) -> None:
    """Do it; then show the set on the page, or why there is none."""
    try:
        work()
    except (CociteAtlasError, OSError) as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    session.show_evaluation(EvaluationView(atlas=session.evaluation_view().atlas, set=name))
    st.rerun()


@st.dialog("Delete the set", icon=":material/delete:")
def delete_dialog(name: str) -> None:
    """Ask whether a set is to be deleted, and do it."""
    st.markdown(
        f"Delete the judged set **{escaped(name)}** from this machine? What was evaluated on it stays in the "
        "leaderboard, but its queries can no longer be looked at."
    )
    with st.container(horizontal=True):
        if st.button("Delete it", type="primary", key="delete-set-yes", disabled=_in_use(name)):
            jobs.attempt(lambda: sets.delete_set(name))
            session.show_evaluation(EvaluationView(atlas=session.evaluation_view().atlas))
            st.rerun()
        if st.button("Keep it", key="delete-set-no"):
            st.rerun()


def _in_use(name: str) -> bool:
    now = background.latest()
    return now is not None and not now.over and now.request.kind == "evaluate" and now.request.name == name
