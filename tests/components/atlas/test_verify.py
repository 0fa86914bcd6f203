"""Verification: an atlas as it was built passes, and one that was spoilt does not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from components.atlas import store
from components.atlas.store import open_atlas
from components.atlas.verify import TOLERANCE, verify_atlas
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint


def spoil(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    atlas = open_atlas(name)
    parts = store.AtlasParts(
        name=name,
        papers=atlas.papers,
        vectors=change(np.array(atlas.vectors)),
        coordinates=np.array(atlas.coordinates),
        region_ids=np.array(atlas.region_ids),
        regions=atlas.manifest.regions,
        pair_distances=np.array(atlas.pair_distances),
        graph=None,
        encoder=atlas.manifest.encoder,
        index=atlas.manifest.index,
        projection={},
        source={},
        versions={},
    )
    store.write_atlas(parts)


def test_an_atlas_as_it_was_built_passes(topics: str) -> None:
    report = verify_atlas(topics)
    assert report.passed
    assert (report.rows, report.papers) == (12, 12)
    assert report.largest_error < 1e-5
    assert report.to_dict()["passed"] is True
    assert verify_atlas(topics, rows=3).rows == 3
    assert verify_atlas(topics, rows=0).rows == 1


def test_rows_that_are_shifted_are_found(topics: str) -> None:
    spoil(topics, lambda vectors: np.roll(vectors, 1, axis=0))
    report = verify_atlas(topics, rows=2)
    assert not report.passed
    assert report.largest_error > 0.2
    assert "build the atlas again" in report.summary()


def test_one_wrong_row_is_named(topics: str) -> None:
    def change(vectors: np.ndarray) -> np.ndarray:
        vectors[7] = vectors[8]
        return vectors

    spoil(topics, change)
    report = verify_atlas(topics)
    assert (report.passed, report.worst_row) == (False, 7)


def test_half_precision_passes(topics: str) -> None:
    spoil(topics, lambda vectors: vectors.astype(np.float16).astype(np.float32))
    report = verify_atlas(topics)
    assert report.passed
    assert report.largest_error < TOLERANCE / 10


def test_an_atlas_whose_encoder_has_changed_is_refused(topics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(find_checkpoint(EMBEDDED), fingerprint="0" * 64)
    monkeypatch.setattr("components.encoder.bi_encoder.find_checkpoint", lambda name, **_: changed)
    with pytest.raises(store.FingerprintMismatch):
        verify_atlas(topics)
