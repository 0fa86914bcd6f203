"""Add papers to an atlas, remove some, or lay out its map again. Old vectors and coordinates stay, to the bit."""

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
from components.atlas.build import PROJECTING, BuildSettings, assemble, encode_resumably, package_versions
from components.atlas.corpora import atlases_of, discard_additions, note_request
from components.atlas.encoders import encoder_of
from components.atlas.manifest import PRECOMPUTED, Growth, Manifest
from components.atlas.map_state import PLACING_NEIGHBOURS, place_papers
from components.atlas.paths import DEFAULT_ATLAS, NameReserved
from components.atlas.store import Atlas
from components.encoder.base import Encoder
from components.encoder.catalogue import LEXICAL
from components.encoder.checkpoints import find_checkpoint
from components.encoder.errors import EncoderUnavailable, UnknownEncoder
from components.encoder.lexical import LexicalEncoder
from components.index.exact import Neighbours, Vectors
from components.index.hnsw import HnswIndex, HnswSettings
from components.mapping.projection import fit_projection
from corpus.dedup import Known, find_rows
from corpus.errors import CociteAtlasError
from corpus.paper import Paper, paper_at, to_table
from corpus.progress import Cancelled, Progress, no_progress

COMPARING, PLACING = "Finding new papers", "Placing papers on the map"
_MAX_ACCOUNTS = 100  # of additions in a manifest; older ones are only counted


class CannotGrow(CociteAtlasError):
    """An atlas to which no paper can be added here: nothing on this machine makes vectors comparable with its own."""


class NothingLeft(CociteAtlasError):
    """A removal of all papers. An atlas has at least one."""


@dataclass(frozen=True, slots=True)
class Change:
    """How an atlas changed: papers added; given, but already there; removed. unknown: ids to remove that no paper has.

    manifest: as it is now.
    """

    manifest: Manifest
    added: int = 0
    already_there: int = 0
    removed: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrowResult:
    """How one atlas of a corpus changed. change: None where it could not be. error: why not, or why only in part."""

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
    """Append to the atlas `name` those papers that it does not have; its own rows stay as they are.

    Papers that repeat one of its own, or an earlier one of these, by the rules of `corpus.dedup`, are counted and not
    added. papers: a list, or a table with `SCHEMA`. source: where they came from, kept in the manifest. problems: the
    records that were left out there, as in `AtlasParts`.
    Only new papers are encoded; a call that was stopped or killed is resumed when the same papers are new. They are
    placed on the map by their neighbours, until `rebuild_due` says that this is no longer enough.
    Raises NameReserved, CannotGrow, NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite,
    and what `progress` does. Until the last rename the atlas stays what it was.
    """
    check_can_grow(store.read_manifest(name))
    with paths.home_errors(), paths.build_lock(name):
        atlas = store.open_atlas(name)  # only under the lock: another process may have changed it before
        new = _new_papers(atlas, papers, progress)
        already_there = len(papers) - new.num_rows
        if not new.num_rows:
            discard_additions(name)  # left by an addition that was killed just after it had written the atlas
            return Change(atlas.manifest, already_there=already_there)
        encoder = _growing_encoder(atlas.manifest)
        work = _work_folder(atlas.manifest, new)
        manifest = _append(
            atlas,
            new,
            encode_resumably(work, new, encoder, progress),
            encoder=encoder,
            account={**(source or {}), "added": new.num_rows, "already_there": already_there},
            problems=problems,
            progress=progress,
        )
        shutil.rmtree(work, ignore_errors=True)
    return Change(manifest, added=new.num_rows, already_there=already_there)


