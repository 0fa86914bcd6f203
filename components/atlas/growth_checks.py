"""Whether an atlas can take papers on this machine, and the encoder that makes vectors which go with its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from components.atlas import store
from components.atlas.build import NameReserved
from components.atlas.encoders import encoder_of
from components.atlas.manifest import OWN_VECTORS, Manifest
from components.encoder import (
    LEXICAL,
    Encoder,
    EncoderUnavailable,
    LexicalEncoder,
    Precision,
    UnknownEncoder,
    find_checkpoint,
)
from corpus.errors import CociteAtlasError


class CannotGrow(CociteAtlasError):
    """An atlas to which no paper can be added here: nothing on this machine makes vectors that go with its own."""


def check_not_default(name: str) -> None:
    """Raise NameReserved for the default atlas (or corpus), which is never changed."""
    if name == store.DEFAULT_ATLAS:
        raise NameReserved(
            f"{name!r} is the default atlas and stays as it is shipped: its repair would undo any change. Make a "
            f"corpus of your own from it: python -m corpus export {name} --format jsonl --output mine.jsonl, then "
            "python -m corpus build mine.jsonl --name mine"
        )


def check_can_grow(manifest: Manifest) -> None:
    """Raise NameReserved for the default atlas; CannotGrow where its encoder is not here, or not what it was."""
    check_not_default(manifest.name)
    record = manifest.encoder
    if record.source == OWN_VECTORS:
        raise CannotGrow(
            f"The atlas {manifest.name!r} was made of vectors that came from elsewhere, and nothing here makes such "
            "vectors of other papers. Build it again from a file that holds those of all papers."
        )
    if record.source != LEXICAL:  # whose encoder is one of its own files
        with _refusing(manifest):
            _check_fingerprint(manifest, find_checkpoint(record.source, local_files_only=True).fingerprint)


def growing_encoder(manifest: Manifest) -> Encoder:
    """The encoder of an atlas, in the precision that made its vectors. Raises CannotGrow, AtlasDamaged."""
    precision: Precision = "bfloat16" if manifest.encoder.precision == "bfloat16" else "float32"
    with _refusing(manifest):
        encoder = encoder_of(manifest, precision=precision, local_files_only=True)
    _check_fingerprint(manifest, encoder.fingerprint)
    return encoder


def fitted_encoder(manifest: Manifest) -> LexicalEncoder | None:
    """The lexical encoder of an atlas, to be written again with it; None for an atlas of another encoder."""
    if manifest.encoder.source != LEXICAL:
        return None
    encoder = encoder_of(manifest)
    assert isinstance(encoder, LexicalEncoder)
    return encoder


@contextmanager
def _refusing(manifest: Manifest) -> Iterator[None]:
    """What is said of an encoder that cannot be used, as what it means for the atlas."""
    try:
        yield
    except (EncoderUnavailable, UnknownEncoder) as error:
        raise CannotGrow(f"No paper can be added to {manifest.name!r}: its encoder cannot be used. {error}") from error


def _check_fingerprint(manifest: Manifest, fingerprint: str) -> None:
    if fingerprint != manifest.encoder.fingerprint:
        raise CannotGrow(
            f"The encoder {manifest.encoder.name} is not what it was when the atlas {manifest.name!r} was built, so "
            "new vectors would not go with the old ones. Put its files back, or build the atlas again."
        )
