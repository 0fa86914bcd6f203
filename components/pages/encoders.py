"""The Encoders page: all encoders, what each is, and building an atlas of a corpus with one of them."""

import streamlit as st

from components.atlas.corpora import atlases_of, delete_atlas, discard_unfinished, disk_use, unfinished
from components.atlas.encoder_options import EncoderOption, encoder_options, option_name
from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.store import Atlas
from components.encoder.base import Precision
from components.encoder.bi_encoder import default_precision, has_fast_bfloat16
from components.encoder.cache import OWN, cache_folder
from components.encoder.download import cached_encoders, clear, fetch
from components.jobs import runner
from components.jobs.model import encode_request
from components.pages import frame, jobs, resources
from components.panels.encoders import encoder_facts, encoder_heading, encoder_list
from components.panels.jobs import duration
from components.search.markup import plural
from corpus.errors import CociteAtlasError
from corpus.io.files import format_bytes
from corpus.text.markdown import escaped

_CHOSEN, _ROUNDED = "encoder", "rounded"  # keys of widgets in st.session_state


def encoders() -> None:
    """Draw the page."""
    name = (st.query_params.get("atlas") or DEFAULT_ATLAS)[:64]
    frame.masthead(atlas=name)
    if name == DEFAULT_ATLAS and not frame.default_atlas_ready():
        return
    try:
        atlas = resources.atlas(name)
    except CociteAtlasError as error:
        frame.show_error(error)
        params = {"atlas": DEFAULT_ATLAS}
        st.page_link(frame.page("Encoders"), label="Encoders of the default corpus", query_params=params)
        return
    jobs.show_last_error()
    options = {option.name: option for option in encoder_options(atlas.manifest.corpus)}
    left, right = st.columns([5, 7], gap="medium")
    with left:
        st.subheader(f"Encoders for {escaped(atlas.manifest.display_title)}", anchor=False)
        st.markdown(
            "An encoder turns a text into the vector that the search compares. With each encoder, the "
            f"{plural(len(atlas), 'paper')} of this corpus have their own atlas: other neighbours and another map."
        )
        jobs.draw_status()
        _stopped(atlas)
        if st.session_state.get(_CHOSEN) not in options:
            wanted = (st.query_params.get("encoder", ""), option_name(atlas.manifest.encoder.source))
            st.session_state[_CHOSEN] = next((name for name in wanted if name in options), next(iter(options)))
        with st.container(key="encoder-list"):
            encoder_list(list(options.values()), key=_CHOSEN, on_change=_on_chosen)
    with right, st.container(key="encoder-side"):
        _details(options[st.session_state[_CHOSEN]], atlas)
    # Below both columns: on a phone, the details follow the list.
    own, downloads = st.columns(2, gap="medium")
    with own, st.expander("Add your own checkpoint", icon=":material/folder:"):
        st.markdown(
            "Put its folder or zip file into this folder and reload the page. It can have the form of the Hugging Face "
            "hub, of sentence-transformers, or of a `-full` release. No code in it is run."
        )
        st.code(str(cache_folder() / OWN), language=None)
    with downloads:
        _downloads()


def _on_chosen() -> None:
    st.query_params["encoder"] = st.session_state[_CHOSEN]


def _stopped(atlas: Atlas) -> None:
    """Builds that were stopped or killed, now or in an earlier run of the app."""
    for build in unfinished():
        encoder = option_name(build.encoder)
        if build.corpus != atlas.manifest.corpus or not build.base or build.kind != "build" or _is_latest(encoder):
            continue
        with st.container(border=True):
            done = f"{build.rows_done:,} of {build.papers:,} papers" if build.papers else "nothing yet"
            st.markdown(f"A build with **{escaped(encoder)}** was stopped: {done} encoded.")
            precision: Precision = "bfloat16" if build.precision == "bfloat16" else "float32"
            with st.container(horizontal=True):
                args = (build.base, encoder, precision)
                st.button("Resume", key=f"resume-{build.name}", on_click=_start, args=args, type="primary")
                st.button("Discard", key=f"discard-{build.name}", on_click=_discard, args=(build.name,))


def _is_latest(encoder: str) -> bool:
    """Whether the latest job, running or not, builds an atlas with an encoder."""
    status = runner.latest()
    return status is not None and status.request.kind == "encode" and status.request.encoder == encoder


def _start(base: str, encoder: str, precision: Precision) -> None:
    jobs.start(encode_request(base, encoder=encoder, precision=precision))


def _discard(name: str) -> None:
    jobs.attempt(lambda: discard_unfinished(name))


def _downloads() -> None:
    downloads = [download for download in cached_encoders() if not download.name.startswith(f"{OWN}/")]
    if not downloads:
        return
    total = format_bytes(sum(download.bytes for download in downloads))
    with st.expander(f"Downloads: {total} on this machine", icon=":material/save:"):
        for download in downloads:
            with st.container(horizontal=True, vertical_alignment="center"):
                part = ", not finished" if download.partial else ""
                st.markdown(f"{escaped(download.name)}: {format_bytes(download.bytes)}{part}")
                st.space("stretch")
                with st.popover("Remove"):
                    st.markdown("Atlases built with it stay. To search them with a text, download it again.")
                    key = f"remove-{download.name}-{download.partial}"
                    st.button("Remove files", key=key, on_click=_remove, args=(download.name,), type="primary")


