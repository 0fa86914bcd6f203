"""Training pairs: papers that were cited together, the splits, and the dev set's fixed negatives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError

Rows = NDArray[np.int32]
Keys = NDArray[np.int64]


class PairsError(CociteAtlasError):
    """Training pairs that cannot be made, written or read; it names the file and the place."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPairs:
    """Pairs of co-cited papers. A paper is called by its row in `papers`.

    name: of the folder, for people. fingerprint: SHA-256 (hex) of all that training reads: texts, pairs and splits.
    papers: a table with `corpus.paper.SCHEMA`; each has a title, and unless titles alone were asked for an abstract.
    train: int32 (n, 2), anchor and positive, never equal. dev: int32 (m, 3), anchor, positive and the fixed negative,
        which is co-cited with the anchor in no split. test: int32 (t, 2), pairs that are in neither of the others.
    told: how the pairs were made, for the model card: settings, sources and what each filter dropped; JSON values.
    """

    name: str
    fingerprint: str
    papers: pa.Table
    train: Rows
    dev: Rows
    test: Rows
    told: dict[str, Any]


def pair_keys(rows: Rows, *, papers: int) -> Keys:
    """One number a pair, the same whichever of the two comes first.

    rows: int32 (n, 2 or more), each below `papers`; the first two columns count.
    """
    first, second = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    keys: Keys = np.minimum(first, second) * papers + np.maximum(first, second)
    return keys
