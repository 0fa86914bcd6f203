"""Growing: papers added to an atlas and taken from it, and its map laid out again. Old vectors and places stay."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.atlas import build, paths, store
from components.atlas.build import (
    INDEXING,
    PROJECTING,
    WRITING,
    BuildSettings,
    NameReserved,
    assemble,
    encode_resumably,
    random_pair_distances,
    tuned_index,
    versions,
)
from components.atlas.corpora import atlases_of, discard_additions, note_request
from components.atlas.encoders import encoder_of
from components.atlas.manifest import PRECOMPUTED, Growth, Manifest
from components.atlas.paths import home_errors
from components.atlas.placement import place_newcomers, recounted
from components.atlas.store import Atlas
from components.encoder import (
    LEXICAL,
    Encoder,
    EncoderUnavailable,
    LexicalEncoder,
    Precision,
    UnknownEncoder,
    find_checkpoint,
)
from components.index.exact import Neighbours, Vectors
from components.index.hnsw import HnswIndex, HnswSettings
from components.mapping.projection import fit_projection
from components.search.search import PLACING_NEIGHBOURS
from corpus.dedup import Known, find_rows
from corpus.errors import CociteAtlasError
from corpus.paper import Paper, paper_at, to_table
from corpus.progress import Cancelled, Progress, no_progress

COMPARING, PLACING = "Finding new papers", "Placing papers on the map"
ADDING_STAGES = (COMPARING, build.ENCODING, PLACING, INDEXING, WRITING)
REMOVING_STAGES = (INDEXING, WRITING)
_MOST_ACCOUNTS = 100  # of additions, in a manifest; older ones are counted


class CannotGrow(CociteAtlasError):
    """An atlas to which no paper can be added here: nothing on this machine makes vectors that go with its own."""


def check_not_default(name: str) -> None:
    """Raise NameReserved for the default atlas (or corpus), which is never changed."""
    if name == paths.DEFAULT_ATLAS:
        raise NameReserved(
            f"{name!r} is the default atlas and stays as it is shipped: its repair would undo any change. Make a "
            f"corpus of your own from it: python -m corpus export {name} --format jsonl --output mine.jsonl, then "
            "python -m corpus build mine.jsonl --name mine"
        )


def check_can_grow(manifest: Manifest) -> None:
    """Raise NameReserved for the default atlas; CannotGrow where its encoder is not here, or not what it was."""
    check_not_default(manifest.name)
    record = manifest.encoder
    if record.source == PRECOMPUTED:
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


class NothingLeft(CociteAtlasError):
    """A removal of all papers. An atlas has one at the least."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an atlas. Papers added; given, but there already; removed.

    unknown: ids that were to be removed and that no paper has. manifest: as it is now.
    """

    manifest: Manifest
    added: int = 0
    already_there: int = 0
    removed: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrowResult:
    """What became of one atlas of a corpus.

    change: None where it could not be changed. error: why not, or why only in part; empty where all went well.
    """

    name: str
    change: Change | None
    error: str = ""


def add_papers(
    name: str,
    papers: Sequence[Paper] | pa.Table,
    *,
    source: dict[str, Any] | None = None,
    problems: pa.Table | None = None,
    progress: Progress = no_progress,
) -> Change:
    """Add to the atlas `name` those of some papers that it has not, after its own, whose rows stay as they are.

    What repeats one of its papers, or an earlier one of these, by the rules of `corpus.dedup`, is counted and not
    added. papers: a list of them, or a table with `SCHEMA`. source: the account of where they came from, kept in the
    manifest (see `Manifest.source`). problems: the records that were left out there, as in `AtlasParts`.
    New papers alone are encoded; a call that was stopped or killed is taken up where it was when the same papers are
    new. They are placed on the map by their neighbours (`place_newcomers`), until `rebuild_due` says that this no
    longer does.
    Raises NameReserved, CannotGrow, NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite,
    and what `progress` does. Until the last rename the atlas stays what it was.
    """
    check_can_grow(store.read_manifest(name))
    with home_errors(), paths.build_lock(name):
        atlas = store.open_atlas(name)  # not before: another process may have changed it until the lock was held
        new = _new_papers(atlas, papers, progress)
        already_there = len(papers) - new.num_rows
        if not new.num_rows:
            discard_additions(name)  # one that was killed in the moment after it had made the atlas
            return Change(atlas.manifest, already_there=already_there)
        encoder = growing_encoder(atlas.manifest)
        work = _work_folder(atlas.manifest, new)
        vectors = encode_resumably(work, new, encoder, progress)
        manifest = _with_newcomers(
            atlas,
            new,
            vectors,
            encoder=encoder,
            account={**(source or {}), "added": new.num_rows, "already_there": already_there},
            problems=_joined(store.read_problems(atlas.manifest), problems),
            progress=progress,
        )
        shutil.rmtree(work, ignore_errors=True)
        progress(WRITING, 1, 1)
    return Change(manifest, added=new.num_rows, already_there=already_there)


def remove_papers(name: str, ids: Sequence[str], *, progress: Progress = no_progress) -> Change:
    """Take papers from the atlas `name`; the others keep their order, vectors and places on the map.

    ids: ids of papers, or else their PMIDs or DOIs, which take away every paper that has them.
    Raises NameReserved; NothingLeft where no paper would stay; NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft,
    CannotWrite, and what `progress` does. Until the last rename the atlas stays what it was.
    """
    check_not_default(name)
    store.read_manifest(name)
    with home_errors(), paths.build_lock(name):
        atlas = store.open_atlas(name)
        rows, unknown = find_rows(atlas.papers, ids)
        if not rows:
            return Change(atlas.manifest, unknown=tuple(unknown))
        if len(rows) == len(atlas):
            raise NothingLeft(
                f"These are all {len(atlas):,} papers of {name!r}, and an atlas without papers is none. Keep one, or "
                "delete the atlas."
            )
        kept = np.setdiff1d(np.arange(len(atlas)), rows)
        manifest = atlas.manifest
        vectors = np.asarray(atlas.vectors[kept])
        growth = replace(manifest.growth, removed=manifest.growth.removed + len(rows))
        manifest = _rewrite(
            atlas,
            papers=atlas.papers.take(pa.array(kept)),
            vectors=vectors,
            coordinates=np.asarray(atlas.coordinates[kept]),
            region_ids=atlas.region_ids[kept],
            growth=growth,
            source=manifest.source,
            problems=store.read_problems(manifest),
            fitted=fitted_encoder(manifest),
            grown=None,  # hnswlib only marks rows as deleted, and its labels would no longer be rows
            progress=progress,
        )
        progress(WRITING, 1, 1)
    return Change(manifest, removed=len(rows), unknown=tuple(unknown))


def rebuild(name: str, *, settings: BuildSettings = BuildSettings(), progress: Progress = no_progress) -> Manifest:  # noqa: B008
    """Lay out the map of an atlas again, find its regions and name them; nothing is encoded, and rows stay.

    The lexical encoder, too, stays as it was fitted: words that only papers added since have, it does not know.
    Raises NameReserved, NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite, and what `progress` does.
    """
    check_not_default(name)
    store.read_manifest(name)
    with home_errors(), paths.build_lock(name):
        atlas = store.open_atlas(name)
        manifest = atlas.manifest
        progress(PROJECTING, 0, 1)
        coordinates = fit_projection(
            atlas.vectors,
            settings=settings.projection,
            on_progress=lambda done, total: progress(PROJECTING, done, total),
        )
        return assemble(
            name,
            papers=atlas.papers,
            vectors=atlas.vectors,
            coordinates=coordinates,
            encoder=manifest.encoder,
            source=manifest.source,
            settings=settings,
            progress=progress,
            corpus=manifest.corpus,
            fitted=fitted_encoder(manifest),
            problems=store.read_problems(manifest),
            title=manifest.title,
        )


def grow_corpus(
    corpus: str,
    *,
    add: Sequence[Paper] | pa.Table = (),
    remove: Sequence[str] = (),
    source: dict[str, Any] | None = None,
    problems: pa.Table | None = None,
    progress: Progress = no_progress,
) -> list[GrowResult]:
    """Take papers from every atlas of a corpus and add others, one atlas after another; what became of each.

    An atlas that cannot be changed is told of, and the others go on. Raises NameReserved for the default corpus, and
    for one that has no atlas NoSuchAtlas; Cancelled, and all that is no CociteAtlasError, goes through: atlases that
    were done stay so, and the same call does the others.
    """
    check_not_default(corpus)
    names = [manifest.name for manifest in atlases_of(corpus)]
    if not names:
        store.read_manifest(corpus)  # says what there is instead
    found = []
    for name in names:
        change, error = None, ""
        try:
            if remove:
                change = remove_papers(name, remove, progress=progress)
            if len(add):
                added = add_papers(name, add, source=source, problems=problems, progress=progress)
                change = replace(added, removed=change.removed, unknown=change.unknown) if change else added
        except Cancelled:
            raise
        except CociteAtlasError as refused:
            error = str(refused)
        found.append(GrowResult(name, change, error))
    return found


def _new_papers(atlas: Atlas, papers: Sequence[Paper] | pa.Table, progress: Progress) -> pa.Table:
    """Those of some papers that an atlas has not, each once, with ids that are free there."""
    n = len(papers)
    progress(COMPARING, 0, n)
    known = Known(atlas.papers)
    new: list[pa.Table] = []
    for start in range(0, n, build.CHUNK):
        rows = range(start, min(start + build.CHUNK, n))
        some = [paper_at(papers, row) if isinstance(papers, pa.Table) else papers[row] for row in rows]
        new.append(to_table(taken for paper in some if (taken := known.add_if_new(paper)) is not None))
        progress(COMPARING, rows.stop, n)
    return pa.concat_tables(new) if new else to_table([])


def _joined(problems: pa.Table | None, more: pa.Table | None) -> pa.Table | None:
    there = [table for table in (problems, more) if table is not None]
    return pa.concat_tables(there) if there else None


def _work_folder(manifest: Manifest, new: pa.Table) -> Path:
    """Where these papers are being encoded for this atlas, the request noted in it.

    The atlas's build is no part of the key: a vector is that of its text, whatever became of the other rows meanwhile.
    """
    told = hashlib.sha256()
    for title, abstract in zip(new["title"].to_pylist(), new["abstract"].to_pylist(), strict=True):
        told.update(f"{len(title)} {len(abstract)} {title}{abstract}".encode("utf-8", "replace"))
    record = manifest.encoder
    key = {
        "kind": "add",
        "texts": told.hexdigest(),
        "fingerprint": f"{record.fingerprint}-{record.precision}",
        "chunk": build.CHUNK,
    }
    work = paths.work_folder(manifest.name, key)
    note_request(
        work,
        corpus=manifest.corpus,
        base=manifest.name,
        encoder=record.source,
        precision=record.precision,
        papers=new.num_rows,
        kind="add",
    )
    return work


def _with_newcomers(
    atlas: Atlas,
    new: pa.Table,
    vectors: Vectors,
    *,
    encoder: Encoder,
    account: dict[str, Any],
    problems: pa.Table | None,
    progress: Progress,
) -> Manifest:
    """Write an atlas with papers after its own that have their vectors, float32 (m, d)."""
    manifest = atlas.manifest
    neighbours: list[Neighbours] = []
    for vector in vectors:
        if len(neighbours) % build.CHUNK == 0:
            progress(PLACING, len(neighbours), len(vectors))
        neighbours.append(atlas.index.search(vector, k=PLACING_NEIGHBOURS))
    pairs = atlas.pair_distances
    placed = place_newcomers(
        atlas.coordinates,
        atlas.region_ids,
        neighbours=neighbours,
        typical_distance=float(np.median(pairs)) if len(pairs) else 0.0,
    )
    growth = Growth(
        added=manifest.growth.added + len(vectors),
        removed=manifest.growth.removed,
        far=manifest.growth.far + placed.far,
    )
    return _rewrite(
        atlas,
        papers=pa.concat_tables([atlas.papers, new]),
        vectors=np.concatenate([atlas.vectors, vectors]),
        coordinates=np.concatenate([atlas.coordinates, placed.coordinates]),
        region_ids=np.concatenate([atlas.region_ids, placed.region_ids]),
        growth=growth,
        source=_with_account(manifest.source, account),
        problems=problems,
        fitted=encoder if isinstance(encoder, LexicalEncoder) else None,
        grown=atlas.index.graph,
        progress=progress,
    )


def _with_account(source: dict[str, Any], account: dict[str, Any]) -> dict[str, Any]:
    """The accounts of where an atlas's papers came from, with one more of an addition."""
    told = {**account, "at": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions()}
    additions = [*source.get("additions", []), told]
    left_out = max(len(additions) - _MOST_ACCOUNTS, 0)
    return {
        **source,
        "additions": additions[left_out:],
        "additions_left_out": int(source.get("additions_left_out", 0)) + left_out,
    }


