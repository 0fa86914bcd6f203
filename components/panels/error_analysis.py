"""The error analysis panel: one query's ranking, what is wrong in it, and the words that query and candidates share."""

import html
from collections.abc import Mapping

import streamlit as st

from components.encoder.base import TextCoverage
from components.evaluation.error_analysis import Candidate, QueryAnalysis, words_mislead
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.results import QueryScores
from components.mapping.palette import css_colours
from components.search.markup import plural
from components.search.query_text import coverage_words
from corpus.text.markdown import escaped

_MAX_RANKS = 12  # that are named; the strip shows all
_MAX_TICKS = 1_500  # of the strip; more cannot be told apart
_MAX_TEXT_CHARS = 20_000  # of an abstract
_MIN_WORD_GAP = 0.05  # of two shares of words, before a conclusion is drawn


def query_analysis(
    analysis: QueryAnalysis,
    scores: QueryScores,
    *,
    system: str,
    ascending: bool,
    readings: Mapping[str, TextCoverage] | None,
) -> None:
    """Draw one query. scores: its own. system: what ranked it. ascending: whether scores are distances.

    readings: id of a paper → how much of it the encoder read; None where that is unknown.
    """
    st.subheader(escaped(analysis.query.title or analysis.query.id), anchor=False)
    group = f" · {escaped(scores.group)}" if scores.group else ""
    st.caption(f"Query {escaped(scores.query)}{group} · ranked by {escaped(system)}")
    values = " · ".join(
        f"{name} **{100 * scores.metrics[metric]:.2f}**"
        for metric, name in ((MAP, "average precision"), (NDCG_20_PERCENT, NDCG_20_PERCENT))
        if metric in scores.metrics
    )
    relevant = len(analysis.relevant_ranks)
    st.markdown(f"{relevant:,} of {analysis.candidates:,} candidates are relevant. In percent: {values}.")
    st.html(_strip(analysis))
    _abstract(analysis.query.abstract, label="Abstract of the query")
    for sentence in _findings(analysis):
        st.markdown(f":material/lightbulb: {escaped(sentence)}")
    if readings is not None and (reading := readings.get(analysis.query.id)) is not None:
        st.caption(
            ":material/check: The encoder read the whole query."
            if reading.complete
            else f":material/content_cut: Query: the encoder {coverage_words(reading)}."
        )
    if analysis.perfect:
        return
    sides = (("**Not relevant, but ranked first**", analysis.ahead), ("**Relevant, but ranked last**", analysis.behind))
    for column, (heading, candidates) in zip(st.columns(2, gap="medium"), sides, strict=True):
        with column:
            st.markdown(heading)
            for candidate in candidates:
                _candidate(candidate, ascending=ascending, reading=(readings or {}).get(candidate.paper.id))
    st.caption("Filled words are in both texts. The share of the query's words gives rare words more weight.")


def _strip(analysis: QueryAnalysis) -> str:
    """The ranking as a strip, with a tick at each relevant candidate."""
    count, ranks = analysis.candidates, analysis.relevant_ranks
    ticks = "".join(f'<i style="left:{100 * (rank - 0.5) / count:.3f}%"></i>' for rank in ranks[:_MAX_TICKS])
    named = ", ".join(f"{rank:,}" for rank in ranks[:_MAX_RANKS])
    more = f" and {len(ranks) - _MAX_RANKS:,} more" if ranks[_MAX_RANKS:] else ""
    text = f"Ranks of the relevant candidates: {named}{more}." if named else "No candidate is relevant."
    top = 100 * (count * 20 // 100) / count
    return (
        f'<div class="strip" style="{_colours()}" role="img" aria-label="{text}">'
        f'<span style="width:{top:.3f}%"></span>{ticks}</div>'
        f'<div class="strip-ends"><span>rank 1</span><span>shaded: the top 20 %</span><span>{count:,}</span></div>'
        f"<p class='strip-text'>{text}</p>"
    )


def _findings(analysis: QueryAnalysis) -> list[str]:
    findings = []
    if analysis.perfect:
        findings.append(
            "Every relevant candidate is ranked before all others."
            if analysis.relevant_ranks
            else "No candidate is relevant, so the scores are 0 whatever the ranking."
        )
    misleading = words_mislead(analysis)
    if misleading is not None:
        ahead, behind = (
            sum(candidate.overlap for candidate in candidates) / len(candidates)
            for candidates in (analysis.ahead, analysis.behind)
        )
        text = f"Top-ranked papers share {_share(ahead)} of the query's words, relevant ones {_share(behind)}."
        if abs(ahead - behind) >= _MIN_WORD_GAP:
            text += (
                " A keyword search would make the same error."
                if misleading
                else " A keyword search would rank the relevant ones higher."
            )
        findings.append(text)
    if bare := sum(not candidate.paper.abstract for candidate in analysis.behind):
        findings.append(f"{bare} of the {len(analysis.behind)} lowest relevant papers have no abstract.")
    if analysis.ties:
        candidates = plural(analysis.ties, "candidate has", "candidates have")
        findings.append(f"{candidates} the same score as the one before; such ties are ordered by id.")
    return findings


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _candidate(candidate: Candidate, *, ascending: bool, reading: TextCoverage | None) -> None:
    paper = candidate.paper
    with st.container(border=True, gap="small"):
        st.markdown(f"**{escaped(paper.title or 'No title')}**")
        score = f"{'distance' if ascending else 'score'} {candidate.score:.4g}"
        overlap = f"{_share(candidate.overlap)} of the query's words"
        st.caption(escaped(f"rank {candidate.rank:,} · {score} · grade {candidate.grade} · {overlap}"))
        if not paper.abstract:
            st.caption(":material/info: No abstract: only the title was compared.")
        if reading is not None and not reading.complete:
            st.caption(f":material/content_cut: The encoder {coverage_words(reading)}.")
        words = "".join(
            f"<em>{label}</em> "
            + " ".join(f'<span class="{kind}">{html.escape(word[:40])}</span>' for word in chosen)
            + "<br>"
            for label, kind, chosen in (
                ("in both", "both", candidate.shared),
                ("only in the query", "lacking", candidate.lacking),
                ("only here", "other", candidate.other),
            )
            if chosen
        )
        st.html(f'<p class="words" style="{_colours()}">{words}</p>')
        _abstract(paper.abstract, label="Abstract")


def _abstract(text: str, *, label: str) -> None:
    if text:
        with st.expander(label):
            st.text(text[:_MAX_TEXT_CHARS] + ("…" if len(text) > _MAX_TEXT_CHARS else ""))


def _colours() -> str:
    return css_colours(dark=st.context.theme.type == "dark")
