"""The verb `pairs`: full texts or ready pairs, and a corpus of titles and abstracts → a folder of training pairs."""

import contextlib
import errno
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.cli.output import (
    FILES_HELP,
    MAX_LISTED,
    AsJson,
    KeepWithoutAbstract,
    PaperColumns,
    count_papers,
    ensure_default,
    existing_files,
    parse_columns,
    print_json,
    print_reports,
    print_some,
    progress_bars,
)
from corpus.progress import Progress

if TYPE_CHECKING:
    from corpus.cocitations.contexts import ContextRules
    from corpus.cocitations.full_text_report import FullTextReport
    from corpus.cocitations.pairing import Found
    from corpus.cocitations.pairs import TrainingPairs
    from corpus.cocitations.splits import SplitRules
    from corpus.paper import Paper
    from corpus.readers import ReadReport

READING, PAPERS, JOINING, WRITING = (
    "Reading the full texts",
    "Reading the papers",
    "Joining references and papers",
    "Writing the pairs",
)
_PAPERS_PER_REPORT = 1_024  # between two reports of progress
_FEW_BYTES = 4 * 2**20  # of full texts: two seconds' work, while a process takes one second to start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    full_texts: list[str]
    pairs: list[str]
    papers: list[str]
    atlas: list[str]
    out: Path
    by_title: bool
    titles_alone: bool
    missing: Path | None
    workers: int
    columns: dict[str, str] | None
    keep_without_abstract: bool


@dataclass(slots=True)
class _Account:
    """What was read, and what was found in it."""

    full_texts: "FullTextReport"
    papers: "list[ReadReport]" = field(default_factory=list)
    found: "Found | None" = None
    missing: int = 0


def pairs(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder.")],
    full_texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FULL_TEXT…",
            help="Files, folders or archives: JATS XML, S2ORC, CORD-19, unarXive, or JSON Lines of citing sentences.",
        ),
    ] = None,
    ready: Annotated[
        list[str] | None,
        typer.Option(
            "--pairs", metavar="FILE", help="Ready pairs: two ids per line, and the citing paper's. Repeatable."
        ),
    ] = None,
    papers: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help=f"Titles and abstracts: {FILES_HELP}. Repeatable.")
    ] = None,
    atlas: Annotated[list[str] | None, typer.Option(metavar="NAME", help="The papers of an atlas. Repeatable.")] = None,
    dev: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of the dev set: pairs, or a share of citing papers such as 0.05."),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the held-out test set, as --dev.")] = None,
    seed: Annotated[int, typer.Option(help="Of the splits and the dev set's negatives.")] = 0,
    least_cited: Annotated[int, typer.Option(help="Papers that a sentence must cite at least.")] = 2,
    most_cited: Annotated[int, typer.Option(help="Papers that a sentence may cite at most.")] = 3,
    least_words: Annotated[int, typer.Option(help="Words that a sentence must have at least.")] = 5,
    most_words: Annotated[int, typer.Option(help="Words that a sentence may have at most.")] = 60,
    without_bracket: Annotated[
        bool, typer.Option("--without-bracket", help="Also keep sentences without a bracket or parenthesis.")
    ] = False,
    by_title: Annotated[
        bool, typer.Option("--by-title", help="Also join references by the same title and year.")
    ] = False,
    titles_alone: Annotated[
        bool, typer.Option("--titles-alone", help="Use the titles of references that no paper is found for.")
    ] = False,
    missing: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the PMIDs and DOIs of cited papers that were not found.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=1_000, help="Processes that read full texts; 0: one per processor.")
    ] = 0,
    column: PaperColumns = None,
    keep_without_abstract: KeepWithoutAbstract = False,
    as_json: AsJson = False,
) -> None:
    """Make training pairs: papers that are cited together in one sentence, with a dev and a test split."""
    from corpus.cocitations.contexts import ContextRules
    from corpus.cocitations.full_text_report import FullTextReport
    from corpus.cocitations.pairs import PairsError
    from corpus.cocitations.pairs_folder import refuse_taken
    from corpus.cocitations.splits import SplitRules

    if not full_texts and not ready:
        raise typer.BadParameter("give full texts, or --pairs FILE")
    if not papers and not atlas and not titles_alone:
        raise typer.BadParameter("name the papers with their texts: --papers FILE or --atlas NAME")
    # Everything that can be refused is refused before hours of reading.
    split_rules = SplitRules(dev=_size(dev), test=_size(test), seed=seed)
    rules = ContextRules(
        least_cited=least_cited,
        most_cited=most_cited,
        least_words=least_words,
        most_words=most_words,
        bracket=not without_bracket,
    )
    refuse_taken(out)
    if missing and not missing.absolute().parent.is_dir():
        raise typer.BadParameter(f"--missing {missing}: there is no folder {missing.parent}")
    options = _Options(
        full_texts=full_texts or [],
        pairs=ready or [],
        papers=papers or [],
        atlas=atlas or [],
        out=out,
        by_title=by_title,
        titles_alone=titles_alone,
        missing=missing,
        workers=workers,
        columns=parse_columns(column),
        keep_without_abstract=keep_without_abstract,
    )
    tables, files = existing_files(options.pairs), existing_files(options.papers)
    account = _Account(FullTextReport())
    try:
        with progress_bars(as_json=as_json) as progress, _disk_errors(out.resolve().parent):
            made = _make(options, tables, files, rules, split_rules, account, progress)
    except PairsError as error:
        if not as_json:  # which filter dropped the most is what helps now
            _print_found(options, account, rules)
        if not account.full_texts.documents and account.full_texts.refused and not options.pairs:
            raise PairsError(
                f"None of the {account.full_texts.refused:,} full texts could be read, so there are no pairs. Give "
                "JATS XML, S2ORC, CORD-19, unarXive or lines of citing sentences; ready pairs of ids go after "
                "--pairs, titles and abstracts after --papers."
            ) from error
        raise
    if as_json:
        sizes = {"papers": made.papers.num_rows, "train": len(made.train), "dev": len(made.dev)}
        print_json({"built": made.name, **sizes, "test": len(made.test)})
        return
    _print_found(options, account, rules)
    _print_pairs(options, made)


