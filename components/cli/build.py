"""Verbs that change atlases: build, add, remove, rebuild."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.cli.output import (
    FILES_HELP,
    MAX_LISTED,
    AsJson,
    AtlasName,
    KeepWithoutAbstract,
    PaperColumns,
    count_papers,
    existing_files,
    parse_columns,
    print_error,
    print_json,
    print_reports,
    progress_bars,
    read_ids,
)
from components.encoder.catalogue import EMBEDDED
from corpus.errors import CociteAtlasError
from corpus.progress import Progress

if TYPE_CHECKING:
    from components.atlas.grow import Change, GrowResult
    from components.atlas.manifest import Manifest


PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(help="bfloat16 is faster where the processor supports it, and rounds. By default what suits it."),
]
AllEncoders = Annotated[
    bool, typer.Option("--all-encoders", help="Change every atlas of the same corpus, whatever its encoder.")
]


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("build")(build)
    app.command("add")(add_papers)
    app.command("remove")(remove)
    app.command("rebuild")(rebuild)


# -- Building ---------------------------------------------------------------------------------------------------------


def build(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE…", help=f"Files of papers: {FILES_HELP}. `{MEDLINE}`: the default corpus again."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="ATLAS", help="Encode this atlas's papers with another encoder.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The atlas's name; by default that of the first file, or CORPUS--ENCODER.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help=f"A name of `encoders list`, or a folder or zip. Default: {EMBEDDED}.")
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The column of vectors in one Parquet file; --encoder names what made them."
        ),
    ] = None,
    precision: PrecisionOption = None,
    column: PaperColumns = None,
    keep_without_abstract: KeepWithoutAbstract = False,
    assemble: Annotated[
        bool, typer.Option("--assemble", help=f"Repair `{MEDLINE}` from the shipped files, without encoding.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build an atlas from files of papers, or from another atlas with another encoder. Resumes what was stopped."""
    if bool(files) == (base is not None):
        raise typer.BadParameter("give files of papers or --from ATLAS, not both")
    if vectors is not None and (len(files or ()) != 1 or assemble or precision):
        raise typer.BadParameter("--vectors needs one FILE, and no --from, --assemble or --precision")
    if base is not None and encoder is None:
        raise typer.BadParameter("--from ATLAS needs --encoder: the atlas of its own encoder exists")
    files = files or []
    if not as_json:
        _announce_replacement(name or (_name_of(files[0]) if files else ""), base)
    with progress_bars(as_json=as_json) as progress:
        if base is not None:
            manifest = _reencode(base, encoder or "", name, precision, progress)
        elif files == [MEDLINE] and vectors is None and not Path(MEDLINE).exists():
            manifest = _build_default(encoder, name, assemble=assemble, progress=progress)
        elif assemble:
            raise CociteAtlasError(f"--assemble repairs the default atlas only: cocite build {MEDLINE} --assemble")
        elif vectors is not None:
            from components.atlas.precomputed_vectors import build_from_vectors

            manifest = build_from_vectors(
                name or _name_of(files[0]),
                existing_files(files)[0],
                vector_column=vectors,
                encoder=encoder,
                columns=parse_columns(column),
                progress=progress,
            )
        else:
            from components.atlas.build import build_atlas

            manifest = build_atlas(
                name or _name_of(files[0]),
                existing_files(files),
                encoder=encoder or EMBEDDED,
                precision=precision,
                columns=[parse_columns(column)] * len(files),
                without_abstract="keep" if keep_without_abstract else "leave_out",
                progress=progress,
            )
    if as_json:
        print_json({"built": manifest.name, "papers": manifest.papers, "encoder": manifest.encoder.name})
        return
    print_reports(manifest.source["reports"] if base is None else [])
    advice = f"Search it: cocite search {manifest.name} --text …"
    if not manifest.encoder.takes_text:
        advice = "It takes no text; its map and searching from papers work."
    print(f"{manifest.name}: {count_papers(manifest.papers)}. {advice}")


def _announce_replacement(name: str, base: str | None) -> None:
    """Warn before an atlas of this name is replaced; it stays until the new one is done."""
    from components.atlas.paths import atlas_names
    from components.atlas.store import read_manifest

    if name in (MEDLINE, base) or name not in atlas_names():  # those two are refused later
        return
    with contextlib.suppress(CociteAtlasError):  # a damaged atlas is there to be replaced
        old = read_manifest(name)
        print_error(
            f"{name} exists: {count_papers(old.papers)}, by {old.encoder.label}. It is replaced when the new one is "
            "done. To keep it, stop and choose another name: --name NAME"
        )


def _reencode(base: str, encoder: str, name: str | None, precision: Any, progress: Progress) -> "Manifest":
    from components.atlas.default import ensure_medline
    from components.atlas.reencode import reencode

    if base == MEDLINE:
        ensure_medline(progress=progress)
    return reencode(base, encoder=encoder, precision=precision, name=name, progress=progress)


def _build_default(encoder: str | None, name: str | None, *, assemble: bool, progress: Progress) -> "Manifest":
    from components.atlas.default import make_shipped_files, rebuild_medline

    if encoder not in (None, EMBEDDED) or name not in (None, MEDLINE):
        raise CociteAtlasError(
            f"{MEDLINE!r} is the default atlas, made with {EMBEDDED}. To encode its papers with another encoder: "
            f"cocite build --from {MEDLINE} --encoder ENCODER"
        )
    return rebuild_medline(progress=progress) if assemble else make_shipped_files(progress=progress)


