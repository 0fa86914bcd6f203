"""`python -m corpus add | remove | rebuild`: papers added to an atlas or taken from it, its map laid out again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.atlas import store
from components.atlas.build import describe_files, read_files
from components.atlas.grow import (
    Change,
    GrowResult,
    add_papers,
    check_can_grow,
    check_not_default,
    grow_corpus,
    rebuild,
    remove_papers,
)
from components.atlas.map_state import map_words, rebuild_due
from components.cli.corpus.shared import (
    READ,
    add_progress_options,
    add_reading_options,
    existing_files,
    json_line,
    listed_ids,
    papers_words,
    print_reports,
    progress_of,
)
from corpus.readers import WithoutAbstract

_UNKNOWN_TOLD = 5


def add_grow(verbs: Any) -> None:
    """Add the commands and their arguments to the parser's commands."""
    add = verbs.add_parser("add", help="add papers to an atlas; only new ones are encoded")
    add.add_argument("name", help="of an atlas, as `list` says it")
    add.add_argument("files", nargs="+", metavar="FILE", help=f"files of papers: {READ}")
    _add_all_encoders(add)
    add_reading_options(add)
    add_progress_options(add)
    add.set_defaults(run=_add)

    remove = verbs.add_parser("remove", help="take papers from an atlas")
    remove.add_argument("name", help="of an atlas, as `list` says it")
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("--ids", nargs="+", metavar="ID", help="ids, PMIDs or DOIs of papers")
    which.add_argument("--file", metavar="FILE", help="a file of them, one a line")
    _add_all_encoders(remove)
    add_progress_options(remove)
    remove.set_defaults(run=_remove)

    again = verbs.add_parser("rebuild", help="lay out an atlas's map again, without encoding")
    again.add_argument("name", help="of an atlas, as `list` says it")
    add_progress_options(again)
    again.set_defaults(run=_rebuild)


def _add_all_encoders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all-encoders", action="store_true", help="so with every atlas of the same corpus, whatever its encoder"
    )


def _add(options: argparse.Namespace) -> int:
    check_not_default(options.name)
    manifest = store.read_manifest(options.name)
    if not options.all_encoders:
        check_can_grow(manifest)  # before minutes of reading
    files = existing_files(options.files)
    with progress_of(options) as progress:
        columns = [dict(options.columns) or None] * len(files)
        without_abstract: WithoutAbstract = "keep" if options.keep_without_abstract else "leave_out"
        sealed, kept = describe_files(files, columns=columns, without_abstract=without_abstract)
        found = read_files(
            files,
            columns=columns,
            without_abstract=without_abstract,
            progress=progress,
        )
        source = {"files": sealed, **kept, **found.account}
        if options.all_encoders:
            grown = grow_corpus(
                manifest.corpus, add=found.papers, source=source, problems=found.problems, progress=progress
            )
        else:
            change = add_papers(options.name, found.papers, source=source, problems=found.problems, progress=progress)
            grown = [GrowResult(options.name, change)]
    return _told(options, grown, reports=source["reports"])


def _remove(options: argparse.Namespace) -> int:
    check_not_default(options.name)
    ids = options.ids if options.file is None else listed_ids(Path(options.file))
    with progress_of(options) as progress:
        if options.all_encoders:
            corpus = store.read_manifest(options.name).corpus
            grown = grow_corpus(corpus, remove=ids, progress=progress)
        else:
            grown = [GrowResult(options.name, remove_papers(options.name, ids, progress=progress))]
    return _told(options, grown)


def _rebuild(options: argparse.Namespace) -> int:
    with progress_of(options) as progress:
        manifest = rebuild(options.name, progress=progress)
    if options.progress == "json":
        return _told(options, [GrowResult(options.name, Change(manifest))])
    print(f"{manifest.name}: its map was laid out with all {manifest.papers:,} papers: {map_words(manifest)}.")
    return 0


def _told(options: argparse.Namespace, grown: list[GrowResult], *, reports: Sequence[dict[str, Any]] = ()) -> int:
    """Say what became of each atlas; the exit code."""
    if options.progress == "json":
        for one in grown:
            json_line(_as_dict(one))
        return 1 if any(one.error for one in grown) else 0
    print_reports(reports)
    for one in grown:
        if one.change is not None:
            print(_sentence(one.change))
        if one.error:
            print(f"corpus: {one.name}: {one.error}", file=sys.stderr)
    return 1 if any(one.error for one in grown) else 0


def _as_dict(one: GrowResult) -> dict[str, Any]:
    change = one.change
    if change is None:
        return {"changed": one.name, "error": one.error}
    return {
        "changed": one.name,
        "papers": change.manifest.papers,
        "added": change.added,
        "already_there": change.already_there,
        "removed": change.removed,
        "unknown": list(change.unknown),
        "rebuild_due": rebuild_due(change.manifest),
        "error": one.error,
    }


def _sentence(change: Change) -> str:
    manifest = change.manifest
    told = [
        f"{count:,} {words}"
        for count, words in (
            (change.added, "added"),
            (change.already_there, "were there already"),
            (change.removed, "removed"),
            (len(change.unknown), "unknown"),
        )
        if count
    ]
    lines = [f"{manifest.name}: {', '.join([*told, f'{papers_words(manifest.papers)} now'])}."]
    lines += [f"  no paper is called {unknown!r:.120}" for unknown in change.unknown[:_UNKNOWN_TOLD]]
    if more := len(change.unknown) - _UNKNOWN_TOLD:
        lines += [f"  … nor by {more:,} more of these"] if more > 0 else []
    if due := rebuild_due(manifest):
        lines.append(f"{due} Lay it out again: python -m corpus rebuild {manifest.name}")
    return "\n".join(lines)