def _remove(name: str) -> None:
    jobs.attempt(lambda: clear(name))


# One encoder


def _details(option: EncoderOption, atlas: Atlas) -> None:
    encoder_heading(option)
    checkpoint, mix = None, None
    if option.here and option.neural:
        try:
            with st.spinner("Checking its files…"):
                checkpoint = resources.checkpoint(option.name)
            if st.session_state.get(f"mix-{option.name}"):
                with st.spinner("Reading its weights…"):
                    mix = resources.encoder(checkpoint.fingerprint, checkpoint.source).mix_weights
        except CociteAtlasError as error:
            frame.show_error(error)
            return
    for manifest in option.atlases:
        _built(manifest)
    if option.atlases and option.encodes and not option.here:
        _download_again(option)
    if not option.atlases and not (_is_latest(option.name) and jobs.running()):
        _offer(option, atlas)
    encoder_facts(option, checkpoint=checkpoint, mix=mix)
    if checkpoint is not None and checkpoint.form.pooling == "scalar_mix" and mix is None:
        st.button("Show the scalar mix", on_click=_show_mix, args=(option.name,))


def _show_mix(name: str) -> None:
    st.session_state[f"mix-{name}"] = True


def _download_again(option: EncoderOption) -> None:
    """Offer the download of an encoder whose files were removed. Leaving the page pauses it."""
    st.warning(
        "Its files are not on this machine. You can use the map and search from papers, but not with a text.",
        icon=":material/cloud_off:",
    )
    size = format_bytes(option.download)
    if not st.button(f"Download again ({size})", type="primary", icon=":material/download:"):
        return
    bar = st.progress(0.0, text="Starting the download…")

    def progress(_stage: str, done: int, total: int) -> None:
        text = f"{format_bytes(done)} of {format_bytes(total)}"
        bar.progress(min(done / total, 1.0) if total else 0.0, text=text)

    try:
        fetch(option.name, progress=progress)
    except CociteAtlasError as error:
        bar.empty()
        frame.show_error(error)
        return
    st.rerun()


def _built(manifest: Manifest) -> None:
    """Draw an atlas that exists."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"built-{manifest.name}"):
        jobs.explore_link(manifest, label=f"Explore with {manifest.encoder.display_name}")
        rounded = ", in bfloat16" if manifest.encoder.precision == "bfloat16" else ""
        size = format_bytes(disk_use(manifest.name))
        st.caption(f"{size} on disk, built {escaped(manifest.created[:10])}{rounded}")
        if manifest.name != DEFAULT_ATLAS:
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown(f"Delete the atlas **{escaped(manifest.name)}**? The papers and their other atlases stay.")
                key, args = f"delete-{manifest.name}", (manifest.name, manifest.corpus)
                st.button("Delete atlas", key=key, on_click=_delete, args=args, type="primary")


def _delete(name: str, corpus: str) -> None:
    jobs.attempt(lambda: delete_atlas(name))
    others = [manifest.name for manifest in atlases_of(corpus)]
    if st.query_params.get("atlas") == name and name not in others:
        st.query_params["atlas"] = others[0] if others else DEFAULT_ATLAS


def _offer(option: EncoderOption, atlas: Atlas) -> None:
    """Draw what an atlas with an encoder takes, and the button that builds it."""
    with st.container(border=True, key="offer"):
        rounded = (
            option.neural
            and has_fast_bfloat16()
            and st.toggle(
                "Faster, slightly rounded (bfloat16)",
                key=_ROUNDED,
                value=default_precision() == "bfloat16",
                help="Uses half the bits. Of the ten nearest papers, fewer than one in a hundred changes.",
            )
        )
        precision: Precision = "bfloat16" if rounded else "float32"
        try:
            with st.spinner("Measuring the speed of this machine…"):
                cost = resources.cost(option.name, atlas.build, precision, option, atlas)
        except CociteAtlasError as error:
            frame.show_error(error)
            return
        device = "graphics card" if cost.device == "cuda" else "processor"
        steps = [f"Download, once: **{format_bytes(option.download)}**"] if option.download else []
        steps.append(f"Encode {plural(len(atlas), 'paper')} on this {device}: **{duration(cost.encoding)}**")
        steps.append(f"Map and index: {duration(cost.besides)}")
        st.markdown("\n".join(f"- {step}" for step in steps))
        st.button(
            "Download and build the atlas" if option.download else "Build the atlas",
            type="primary",
            icon=":material/construction:",
            disabled=jobs.running(),
            on_click=_start,
            args=(atlas.name, option.name, precision),
        )
        st.caption("Runs in the background; you can keep searching.")