def remove_papers(name: str, ids: Sequence[str], *, progress: Progress = no_progress) -> Change:
    """Remove papers from the atlas `name`; the others keep their order, vectors and coordinates.

    ids: ids of papers, or else their PMIDs or DOIs, which remove every paper that has them.
    Raises NameReserved; NothingLeft where no paper would stay; NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft,
    CannotWrite, and what `progress` does. Until the last rename the atlas stays what it was.
    """
    check_not_default(name)
    store.read_manifest(name)
    with paths.home_errors(), paths.build_lock(name):
        atlas = store.open_atlas(name)
        manifest = atlas.manifest
        rows, unknown = find_rows(atlas.papers, ids)
        if not rows:
            return Change(manifest, unknown=tuple(unknown))
        if len(rows) == len(atlas):
            raise NothingLeft(
                f"These are all {len(atlas):,} papers of {name!r}, and an atlas needs at least one. Keep one, or "
                "delete the atlas."
            )
        kept = np.setdiff1d(np.arange(len(atlas)), rows)
        manifest = _rewrite(
            atlas,
            papers=atlas.papers.take(pa.array(kept)),
            vectors=np.asarray(atlas.vectors[kept]),
            coordinates=np.asarray(atlas.coordinates[kept]),
            region_ids=atlas.region_ids[kept],
            growth=replace(manifest.growth, removed=manifest.growth.removed + len(rows)),
            source=manifest.source,
            problems=store.read_problems(manifest),
            fitted=_fitted_encoder(manifest),
            grown=None,  # hnswlib only marks rows as deleted, and its labels would no longer be rows
            progress=progress,
        )
    return Change(manifest, removed=len(rows), unknown=tuple(unknown))


def rebuild(name: str, *, settings: BuildSettings = BuildSettings(), progress: Progress = no_progress) -> Manifest:  # noqa: B008
    """Lay out the map of an atlas again, and find and name its regions; nothing is encoded, and rows stay.

    The lexical encoder stays as it was fitted: it does not know words that only later papers have.
    Raises NameReserved, NoSuchAtlas, AtlasDamaged, AtlasBusy, NoSpaceLeft, CannotWrite, and what `progress` does.
    """
    check_not_default(name)
    store.read_manifest(name)
    with paths.home_errors(), paths.build_lock(name):
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
            corpus=manifest.corpus,
            title=manifest.title,
            fitted=_fitted_encoder(manifest),
            problems=store.read_problems(manifest),
            progress=progress,
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
    """Remove papers from every atlas of a corpus and add others, one atlas after another.

    An atlas that cannot be changed is reported, and the others are done. Raises NameReserved for the default corpus,
    NoSuchAtlas for one without atlases, and what `progress` does: atlases that were done stay so, and the same call
    does the rest.
    """
    check_not_default(corpus)
    names = [manifest.name for manifest in atlases_of(corpus)]
    if not names:
        store.read_manifest(corpus)  # raises, and names the atlases that there are
    results = []
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
        results.append(GrowResult(name, change, error))
    return results


# Whether an atlas can grow here


def check_not_default(name: str) -> None:
    """Raise NameReserved for the default atlas (or corpus), which is never changed."""
    if name == DEFAULT_ATLAS:
        raise NameReserved(
            f"{name!r} is the default atlas and stays as it is shipped: its repair would undo any change. Make a "
            f"corpus of your own from it: cocite export {name} --format jsonl --output mine.jsonl, then "
            "cocite build mine.jsonl --name mine"
        )


def check_can_grow(manifest: Manifest) -> None:
    """Raise NameReserved for the default atlas; CannotGrow where its encoder is missing or has changed."""
    check_not_default(manifest.name)
    record = manifest.encoder
    if record.source == PRECOMPUTED:
        raise CannotGrow(
            f"The atlas {manifest.name!r} was made of precomputed vectors, and nothing here makes such vectors of "
            "other papers. Build it again from a file that holds those of all papers."
        )
    if record.source != LEXICAL:  # whose encoder is one of the atlas's files
        with _refusing(manifest):
            _check_fingerprint(manifest, find_checkpoint(record.source, local_files_only=True).fingerprint)


def _growing_encoder(manifest: Manifest) -> Encoder:
    """The encoder of an atlas, in the precision that made its vectors. Raises CannotGrow, AtlasDamaged."""
    with _refusing(manifest):
        encoder = encoder_of(manifest, precision=manifest.encoder.precision, local_files_only=True)
    _check_fingerprint(manifest, encoder.fingerprint)
    return encoder


def _fitted_encoder(manifest: Manifest) -> LexicalEncoder | None:
    """The lexical encoder of an atlas; None for an atlas of another encoder."""
    if manifest.encoder.source != LEXICAL:
        return None
    encoder = encoder_of(manifest)
    assert isinstance(encoder, LexicalEncoder)
    return encoder


@contextmanager
def _refusing(manifest: Manifest) -> Iterator[None]:
    try:
        yield
    except (EncoderUnavailable, UnknownEncoder) as error:
        raise CannotGrow(f"No paper can be added to {manifest.name!r}: its encoder cannot be used. {error}") from error


