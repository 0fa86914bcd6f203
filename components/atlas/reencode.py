"""Build another atlas of an atlas's papers, row for row, by another encoder."""

from contextlib import suppress

from components.atlas import paths, store
from components.atlas.build import READING, BuildSettings, build_from, work_folder
from components.atlas.corpora import atlas_name_for
from components.atlas.encoders import choose_encoder
from components.atlas.manifest import Manifest
from components.atlas.paths import NameReserved
from components.encoder.base import Precision
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

    encoder, precision, resuming: as in `build_atlas`. name: by default `atlas_name_for` the corpus and the encoder.
    Raises NameReserved where the name is the base's, the default atlas's or that of an atlas of another corpus;
    NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite, EncoderUnavailable, UnknownEncoder, NoWordsToLearn,
    and what `progress` does.
    """
    if name is not None:
        paths.atlas_folder(name)  # refuses a bad name before anything is loaded
    atlas = store.open_atlas(base)
    chosen = choose_encoder(encoder, precision=precision, progress=progress)
    corpus = atlas.manifest.corpus
    name = name or atlas_name_for(corpus, chosen.source, precision=chosen.precision)
    _check_free(name, base=base, corpus=corpus)
    papers = {"name": base, "papers": atlas.manifest.files[store.PAPERS].sha256}
    with paths.home_errors(), paths.build_lock(name):
        work = work_folder(name, files=[papers], fingerprint=chosen.work_key, settings=settings)
        progress(READING, 1, 1)
        return build_from(
            work,
            atlas.papers,
            name=name,
            corpus=corpus,
            base=base,
            chosen=chosen,
            source=atlas.manifest.source,
            problems=store.read_problems(atlas.manifest),
            settings=settings,
            progress=progress,
        )


def _check_free(name: str, *, base: str, corpus: str) -> None:
    if name == base:
        raise NameReserved(
            f"{name!r} is the name of the atlas itself, which stays as it is. Choose another: --name NAME"
        )
    paths.check_name(name)
    if name in paths.atlas_names():
        other = corpus
        with suppress(store.AtlasDamaged):  # building it again repairs it
            other = store.read_manifest(name).corpus
        if other != corpus:
            raise NameReserved(
                f"{name!r} is the name of an atlas of {other!r}, not of {corpus!r}. Choose another: --name NAME"
            )