def _size(text: str | None) -> int | float | None:
    if text is None:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a number of pairs nor a share such as 0.05") from error


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """As `disk_errors`, but nothing of what was done is kept."""
    from corpus.cocitations.pairs import PairsError
    from corpus.io.disk import disk_errors

    with disk_errors(folder):
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise PairsError(
                    f"The disk that holds {folder} is full, and nothing was written. Free some space, or choose "
                    "another folder: --out DIR"
                ) from error
            raise


def _make(
    options: _Options,
    tables: list[Path],
    files: list[Path],
    rules: "ContextRules",
    split_rules: "SplitRules",
    account: _Account,
    progress: Progress,
) -> "TrainingPairs":
    from components.atlas.build import describe_file
    from corpus.cocitations.pair_tables import read_pair_table
    from corpus.cocitations.pairing import Pairing, write_found
    from corpus.io.files import write_text

    folder = options.out.resolve().parent
    missing: Counter[str] | None = Counter() if options.missing else None
    with Pairing(
        rules, folder=folder, by_title=options.by_title, titles_alone=options.titles_alone, missing=missing
    ) as pairing:
        for table in tables:
            pairing.add_ready(read_pair_table(table))
        _check_papers(files, options)
        if options.full_texts:
            # Closed here, so that the reading processes end before an error is printed.
            with contextlib.closing(_sentences(options, account, progress)) as sentences:
                pairing.add_sentences(sentences)
        pairing.add_papers(_papers(files, options, account, progress))
        account.found = found = pairing.found(progress=lambda done, total: progress(JOINING, done, total))
    if missing is not None and options.missing is not None:
        # Before the pairs are written: if there are none, this list is what helps.
        most_cited_first = sorted(missing.items(), key=lambda item: (-item[1], item[0]))
        write_text(options.missing, "".join(f"{name}\n" for name, _ in most_cited_first))
        account.missing = len(missing)
    progress(WRITING, 0, 1)
    record = {
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
    pairs = write_found(options.out, found, rules=split_rules, told=record)
    progress(WRITING, 1, 1)
    return pairs


def _sentences(options: _Options, account: _Account, progress: Progress) -> Any:
    """A generator of citing sentences."""
    from corpus.cocitations.reading import read_citing_sentences

    return read_citing_sentences(
        [Path(name) for name in options.full_texts],
        workers=options.workers or _workers_for(options.full_texts),
        progress=lambda done, total: progress(READING, done, total),
        report=account.full_texts,
    )


def _workers_for(names: list[str]) -> int:
    """One per processor; a single one for so little that it is read before the others have started."""
    # os.path, because Path raises where a folder may not be read.
    small = all(os.path.isfile(name) for name in names)  # noqa: PTH113
    if small and sum(os.path.getsize(name) for name in names) < _FEW_BYTES:  # noqa: PTH202
        return 1
    return os.cpu_count() or 1


def _check_papers(files: list[Path], options: _Options) -> None:
    """Open the papers now: an error must not come after hours of reading full texts."""
    from components.atlas.store import open_atlas
    from corpus.readers import read

    for path in files:
        with read(path, columns=options.columns):
            pass
    for name in options.atlas:
        ensure_default(name)
        open_atlas(name)


def _papers(files: list[Path], options: _Options, account: _Account, progress: Progress) -> "Iterator[Paper]":
    """The papers of the files and atlases, one after another; progress in thousandths of each."""
    from components.atlas.store import open_atlas
    from corpus.paper import papers_in
    from corpus.readers import read

    total = 1000 * (len(files) + len(options.atlas))
    done = 0
    keep = options.keep_without_abstract
    for path in files:
        with read(path, columns=options.columns, without_abstract="keep" if keep else "leave_out") as reading:
            account.papers.append(reading.report)
            for paper in reading:
                if reading.report.kept % _PAPERS_PER_REPORT == 0:
                    progress(PAPERS, done + round(1000 * reading.fraction), total)
                yield paper
        done += 1000
        progress(PAPERS, done, total)
    for name in options.atlas:
        table = open_atlas(name).papers
        for number, paper in enumerate(papers_in(table)):
            if number % _PAPERS_PER_REPORT == 0:
                progress(PAPERS, done + 1000 * number // table.num_rows, total)
            if paper.abstract or keep:
                yield paper
        done += 1000
        progress(PAPERS, done, total)


def _print_found(options: _Options, account: _Account, rules: "ContextRules") -> None:
    """Print what was read and what each filter dropped; nothing where the reading did not end."""
    if (found := account.found) is None:
        return
    print_reports([report.to_dict() for report in account.papers])
    if options.full_texts:
        _print_full_texts(account.full_texts)
        rows = [("Sentences that cite", found.report.sentences)]
        rows += [(f"  dropped: {reason}", count) for reason, count in found.report.steps(rules)]
        rows.append(("Contexts", found.report.kept))
        width = max(len(row) for row, _ in rows)
        print("\n".join(f"{row.ljust(width)}  {count:>12,}" for row, count in rows))
    if (ready := found.ready).pairs:
        print(f"Ready pairs: {ready.pairs:,}; {ready.unknown:,} with an unknown id, {ready.same:,} of one paper twice")
        print_some(ready.places[:MAX_LISTED], total=ready.unknown)
    joined = found.joined["references"]
    print("References joined by: " + (", ".join(f"{key} {count:,}" for key, count in joined.items()) or "nothing"))
    if account.missing:
        print(f"  In no corpus: {account.missing:,} PMIDs and DOIs, the most cited first: {options.missing}")
    if ambiguous := found.joined["ambiguous_ids"]:
        print(f"  {count_papers(ambiguous)} had an id of an earlier paper; the earlier paper was used.")


def _print_pairs(options: _Options, pairs: "TrainingPairs") -> None:
    from corpus.cocitations.pairs_folder import HELD_OUT
    from corpus.cocitations.splits import FEW_DEV

    split = pairs.told["splits"]
    folder = shlex.quote(str(options.out))
    print(
        f"{pairs.name}: {count_papers(pairs.papers.num_rows)}; pairs: {len(pairs.train):,} train, "
        f"{len(pairs.dev):,} dev, {len(pairs.test):,} test"
    )
    print(
        f"  left out of train: {split['left_out_of_train']:,} pairs of dev or test; of dev: "
        f"{split['left_out_of_dev']:,} of test, {split['dev_without_negative']:,} without a negative"
    )
    if len(pairs.dev) < FEW_DEV:
        print(f"  The dev set is small (the authors' had {FEW_DEV:,} pairs or more), so its loss will be noisy.")
    print(
        "  To keep every split when papers are added: "
        f"--dev {split['dev_share']} --test {split['test_share']} --seed {split['seed']}"
    )
    if len(pairs.test):
        held_out = shlex.quote(str(options.out / HELD_OUT))
        print(f"Evaluate on its test pairs: cocite evaluate --set {HELD_OUT} --data {held_out} --encoder …")
    print(f"Train on it: cocite train --pairs {folder} …")


def _print_full_texts(report: "FullTextReport") -> None:
    formats = ", ".join(f"{count:,} × {name}" for name, count in report.formats.most_common())
    print(f"Full texts: {report.documents:,} read ({formats or 'none'}); {report.refused:,} refused")
    print_some([str(refusal) for refusal in report.refusals[:MAX_LISTED]], total=report.refused)
    for done, counts in (("repaired", report.repaired), ("dropped", report.dropped)):
        if counts:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
            print(f"Citation markers {done}: {counts.total():,} ({reasons})")
