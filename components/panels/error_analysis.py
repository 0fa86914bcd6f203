"""The query look panel: one query's ranking, what in it is wrong, and the words that both sides have."""

import html
from collections.abc import Mapping, Sequence

import streamlit as st

from components.encoder.base import TextCoverage
from components.evaluation.error_analysis import Candidate, QueryAnalysis, words_mislead
from components.evaluation.results import QueryScores
from components.mapping.palette import css_colours
from corpus.text.markdown import escaped

_NAMED_RANKS = 12  # of the relevant, that are named; the strip shows all
_MOST_TICKS = 1_500  # of the strip; more cannot be told apart
_LONGEST_TEXT = 20_000  # characters of an abstract; a page is no place for a book


def query_look(
    looked: QueryAnalysis,
    scores: QueryScores,
    *,
    system: str,
    ascending: bool,
    readings: Mapping[str, TextCoverage] | None,
) -> None:
    """Draw one query. scores: its own. system: what ranked it, for people. ascending: the scores are distances.

    readings: by a paper's id, how much of it the encoder reads; None where nobody can say, and empty where all is read.
    """
    st.subheader(escaped(looked.query.title or looked.query.id), anchor=False)
    found = len(looked.relevant_ranks)
    group = f" · {escaped(scores.group)}" if scores.group else ""
    st.caption(f"Query {escaped(scores.query)}{group} · ranked by {escaped(system)}")
    figures = " · ".join(
        f"{name} **{100 * value:.2f}**"
        for name, value in (
            ("average precision", scores.metrics.get("MAP")),
            ("NDCG%20", scores.metrics.get("NDCG%20")),
        )
        if value is not None
    )
    st.markdown(f"{found:,} of {looked.candidates:,} candidates are relevant. In percent: {figures}.")
    colours = css_colours(dark=st.context.theme.type == "dark")
    st.html(_strip(looked, colours))
    _abstract(looked.query.abstract, label="Abstract of the query")
    _verdict(looked)
    _read(looked, readings)
    if looked.perfect:
        return
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Not relevant, and ranked first**")
        for one in looked.ahead:
            _candidate(one, ascending=ascending, reading=(readings or {}).get(one.paper.id))
    with right:
        st.markdown("**Relevant, and ranked last**")
        for one in looked.behind:
            _candidate(one, ascending=ascending, reading=(readings or {}).get(one.paper.id))
    st.caption(
        "Words that both have are filled in. Of the query's words: how much of them the candidate has, rare words "
        "counting more."
    )


def _strip(looked: QueryAnalysis, colours: str) -> str:
    """The whole pool as a strip from the first rank to the last, a tick where a relevant candidate stands."""
    count = looked.candidates
    ticks = "".join(
        f'<i style="left:{100 * (rank - 0.5) / count:.3f}%"></i>' for rank in looked.relevant_ranks[:_MOST_TICKS]
    )
    named = ", ".join(f"{rank:,}" for rank in looked.relevant_ranks[:_NAMED_RANKS])
    more = f" and {len(looked.relevant_ranks) - _NAMED_RANKS:,} more" if looked.relevant_ranks[_NAMED_RANKS:] else ""
    told = f"The relevant candidates stand at rank {named}{more}." if named else "None of the candidates is relevant."
    cut = 100 * (count * 20 // 100) / count
    return (
        f'<div class="strip" style="{colours}" role="img" aria-label="{told}">'
        f'<span style="width:{cut:.3f}%"></span>{ticks}</div>'
        f'<div class="strip-ends"><span>rank 1</span><span>the top 20 % is shaded</span><span>{count:,}</span></div>'
        f"<p class='strip-told'>{told}</p>"
    )


def _verdict(looked: QueryAnalysis) -> None:
    told = []
    if looked.perfect:
        told.append(
            "Nothing was ranked wrongly: every relevant candidate stands before all others."
            if looked.relevant_ranks
            else "No candidate is relevant, so nothing can be ranked rightly or wrongly: its figures are 0."
        )
    mislead = words_mislead(looked)
    if mislead is not None:
        front = sum(one.overlap for one in looked.ahead) / len(looked.ahead)
        end = sum(one.overlap for one in looked.behind) / len(looked.behind)
        told.append(
            f"Those in front have {_share(front)} of the query's words, the relevant ones at the end {_share(end)}: "
            + (
                "the words themselves lead astray here."
                if mislead
                else "by words alone the relevant ones would be nearer."
            )
        )
    bare = sum(not one.paper.abstract for one in looked.behind)
    if bare:
        told.append(f"{bare} of the {len(looked.behind)} relevant ones at the end have no abstract.")
    if looked.ties:
        told.append(
            f"{looked.ties:,} candidates have the same score as the one before them; such ties are ordered by id."
        )
    for sentence in told:
        st.markdown(f":material/lightbulb: {escaped(sentence)}")


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _read(looked: QueryAnalysis, readings: Mapping[str, TextCoverage] | None) -> None:
    if readings is None:
        return
    reading = readings.get(looked.query.id)
    if reading is not None and not reading.complete:
        st.caption(f":material/content_cut: Of the query, {_part(reading)}.")
    elif reading is not None:
        st.caption(":material/check: The encoder read all of the query.")


def _part(reading: TextCoverage) -> str:
    if reading.skips:
        return f"the encoder knows {reading.words_read:,} of {reading.words:,} words"
    return f"the encoder read the first {reading.words_read:,} of {reading.words:,} words"


def _candidate(one: Candidate, *, ascending: bool, reading: TextCoverage | None) -> None:
    measure = "distance" if ascending else "score"
    with st.container(border=True, gap="small"):
        st.markdown(f"**{escaped(one.paper.title or 'No title')}**")
        facts = [f"rank {one.rank:,}", f"{measure} {one.score:.4g}", f"grade {one.grade}"]
        facts.append(f"{_share(one.overlap)} of the query's words")
        st.caption(escaped(" · ".join(facts)))
        if not one.paper.abstract:
            st.caption(":material/info: It has no abstract: only its title was compared.")
        if reading is not None and not reading.complete:
            st.caption(f":material/content_cut: Of it, {_part(reading)}.")
        colours = css_colours(dark=st.context.theme.type == "dark")
        st.html(
            f'<p class="words" style="{colours}">{_chips(one.shared, "both", "in both")}'
            f"{_chips(one.lacking, 'lacking', 'only in the query')}{_chips(one.other, 'other', 'only here')}</p>"
        )
        _abstract(one.paper.abstract, label="Abstract")


def _chips(words: Sequence[str], kind: str, told: str) -> str:
    if not words:
        return ""
    chips = " ".join(f'<span class="{kind}">{html.escape(word[:40])}</span>' for word in words)
    return f"<em>{told}</em> {chips}<br>"


def _abstract(text: str, *, label: str) -> None:
    if not text:
        return
    with st.expander(label):
        st.text(text[:_LONGEST_TEXT] + ("…" if len(text) > _LONGEST_TEXT else ""))
