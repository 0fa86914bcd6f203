"""Verbs that write an atlas to files and read one back: export, archive, import."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from components.cli.output import (
    MAX_LISTED,
    AsJson,
    AtlasName,
    count_papers,
    ensure_default,
    existing_files,
    print_error,
    print_json,
    progress_bars,
    read_ids,
)
from corpus.errors import CociteAtlasError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from components.atlas.store import Atlas

ExportFormat = Literal["csv", "ris", "bibtex", "jsonl", "parquet", "vectors-parquet", "vectors-npy", "coordinates-npy"]


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("export")(export)
    app.command("archive")(archive)
    app.command("import")(import_atlas)


def export(
    atlas: AtlasName,
    format: Annotated[ExportFormat, typer.Option(help="The form of the file.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="`-` writes to standard output.")],
    ids: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only the papers with the ids in this file, one per line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an atlas's papers, vectors or coordinates to a file."""
    import humanize

    from components.atlas.store import open_atlas
    from components.atlas.vectors_export import vector_pieces
    from corpus.export import EXPORTS, export_pieces
    from corpus.io.disk import disk_errors
    from corpus.io.files import beside
    from corpus.paper import papers_in

    ensure_default(atlas)
    opened = open_atlas(atlas)
    rows = None if ids is None else _rows(opened, ids)
    if format in EXPORTS:
        pieces = export_pieces(papers_in(opened.papers if rows is None else opened.papers.take(rows)), format)
    else:
        pieces = vector_pieces(opened, format, rows=rows)
    if output == "-":
        try:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has enough; otherwise Python would write again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    path = Path(output)
    with disk_errors(path.parent), beside(path) as partial, partial.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    count, size = len(opened) if rows is None else len(rows), path.stat().st_size
    if as_json:
        print_json({"written": output, "papers": count, "bytes": size})
        return
    print(f"{path}: {count_papers(count)} of {atlas} as {format}, {humanize.naturalsize(size)}.")


def _rows(atlas: "Atlas", path: Path) -> "NDArray[np.int64]":
    """The rows of the ids in a file, in its order, each once; unknown ids are printed. Raises CociteAtlasError."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = list(dict.fromkeys(read_ids(path)))
    found = pc.index_in(pa.array(ids, pa.string()), value_set=atlas.papers["id"]).to_pylist()
    if unknown := [paper for paper, row in zip(ids, found, strict=True) if row is None]:
        more = f" and {len(unknown) - MAX_LISTED:,} more" if len(unknown) > MAX_LISTED else ""
        print_error(f"not in {atlas.name}: {', '.join(f'{paper:.80}' for paper in unknown[:MAX_LISTED])}{more}")
    rows = np.array([row for row in found if row is not None], dtype=np.int64)
    if not len(rows):
        raise CociteAtlasError(f"{path}: none of its {len(ids):,} ids is in {atlas.name}. Give one id per line.")
    return rows


def archive(
    atlas: AtlasName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write.")],
    as_json: AsJson = False,
) -> None:
    """Write an atlas to one file, to import elsewhere."""
    import humanize

    from components.atlas.archive import write_archive

    ensure_default(atlas)
    with progress_bars(as_json=as_json) as progress:
        write_archive(atlas, file, progress=progress)
    size = file.stat().st_size
    if as_json:
        print_json({"written": str(file), "bytes": size})
        return
    print(f"{file}: the archive of {atlas}, {humanize.naturalsize(size)}.")


def import_atlas(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An archive that `archive` wrote.")],
    name: Annotated[str | None, typer.Option(help="The atlas's name; by default the archive's, if it is free.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an atlas of an archive. Replaces nothing."""
    from components.atlas.archive_import import import_archive

    with progress_bars(as_json=as_json) as progress:
        manifest = import_archive(existing_files([file])[0], name=name, progress=progress)
    if as_json:
        print_json({"built": manifest.name, "papers": manifest.papers})
        return
    print(f"{manifest.name}: {count_papers(manifest.papers)}, by {manifest.encoder.label}.")
    if not manifest.encoder.takes_text:
        print("Its encoder is not on this machine, so it takes no text; its map and searching from papers work.")