def _rewrite(
    atlas: Atlas,
    *,
    papers: pa.Table,
    vectors: Vectors,
    coordinates: NDArray[np.float32],
    region_ids: NDArray[np.int16],
    growth: Growth,
    source: dict[str, Any],
    problems: pa.Table | None,
    fitted: LexicalEncoder | None,
    grown: HnswIndex | None,
    progress: Progress,
) -> Manifest:
    """Write an atlas in the place of `atlas` with other rows; all else of it stays."""
    manifest = atlas.manifest
    regions, region_ids = recounted(manifest.regions, region_ids, coordinates=coordinates)
    settings = HnswSettings()
    same = (manifest.index.m, manifest.index.ef_construction) == (settings.m, settings.ef_construction)
    graph, record = tuned_index(vectors, settings, progress, grown=grown if same else None)
    progress(WRITING, 0, 1)
    return store.write_atlas(
        store.AtlasParts(
            name=manifest.name,
            papers=papers,
            vectors=vectors,
            coordinates=coordinates,
            region_ids=region_ids,
            regions=regions,
            pair_distances=random_pair_distances(vectors),
            graph=graph,
            encoder=manifest.encoder,
            index=record,
            projection=manifest.projection,
            source=source,
            versions=manifest.versions,
            corpus=manifest.corpus,
            fitted=fitted,
            problems=problems,
            title=manifest.title,
            growth=growth,
        )
    )
