"""`python -m corpus build`: an atlas from files of papers, or from another atlas by another encoder."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any, get_args

from components.atlas import paths, store
from components.atlas.build import build_atlas
from components.atlas.default import ensure_medline, make_shipped_files, rebuild_medline
from components.atlas.manifest import Manifest
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.precomputed_vectors import build_from_vectors
from components.atlas.reencode import reencode
from components.cli.corpus.shared import (
    READ,
    add_progress_options,
    add_reading_options,
    existing_files,
    json_line,
    papers_words,
    print_reports,
    progress_of,
)
from components.encoder import CATALOGUE, EMBEDDED, Precision
from components.jobs.run_job import carry_out
from corpus.errors import CociteAtlasError
from corpus.progress import Progress


def add_build(verbs: Any) -> None:
    """Add the command and its arguments to the parser's commands."""
    build = verbs.add_parser("build", help="build an atlas from files of papers, or from another atlas")
    build.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help=f"files of papers: {READ}; {MEDLINE!r}: encode the default corpus again",
    )
    build.add_argument(
        "--from",
        dest="base",
        metavar="ATLAS",
        help="encode this atlas's papers with another encoder, into another atlas of the same corpus",
    )
    build.add_argument("--staged", metavar="ID", help="do what waits under an id: the app's own uploads and queries")
    build.add_argument(
        "--name", help="the atlas's name (by default that of the first file; with --from, CORPUS--ENCODER)"
    )
    build.add_argument("--encoder", help=f"a folder, a zip, or one of: {', '.join(CATALOGUE)} (default: {EMBEDDED})")
    build.add_argument(
        "--vectors",
        metavar="COLUMN",
        help="FILE is one Parquet file whose papers come with their vectors, in this column; without --encoder, which "
        "names what made them, the atlas takes no text",
    )
    build.add_argument(
        "--precision",
        choices=get_args(Precision),
        help="bfloat16 is faster where the processor has it, and rounds (default: float32, on a GPU bfloat16)",
    )
    add_reading_options(build)
    build.add_argument(
        "--assemble",
        action="store_true",
        help=f"repair {MEDLINE!r}: put it together from the shipped files again, without encoding (20 s)",
    )
    add_progress_options(build)
    build.set_defaults(run=_run, refuse=build.error)


def _run(options: argparse.Namespace) -> int:
    if options.staged is not None and (options.files or options.base is not None):
        options.refuse("--staged ID says by itself what is built; give no files and no --from with it")
    if options.staged is None and bool(options.files) == (options.base is not None):
        options.refuse("give files of papers, or --from ATLAS, and not both")
    if options.vectors is not None and (len(options.files) != 1 or options.assemble or options.precision):
        options.refuse("--vectors goes with one FILE, and without --from, --assemble and --precision")
    if options.base is not None and options.encoder is None:
        options.refuse("--from ATLAS needs --encoder: with its own encoder an atlas is there already")
    if options.staged is None and options.progress == "bars":
        _say_what_is_replaced(options)
    with progress_of(options) as progress:
        if options.staged is not None:
            outcome = carry_out(options.staged, progress=progress)
            manifest, told = outcome.manifest, outcome.told
        else:
            manifest, told = _build(options, progress), ""
    if options.progress == "json":
        json_line({"built": manifest.name, "papers": manifest.papers} | ({"result": told} if told else {}))
        return 0
    from_files = options.base is None and options.staged is None
    print_reports(manifest.source["reports"] if from_files else [])
    way = f"Search it: python -m corpus search {manifest.name} --text …"
    if not manifest.encoder.takes_text:
        way = "It takes no text; its map and searching from papers work."
    print(f"{manifest.name}: {papers_words(manifest.papers)}. {way}")
    return 0


def _say_what_is_replaced(options: argparse.Namespace) -> None:
    """Where files are built under a name that an atlas has: it goes when this one is done, and not before."""
    name = options.name or (_name_of(Path(options.files[0])) if options.files else "")
    if name in (MEDLINE, options.base) or name not in paths.atlas_names():  # those two are refused, and said so
        return
    with contextlib.suppress(CociteAtlasError):  # a damaged one is there to be replaced
        old = store.read_manifest(name)
        print(
            f"{name} is there already: {papers_words(old.papers)}, by {old.encoder.label}. It is replaced when this "
            "one is done. To keep it, stop here and give this one another name: --name NAME",
            file=sys.stderr,
        )


def _build(options: argparse.Namespace, progress: Progress) -> Manifest:
    encoder = options.encoder or EMBEDDED
    if options.assemble:
        if (options.files, encoder, options.name or MEDLINE) != ([MEDLINE], EMBEDDED, MEDLINE):
            raise CociteAtlasError(
                f"--assemble is for the default atlas alone: python -m corpus build {MEDLINE} --assemble"
            )
        return rebuild_medline(progress=progress)
    if options.base is not None:
        if options.base == MEDLINE:
            ensure_medline(progress=progress)
        return reencode(
            options.base, encoder=encoder, precision=options.precision, name=options.name, progress=progress
        )
    if options.files == [MEDLINE] and options.vectors is None and not Path(MEDLINE).exists():
        if encoder != EMBEDDED or options.name not in (None, MEDLINE):
            raise CociteAtlasError(
                f"{MEDLINE!r} is the default atlas, made with {EMBEDDED}. To encode its papers with another "
                f"encoder: python -m corpus build --from {MEDLINE} --encoder ENCODER"
            )
        return make_shipped_files(progress=progress)
    files = existing_files(options.files)
    if options.vectors is not None:
        return build_from_vectors(
            options.name or _name_of(files[0]),
            files[0],
            vector_column=options.vectors,
            encoder=options.encoder,
            columns=dict(options.columns) or None,
            progress=progress,
        )
    return build_atlas(
        options.name or _name_of(files[0]),
        files,
        encoder=encoder,
        precision=options.precision,
        columns=[dict(options.columns) or None] * len(files),
        without_abstract="keep" if options.keep_without_abstract else "leave_out",
        progress=progress,
    )


def _name_of(path: Path) -> str:
    stem = path.name.split(".")[0].lower()
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem).strip("-_")[:64] or "corpus"
