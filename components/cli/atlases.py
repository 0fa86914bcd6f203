"""Verbs of atlases: build, add, remove, rebuild, list, info, verify, search, compare."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.cli.output import (
    FILES_HELP,
    MAX_LISTED,
    AsJson,
    AtlasName,
    KeepWithoutAbstract,
    PaperColumns,
    count_papers,
    ensure_default,
    existing_files,
    parse_columns,
    print_error,
    print_json,
    print_reports,
    progress_bars,
    read_ids,
    text_or_stdin,
)
from corpus.errors import CociteAtlasError
from corpus.progress import Progress

if TYPE_CHECKING:
    from components.atlas.grow import Change, GrowResult
    from components.atlas.manifest import Manifest
    from components.atlas.store import Atlas
    from components.search.query_text import QueryText

DIFFERENT = 3  # the exit code of a verification that found a difference
MEDLINE = "medline"  # the default atlas
PrecisionOption = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(help="bfloat16 is faster where the processor supports it, and rounds. By default what suits it."),
]
AllEncoders = Annotated[
    bool, typer.Option("--all-encoders", help="Change every atlas of the same corpus, whatever its encoder.")
]


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    for name, verb in (
        ("build", build), ("add", add_papers), ("remove", remove), ("rebuild", rebuild), ("list", list_atlases),
        ("info", info), ("verify", verify), ("search", search), ("compare", compare),
    ):  # fmt: skip
        app.command(name)(verb)


# -- Building ---------------------------------------------------------------------------------------------------------


def build(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE…", help=f"Files of papers: {FILES_HELP}. `medline`: see README.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--from", metavar="ATLAS", help="Encode this atlas's papers with another encoder.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The atlas's name; by default that of the first file, or CORPUS--ENCODER.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="A name of `encoders list`, or a folder or zip. Default: all-minilm-l6-v2.")
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
        bool, typer.Option("--assemble", help="Repair `medline` from the shipped files, without encoding.")
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
    with progress_bars() as progress:
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
                encoder=encoder or "all-minilm-l6-v2",
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

    if encoder not in (None, "all-minilm-l6-v2") or name not in (None, MEDLINE):
        raise CociteAtlasError(
            f"{MEDLINE!r} is the default atlas, made with all-minilm-l6-v2. To encode its papers with another encoder: "
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
    from components.atlas.build import READING, describe_files, read_files
    from corpus.readers import WithoutAbstract

    grow.check_not_default(atlas)
    manifest = store.read_manifest(atlas)
    if not all_encoders:
        grow.check_can_grow(manifest)  # before minutes of reading
    paths = existing_files(files)
    columns = [parse_columns(column)] * len(paths)
    without_abstract: WithoutAbstract = "keep" if keep_without_abstract else "leave_out"
    with progress_bars() as progress:
        checksums, kept = describe_files(paths, columns=columns, without_abstract=without_abstract)
        read = read_files(
            paths,
            columns=columns,
            without_abstract=without_abstract,
            on_progress=lambda done, total: progress(READING, done, total),
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
    with progress_bars() as progress:
        if all_encoders:
            grown = grow.grow_corpus(store.read_manifest(atlas).corpus, remove=removed, progress=progress)
        else:
            grown = [grow.GrowResult(atlas, grow.remove_papers(atlas, removed, progress=progress))]
    return _print_changes(grown, as_json=as_json)


def rebuild(atlas: AtlasName, as_json: AsJson = False) -> int:
    """Lay out an atlas's map again, without encoding."""
    from components.atlas import grow
    from components.atlas.map_state import map_words

    with progress_bars() as progress:
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


# -- Looking ----------------------------------------------------------------------------------------------------------


def list_atlases(as_json: AsJson = False) -> None:
    """List all atlases."""
    import humanize

    from components.atlas.paths import atlas_names
    from components.atlas.store import read_manifest

    rows: list[dict[str, Any]] = []
    for name in atlas_names():
        try:
            manifest = read_manifest(name)
        except CociteAtlasError as error:
            rows.append({"name": name, "error": str(error)})
            continue
        rows.append({
            "name": name,
            "papers": manifest.papers,
            "encoder": manifest.encoder.name,
            "created": manifest.created,
            "bytes": sum(checksum.bytes for checksum in manifest.files.values()),
        })  # fmt: skip
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if "error" in row:
            print(f"{row['name']}: {row['error']}")
        else:
            size = humanize.naturalsize(row["bytes"])
            print(f"{row['name']}: {count_papers(row['papers'])}, {row['encoder']}, {size}, {row['created']}")
    if not rows:
        print(f"There is no atlas yet. The default one is made on first use: cocite info {MEDLINE}")


def info(atlas: AtlasName, as_json: AsJson = False) -> None:
    """Show what an atlas is: papers, encoder, index, map and files."""
    import humanize

    from components.atlas.map_state import map_words
    from components.atlas.paths import atlas_folder
    from components.atlas.store import read_manifest

    ensure_default(atlas)
    manifest = read_manifest(atlas)
    if as_json:
        print(manifest.to_json(), end="")
        return
    index = manifest.index
    search = "exact"
    if index.ef_search:
        search = (
            f"hnswlib, M {index.m}, ef_search {index.ef_search}, ann_recall_at_10 {index.ann_recall_at_10} "
            f"on {index.sample} of its rows, {index.ann_recall_at_10_outside} off them"
        )
    facts = {
        "papers": f"{manifest.papers:,}",
        "encoder": f"{manifest.encoder.name}, {manifest.dimensions} dimensions",
        "fingerprint": manifest.encoder.fingerprint[:16],
        "search": search,
        "map": map_words(manifest),
        "built": manifest.created,
        "size": humanize.naturalsize(sum(checksum.bytes for checksum in manifest.files.values())),
        "folder": str(atlas_folder(manifest.name) / manifest.folder),
    }
    print(manifest.name)
    for fact, value in facts.items():
        print(f"  {fact:<12} {value}")


