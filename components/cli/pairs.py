"""The verb `pairs`: full texts or ready pairs, and a corpus of titles and abstracts → a folder of training pairs."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.cli.output import (
    FILES_HELP,
    AsJson,
    KeepWithoutAbstract,
    PaperColumns,
    Stopped,
    count_papers,
    ensure_default,
    existing_files,
    parse_columns,
    print_json,
    print_reports,
    progress_bars,
)
from corpus.progress import Cancelled, Progress

if TYPE_CHECKING:
    from corpus.cocitations.pairs import TrainingPairs
    from corpus.paper import Paper
    from corpus.readers.report import ReadReport

PAPERS = "Reading the papers"
_PAPERS_PER_REPORT = 1_024  # between two reports of progress


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
    from components.atlas.build import describe_file
    from corpus.cocitations.contexts import ContextRules
    from corpus.cocitations.make_pairs import PairsReport, make_pairs
    from corpus.cocitations.pairs import SplitRules
    from corpus.cocitations.pairs_folder import check_new_folder

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
    check_new_folder(out)
    if missing and not missing.absolute().parent.is_dir():
        raise typer.BadParameter(f"--missing {missing}: there is no folder {missing.parent}")
    tables, files = existing_files(ready or []), existing_files(papers or [])
    atlases, columns = atlas or [], parse_columns(column)
    _check_papers(files, atlases, columns)
    report = PairsReport()
    reading_reports: list[ReadReport] = []
    try:
        with progress_bars(as_json=as_json) as progress:
            made = make_pairs(
                out,
                full_texts=[Path(name) for name in full_texts or []],
                tables=tables,
                papers=_papers(files, atlases, columns, keep_without_abstract, reading_reports, progress),
                rules=rules,
                split_rules=split_rules,
                by_title=by_title,
                titles_alone=titles_alone,
                missing=missing,
                workers=workers,
                provenance={
                    "keep_without_abstract": keep_without_abstract,
                    "sources": {
                        "full_texts": [Path(name).name for name in full_texts or []],
                        "pairs": [describe_file(table) for table in tables],
                        "papers": [describe_file(file) for file in files],
                        "atlases": atlases,
                    },
                },
                progress=progress,
                report=report,
            )
    except (Cancelled, KeyboardInterrupt) as error:
        raise Stopped("stopped. Nothing was written.") from error
    finally:
        if report.joined and not as_json:  # after an error, too: which filter dropped the most is what helps
            print_reports([each.to_dict() for each in reading_reports])
            print("\n".join(report.lines(rules)))
            if report.missing:
                print(f"  In no corpus: {report.missing:,} PMIDs and DOIs, the most cited first: {missing}")
    if as_json:
        sizes = {"papers": made.papers.num_rows, "train": len(made.train), "dev": len(made.dev)}
        print_json({"built": made.name, **sizes, "test": len(made.test)})
    else:
        _print_pairs(out, made)


def _size(text: str | None) -> int | float | None:
    if text is None:
        return None
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a number of pairs nor a share such as 0.05") from error


def _check_papers(files: list[Path], atlases: list[str], columns: dict[str, str] | None) -> None:
    """Open the papers now: an error must not come after hours of reading full texts."""
    from components.atlas.store import open_atlas
    from corpus.readers import read

    for path in files:
        with read(path, columns=columns):
            pass
    for name in atlases:
        ensure_default(name)
        open_atlas(name)


def _papers(
    files: list[Path],
    atlases: list[str],
    columns: dict[str, str] | None,
    keep_without_abstract: bool,
    reports: "list[ReadReport]",
    progress: Progress,
) -> "Iterator[Paper]":
    """The papers of the files and atlases, one after another; progress in thousandths of each."""
    from components.atlas.store import open_atlas
    from corpus.paper import papers_in
    from corpus.readers import read

    total = 1000 * (len(files) + len(atlases))
    done = 0
    keep = keep_without_abstract
    for path in files:
        with read(path, columns=columns, without_abstract="keep" if keep else "leave_out") as reading:
            reports.append(reading.report)
            for paper in reading:
                if reading.report.kept % _PAPERS_PER_REPORT == 0:
                    progress(PAPERS, done + round(1000 * reading.fraction), total)
                yield paper
        done += 1000
        progress(PAPERS, done, total)
    for name in atlases:
        table = open_atlas(name).papers
        for number, paper in enumerate(papers_in(table)):
            if number % _PAPERS_PER_REPORT == 0:
                progress(PAPERS, done + 1000 * number // table.num_rows, total)
            if paper.abstract or keep:
                yield paper
        done += 1000
        progress(PAPERS, done, total)


def _print_pairs(out: Path, pairs: "TrainingPairs") -> None:
    from corpus.cocitations.pairs import FEW_DEV
    from corpus.cocitations.pairs_folder import HELD_OUT

    split = pairs.provenance["splits"]
    folder = shlex.quote(str(out))
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
        held_out = shlex.quote(str(out / HELD_OUT))
        print(f"Evaluate on its test pairs: cocite evaluate --set {HELD_OUT} --data {held_out} --encoder …")
    print(f"Train on it: cocite train --pairs {folder} …")
