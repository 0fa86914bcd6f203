"""The encoder of an atlas: the one that a build uses, and the one that encodes queries."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.atlas.manifest import PRECOMPUTED, Manifest
from components.atlas.paths import atlas_folder
from components.atlas.store import FITTED, AtlasDamaged, check_file
from components.encoder.base import Encoder, Precision
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import LEXICAL
from components.encoder.lexical import LexicalEncoder, LexicalFileDamaged, settings_fingerprint
from corpus.errors import CociteAtlasError
from corpus.io.files import beside
from corpus.progress import Progress, no_progress

LEARNING_SAMPLE = 200_000  # papers that the lexical encoder is fitted on: 2 GB; more would only add rare words
_LEARNING_SEED = 3


class TakesNoText(CociteAtlasError):
    """An atlas of precomputed vectors: no encoder here makes vectors that can be compared with them."""


def no_text(manifest: Manifest) -> str:
    """Why an atlas of precomputed vectors takes no text, and what to do instead."""
    named = f" by {manifest.encoder.name}, which is not on this machine" if manifest.encoder.name != PRECOMPUTED else ""
    return (
        f"The atlas {manifest.name!r} has vectors of its own{named}, so no text can be searched for in it. "
        "Search from its papers, or build another atlas of them with an encoder."
    )


def encoder_of(manifest: Manifest, *, precision: Precision | None = None, local_files_only: bool = False) -> Encoder:
    """The encoder for queries to an atlas.

    precision: as in `load_encoder`. local_files_only: download nothing. Its fingerprint is the atlas's unless the
    checkpoint was changed since, which `Atlas.check_fingerprint` refuses.
    Raises TakesNoText, EncoderUnavailable, UnknownEncoder; AtlasDamaged where a lexical encoder's file was changed.
    """
    if not manifest.encoder.takes_text:
        raise TakesNoText(no_text(manifest))
    if manifest.encoder.source != LEXICAL:
        return load_encoder(manifest.encoder.source, precision=precision, local_files_only=local_files_only)
    if FITTED not in manifest.files:
        raise AtlasDamaged(f"{manifest.name}: its manifest lists no {FITTED}. Build it again.")
    path = atlas_folder(manifest.name) / manifest.folder / FITTED
    check_file(path, manifest.files[FITTED], atlas=manifest.name)
    try:
        encoder = LexicalEncoder.load(path)
    except LexicalFileDamaged as error:
        raise AtlasDamaged(f"{manifest.name}: {error}. Build it again.") from error
    if encoder.fingerprint != manifest.encoder.fingerprint:
        raise AtlasDamaged(f"{manifest.name}: {FITTED} is the encoder of another atlas. Build it again.")
    return encoder


@dataclass(frozen=True, slots=True)
class ChosenEncoder:
    """The encoder of a build. source: finds it again. loaded: None for the lexical one, which is not fitted yet.

    fingerprint: of the checkpoint, or of the lexical encoder's settings.
    """

    source: str
    fingerprint: str
    precision: Precision
    loaded: Encoder | None

    @property
    def work_key(self) -> str:
        """Identifies its work: vectors of different precisions are not mixed."""
        return self.fingerprint if self.precision == "float32" else f"{self.fingerprint}-{self.precision}"

    def ready(self, work: Path, papers: pa.Table, *, progress: Progress) -> Encoder:
        """The encoder; the lexical one is fitted on the papers, or read from the work folder. Raises NoWordsToLearn."""
        return self.loaded if self.loaded is not None else _fit_lexical(work, papers, progress)


def choose_encoder(
    name_or_path: str, *, precision: Precision | None = None, progress: Progress = no_progress
) -> ChosenEncoder:
    """The encoder of a catalogue name, folder or zip, to build with; downloaded if needed. Raises as `load_encoder`."""
    if name_or_path == LEXICAL:
        return ChosenEncoder(LEXICAL, settings_fingerprint(), precision="float32", loaded=None)
    loaded = load_encoder(name_or_path, precision=precision, progress=progress)
    return ChosenEncoder(loaded.source, loaded.fingerprint, loaded.precision, loaded)


def _fit_lexical(work: Path, papers: pa.Table, progress: Progress) -> LexicalEncoder:
    path = work / FITTED
    if path.is_file():
        with suppress(LexicalFileDamaged):  # then it is fitted again
            return LexicalEncoder.load(path)
    if papers.num_rows > LEARNING_SAMPLE:
        rows = np.random.default_rng(_LEARNING_SEED).choice(papers.num_rows, size=LEARNING_SAMPLE, replace=False)
        papers = papers.take(np.sort(rows))
    texts = list(zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True))
    fitted = LexicalEncoder.fit(texts, progress=progress)
    with beside(path) as partial:
        fitted.save(partial)
    return fitted
