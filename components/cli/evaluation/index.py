"""`python -m components.evaluation index`: recall and time of the neighbour index, by M, ef_search and corpus size."""

import argparse
from pathlib import Path
from typing import Any

from components.atlas import store
from components.cli.corpus.shared import add_progress_options, ensure, json_line, progress_of
from components.evaluation.index_curve import (
    EXPORTS,
    measure_atlas,
    partial_note,
    read_curve,
    stale_note,
    summary,
    to_json,
    to_markdown,
)
from components.index.benchmark import DEFAULT_EF_SEARCHES, DEFAULT_MS, DEFAULTS, Curve, CurveSettings
from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors
from corpus.io.files import write_text


def add(verbs: Any) -> None:
    """Add the verb and its arguments to the parser's verbs (what `add_subparsers` gives)."""
    index = verbs.add_parser(
        "index",
        help="measure recall and time of an atlas's neighbour index",
        description="Build hnswlib graphs over parts of an atlas and hold what they find against exact search. The "
        "points of each graph are kept as soon as it was measured; the app shows them.",
    )
    index.add_argument("--atlas", required=True, metavar="NAME", help="as `python -m corpus list` says it")
    index.add_argument("-k", "--k", type=int, default=DEFAULTS.k, help=f"neighbours asked for (default: {DEFAULTS.k})")
    _add_numbers(index, "--m", f"hnswlib's M (default: {_words(DEFAULT_MS)} and the atlas's own)")
    _add_numbers(index, "--ef-search", f"(default: {_words(DEFAULT_EF_SEARCHES)} and the atlas's own, as k lets them)")
    _add_numbers(index, "--sizes", "papers (default: 1000, 10000, … and all)")
    index.add_argument(
        "--ef-construction",
        type=int,
        default=DEFAULTS.ef_construction,
        metavar="NUMBER",
        help=f"(default: {DEFAULTS.ef_construction})",
    )
    index.add_argument(
        "--queries",
        type=int,
        default=DEFAULTS.queries,
        metavar="NUMBER",
        help=f"on the rows, and as many off them (default: {DEFAULTS.queries})",
    )
    index.add_argument("--seed", type=int, default=DEFAULTS.seed, metavar="NUMBER", help=f"(default: {DEFAULTS.seed})")
    index.add_argument("--kept", action="store_true", help="show what was measured before; measure nothing")
    index.add_argument("--output", type=Path, metavar="FILE", help=f"write it there too: {', '.join(EXPORTS)}")
    index.add_argument("--json", action="store_true", help="as JSON")
    add_progress_options(index)
    index.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, or show what is kept; the exit code, 1 where what is kept is partial or of other vectors.

    Raises CociteAtlasError, and Cancelled where it is stopped; the points that were measured are kept.
    """
    output: Path | None = options.output
    if output is not None:  # said before minutes of work
        if output.suffix not in EXPORTS:
            raise CociteAtlasError(f"--output {output}: its name must end with one of {', '.join(EXPORTS)}.")
        if not output.parent.is_dir():
            raise CociteAtlasError(f"--output {output}: there is no folder {output.parent}. Make it first.")
    ensure(options.atlas)
    found, doubt = _kept(options.atlas) if options.kept else (_measured(options), "")
    if output is not None:
        with disk_errors(output.parent):
            write_text(output, EXPORTS[output.suffix](found))
    if options.progress == "json":
        json_line({"built": options.atlas, "result": summary(found)})
    else:
        print(to_json(found) if options.json else to_markdown(found), end="")
    if doubt:
        raise CociteAtlasError(doubt)
    return 0


def _kept(name: str) -> tuple[Curve, str]:
    """The curve that is kept of an atlas, and why it is not a whole one of the atlas as it is; empty where it is."""
    manifest = store.read_manifest(name)
    found = read_curve(name)
    if found is None:
        raise CociteAtlasError(
            f"No curve was measured of {name!r} yet: python -m components.evaluation index --atlas {name}"
        )
    return found, stale_note(found, manifest) or partial_note(found)


def _measured(options: argparse.Namespace) -> Curve:
    settings = CurveSettings(
        k=options.k,
        ms=options.m,
        ef_construction=options.ef_construction,
        ef_searches=options.ef_search,
        sizes=options.sizes,
        queries=options.queries,
        seed=options.seed,
    )
    atlas = store.open_atlas(options.atlas)
    with progress_of(options) as progress:
        return measure_atlas(atlas, settings=settings, progress=progress)


def _add_numbers(parser: argparse.ArgumentParser, option: str, told: str) -> None:
    parser.add_argument(option, type=_numbers, default=(), metavar="A,B,…", help=told)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no list of whole numbers, as in 8,16,32") from error


def _words(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
