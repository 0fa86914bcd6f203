"""Verify an atlas: its files are unchanged, and a sample of its rows encodes to the same vectors."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from components.atlas.build import encode_papers
from components.atlas.encoders import encoder_of
from components.atlas.store import open_atlas
from components.index.exact import Vectors

SAMPLE = 50  # rows encoded again: some seconds on two cores, and a shifted row anywhere is all but sure to be seen
# Share of a vector's length. Half precision (the shipped vectors) costs 0.0005; other processors' kernels, and
# bfloat16 on a GPU, up to 0.02; another paper is 0.5 away or more.
TOLERANCE = 0.03
_SEED = 11


@dataclass(frozen=True, slots=True)
class Verification:
    """The result. largest_error: L2 distance between an old and a new vector, over the vector's length."""

    name: str
    papers: int
    rows: int
    largest_error: float
    worst_row: int

    @property
    def passed(self) -> bool:
        """Whether every row encoded again is the same within TOLERANCE."""
        return self.largest_error <= TOLERANCE

    def summary(self) -> str:
        """In a sentence or two."""
        if not self.rows:
            return (
                f"{self.name}: all files are unchanged. Its {self.papers:,} vectors are its "
                "own, so none of them can be encoded again."
            )
        result = (
            f"{self.name}: all files are unchanged; {self.rows} of {self.papers:,} rows were "
            f"encoded again, and the largest relative error is {self.largest_error:.2g} (row {self.worst_row})."
        )
        return result if self.passed else f"{result} That is more than {TOLERANCE}: build the atlas again."

    def to_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self) | {"passed": self.passed}


def verify_atlas(name: str, *, rows: int = SAMPLE) -> Verification:
    """Open an atlas (which checks every file), and encode a random sample of its rows again.

    Of an atlas with precomputed vectors none can be: `rows` of the result is then 0.
    Raises AtlasDamaged, EncoderUnavailable, FingerprintMismatch.
    """
    atlas = open_atlas(name)
    if not atlas.manifest.encoder.takes_text:
        return Verification(name=name, papers=len(atlas), rows=0, largest_error=0.0, worst_row=0)
    encoder = encoder_of(atlas.manifest, local_files_only=True)
    atlas.check_fingerprint(encoder.fingerprint)
    sample = np.sort(np.random.default_rng(_SEED).permutation(len(atlas))[: max(1, rows)])
    again = encode_papers(atlas.papers.take(sample), encoder)
    errors = relative_errors(atlas.vectors[sample], again)
    worst = int(errors.argmax())
    return Verification(
        name=name,
        papers=len(atlas),
        rows=len(sample),
        largest_error=float(errors[worst]),
        worst_row=int(sample[worst]),
    )


def relative_errors(vectors: Vectors, again: Vectors) -> NDArray[np.float32]:
    """L2 distance of each vector to what came out again, over the length of that: float32 (n,) of two (n, d)."""
    lengths = np.maximum(np.linalg.norm(again, axis=1), 1e-9)
    errors: NDArray[np.float32] = np.linalg.norm(again - vectors, axis=1) / lengths
    return errors
