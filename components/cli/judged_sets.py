"""Verbs of judged sets, and the benchmark of the neighbour index."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.cli.output import (
    AsJson,
    AtlasName,
    check_output,
    count_papers,
    ensure_default,
    existing_files,
    print_error,
    print_json,
    progress_bars,
)
from corpus.errors import CociteAtlasError
from corpus.progress import Progress

if TYPE_CHECKING:
    from components.evaluation.sets import SetCard
    from corpus.judged_sets.model import JudgedSet


REPORT_ENDINGS = (".md", ".csv", ".json")
Facet = Annotated[str, typer.Option(help="Of CSFCube: background, method, result or all.")]
SetName = Annotated[str, typer.Option(help="The name of the stored set.")]
SetFolder = Annotated[Path | None, typer.Option(metavar="DIR", help="Also write its files there.")]
InputFile = Annotated[str, typer.Option(metavar="FILE")]


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    sets = typer.Typer(help="List, make and delete judged sets.", no_args_is_help=True)
    sets.command("list")(list_sets)
    sets.command("delete")(remove_set)
    make = typer.Typer(help="Make a judged set and store it. Files may be gzipped.", no_args_is_help=True)
    for name, verb in (
        ("relish", make_relish), ("treccovid", make_treccovid), ("screening", make_screening),
        ("topics", make_topics), ("plain", make_plain), ("released", make_released),
    ):  # fmt: skip
        make.command(name)(verb)
    sets.add_typer(make, name="make")
    app.add_typer(sets, name="judged-sets")
    app.command("index-benchmark")(index_benchmark)


# -- Judged sets ------------------------------------------------------------------------------------------------------


def list_sets(as_json: AsJson = False) -> int:
    """List the stored judged sets."""
    from components.evaluation.sets import describe, set_names

    cards, damaged = [], []
    with progress_bars(as_json=as_json) as progress:
        for name in set_names():
            try:
                cards.append(describe(name, progress=progress))
            except CociteAtlasError as error:
                damaged.append(f"{name}: {error}")
    if as_json:
        print_json([asdict(card) for card in cards])
    else:
        for card in cards:
            _print_set(card)
        if not cards:
            print("There is no judged set yet. Make one: cocite judged-sets make --help")
    for message in damaged:
        print_error(message)
    return 1 if damaged else 0


def _print_set(card: "SetCard") -> None:
    import humanize

    from components.evaluation.format import issue_descriptions, one_line

    splits = ", ".join(f"{name} {queries:,}" for name, queries in card.splits.items())
    facets = f"; facets {', '.join(card.facets)}" if card.facets else ""
    print(
        f"{card.name}: {count_papers(card.papers)}, {card.pools:,} pools of {card.candidates:,} candidates in all, "
        f"queries by split: {splits}{facets}; {card.origin}, relevant from grade {card.relevant_from}, "
        f"{humanize.naturalsize(card.bytes)}"
    )
    for line in (*issue_descriptions(card.handled), card.rules):
        if line:
            print(f"  {one_line(line)}")


def remove_set(
    name: Annotated[str, typer.Argument(help="As `judged-sets list` names it.")], as_json: AsJson = False
) -> None:
    """Delete a stored judged set; its evaluations stay."""
    from components.evaluation.sets import delete_set, set_names
    from corpus.judged_sets.model import SetError

    if name not in set_names():
        raise SetError(f"There is no judged set {name!r:.80}. List them: cocite judged-sets list")
    delete_set(name)
    print_json({"deleted": name}) if as_json else print(f"Deleted {name}.")


def _make(name: str, build: Callable[[Progress], "JudgedSet"], folder: Path | None, *, as_json: bool) -> None:
    from components.evaluation.sets import check_new_name, keep_set
    from corpus.io.disk import disk_errors
    from corpus.judged_sets.released import write_released

    check_new_name(name)  # before minutes of reading
    with progress_bars(as_json=as_json) as progress:
        judged = build(progress)
        if folder is not None:
            with disk_errors(folder.parent):
                write_released(judged, folder)
        card = keep_set(judged, name)
    print_json(asdict(card)) if as_json else _print_set(card)


def _file(name: str) -> Path:
    return existing_files([name])[0]


def make_relish(
    name: SetName, annotations: InputFile, texts: InputFile, output: SetFolder = None, as_json: AsJson = False
) -> None:
    """RELISH from RELISH_v1.json and texts (PMID, title, abstract)."""
    from corpus.judged_sets.builders import build_relish

    _make(
        name,
        lambda progress: build_relish(_file(annotations), _file(texts), progress=progress),
        output,
        as_json=as_json,
    )


def make_treccovid(
    name: SetName,
    qrels: InputFile,
    topics: InputFile,
    texts: InputFile,
    output: SetFolder = None,
    as_json: AsJson = False,
) -> None:
    """TRECCOVID-RF from qrels-covid_d5_j0.5-5.txt, topics-rnd5.xml and CORD-19's metadata.csv or JSON Lines."""
    from corpus.judged_sets.builders import build_treccovid

    _make(
        name,
        lambda progress: build_treccovid(_file(qrels), _file(topics), _file(texts), progress=progress),
        output,
        as_json=as_json,
    )


