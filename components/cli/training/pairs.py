"""`pairs`: full texts, or ready pairs of ids, and a corpus of titles and abstracts → a folder of training pairs."""

import argparse
import contextlib
import errno
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
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
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.pair_tables import read_pair_table
from corpus.cocitations.pairing import Found, Pairing, write_found
from corpus.cocitations.pairs import PairsError, TrainingPairs
from corpus.cocitations.pairs_folder import HELD_OUT, refuse_taken
from corpus.cocitations.reading import read_citing_sentences
from corpus.cocitations.splits import DEFAULT_MOST, FEW_DEV, SplitRules
from corpus.io.disk import disk_errors
from corpus.io.files import write_text
from corpus.paper import Paper, papers_in
from corpus.progress import Progress
from corpus.readers import ReadReport, read

READING, PAPERS, JOINING, WRITING = (
    "Reading the full texts",
    "Looking for their papers",
    "Joining them",
    "Writing the pairs",
)
_BETWEEN = 1_024  # papers between two words of progress
_FEW_BYTES = 4 * 2**20  # of full texts: two seconds' work, packed or not, and a process takes one to begin
_SHOWN = 5  # of what could not be read or joined; the others are counted


@dataclass(slots=True)
class _Account:
    """What was read on the way, and what was found in it."""

    full_texts: FullTextReport = field(default_factory=FullTextReport)
    papers: list[ReadReport] = field(default_factory=list)
    found: Found | None = None
    missing: int = 0


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
            f"(default: 0.1, at most {DEFAULT_MOST:,} pairs)",
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
    refuse_taken(options.out)
    if options.missing and not options.missing.absolute().parent.is_dir():
        options.refuse(f"--missing {options.missing}: there is no folder {options.missing.parent}")
    tables, files = existing_files(options.pairs), existing_files(options.papers)
    account = _Account()
    plain = options.progress != "json"
    try:
        with progress_of(options) as progress, _disk_errors(options.out.resolve().parent):
            pairs = _made(options, tables, files, rules, split_rules, account, progress)
    except PairsError as error:
        if plain:  # which filter dropped the most is what helps now
            _print_found(options, account, rules)
        if not account.full_texts.documents and account.full_texts.refused and not options.pairs:
            raise PairsError(
                f"None of the {account.full_texts.refused:,} full texts could be read, so there are no pairs. Give "
                "JATS XML, S2ORC, CORD-19, unarXive or lines of citing sentences; ready pairs of ids go behind "
                "--pairs, titles and abstracts behind --papers."
            ) from error
        raise
    if plain:
        _print_found(options, account, rules)
        _print_pairs(options, pairs)
    else:
        sizes = {"papers": pairs.papers.num_rows, "train": len(pairs.train), "dev": len(pairs.dev)}
        json_line({"built": pairs.name, **sizes, "test": len(pairs.test)})
    return 0


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """As `disk_errors`, but that of what was done nothing is kept."""
    with disk_errors(folder):
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise PairsError(
                    f"The disk that holds {folder} is full, and nothing was written. Free some space, or name another "
                    "folder: --out DIR"
                ) from error
            raise


def _most_first(found: tuple[str, int]) -> tuple[int, str]:
    return -found[1], found[0]


def _made(
    options: argparse.Namespace,
    tables: list[Path],
    files: list[Path],
    rules: ContextRules,
    split_rules: SplitRules,
    account: _Account,
    progress: Progress,
) -> TrainingPairs:
    folder = options.out.resolve().parent
    missing: Counter[str] | None = Counter() if options.missing else None
    with Pairing(
        rules, folder=folder, by_title=options.by_title, titles_alone=options.titles_alone, missing=missing
    ) as pairing:
        for table in tables:
            pairing.add_ready(read_pair_table(table))
        _look_into_papers(files, options)
        if options.full_texts:
            # Closed here, so that the processes that read end before an error is told.
            with contextlib.closing(_sentences(options, account, progress)) as sentences:
                pairing.add_sentences(sentences)
        pairing.add_papers(_papers(files, options, account, progress))
        account.found = found = pairing.found(progress=lambda done, total: progress(JOINING, done, total))
    if missing is not None:
        # Before the pairs are written: where none are left, it is what helps.
        write_text(options.missing, "".join(f"{name}\n" for name, _ in sorted(missing.items(), key=_most_first)))
        account.missing = len(missing)
    progress(WRITING, 0, 1)
    told = {
        "rules": asdict(rules),
        "by_title": options.by_title,
        "titles_alone": options.titles_alone,
        "keep_without_abstract": options.keep_without_abstract,
        "sources": {
            "full_texts": [Path(name).name for name in options.full_texts],
            "pairs": [describe_file(table) for table in tables],
            "papers": [describe_file(file) for file in files],
            "atlases": options.atlas,
        },
        "full_texts": account.full_texts.as_json(),
        "contexts": found.report.as_json(),
        "ready": found.ready.as_json(),
        "joined": found.joined,
    }
    pairs = write_found(options.out, found, rules=split_rules, told=told)
    progress(WRITING, 1, 1)
    return pairs


