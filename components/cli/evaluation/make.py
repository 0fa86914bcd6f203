"""`make`: a judged set from what it was made of, kept under a name and written elsewhere too where that is asked."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.atlas import store
from components.atlas.build import read_files
from components.atlas.paths import NAME
from components.cli.corpus.shared import (
    add_progress_options,
    ensure,
    existing_files,
    json_line,
    papers_words,
    progress_of,
)
from components.cli.evaluation.sets import set_lines
from components.evaluation.sets import keep_set, set_names
from corpus.io.disk import disk_errors
from corpus.judged_sets.model import JudgedSet, SetError
from corpus.judged_sets.released import read_released, write_released
from corpus.progress import Progress

Maker = Callable[[argparse.Namespace, Progress], JudgedSet]


def add(verbs: Any) -> None:
    """Add the verb and what can be made to the parser's verbs."""
    make = verbs.add_parser("make", help="make a judged set and keep it")
    kinds = make.add_subparsers(required=True, dest="kind")

    relish = _kind(kinds, "relish", _relish, "RELISH from its annotations")
    _file(relish, "--annotations", "RELISH_v1.json")
    _file(relish, "--texts", "PMID, title and abstract: a table with these headers, or JSON Lines")

    trec = _kind(kinds, "treccovid", _treccovid, "TRECCOVID-RF from TREC-COVID")
    _file(trec, "--qrels", "qrels-covid_d5_j0.5-5.txt")
    _file(trec, "--topics", "topics-rnd5.xml")
    _file(trec, "--texts", "CORD-19's metadata.csv, or JSON Lines of cord_uid, title and abstract")

    screening = _kind(kinds, "screening", _screening, "a set from the records of systematic reviews")
    _file(screening, "--records", "JSON Lines of topic, pid, title, abstract and rel (2 included, 1 passed, 0 out)")

    topics = _kind(kinds, "topics", _topics, "a set from a corpus's own topics, which nobody judged")
    topics.add_argument("--atlas", metavar="NAME", help="the papers of this atlas, as `python -m corpus list` says it")
    topics.add_argument("--papers", nargs="+", default=[], metavar="FILE", help="or these files, as `build` reads them")
    topics.add_argument("--queries", type=int, default=100, help="how many at most (default: 100)")
    topics.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")

    plain = _kind(kinds, "plain", _plain, "a set of one's own judgements")
    _file(plain, "--judgements", "JSON of {query: {candidate: grade}}, or TREC qrels")
    _file(plain, "--texts", "JSON Lines of id, title and abstract")

    released = _kind(kinds, "released", _released, "a copy of a folder of the released format")
    released.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder")
    released.add_argument("--facet", default="", metavar="F", help="of CSFCube: background, method, result or all")


def _kind(kinds: Any, name: str, maker: Maker, told: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = kinds.add_parser(name, help=told, description=f"Make {told}. Files may be gzip.")
    found.add_argument("--name", required=True, help="to keep it under")
    found.add_argument("--output", type=Path, metavar="DIR", help="write its files there too, in the released format")
    add_progress_options(found)
    found.set_defaults(run=_run, maker=maker)
    return found


def _file(parser: argparse.ArgumentParser, option: str, told: str) -> None:
    parser.add_argument(option, required=True, metavar="FILE", help=told)


def _run(options: argparse.Namespace) -> int:
    # Said before minutes of reading; keeping looks again.
    if not NAME.fullmatch(options.name):
        raise SetError(f"--name {options.name!r:.80}: use up to 64 of a–z, 0–9, '.', '_' and '-'.")
    if options.name in set_names():
        raise SetError(
            f"A set is kept under the name {options.name!r} already. Give another --name, or delete that one."
        )
    maker: Maker = options.maker
    with progress_of(options) as progress:
        judged = maker(options, progress)
        if options.output is not None:
            with disk_errors(options.output.parent):
                write_released(judged, options.output)
        card = keep_set(judged, options.name)
    lines = set_lines(card)
    if options.progress == "json":
        result = f"{card.name}: {card.pools:,} queries, {papers_words(card.papers)}."
        json_line({"built": card.name, "result": result})
    else:
        print("\n".join(lines))
    return 0


def _path(name: str) -> Path:
    return existing_files([name])[0]


def _relish(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    from corpus.judged_sets.builders import build_relish

    return build_relish(_path(options.annotations), _path(options.texts), progress=progress)


def _treccovid(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    from corpus.judged_sets.builders import build_treccovid

    return build_treccovid(_path(options.qrels), _path(options.topics), _path(options.texts), progress=progress)


def _screening(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    from corpus.judged_sets.builders import build_screening

    return build_screening(_path(options.records), progress=progress)


def _topics(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    from corpus.judged_sets.topics import build_from_topics

    if bool(options.atlas) == bool(options.papers):
        raise SetError("Name the papers: either --atlas NAME or --papers FILE …")
    if options.queries < 1:
        raise SetError(f"--queries {options.queries}: ask for at least one.")
    if options.atlas:
        ensure(options.atlas)
        papers = store.open_atlas(options.atlas).papers
    else:
        files = existing_files(options.papers)
        papers = read_files(files, progress=progress).papers
    return build_from_topics(papers, name=options.name, queries=options.queries, seed=options.seed)


def _plain(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    from corpus.judged_sets.builders import read_plain

    return read_plain(_path(options.judgements), _path(options.texts), name=options.name, progress=progress)


def _released(options: argparse.Namespace, progress: Progress) -> JudgedSet:
    return read_released(options.data, name="", facet=options.facet, progress=progress)
