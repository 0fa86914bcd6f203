"""Panels of encoders: the list of all, and one of them with facts, published scores and scalar mix."""

import html
import re
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from components.atlas.encoder_options import POOLINGS, EncoderOption
from components.encoder.checkpoints import Checkpoint
from components.search.markup import bars_html, facts_html
from corpus.io.files import format_bytes
from corpus.text.markdown import escaped


def encoder_list(options: Sequence[EncoderOption], *, key: str, on_change: Callable[[], None]) -> None:
    """Draw the list. The chosen name is in `st.session_state[key]`."""
    names = {option.name: option.display_name for option in options}
    st.radio(
        "Encoder",
        list(names),
        captions=[_caption(option) for option in options],
        format_func=lambda name: escaped(names[name]),
        key=key,
        on_change=on_change,
        label_visibility="collapsed",
    )


def _caption(option: EncoderOption) -> str:
    if not option.encodes:
        parts = ["came with the papers"]
    elif option.entry is None:
        parts = ["your own"]
    else:
        parts = [escaped(re.split("[,:]", option.entry.domain)[0])]
        parts += ["all layers, mixed"] if option.entry.form.pooling == "scalar_mix" else []
    if option.atlases:
        parts.append(":green[:material/check_circle: atlas ready]")
    elif option.here:
        parts.append("on this machine")
    elif option.partial:
        parts.append("download not finished")
    return " · ".join(parts)


def encoder_heading(option: EncoderOption) -> None:
    """Draw an encoder's name, what it is, and its authors' advice."""
    st.subheader(escaped(option.display_name), anchor=False)
    if not option.encodes:
        st.text(
            "These vectors came with the papers. Their encoder is not on this machine, so you cannot search with a "
            "text: use the map, and search from papers. To search with texts, build an atlas with another encoder."
        )
    elif option.entry is None:
        st.text("Your own checkpoint. Its folder does not say what it is for.")
    else:
        st.markdown(escaped(option.entry.note))
        if option.entry.advice:
            st.markdown(f":material/lightbulb: {escaped(option.entry.advice)}")


def encoder_facts(option: EncoderOption, *, checkpoint: Checkpoint | None, mix: NDArray[np.float32] | None) -> None:
    """Draw the facts. checkpoint: None where its files are not here. mix: weights of the hidden states, if shown."""
    st.html(facts_html(_facts(option, checkpoint)))
    if option.entry is not None and option.entry.scores:
        rows = "".join(
            f"<tr><td>{html.escape(score.set)}</td><td>{html.escape(score.metric)}</td><td>{score.percent:.2f}</td></tr>"
            for score in option.entry.scores
        )
        st.html(
            '<table class="scores"><caption>Published scores, percent (higher is better)</caption>'
            f"<thead><tr><th>Set</th><th>Metric</th><th>Score</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    if mix is not None:
        names = ["embeddings", *(f"layer {number}" for number in range(1, len(mix)))]
        bars = [(name, share, f"{share:.1%}") for name, share in zip(names, mix.tolist(), strict=True)]
        st.html(bars_html("Scalar mix: the weight of each layer", bars, css_class="mix"))


def _facts(option: EncoderOption, checkpoint: Checkpoint | None) -> list[tuple[str, str]]:
    entry, facts = option.entry, []
    if entry is not None:
        facts += [("Made from", entry.base), ("For", entry.domain)]
    form = checkpoint.form if checkpoint else entry.form if entry else None
    if form is not None and option.neural:
        dimensions = f", {entry.dimensions} dimensions" if entry else ""
        facts += [
            ("Vector of a paper", f"{POOLINGS[form.pooling]}{dimensions}"),
            ("Reads", f"title and abstract, up to {form.max_tokens} word pieces"),
        ]
    elif entry is not None:
        facts.append(("Vector of a paper", f"up to {entry.dimensions} dimensions, of length 1"))
    if entry is not None:
        size = format_bytes(entry.download_bytes)
        source = {
            "embedded": "comes with the app",
            "hub": f"Hugging Face hub, {entry.hub_id}, about {size}",
            "zip": f"a zip file published by its authors, about {size}",
            "corpus": "made from the corpus itself; no download",
        }[entry.origin]
        facts += [("Licence", entry.licence), ("Source", source)]
    if checkpoint is not None:
        fingerprint = f"{checkpoint.fingerprint[:16]}… (SHA-256 of weights, tokenizer, configuration and input form)"
        facts.append(("Fingerprint", fingerprint))
    return facts