def _sentences(options: argparse.Namespace, account: _Account, progress: Progress) -> Any:
    """A generator of citing sentences."""
    return read_citing_sentences(
        [Path(name) for name in options.full_texts],
        workers=options.workers or _workers_for(options.full_texts),
        progress=lambda done, total: progress(READING, done, total),
        report=account.full_texts,
    )


def _workers_for(names: list[str]) -> int:
    """As many as there are processors; for what one has read before the others have begun, one."""
    # Of os.path, because Path raises where a folder may not be looked into.
    small = all(os.path.isfile(name) for name in names)  # noqa: PTH113
    if small and sum(os.path.getsize(name) for name in names) < _FEW_BYTES:  # noqa: PTH202
        return 1
    return os.cpu_count() or 1


def _look_into_papers(files: list[Path], options: argparse.Namespace) -> None:
    """Raise what opening the papers raises now, and not when the full texts have been read for hours."""
    for path in files:
        with read(path, columns=dict(options.columns) or None):
            pass
    for name in options.atlas:
        ensure(name)
        store.open_atlas(name)


def _papers(files: list[Path], options: argparse.Namespace, account: _Account, progress: Progress) -> Iterator[Paper]:
    """The papers of the files and atlases, one after another; progress in thousandths of each."""
    total = 1000 * (len(files) + len(options.atlas))
    done = 0
    keep = options.keep_without_abstract
    for path in files:
        columns = dict(options.columns) or None
        with read(path, columns=columns, without_abstract="keep" if keep else "leave_out") as reading:
            account.papers.append(reading.report)
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


# What is said at the end


def _print_found(options: argparse.Namespace, account: _Account, rules: ContextRules) -> None:
    """Say what was read, and what each filter dropped; nothing where it did not come so far."""
    if (found := account.found) is None:
        return
    print_reports([report.to_dict() for report in account.papers])
    if options.full_texts:
        _print_full_texts(account.full_texts)
        rows = [("Sentences that cite", found.report.sentences)]
        rows += [(f"  dropped: {told}", count) for told, count in found.report.steps(rules)]
        rows.append(("Contexts", found.report.kept))
        wide = max(len(told) for told, _ in rows)
        print("\n".join(f"{told.ljust(wide)}  {count:>12,}" for told, count in rows))
    if (ready := found.ready).pairs:
        print(f"Ready pairs: {ready.pairs:,}; {ready.unknown:,} with an unknown id, {ready.same:,} of one paper twice")
        for place in ready.places[:_SHOWN]:
            print(f"  {place}")
        _print_more(ready.unknown)
    joined = found.joined["references"]
    print("References joined by: " + (", ".join(f"{how} {count:,}" for how, count in joined.items()) or "nothing"))
    if account.missing:
        print(f"  In no corpus: {account.missing:,} PMIDs and DOIs, the most cited first: {options.missing}")
    if ambiguous := found.joined["ambiguous_ids"]:
        print(f"  {papers_words(ambiguous)} had an id that another paper had before, which was taken.")


def _print_pairs(options: argparse.Namespace, pairs: TrainingPairs) -> None:
    split = pairs.told["splits"]
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


def _print_full_texts(report: FullTextReport) -> None:
    formats = ", ".join(f"{count:,} × {name}" for name, count in report.formats.most_common())
    print(f"Full texts: {report.documents:,} read ({formats or 'none'}); {report.refused:,} refused")
    for refusal in report.refusals[:_SHOWN]:
        print(f"  {refusal}")
    _print_more(report.refused)
    for done, counts in (("mended", report.repaired), ("dropped", report.dropped)):
        if counts:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
            print(f"Citation markers {done}: {counts.total():,} ({reasons})")


def _print_more(count: int) -> None:
    if count > _SHOWN:
        print(f"  … and {count - _SHOWN:,} more")
