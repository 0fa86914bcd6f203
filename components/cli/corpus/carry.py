"""`python -m corpus archive | import | export`: an atlas as one file and back, and its papers or vectors as files."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.atlas import store
from components.atlas.archive import import_archive, write_archive
from components.atlas.store import Atlas
from components.atlas.vectors_export import VECTOR_EXPORTS, vector_pieces
from components.cli.corpus.shared import (
    add_progress_options,
    ensure,
    existing_files,
    json_line,
    listed_ids,
    papers_words,
    progress_of,
)
from corpus.errors import CociteAtlasError
from corpus.export import EXPORTS, export_pieces
from corpus.io.disk import disk_errors
from corpus.io.files import beside, size_words
from corpus.paper import papers_in

_UNKNOWN_TOLD = 5
_STANDARD_OUTPUT = "-"


def add_carry(verbs: Any) -> None:
    """Add the commands and their arguments to the parser's commands."""
    archive = verbs.add_parser("archive", help="write an atlas into one file, to import it elsewhere")
    archive.add_argument("name", help="of an atlas, as `list` says it")
    archive.add_argument("file", metavar="FILE", help="the zip to write")
    add_progress_options(archive)
    archive.set_defaults(run=_archive)

    import_ = verbs.add_parser("import", help="make an atlas of an archive")
    import_.add_argument("file", metavar="FILE", help="what `archive` wrote")
    import_.add_argument("--name", help="the atlas's name (by default the archive's, with a number where it is taken)")
    add_progress_options(import_)
    import_.set_defaults(run=_import)

    export = verbs.add_parser("export", help="write an atlas's papers, or its vectors, into a file")
    export.add_argument("name", help="of an atlas, as `list` says it")
    export.add_argument("--format", required=True, choices=(*EXPORTS, *VECTOR_EXPORTS))
    export.add_argument("--output", required=True, metavar="FILE", help="'-' writes to standard output")
    export.add_argument("--ids", metavar="FILE", help="only the papers whose ids are in this file, one a line")
    export.set_defaults(run=_export)


def _archive(options: argparse.Namespace) -> int:
    ensure(options.name)
    path = Path(options.file)
    with progress_of(options) as progress:
        write_archive(options.name, path, progress=progress)
    if options.progress == "json":
        json_line({"written": str(path), "bytes": path.stat().st_size})
        return 0
    print(f"{path}: the archive of {options.name}, {size_words(path.stat().st_size)}.")
    return 0


def _import(options: argparse.Namespace) -> int:
    with progress_of(options) as progress:
        manifest = import_archive(existing_files([options.file])[0], name=options.name, progress=progress)
    if options.progress == "json":
        json_line({"built": manifest.name, "papers": manifest.papers})
        return 0
    print(f"{manifest.name}: {papers_words(manifest.papers)}, by {manifest.encoder.label}.")
    if not manifest.encoder.takes_text:
        print("Its encoder is not on this machine, so it takes no text; its map and searching from papers work.")
    return 0


def _export(options: argparse.Namespace) -> int:
    ensure(options.name)
    atlas = store.open_atlas(options.name)
    rows = None if options.ids is None else _rows(atlas, Path(options.ids))
    count = len(atlas) if rows is None else len(rows)
    if options.format in EXPORTS:
        chosen = atlas.papers if rows is None else atlas.papers.take(rows)
        pieces = export_pieces(papers_in(chosen), options.format)
    else:
        pieces = vector_pieces(atlas, options.format, rows=rows)
    if options.output == _STANDARD_OUTPUT:
        _to_standard_output(pieces)
        return 0
    path = Path(options.output)
    with disk_errors(path.parent), beside(path) as partial, partial.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    print(f"{path}: {papers_words(count)} of {options.name} as {options.format}, {size_words(path.stat().st_size)}.")
    return 0


def _to_standard_output(pieces: Iterator[bytes]) -> None:
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever reads has enough
        # Else Python would try again as it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _rows(atlas: Atlas, path: Path) -> NDArray[np.int64]:
    """The rows of the ids in a file, in its order, each once; unknown ones are said. Raises CociteAtlasError."""
    ids = list(dict.fromkeys(listed_ids(path)))
    found = pc.index_in(pa.array(ids, pa.string()), value_set=atlas.papers["id"]).to_pylist()
    unknown = [paper for paper, row in zip(ids, found, strict=True) if row is None]
    if unknown:
        more = f" and {len(unknown) - _UNKNOWN_TOLD:,} more" if len(unknown) > _UNKNOWN_TOLD else ""
        named = ", ".join(f"{paper:.80}" for paper in unknown[:_UNKNOWN_TOLD])
        print(f"Not in {atlas.name}: {named}{more}", file=sys.stderr)
    rows = [row for row in found if row is not None]
    if not rows:
        raise CociteAtlasError(f"{path}: none of its {len(ids):,} ids is in {atlas.name}. Give one id a line.")
    return np.array(rows, dtype=np.int64)
