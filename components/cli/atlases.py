"""Verbs that read atlases: list, info, verify, search, compare."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.cli.output import (
    AsJson,
    AtlasName,
    count_papers,
    ensure_default,
    print_json,
    progress_bars,
    text_or_stdin,
)
from corpus.errors import CociteAtlasError

if TYPE_CHECKING:
    from components.atlas.store import Atlas
    from components.search.query_text import QueryText


DIFFERENT = 3  # the exit code of a verification that found a difference


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("list")(list_atlases)
    app.command("info")(info)
    app.command("verify")(verify)
    app.command("search")(search)
    app.command("compare")(compare)


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
    with progress_bars(as_json=as_json) as progress:
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
