"""The Encoders page: what encoders there are, what each is, and building an atlas of a corpus by one of them."""

import streamlit as st

from components.atlas import paths
from components.atlas.corpora import Unfinished, atlases_of, delete_atlas, discard_unfinished, disk_use, unfinished
from components.atlas.encoder_options import EncoderOption, encoder_options, option_name
from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.store import Atlas
from components.encoder.base import Precision
from components.encoder.bi_encoder import default_precision, has_fast_bfloat16
from components.encoder.cache import OWN, cache_folder
from components.encoder.download import cached, clear, fetch
from components.jobs import runner as background
from components.jobs.model import JobStatus, encode_request
from components.pages import frame, jobs, resources
from components.panels.encoder_card import encoder_facts, encoder_heading, size
from components.panels.encoder_list import encoder_list
from components.panels.job_status import duration
from components.panels.preparation import prepare_medline
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_CHOSEN, _ROUNDED = "encoder", "rounded"


def encoders() -> None:
    """Draw the page."""
    name = (st.query_params.get("atlas") or MEDLINE)[:64]
    frame.masthead(atlas=name)
    if name == MEDLINE and MEDLINE not in paths.atlas_names() and not prepare_medline(again=False):
        return
    try:
        atlas = resources.atlas(name)
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        st.page_link(frame.page("Encoders"), label="Encoders of the default corpus", query_params={"atlas": MEDLINE})
        return
    jobs.say_refusal()
    found = encoder_options(atlas.manifest.corpus)
    left, right = st.columns([5, 7], gap="medium")
    with left:
        st.subheader(f"Encoders for {escaped(atlas.manifest.display_title)}", anchor=False)
        papers = f"these {len(atlas):,} papers" if len(atlas) != 1 else "this one paper"
        st.markdown(
            f"An encoder turns a text into the vector that is searched with. Each has its own atlas of {papers}: the "
            "same papers, other neighbours, another map."
        )
        jobs.under_way()
        _stopped(atlas)
        names = [choice.name for choice in found]
        if st.session_state.get(_CHOSEN) not in names:
            asked = st.query_params.get("encoder", "")
            st.session_state[_CHOSEN] = asked if asked in names else option_name(atlas.manifest.encoder.source)
            if st.session_state[_CHOSEN] not in names:
                st.session_state[_CHOSEN] = names[0]
        with st.container(key="encoder-list"):
            encoder_list(found, key=_CHOSEN, on_change=_on_chosen)
    with right, st.container(key="encoder-side"):
        _details(next(choice for choice in found if choice.name == st.session_state[_CHOSEN]), atlas)
    # Below both: on a phone an encoder's details come right after the list.
    own, downloads = st.columns(2, gap="medium")
    with own:
        _own_place()
    with downloads:
        _downloads()


def _on_chosen() -> None:
    st.query_params["encoder"] = st.session_state[_CHOSEN]


# ---------------------------------------------------------------- the left side: builds and downloads


def _stopped(atlas: Atlas) -> None:
    """Builds that were stopped or killed, here or by an app that ended."""
    now = background.latest()
    for build in unfinished():
        if build.corpus != atlas.manifest.corpus or not build.base or build.kind != "build":
            continue
        if _is_by(now, option_name(build.encoder)):
            continue
        with st.container(border=True):
            done = f"{build.rows_done:,} of {build.papers:,} papers" if build.papers else "nothing yet"
            st.markdown(f"A build by **{escaped(option_name(build.encoder))}** was stopped: {done} encoded.")
            with st.container(horizontal=True):
                st.button("Go on", key=f"go-on-{build.name}", on_click=_go_on, args=(build,), type="primary")
                st.button("Discard", key=f"discard-{build.name}", on_click=_discard, args=(build,))


def _is_by(now: JobStatus | None, encoder: str) -> bool:
    """Whether the job is an atlas by an encoder."""
    return now is not None and now.request.kind == "encode" and now.request.encoder == encoder


def _start(base: str, encoder: str, precision: Precision) -> None:
    jobs.begin(encode_request(base, encoder=encoder, precision=precision))


def _go_on(build: Unfinished) -> None:
    _start(build.base, option_name(build.encoder), "bfloat16" if build.precision == "bfloat16" else "float32")


def _discard(build: Unfinished) -> None:
    jobs.attempt(lambda: discard_unfinished(build.name))


def _own_place() -> None:
    with st.expander("Add a checkpoint of your own", icon=":material/folder:"):
        st.markdown(
            "Put its folder or zip into this folder and reload the page. A folder in the form of the Hugging Face hub "
            "or of sentence-transformers, and a `-full` release as folder or zip, are read; nothing in them is run."
        )
        st.code(str(cache_folder() / OWN), language=None)


