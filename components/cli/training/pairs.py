"""`pairs`: full texts, or ready pairs of ids, and a corpus of titles and abstracts → a folder of training pairs."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.atlas import store
from components.atlas.build import describe_file
from components.cli.corpus.shared import (
    READ,
    add_progress_options,
    add_reading_options,
    ensure,
    existing_files,
    json_line,
    papers_words,
    print_reports,
    progress_of,
)
from corpus.cocitations.contexts import ContextRules
from corpus.cocitations.make_pairs import PairsReport, make_pairs
from corpus.cocitations.pairs import DEFAULT_MAX_PAIRS, FEW_DEV, SplitRules, TrainingPairs
from corpus.cocitations.pairs_folder import HELD_OUT, check_new_folder
from corpus.paper import Paper, papers_in
from corpus.progress import Progress
from corpus.readers import ReadReport, read

PAPERS = "Looking for their papers"
_BETWEEN = 1_024  # papers between two words of progress


def add(verbs: Any) -> None:
    """Add the verb to the parser's verbs."""
    rules = ContextRules()
    pairs = verbs.add_parser(
        "pairs",
        help="make training pairs of full texts",
        description="Find papers that are cited together in one sentence, join them to titles and abstracts, and write "
        "them as training pairs with a dev and a test split.",
    )
    pairs.add_argument(
        "full_texts",
        nargs="*",
        metavar="FULL_TEXT",
        help="files, folders or archives: JATS XML, S2ORC, CORD-19, unarXive, or JSON Lines of citing, sentence, cited",
    )
    pairs.add_argument(
        "--pairs",
        action="append",
        default=[],
        metavar="FILE",
        help="ready pairs: two ids a line, and the citing paper's where it is known (may be repeated)",
    )
    pairs.add_argument(
        "--papers",
        action="extend",
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"their texts: {READ} (may be repeated)",
    )
    pairs.add_argument(
        "--atlas", action="append", default=[], metavar="NAME", help="or the papers of this atlas (may be repeated)"
    )
    pairs.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new folder")
    for name, told in (("dev", "choose the checkpoint by"), ("test", "keep out of sight until the end")):
        pairs.add_argument(
            f"--{name}",
            type=_size,
            metavar="SIZE",
            help=f"how much to {told}: a number of pairs, or a share of the citing papers such as 0.05 "
            f"(default: 0.1, at most {DEFAULT_MAX_PAIRS:,} pairs)",
        )
    pairs.add_argument("--seed", type=int, default=0, help="of the splits and the dev set's negatives (default: 0)")
    for option, value, told in (
        ("--least-cited", rules.least_cited, "papers that a sentence must cite at the least"),
        ("--most-cited", rules.most_cited, "papers that a sentence may cite at most"),
        ("--least-words", rules.least_words, "words that a sentence must have at the least"),
        ("--most-words", rules.most_words, "words that a sentence may have at most"),
    ):
        pairs.add_argument(option, type=int, default=value, metavar="N", help=f"{told} (default: {value})")
    pairs.add_argument(
        "--without-bracket", action="store_true", help="keep sentences without a bracket or parenthesis, too"
    )
    pairs.add_argument(
        "--by-title", action="store_true", help="join what no identifier joins by the same title and year"
    )
    pairs.add_argument(
        "--titles-alone",
        action="store_true",
        help="let references that no paper is found for stand with their own title and no abstract: for a first look",
    )
    pairs.add_argument(
        "--missing",
        type=Path,
        metavar="FILE",
        help="write down the PMIDs and DOIs of cited papers that are in no corpus, a line each, the most cited first",
    )
    pairs.add_argument(
        "--workers",
        type=_workers,
        default=0,
        metavar="N",
        help="processes that read full texts (default: one a processor, and a single one for a few megabytes)",
    )
    add_reading_options(pairs)
    add_progress_options(pairs)
    pairs.set_defaults(run=_run, refuse=pairs.error, when_stopped="Nothing was written.")


