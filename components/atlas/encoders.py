"""The encoder that belongs to an atlas: the one that a build is to use, and the one that queries are encoded with."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.atlas import paths, store
from components.atlas.manifest import PRECOMPUTED, Manifest
from components.atlas.store import AtlasDamaged
from components.encoder import (
    LEXICAL,
    Encoder,
    LexicalEncoder,
    LexicalFileDamaged,
    Precision,
    load_encoder,
    settings_fingerprint,
)
from components.encoder import Progress as FetchProgress
from corpus.errors import CociteAtlasError
from corpus.io.files import beside

LEARNT_FROM = 200_000  # papers that the lexical encoder learns from: 2 GB, and more would add rare words alone
_LEARNING_SEED = 3


class TakesNoText(CociteAtlasError):
    """An atlas with vectors of its own: there is no encoder here that could put a text beside them."""


def no_text(manifest: Manifest) -> str:
    """Why an atlas takes no text, and what it does in place of that; for one that has PRECOMPUTED."""
    named = f" by {manifest.encoder.name}, which is not on this machine" if manifest.encoder.name != PRECOMPUTED else ""
    return (
        f"The atlas {manifest.name!r} has vectors of its own{named}, so no text can be looked for in it. "
        "Search from its papers, or build another atlas of them with an encoder."
    )


def encoder_of(manifest: Manifest, *, precision: Precision | None = None, local_files_only: bool = False) -> Encoder:
    """The encoder that queries to an atlas are encoded with.

    precision: as in `load_encoder`. local_files_only: fetch nothing; what is not on this machine is unavailable.
    Its fingerprint is the atlas's unless the checkpoint was changed since, which `Atlas.check_fingerprint` refuses.
    Raises TakesNoText, EncoderUnavailable, UnknownEncoder; AtlasDamaged where the file of a lexical encoder is not what
    it was.
    """
    if not manifest.encoder.takes_text:
        raise TakesNoText(no_text(manifest))
    if manifest.encoder.source != LEXICAL:
        return load_encoder(manifest.encoder.source, precision=precision, local_files_only=local_files_only)
    path = paths.atlas_folder(manifest.name) / manifest.folder / store.FITTED
    if store.FITTED not in manifest.files:
        raise AtlasDamaged(f"{manifest.name}: its manifest lists no {store.FITTED}. Build it again.")
    store.check_file(path, manifest.files[store.FITTED], atlas=manifest.name)
    try:
        encoder = LexicalEncoder.load(path)
    except LexicalFileDamaged as error:
        raise AtlasDamaged(f"{manifest.name}: {error}. Build it again.") from error
    if encoder.fingerprint != manifest.encoder.fingerprint:
        raise AtlasDamaged(f"{manifest.name}: {store.FITTED} is the encoder of another atlas. Build it again.")
    return encoder


@dataclass(frozen=True, slots=True)
class ChosenEncoder:
    """The encoder that a build is to use. source: what finds it again.

    fingerprint: what tells the build's work from that of others; the lexical encoder has its own when it has learnt.
    """

    source: str
    fingerprint: str
    precision: Precision
    loaded: Encoder | None

    @property
    def work_key(self) -> str:
        """What tells its work from another's: rounded vectors are not to be mixed with others."""
        return self.fingerprint if self.precision == "float32" else f"{self.fingerprint}-{self.precision}"

    def ready(self, work: Path, papers: pa.Table, *, on_progress: Callable[[int], None]) -> Encoder:
        """The encoder, which, being lexical, is first fitted on the papers, or read from the work folder where it is.

        on_progress: called now and then with the number of papers learnt from; may raise to stop.
        Raises NoWordsToLearn.
        """
        return self.loaded if self.loaded is not None else _learn(work, papers, on_progress)


def choose_encoder(
    name_or_path: str, *, precision: Precision | None = None, on_fetch: FetchProgress | None = None
) -> ChosenEncoder:
    """The encoder of a catalogue name or of a folder or zip, to build with. Raises as `load_encoder` does.

    on_fetch: told of the bytes of a download, where one is needed; may raise to stop it.
    """
    if name_or_path == LEXICAL:
        return ChosenEncoder(source=LEXICAL, fingerprint=settings_fingerprint(), precision="float32", loaded=None)
    loaded = load_encoder(name_or_path, precision=precision, progress=on_fetch)
    return ChosenEncoder(
        source=loaded.source, fingerprint=loaded.fingerprint, precision=loaded.precision, loaded=loaded
    )


def _learn(work: Path, papers: pa.Table, on_progress: Callable[[int], None]) -> LexicalEncoder:
    path = work / store.FITTED
    if path.is_file():
        # Learning again costs less than asking what is to be done with a damaged file.
        with suppress(LexicalFileDamaged):
            return LexicalEncoder.load(path)
    if papers.num_rows > LEARNT_FROM:
        rows = np.random.default_rng(_LEARNING_SEED).choice(papers.num_rows, size=LEARNT_FROM, replace=False)
        papers = papers.take(np.sort(rows))
    texts = list(zip(papers["title"].to_pylist(), papers["abstract"].to_pylist(), strict=True))
    fitted = LexicalEncoder.fit(texts, on_progress=on_progress)
    with beside(path) as partial:
        fitted.save(partial)
    return fitted