def _downloads() -> None:
    lying = [one for one in cached() if not one.name.startswith(f"{OWN}/")]
    if not lying:
        return
    with st.expander(f"Downloads: {size(sum(one.bytes for one in lying))} on this machine", icon=":material/save:"):
        for one in lying:
            with st.container(horizontal=True, vertical_alignment="center"):
                part = ", stopped half way" if one.partial else ""
                st.markdown(f"{escaped(one.name)}: {size(one.bytes)}{part}")
                st.space("stretch")
                with st.popover("Remove"):
                    st.markdown("Atlases that were built with it stay, but take no text until it is fetched again.")
                    key = f"remove-{one.name}-{one.partial}"
                    st.button("Remove the files", key=key, on_click=_remove, args=(one.name,), type="primary")


def _remove(name: str) -> None:
    jobs.attempt(lambda: clear(name))


# ---------------------------------------------------------------- the right side: one encoder


def _details(choice: EncoderOption, atlas: Atlas) -> None:
    encoder_heading(choice)
    found, mix = None, None
    if choice.here and choice.neural:
        try:
            with st.spinner("Checking its files…"):
                found = resources.checkpoint(choice.name)
            if st.session_state.get(f"mix-{choice.name}"):
                with st.spinner("Reading its weights…"):
                    mix = resources.encoder(found.fingerprint, found.source).mix_weights
        except CociteAtlasError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
    for manifest in choice.atlases:
        _built(manifest)
    if choice.atlases and choice.encodes and not choice.here:
        _fetch_again(choice)
    now = background.latest()
    if not choice.atlases and not (_is_by(now, choice.name) and jobs.runs()):
        _offer(choice, atlas)
    encoder_facts(choice, checkpoint=found, mix=mix)
    if found is not None and found.form.pooling == "scalar_mix" and mix is None:
        st.button("Show its scalar mix", on_click=_show_mix, args=(choice.name,))


def _fetch_again(choice: EncoderOption) -> None:
    """Fetch an encoder whose atlas is there and whose files are gone. Leaving the page stops it; it goes on later."""
    st.warning(
        "Its files are not on this machine: its atlas shows its map and finds papers like a paper, but takes no text.",
        icon=":material/cloud_off:",
    )
    if not st.button(f"Download it again ({size(choice.download)})", type="primary", icon=":material/download:"):
        return
    bar = st.progress(0.0, text="Asking for it…")

    def progress(_stage: str, done: int, total: int) -> None:
        bar.progress(min(done / total, 1.0) if total else 0.0, text=f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    try:
        fetch(choice.name, progress=progress)
    except CociteAtlasError as error:
        bar.empty()
        st.error(escaped(str(error)), icon=":material/error:")
        return
    st.rerun()


def _show_mix(name: str) -> None:
    st.session_state[f"mix-{name}"] = True


def _built(manifest: Manifest) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"built-{manifest.name}"):
        jobs.way_to(manifest, label=f"Explore with {manifest.encoder.display_name}")
        rounded = ", in bfloat16" if manifest.encoder.precision == "bfloat16" else ""
        st.caption(f"{size(disk_use(manifest.name))} on disk, built {escaped(manifest.created[:10])}{rounded}")
        if manifest.name != MEDLINE:
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown(f"Delete the atlas **{escaped(manifest.name)}**? The papers and the other atlases stay.")
                key = f"delete-{manifest.name}"
                st.button("Delete it", key=key, on_click=_delete, args=(manifest.name, manifest.corpus), type="primary")


def _delete(name: str, corpus: str) -> None:
    jobs.attempt(lambda: delete_atlas(name))
    left = [manifest.name for manifest in atlases_of(corpus)]
    if st.query_params.get("atlas") == name and name not in left:
        # The page is about this atlas's papers: another atlas of them, or the default corpus, takes its place.
        st.query_params["atlas"] = left[0] if left else MEDLINE


def _offer(choice: EncoderOption, atlas: Atlas) -> None:
    """What an atlas by it would take, and the button that begins it."""
    with st.container(border=True, key="offer"):
        fast = choice.neural and has_fast_bfloat16()
        rounded = fast and st.toggle(
            "Faster, slightly rounded (bfloat16)",
            key=_ROUNDED,
            value=default_precision() == "bfloat16",
            help="Half the bits in every product: of the ten nearest papers, hardly one in a hundred changes.",
        )
        precision: Precision = "bfloat16" if rounded else "float32"
        try:
            with st.spinner("Measuring how fast this machine is…"):
                taken = resources.cost(choice.name, atlas.build, precision, choice, atlas)
        except CociteAtlasError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
        device = "graphics card" if taken.device == "cuda" else "processor"
        steps = [f"**{duration(taken.encoding).capitalize()}** to encode {len(atlas):,} papers on this {device}"]
        if choice.download:
            steps.insert(0, f"**{size(choice.download)}** to download, once")
        steps.append(f"{duration(taken.besides)} for the map and the index")
        st.markdown("\n".join(f"- {step}" for step in steps))
        st.button(
            "Download it and build the atlas" if choice.download else "Build the atlas",
            type="primary",
            icon=":material/construction:",
            disabled=jobs.runs(),
            on_click=_start,
            args=(atlas.name, choice.name, precision),
        )
        st.caption("In the background: the present atlas goes on answering.")