def _size(text: str) -> int | float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of pairs nor a share such as 0.05") from error


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    if not options.full_texts and not options.pairs:
        options.refuse("give full texts, or --pairs FILE")
    if not options.papers and not options.atlas and not options.titles_alone:
        options.refuse("name the papers whose texts are wanted: --papers FILE or --atlas NAME")
    # All that can be refused at once, before hours of reading.
    split_rules = SplitRules(dev=options.dev, test=options.test, seed=options.seed)
    rules = ContextRules(
        least_cited=options.least_cited,
        most_cited=options.most_cited,
        least_words=options.least_words,
        most_words=options.most_words,
        bracket=not options.without_bracket,
    )
    check_new_folder(options.out)
    if options.missing and not options.missing.absolute().parent.is_dir():
        options.refuse(f"--missing {options.missing}: there is no folder {options.missing.parent}")
    tables, files = existing_files(options.pairs), existing_files(options.papers)
    _check_papers(files, options)
    report, reading_reports = PairsReport(), list[ReadReport]()
    plain = options.progress != "json"
    try:
        with progress_of(options) as progress:
            pairs = make_pairs(
                options.out,
                full_texts=[Path(name) for name in options.full_texts],
                tables=tables,
                papers=_papers(files, options, reading_reports, progress),
                rules=rules,
                split_rules=split_rules,
                by_title=options.by_title,
                titles_alone=options.titles_alone,
                missing=options.missing,
                workers=options.workers,
                provenance={
                    "keep_without_abstract": options.keep_without_abstract,
                    "sources": {
                        "full_texts": [Path(name).name for name in options.full_texts],
                        "pairs": [describe_file(table) for table in tables],
                        "papers": [describe_file(file) for file in files],
                        "atlases": options.atlas,
                    },
                },
                progress=progress,
                report=report,
            )
    finally:
        if plain and report.joined:  # after an error, too: which filter dropped the most is what helps
            print_reports([each.to_dict() for each in reading_reports])
            print("\n".join(report.lines(rules)))
            if report.missing:
                print(f"  In no corpus: {report.missing:,} PMIDs and DOIs, the most cited first: {options.missing}")
    if plain:
        _print_pairs(options, pairs)
    else:
        sizes = {"papers": pairs.papers.num_rows, "train": len(pairs.train), "dev": len(pairs.dev)}
        json_line({"built": pairs.name, **sizes, "test": len(pairs.test)})
    return 0


def _check_papers(files: list[Path], options: argparse.Namespace) -> None:
    """Open all papers once, so that an error is raised before the full texts are read for hours."""
    for path in files:
        with read(path, columns=dict(options.columns) or None):
            pass
    for name in options.atlas:
        ensure(name)
        store.open_atlas(name)


def _papers(
    files: list[Path], options: argparse.Namespace, reports: list[ReadReport], progress: Progress
) -> Iterator[Paper]:
    """The papers of the files and atlases, one after another; progress in thousandths of each."""
    total = 1000 * (len(files) + len(options.atlas))
    done = 0
    keep = options.keep_without_abstract
    for path in files:
        columns = dict(options.columns) or None
        with read(path, columns=columns, without_abstract="keep" if keep else "leave_out") as reading:
            reports.append(reading.report)
            for paper in reading:
                if reading.report.kept % _BETWEEN == 0:
                    progress(PAPERS, done + round(1000 * reading.fraction), total)
                yield paper
        done += 1000
        progress(PAPERS, done, total)
    for name in options.atlas:
        table = store.open_atlas(name).papers
        for number, paper in enumerate(papers_in(table)):
            if number % _BETWEEN == 0:
                progress(PAPERS, done + 1000 * number // table.num_rows, total)
            if paper.abstract or keep:
                yield paper
        done += 1000
        progress(PAPERS, done, total)


def _print_pairs(options: argparse.Namespace, pairs: TrainingPairs) -> None:
    split = pairs.provenance["splits"]
    print(
        f"{pairs.name}: {papers_words(pairs.papers.num_rows)}; pairs: {len(pairs.train):,} to train on, "
        f"{len(pairs.dev):,} dev, {len(pairs.test):,} test"
    )
    print(
        f"  left out of train: {split['left_out_of_train']:,} that dev or test have; of dev: "
        f"{split['left_out_of_dev']:,} that test has, {split['dev_without_negative']:,} without a negative"
    )
    if len(pairs.dev) < FEW_DEV:
        print(f"  The dev set is small (the authors' had {FEW_DEV:,} pairs or more): its loss will be unsteady.")
    print(
        "  When papers are added, none changes its split with: "
        f"--dev {split['dev_share']} --test {split['test_share']} --seed {split['seed']}"
    )
    if len(pairs.test):
        print(
            f"Evaluate on its test pairs: python -m components.evaluation --set {HELD_OUT} --data "
            f"{shlex.quote(str(options.out / HELD_OUT))} --encoder …"
        )
    print(f"Train on it: python -m components.training train --pairs {shlex.quote(str(options.out))} …")