def make_screening(name: SetName, records: InputFile, output: SetFolder = None, as_json: AsJson = False) -> None:
    """Systematic reviews: JSON Lines of topic, pid, title, abstract and rel (2 included, 1 passed, 0 out)."""
    from corpus.judged_sets.builders import build_screening

    _make(name, lambda progress: build_screening(_file(records), progress=progress), output, as_json=as_json)


def make_topics(
    name: SetName,
    atlas: Annotated[str | None, typer.Option(help="The papers of this atlas.")] = None,
    papers: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Or these files. Repeatable.")] = None,
    queries: Annotated[int, typer.Option(help="The maximum number of queries.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    output: SetFolder = None,
    as_json: AsJson = False,
) -> None:
    """A set from the topics of a corpus; it is not judged by people."""
    from components.atlas.build import read_files
    from components.atlas.store import open_atlas
    from corpus.judged_sets.model import SetError
    from corpus.judged_sets.topics import build_from_topics

    if bool(atlas) == bool(papers):
        raise SetError("Name the papers: either --atlas NAME or --papers FILE.")

    def build(progress: Progress) -> "JudgedSet":
        if atlas:
            ensure_default(atlas)
            table = open_atlas(atlas).papers
        else:
            files = existing_files(papers or ())
            table = read_files(files, progress=progress).papers
        return build_from_topics(table, name=name, queries=queries, seed=seed)

    _make(name, build, output, as_json=as_json)


def make_plain(
    name: SetName, judgements: InputFile, texts: InputFile, output: SetFolder = None, as_json: AsJson = False
) -> None:
    """Your own judgements, as JSON {query: {candidate: grade}} or TREC qrels, and JSON Lines of texts."""
    from corpus.judged_sets.builders import read_plain

    _make(
        name,
        lambda progress: read_plain(_file(judgements), _file(texts), name=name, progress=progress),
        output,
        as_json=as_json,
    )


def make_released(
    name: SetName,
    data: Annotated[Path, typer.Option(metavar="DIR", help="A folder in the released format.")],
    facet: Facet = "",
    output: SetFolder = None,
    as_json: AsJson = False,
) -> None:
    """A copy of a folder in the released format."""
    from corpus.judged_sets.released import read_released

    _make(name, lambda progress: read_released(data, facet=facet, progress=progress), output, as_json=as_json)


# -- The neighbour index ----------------------------------------------------------------------------------------------


def index_benchmark(
    atlas: AtlasName,
    k: Annotated[int, typer.Option("-k", "--k", help="Neighbours.")] = 10,
    m: Annotated[str, typer.Option(metavar="A,B,…", help="hnswlib's M; default: some, and the atlas's own.")] = "",
    ef_search: Annotated[str, typer.Option(metavar="A,B,…", help="Default: some, and the atlas's own.")] = "",
    sizes: Annotated[str, typer.Option(metavar="A,B,…", help="Papers; default: 1000, 10000, … and all.")] = "",
    ef_construction: Annotated[int, typer.Option(help="Of the graphs.")] = 200,
    queries: Annotated[int, typer.Option(help="On the rows, and as many off them.")] = 400,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    stored: Annotated[bool, typer.Option("--stored", help="Show the stored result; measure nothing.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it there: .md, .csv or .json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure recall and time of an atlas's neighbour index against exact search."""
    from components.atlas import store
    from components.evaluation import index_curve
    from components.index.benchmark import CurveSettings
    from corpus.io.disk import disk_errors
    from corpus.io.files import write_text

    forms = {".md": index_curve.to_markdown, ".csv": index_curve.to_csv, ".json": index_curve.to_json}
    if output is not None:
        check_output(output, REPORT_ENDINGS)
    settings = CurveSettings(
        k=k,
        ms=_numbers(m),
        ef_construction=ef_construction,
        ef_searches=_numbers(ef_search),
        sizes=_numbers(sizes),
        queries=queries,
        seed=seed,
    )
    ensure_default(atlas)
    doubt = ""
    if stored:
        curve = index_curve.read_curve(atlas)
        if curve is None:
            raise CociteAtlasError(f"Nothing is measured of {atlas!r} yet. Measure it: cocite index-benchmark {atlas}")
        doubt = index_curve.stale_note(curve, store.read_manifest(atlas)) or index_curve.partial_note(curve)
    else:
        with progress_bars(as_json=as_json) as progress:
            curve = index_curve.measure_atlas(store.open_atlas(atlas), settings=settings, progress=progress)
    if output is not None:
        with disk_errors(output.parent):
            write_text(output, forms[output.suffix](curve))
    print(index_curve.to_json(curve) if as_json else index_curve.to_markdown(curve), end="")
    if doubt:
        raise CociteAtlasError(doubt)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r:.80} is not a list of whole numbers, as in 8,16,32") from error