def _check_fingerprint(manifest: Manifest, fingerprint: str) -> None:
    if fingerprint != manifest.encoder.fingerprint:
        raise CannotGrow(
            f"The encoder {manifest.encoder.name} has changed since the atlas {manifest.name!r} was built, so new "
            "vectors would not be comparable with the old ones. Put its files back, or build the atlas again."
        )


# How it grows


def _new_papers(atlas: Atlas, papers: Sequence[Paper] | pa.Table, progress: Progress) -> pa.Table:
    """The papers that an atlas does not have, each once, with ids that are free there."""
    n = len(papers)
    progress(COMPARING, 0, n)
    known = Known(atlas.papers)
    new: list[pa.Table] = []
    for start in range(0, n, build.CHUNK):
        rows = range(start, min(start + build.CHUNK, n))
        some = [paper_at(papers, row) if isinstance(papers, pa.Table) else papers[row] for row in rows]
        new.append(to_table(added for paper in some if (added := known.add_if_new(paper)) is not None))
        progress(COMPARING, rows.stop, n)
    return pa.concat_tables(new) if new else to_table([])


def _work_folder(manifest: Manifest, new: pa.Table) -> Path:
    """Where these papers are encoded for this atlas, with the request noted in it.

    The atlas's build is not part of the key: a vector depends on its text alone, not on the other rows.
    """
    digest = hashlib.sha256()
    for title, abstract in zip(new["title"].to_pylist(), new["abstract"].to_pylist(), strict=True):
        digest.update(f"{len(title)} {len(abstract)} {title}{abstract}".encode("utf-8", "replace"))
    record = manifest.encoder
    key = {
        "kind": "add",
        "texts": digest.hexdigest(),
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


def _append(
    atlas: Atlas,
    new: pa.Table,
    vectors: Vectors,
    *,
    encoder: Encoder,
    account: dict[str, Any],
    problems: pa.Table | None,
    progress: Progress,
) -> Manifest:
    """Write an atlas with new papers after its own; vectors: theirs, float32 (m, d)."""
    manifest, growth, pairs = atlas.manifest, atlas.manifest.growth, atlas.pair_distances
    neighbours: list[Neighbours] = []
    for vector in vectors:
        if len(neighbours) % build.CHUNK == 0:
            progress(PLACING, len(neighbours), len(vectors))
        neighbours.append(atlas.index.search(vector, k=PLACING_NEIGHBOURS))
    placed = place_papers(
        atlas.coordinates,
        atlas.region_ids,
        neighbours=neighbours,
        typical_distance=float(np.median(pairs)) if len(pairs) else 0.0,
    )
    all_problems = [table for table in (store.read_problems(manifest), problems) if table is not None]
    same_graph = (manifest.index.m, manifest.index.ef_construction) == (
        HnswSettings().m,
        HnswSettings().ef_construction,
    )
    return _rewrite(
        atlas,
        papers=pa.concat_tables([atlas.papers, new]),
        vectors=np.concatenate([atlas.vectors, vectors]),
        coordinates=np.concatenate([atlas.coordinates, placed.coordinates]),
        region_ids=np.concatenate([atlas.region_ids, placed.region_ids]),
        growth=replace(growth, added=growth.added + len(vectors), far=growth.far + placed.far),
        source=_with_account(manifest.source, account),
        problems=pa.concat_tables(all_problems) if all_problems else None,
        fitted=encoder if isinstance(encoder, LexicalEncoder) else None,
        grown=atlas.index.graph if same_graph else None,
        progress=progress,
    )


def _with_account(source: dict[str, Any], account: dict[str, Any]) -> dict[str, Any]:
    """An atlas's source with the account of one more addition."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    additions = [*source.get("additions", []), {**account, "at": at, "versions": package_versions()}]
    left_out = max(len(additions) - _MAX_ACCOUNTS, 0)
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
    """Write an atlas in the place of `atlas` with other rows; everything else stays."""
    manifest = atlas.manifest
    return assemble(
        manifest.name,
        papers=papers,
        vectors=vectors,
        coordinates=coordinates,
        encoder=manifest.encoder,
        source=source,
        corpus=manifest.corpus,
        title=manifest.title,
        fitted=fitted,
        problems=problems,
        regions=(manifest.regions, region_ids),
        growth=growth,
        grown=grown,
        projection=manifest.projection,
        versions=manifest.versions,
        progress=progress,
    )
