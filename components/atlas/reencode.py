"""An atlas's papers, encoded again by another encoder: another atlas of the same corpus, row for row."""

from contextlib import suppress

from components.atlas import paths, store
from components.atlas.build import FETCHING, READING, BuildSettings, NameReserved, build_from, work_folder
from components.atlas.corpora import atlas_name_for, note_request
from components.atlas.encoders import choose_encoder
from components.atlas.manifest import Manifest
from components.atlas.paths import home_errors
from components.atlas.store import AtlasDamaged
from components.encoder import Precision
from corpus.progress import Progress, no_progress


def reencode(
    base: str,
    *,
    encoder: str,
    precision: Precision | None = None,
    name: str | None = None,
    settings: BuildSettings = BuildSettings(),  # noqa: B008
    progress: Progress = no_progress,
) -> Manifest:
    """Build another atlas of the papers of the atlas `base`, in its rows and order; the base stays as it is.

    encoder: a catalogue name, or a folder or zip; fetched where it is not here. precision: as in `load_encoder`.
    name: by default `atlas_name_for` the base's corpus and the encoder. A build
    that was stopped or killed is taken up where it was when the papers, the encoder and the settings are the same.
    Raises NameReserved where the name is the base's, the default atlas's or that of an atlas of another corpus;
    NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite, EncoderUnavailable, UnknownEncoder, NoWordsToLearn,
    and what `progress` does.
    """
    if name is not None:
        paths.atlas_folder(name)  # a bad name is said before anything is loaded
    opened = store.open_atlas(base)
    chosen = choose_encoder(encoder, precision=precision, on_fetch=lambda done, total: progress(FETCHING, done, total))
    corpus = opened.manifest.corpus
    name = name or atlas_name_for(corpus, chosen.source, precision=chosen.precision)
    _check_free(name, base=base, corpus=corpus)
    papers = {"name": base, "papers": opened.manifest.files[store.PAPERS].sha256}
    with home_errors(), paths.build_lock(name):
        work = work_folder(name, files=[papers], fingerprint=chosen.work_key, settings=settings)
        note_request(work, corpus=corpus, base=base, encoder=chosen.source, precision=chosen.precision)
        progress(READING, 1, 1)
        return build_from(
            work,
            opened.papers,
            name=name,
            corpus=corpus,
            base=base,
            chosen=chosen,
            source=opened.manifest.source,
            problems=store.read_problems(opened.manifest),
            settings=settings,
            progress=progress,
        )


def _check_free(name: str, *, base: str, corpus: str) -> None:
    if name in (base, paths.DEFAULT_ATLAS):
        raise NameReserved(
            f"{name!r} is the name of the {'atlas itself' if name == base else 'default atlas'}, which stays as it is. "
            "Give the new one another name: --name NAME"
        )
    if name in paths.atlas_names():
        other = corpus
        with suppress(AtlasDamaged):  # building it again is what repairs it
            other = store.read_manifest(name).corpus
        if other != corpus:
            raise NameReserved(
                f"{name!r} is the name of an atlas of {other!r}, not of {corpus!r}. "
                "Give the new one another name: --name NAME"
            )