def verify(
    atlas: AtlasName,
    rows: Annotated[int, typer.Option(help="Rows to encode again.")] = 50,
    as_json: AsJson = False,
) -> int:
    """Check an atlas's files against their hashes, and encode a sample of its rows again."""
    from components.atlas.verify import verify_atlas

    ensure_default(atlas)
    report = verify_atlas(atlas, rows=rows)
    if as_json:
        print_json({**asdict(report), "passed": report.passed})
    else:
        print(report.summary())
    return 0 if report.passed else DIFFERENT


def search(
    atlas: AtlasName,
    text: Annotated[str, typer.Option(help="Title, a blank line, abstract; `-` reads standard input.")],
    k: Annotated[int, typer.Option("-k", help="How many papers.")] = 10,
    years: Annotated[str | None, typer.Option(metavar="FIRST-LAST", help="Only papers of these years.")] = None,
    venue: Annotated[list[str] | None, typer.Option(help="Only papers of this venue. Repeatable.")] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Only papers with this topic. Repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the papers closest to a text."""
    from components.atlas.encoders import encoder_of
    from components.atlas.facets import Filters
    from components.atlas.store import open_atlas
    from components.search.search import search as search_atlas
    from components.search.search import text_query

    filters = Filters(years=_years(years), venues=tuple(venue or ()), topics=tuple(topic or ()))
    ensure_default(atlas)
    query = _query_text(text)
    _check_k(k)
    opened = open_atlas(atlas)
    encoder = encoder_of(opened.manifest, local_files_only=True)
    result = search_atlas(opened, text_query(encoder, query.title, query.abstract), k=k, filters=filters)
    if as_json:
        hits = []
        for hit in result.hits:
            paper = opened.paper(hit.row)
            distance = round(hit.l2_distance, 6)
            hits.append(
                {"rank": hit.rank, "row": hit.row, "id": paper.id, "title": paper.title, "l2_distance": distance}
            )
        print_json(hits)
        return
    for note in query.notes:
        print(note, file=sys.stderr)
    _print_hits(opened, result.hits)
    for row in result.own:
        print(f"Left out, because it is the text itself: {opened.paper(row).title}", file=sys.stderr)


def compare(
    left: Annotated[str, typer.Argument(metavar="ATLAS")],
    right: Annotated[str, typer.Argument(metavar="ATLAS")],
    text: Annotated[str | None, typer.Option(help="Also compare the lists for this text; `-` reads stdin.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 10,
    sample: Annotated[int, typer.Option(help="How many papers to compare.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show how far two atlases agree on which papers are close."""
    from components.atlas.encoders import encoder_of
    from components.atlas.store import open_atlas
    from components.search.compare import agreement, compare_queries
    from components.search.search import text_query

    _check_k(k)
    if sample < 1:
        raise CociteAtlasError(f"--sample {sample}: compare at least one paper.")
    query = None if text is None else _query_text(text)
    for name in (left, right):
        ensure_default(name)
    atlases = open_atlas(left), open_atlas(right)
    lists = None
    if query:
        encoders = [encoder_of(atlas.manifest, local_files_only=True) for atlas in atlases]
        queries = [text_query(encoder, query.title, query.abstract) for encoder in encoders]
        lists = compare_queries(*atlases, queries=(queries[0], queries[1]), k=k)
    with progress_bars() as progress:
        overall = agreement(*atlases, k=k, sample=sample, progress=progress)
    if as_json:
        print_json({"agreement": overall.to_dict(), "query": lists.comparison.to_dict() if lists else None})
        return
    print(overall.summary())
    if not query or not lists:
        return
    for note in query.notes:
        print(note, file=sys.stderr)
    for atlas, result in zip(atlases, (lists.left, lists.right), strict=True):
        print(f"\n{atlas.name}")
        _print_hits(atlas, result.hits)
    comparison = lists.comparison
    summary = f"\n{comparison.common} of {comparison.k} papers are in both lists"
    if comparison.rank_overlap is not None:
        summary += f"; rank-biased overlap {comparison.rank_overlap:.2f}"
    if comparison.rank_correlation is not None:
        summary += f"; Kendall's tau of the shared papers {comparison.rank_correlation:+.2f}"
    print(f"{summary}.")


def _query_text(text: str) -> "QueryText":
    from components.search.query_text import understand

    query = understand(text_or_stdin(text))
    if not query:
        raise CociteAtlasError("The text is empty. Give a title and an abstract.")
    return query


def _check_k(k: int) -> None:
    from components.search.search import MAX_HITS

    if not 1 <= k <= MAX_HITS:
        raise CociteAtlasError(f"-k {k}: ask for 1 to {MAX_HITS} papers.")


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise typer.BadParameter(f"{text!r} is not FIRST-LAST")
    return int(first), int(last or first)


def _print_hits(atlas: "Atlas", hits: Any) -> None:
    for hit in hits:
        paper = atlas.paper(hit.row)
        print(f"{hit.rank:>3}  {hit.l2_distance:.3f}  {paper.id:<10} {paper.title}")