def _name_of(file: str) -> str:
    """An atlas name made of a file's name."""
    stem = Path(file).name.split(".")[0].lower()
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem).strip("-_")[:64] or "corpus"


# -- Growing ----------------------------------------------------------------------------------------------------------


def add_papers(
    atlas: AtlasName,
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help=f"Files of papers: {FILES_HELP}.")],
    all_encoders: AllEncoders = False,
    column: PaperColumns = None,
    keep_without_abstract: KeepWithoutAbstract = False,
    as_json: AsJson = False,
) -> int:
    """Add papers to an atlas. Only new papers are encoded; old ones keep their position on the map."""
    from components.atlas import grow, store
    from components.atlas.build import describe_files, read_files
    from corpus.readers.report import WithoutAbstract

    grow.check_not_default(atlas)
    manifest = store.read_manifest(atlas)
    if not all_encoders:
        grow.check_can_grow(manifest)  # before minutes of reading
    paths = existing_files(files)
    columns = [parse_columns(column)] * len(paths)
    without_abstract: WithoutAbstract = "keep" if keep_without_abstract else "leave_out"
    with progress_bars(as_json=as_json) as progress:
        checksums, kept = describe_files(paths, columns=columns, without_abstract=without_abstract)
        read = read_files(
            paths,
            columns=columns,
            without_abstract=without_abstract,
            progress=progress,
        )
        source = {"files": checksums, **kept, **read.account}
        if all_encoders:
            grown = grow.grow_corpus(
                manifest.corpus, add=read.papers, source=source, problems=read.problems, progress=progress
            )
        else:
            change = grow.add_papers(atlas, read.papers, source=source, problems=read.problems, progress=progress)
            grown = [grow.GrowResult(atlas, change)]
    if not as_json:
        print_reports(source["reports"])
    return _print_changes(grown, as_json=as_json)


def remove(
    atlas: AtlasName,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids, PMIDs or DOIs of papers.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of them, one per line.")] = None,
    all_encoders: AllEncoders = False,
    as_json: AsJson = False,
) -> int:
    """Remove papers from an atlas."""
    from components.atlas import grow, store

    if bool(ids) == (file is not None):
        raise typer.BadParameter("give ids or --file FILE, not both")
    grow.check_not_default(atlas)
    removed = ids or read_ids(file)  # type: ignore[arg-type]
    with progress_bars(as_json=as_json) as progress:
        if all_encoders:
            grown = grow.grow_corpus(store.read_manifest(atlas).corpus, remove=removed, progress=progress)
        else:
            grown = [grow.GrowResult(atlas, grow.remove_papers(atlas, removed, progress=progress))]
    return _print_changes(grown, as_json=as_json)


def rebuild(atlas: AtlasName, as_json: AsJson = False) -> int:
    """Lay out an atlas's map again, without encoding."""
    from components.atlas import grow
    from components.atlas.map_state import map_words

    with progress_bars(as_json=as_json) as progress:
        manifest = grow.rebuild(atlas, progress=progress)
    if as_json:
        return _print_changes([grow.GrowResult(atlas, grow.Change(manifest))], as_json=True)
    print(f"{atlas}: the map was laid out with all {manifest.papers:,} papers: {map_words(manifest)}.")
    return 0


def _print_changes(grown: "list[GrowResult]", *, as_json: bool) -> int:
    """Print what became of each atlas; returns the exit code."""
    from components.atlas.map_state import rebuild_due

    if as_json:
        changes: list[dict[str, Any]] = []
        for atlas in grown:
            change = atlas.change
            facts = {} if change is None else {
                "papers": change.manifest.papers,
                "added": change.added,
                "already_there": change.already_there,
                "removed": change.removed,
                "unknown": list(change.unknown),
                "rebuild_due": rebuild_due(change.manifest),
            }  # fmt: skip
            changes.append({"changed": atlas.name, **facts, "error": atlas.error})
        print_json(changes)
    for atlas in grown:
        if atlas.change is not None and not as_json:
            _print_change(atlas.change)
        if atlas.error:
            print_error(f"{atlas.name}: {atlas.error}")
    return 1 if any(atlas.error for atlas in grown) else 0


def _print_change(change: "Change") -> None:
    from components.atlas.map_state import rebuild_due

    manifest = change.manifest
    counts = (
        (change.added, "added"),
        (change.already_there, "already there"),
        (change.removed, "removed"),
        (len(change.unknown), "unknown"),
    )
    words = [f"{count:,} {word}" for count, word in counts if count]
    print(f"{manifest.name}: {', '.join([*words, f'{count_papers(manifest.papers)} now'])}.")
    for unknown in change.unknown[:MAX_LISTED]:
        print(f"  no paper has the id {unknown!r:.120}")
    if (more := len(change.unknown) - MAX_LISTED) > 0:
        print(f"  … and {more:,} more unknown ids")
    if due := rebuild_due(manifest):
        print(f"{due} Lay it out again: cocite rebuild {manifest.name}")
