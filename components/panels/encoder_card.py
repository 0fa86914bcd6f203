"""The encoder card panel: what an encoder is, what its authors published and advise, and its scalar mix."""

import html

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from components.atlas.encoder_options import POOLINGS, EncoderOption
from components.encoder.checkpoints import Checkpoint
from corpus.text.markdown import escaped


def encoder_heading(choice: EncoderOption) -> None:
    """Draw an encoder's name, what it is in a sentence, and its authors' advice."""
    st.subheader(escaped(choice.display_name), anchor=False)
    if not choice.encodes:
        st.text(
            "Vectors that came with the papers. Their encoder is not on this machine, so they take no text: the map "
            "and searching from papers work. To search for texts, build another atlas of the papers with an encoder."
        )
        return
    if choice.entry is None:
        st.text("Your own checkpoint. What it is for, its folder does not say.")
        return
    st.markdown(escaped(choice.entry.note))
    if choice.entry.advice:
        st.markdown(f":material/lightbulb: {escaped(choice.entry.advice)}")


def encoder_facts(choice: EncoderOption, *, checkpoint: Checkpoint | None, mix: NDArray[np.float32] | None) -> None:
    """Draw the facts. checkpoint: None where its files are not here. mix: what each hidden state weighs, if shown."""
    entry = choice.entry
    facts = _facts(choice, checkpoint)
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in facts)
    st.html(f'<dl class="facts">{entries}</dl>')
    if entry is not None and entry.scores:
        rows = "".join(
            f"<tr><td>{html.escape(score.set)}</td><td>{html.escape(score.metric)}</td><td>{score.percent:.2f}</td></tr>"
            for score in entry.scores
        )
        st.html(
            '<table class="scores"><caption>Published scores, percent (higher is better)</caption>'
            f"<thead><tr><th>Set</th><th>Metric</th><th>Score</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    if mix is not None:
        mix_chart(mix)


def mix_chart(mix: NDArray[np.float32]) -> None:
    """Draw what each hidden state weighs in a scalar mix: (layers + 1,), their sum 1."""
    names = ["embeddings", *(f"layer {number}" for number in range(1, len(mix)))]
    bars = "".join(
        f'<tr><td>{name}</td><td><span class="bar" style="width:{100 * share / mix.max():.1f}%"></span></td>'
        f"<td>{share:.1%}</td></tr>"
        for name, share in zip(names, mix.tolist(), strict=True)
    )
    st.html(
        f'<table class="mix"><caption>Its scalar mix: what each layer weighs</caption><tbody>{bars}</tbody></table>'
    )


def _facts(choice: EncoderOption, checkpoint: Checkpoint | None) -> list[tuple[str, str]]:
    entry, facts = choice.entry, []
    if entry is not None:
        facts += [("Made from", entry.base), ("For", entry.domain)]
    form = checkpoint.form if checkpoint else entry.form if entry else None
    if form is not None and choice.neural:
        dimensions = f", {entry.dimensions} dimensions" if entry else ""
        facts += [
            ("A paper's vector", f"{POOLINGS[form.pooling]}{dimensions}"),
            ("Reads", f"title and abstract, up to {form.max_tokens} word pieces"),
        ]
    elif entry is not None:
        facts.append(("A paper's vector", f"up to {entry.dimensions} dimensions, of length 1"))
    if entry is not None:
        where = {
            "embedded": "comes with the app",
            "hub": f"Hugging Face hub, {entry.hub_id}, about {size(entry.download_bytes)}",
            "zip": f"a zip that its authors published, about {size(entry.download_bytes)}",
            "corpus": "made from the corpus itself; nothing is fetched",
        }[entry.origin]
        facts += [("Licence", entry.licence), ("Where from", where)]
    if checkpoint is not None:
        told = f"{checkpoint.fingerprint[:16]}… (SHA-256 of weights, tokenizer, configuration and input form)"
        facts.append(("Fingerprint", told))
    return facts


def size(count: int) -> str:
    """Bytes in words: 440 MB."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:,.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:,.0f} kB"
    )
