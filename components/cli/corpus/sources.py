"""`python -m corpus count | fetch | look-up`: papers from PubMed, OpenAlex and other places on the web."""

import argparse
import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.cli.corpus.shared import Bars, JsonLines, StopWithStdin, json_line
from corpus.errors import CociteAtlasError
from corpus.progress import Progress
from corpus.readers import write_jsonl
from corpus.sources.client import Client
from corpus.sources.fetch import PAPERS, fetch
from corpus.sources.identifiers import identifier_in
from corpus.sources.lookup import SOURCES, look_up

_PARTS = ".fetching"  # behind the name of the file that a fetch will be


def add_count(verbs: Any) -> None:
    """Add `count` to the parser's commands."""
    count = verbs.add_parser("count", help="say how many papers a query finds in a place on the web")
    _add_query(count)
    count.set_defaults(run=_count)


def add_fetch(verbs: Any) -> None:
    """Add `fetch` to the parser's commands."""
    verb = verbs.add_parser("fetch", help="fetch the papers of a query to a file, from which an atlas can be built")
    _add_query(verb)
    verb.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to, as JSON Lines")
    verb.add_argument("--most", type=int, metavar="N", help="so many papers at most")
    verb.add_argument(
        "--progress", choices=("bars", "json"), default="bars", help="json: one object a line on standard output"
    )
    verb.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop, to be taken up later, when standard input comes to its end",
    )
    verb.set_defaults(run=_fetch)


def add_look_up(verbs: Any) -> None:
    """Add `look-up` to the parser's commands."""
    find = verbs.add_parser("look-up", help="find one paper on the web by its identifier")
    find.add_argument("id", help="a DOI, PMID, PMCID, arXiv id or Semantic Scholar id, or its web address")
    find.add_argument("--json", action="store_true", help="as JSON")
    find.set_defaults(run=_look_up)


def _add_query(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("source", choices=SOURCES, metavar="SOURCE", help=f"one of: {', '.join(SOURCES)}")
    verb.add_argument("query", help="; ".join(f"{source.title}: {source.help}" for source in SOURCES.values()))


def _count(options: argparse.Namespace) -> int:
    with Client(attempts=3, max_wait=15.0) as client:
        print(SOURCES[options.source].count(options.query, client=client))
    return 0


def _fetch(options: argparse.Namespace) -> int:
    output: Path = options.output
    if output.exists():
        raise CociteAtlasError(f"{output} is there already. Choose another name, or delete it.")
    if output.suffix not in (".jsonl", ".gz"):
        raise CociteAtlasError(f"{output}: what is written is JSON Lines; let its name end in .jsonl or .jsonl.gz.")
    folder = output.with_name(f".{output.name}{_PARTS}")
    with ExitStack() as stack:
        progress: Progress = JsonLines() if options.progress == "json" else stack.enter_context(Bars())
        if options.stop_with_stdin:
            progress = StopWithStdin(progress)
        client = stack.enter_context(Client(cache=folder / "answers"))
        report = fetch(
            SOURCES[options.source],
            options.query,
            folder,
            limit=options.most,
            progress=lambda _, done, total: progress("fetch", done, total),
            client=client,
        )
    if not report.kept:
        shutil.rmtree(folder, ignore_errors=True)
        raise CociteAtlasError(f"{report.summary()} Nothing was written.")
    _finish(folder / PAPERS, output)
    shutil.rmtree(folder, ignore_errors=True)
    if options.progress == "json":
        json_line({"fetched": str(output), **report.model_dump()})
        return 0
    print(report.summary())
    for problem in report.problems[:5]:
        print(f"  {problem.place}: {problem.reason}")
    print(f"{output}: {report.kept:,} papers. Build an atlas of them: python -m corpus build {output}")
    return 0


def _finish(papers: Path, output: Path) -> None:
    try:
        if output.suffix == ".gz":
            from corpus.readers import read

            with read(papers) as reading:
                write_jsonl(reading, output)
        else:
            papers.replace(output)
    except OSError as error:
        raise CociteAtlasError(
            f"{output} cannot be written ({error.strerror or error}). Choose another place."
        ) from error


def _look_up(options: argparse.Namespace) -> int:
    identifier = identifier_in(options.id)
    if identifier is None:
        raise CociteAtlasError(
            f"{options.id[:80]!r} is no identifier. Give a DOI, PMID, PMCID, arXiv id or Semantic Scholar id."
        )
    with Client(attempts=3, max_wait=15.0) as client:
        paper = look_up(identifier, client=client)
    if options.json:
        print(json.dumps(asdict(paper), ensure_ascii=False, indent=1))
        return 0
    print(paper.title)
    print("; ".join(paper.authors[:10]) + ("; …" if len(paper.authors) > 10 else ""))
    print(", ".join(filter(None, (paper.venue, str(paper.year or ""), paper.url))))
    print(f"\n{paper.abstract or 'No abstract is given by any of the places that know it.'}")
    return 0
