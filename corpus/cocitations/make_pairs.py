"""Make training pairs: citing sentences, tables of ready pairs and a corpus become contexts, and a folder of pairs."""

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from corpus.cocitations.contexts import ContextFilter, ContextReport, ContextRules
from corpus.cocitations.full_text import CitingSentence, FullTextReport, Reference
from corpus.cocitations.join import Joiner
from corpus.cocitations.pairs import PairsError, Rows, SplitRules, TrainingPairs, split_pairs
from corpus.cocitations.pairs_folder import CONTEXTS_SCHEMA, check_new_folder, write_pairs
from corpus.cocitations.reading import read_citing_sentences
from corpus.errors import UnreadableFileError
from corpus.identifiers import ID_KINDS, citation_key, parsed_citation_key
from corpus.io.decoding import bounded_lines
from corpus.io.disk import NoSpaceLeft, disk_errors
from corpus.io.files import write_text
from corpus.io.limits import DEFAULT_LIMITS
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.progress import Progress, no_progress
from corpus.text.plain import clean

JOINING, WRITING = "Joining references and papers", "Writing the pairs"  # stages of progress, after `reading.READING`

_MAX_PLACES = 1_000  # of ready pairs with an unknown id
_MAX_SHOWN = 5  # of what could not be read or joined; the others are counted
_BATCH = 4_096  # contexts that are kept as Python objects before they go into an arrow table
_BETWEEN = 1_024  # sentences between two calls of progress


@dataclass(slots=True)
class PairsReport:
    """What was read, dropped and joined on the way to training pairs; filled while they are made.

    ready: pairs in tables. unknown: those with an id that no paper has, the first 1,000 of them in `unknown_places`.
    same: those whose ids are one paper's. joined: of `Joiner.as_json`. missing: cited papers in no corpus.
    """

    full_texts: FullTextReport = field(default_factory=FullTextReport)
    contexts: ContextReport = field(default_factory=ContextReport)
    ready: int = 0
    unknown: int = 0
    same: int = 0
    unknown_places: list[str] = field(default_factory=list)
    joined: dict[str, Any] = field(default_factory=dict)
    missing: int = 0

    def lines(self, rules: ContextRules) -> list[str]:
        """The report for people; empty where making pairs ended before the papers were joined."""
        if not self.joined:
            return []
        lines = []
        texts = self.full_texts
        if texts.documents or texts.refused:
            formats = ", ".join(f"{count:,} × {name}" for name, count in texts.formats.most_common()) or "none"
            lines.append(f"Full texts: {texts.documents:,} read ({formats}); {texts.refused:,} refused")
            lines += _shown([str(refusal) for refusal in texts.refusals], texts.refused)
            for verb, counts in (("repaired", texts.repaired), ("dropped", texts.dropped)):
                if counts:
                    reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
                    lines.append(f"Citation markers {verb}: {counts.total():,} ({reasons})")
            rows = [("Sentences that cite", self.contexts.sentences)]
            rows += [(f"  dropped: {step}", count) for step, count in self.contexts.steps(rules)]
            rows.append(("Contexts", self.contexts.kept))
            width = max(len(name) for name, _ in rows)
            lines += [f"{name.ljust(width)}  {count:>12,}" for name, count in rows]
        if self.ready:
            lines.append(
                f"Ready pairs: {self.ready:,}; {self.unknown:,} with an unknown id, {self.same:,} of one paper twice"
            )
            lines += _shown(self.unknown_places, self.unknown)
        joined = ", ".join(f"{how} {count:,}" for how, count in self.joined["references"].items())
        lines.append(f"References joined by: {joined or 'nothing'}")
        if ambiguous := self.joined["ambiguous_ids"]:
            lines.append(f"  Papers with an id that an earlier paper had, which was used: {ambiguous:,}")
        return lines


def _shown(texts: Sequence[str], count: int) -> list[str]:
    more = [f"  … and {count - _MAX_SHOWN:,} more"] if count > _MAX_SHOWN else []
    return [f"  {text}" for text in texts[:_MAX_SHOWN]] + more


def make_pairs(
    out: Path,
    *,
    full_texts: Sequence[Path] = (),
    tables: Sequence[Path] = (),
    papers: Iterable[Paper] = (),
    rules: ContextRules,
    split_rules: SplitRules,
    by_title: bool = False,
    titles_alone: bool = False,
    missing: Path | None = None,
    workers: int = 0,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    report: PairsReport,
) -> TrainingPairs:
    """Make training pairs and write them into the new folder `out`.

    full_texts, workers: as of `read_citing_sentences`. tables: of ready pairs, see `read_pair_table`. papers: with
    their texts; they are taken after the full texts have been read. by_title, titles_alone: see `Joiner`. missing: a
    file for the PMIDs and DOIs of cited papers in no corpus, a line each, the most cited first. provenance: is kept
    with the pairs, together with settings and report. report: is filled also where this raises.
    Raises PairsError where nothing is left, FullTextError, UnreadableFileError, NoSpaceLeft and CannotWrite.
    """
    check_new_folder(out)
    counts: Counter[str] | None = Counter() if missing else None
    folder = out.resolve().parent
    try:
        with (
            disk_errors(folder, advice="Check its permissions, or name another folder: --out DIR"),
            closing(_Sentences(folder)) as waiting,
        ):
            joiner = Joiner(by_title=by_title, titles_alone=titles_alone, missing=counts)
            filter = ContextFilter(rules)
            report.contexts = filter.report
            for table in tables:
                for place, pair in read_pair_table(table):
                    report.ready += 1
                    waiting.add(place, pair, joiner)
            if full_texts:
                with closing(
                    read_citing_sentences(full_texts, workers=workers, progress=progress, report=report.full_texts)
                ) as sentences:  # closed here, so that the workers end before an error is reported
                    for sentence in sentences:
                        if filter.passes_text_filters(sentence):
                            waiting.add("", sentence, joiner)
            for paper in papers:
                joiner.offer(paper)
            contexts = _contexts(waiting, joiner, filter, report, progress)
            report.joined = joiner.as_json()
            if missing and counts is not None:  # before the pairs are written: where none are left, this helps
                names = sorted(counts, key=lambda name: (-counts[name], name))
                write_text(missing, "".join(f"{name}\n" for name in names))
                report.missing = len(names)
            progress(WRITING, 0, 1)
            settings = {"rules": asdict(rules), "by_title": by_title, "titles_alone": titles_alone}
            pairs = _write(out, joiner.papers(), contexts, split_rules, report, settings | dict(provenance or {}))
            progress(WRITING, 1, 1)
            return pairs
    except NoSpaceLeft as error:
        raise PairsError(
            f"The disk that holds {folder} is full, and nothing was written. Free some space, or name another folder: "
            "--out DIR"
        ) from error


class _Sentences:
    """Sentences and ready pairs that wait for the papers, in a file without a name, which the system deletes."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = tempfile.TemporaryFile("w+", encoding="ascii", dir=folder)  # noqa: SIM115 (see `close`)
        self.count = 0
        self.close = self._file.close

    def add(self, place: str, sentence: CitingSentence, joiner: Joiner) -> None:
        """place: of a ready pair; "" for a sentence."""
        cited = [[each.identifiers, each.title, each.year] for each in sentence.cited]
        self._file.write(json.dumps([place, sentence.citing, sentence.sentence, cited]) + "\n")
        self.count += 1
        for reference in sentence.cited:
            joiner.need(reference)

    def __iter__(self) -> Iterator[tuple[str, str, str, list[Reference]]]:
        self._file.seek(0)
        for line in self._file:
            place, citing, sentence, cited = json.loads(line)
            yield place, citing, sentence, [Reference(tuple(keys), title, year) for keys, title, year in cited]


def _contexts(
    waiting: _Sentences, joiner: Joiner, filter: ContextFilter, report: PairsReport, progress: Progress
) -> pa.Table:
    """The contexts and ready pairs with the rows of their papers, a table with `CONTEXTS_SCHEMA` without split."""
    schema = CONTEXTS_SCHEMA.remove(CONTEXTS_SCHEMA.get_field_index("split"))
    parts: list[pa.Table] = []
    batch: list[dict[str, Any]] = []
    for number, (place, citing, sentence, references) in enumerate(waiting):
        if number % _BETWEEN == 0:
            progress(JOINING, number, waiting.count)
        found = [joiner.row_of(reference) for reference in references]
        rows = list(dict.fromkeys(row for row in found if row is not None))
        if place and None in found:
            report.unknown += 1
            if len(report.unknown_places) < _MAX_PLACES:
                lost = [each.identifiers[-1] for each, row in zip(references, found, strict=True) if row is None]
                names = " and ".join(repr(key.removeprefix("id:"))[:80] for key in lost)
                report.unknown_places.append(f"{place}: no paper of the corpus has the id {names}")
            continue
        report.same += bool(place) and len(rows) < 2
        if len(rows) == 2 if place else filter.is_context(citing, sentence, rows):
            batch.append({"citing": citing, "sentence": sentence, "cited": rows})
        if len(batch) == _BATCH:
            parts.append(pa.Table.from_pylist(batch, schema=schema))
            batch = []
    progress(JOINING, waiting.count, waiting.count)
    return pa.concat_tables([*parts, pa.Table.from_pylist(batch, schema=schema)])


def _write(
    out: Path,
    papers: pa.Table,
    contexts: pa.Table,
    split_rules: SplitRules,
    report: PairsReport,
    provenance: Mapping[str, Any],
) -> TrainingPairs:
    """Write the papers that contexts cite, and the pairs of those contexts. Raises PairsError where none are left."""
    if report.ready and report.ready == report.unknown:
        raise PairsError(
            f"{report.unknown_places[0]}. None of {report.ready:,} pairs has both its papers in the corpus. Check that "
            "the pairs and --papers (or --atlas) use the same ids."
        )
    if not contexts.num_rows:
        raise PairsError(_nothing_left(report))
    lists = contexts["cited"].combine_chunks()
    rows = lists.values.to_numpy()
    used = np.zeros(papers.num_rows, bool)
    used[rows] = True
    papers = papers.filter(pa.array(used))
    new_rows = (np.cumsum(used) - 1).astype(np.int32)[rows]
    cited = pa.ListArray.from_arrays(lists.offsets, pa.array(new_rows, pa.int32()))
    pairs, of_context = _pairs_in(cited.to_pylist())
    names = contexts["citing"].to_pylist()
    citing = [names[context] for context in of_context.tolist()]
    split = split_pairs(pairs, citing, ids=papers["id"].to_pylist(), rules=split_rules)
    first_pairs = np.searchsorted(of_context, np.arange(contexts.num_rows))
    columns = [contexts["citing"], contexts["sentence"], cited, [split.names[pair] for pair in first_pairs.tolist()]]
    return write_pairs(
        out,
        papers=papers,
        train=split.train,
        dev=split.dev,
        test=split.test,
        contexts=pa.table(columns, schema=CONTEXTS_SCHEMA),
        provenance={
            **provenance,
            "full_texts": report.full_texts.as_json(),
            "contexts": report.contexts.as_json(),
            "ready": {
                "pairs": report.ready,
                "unknown": report.unknown,
                "same": report.same,
                "unknown_places": report.unknown_places,
            },
            "joined": report.joined,
            "splits": split.summary,
        },
    )


def _nothing_left(report: PairsReport) -> str:
    texts, contexts = report.full_texts, report.contexts
    if texts.refused and not texts.documents and not report.ready:
        return (
            f"None of the {texts.refused:,} full texts could be read, so there are no pairs. Give JATS XML, S2ORC, "
            "CORD-19, unarXive or lines of citing sentences; ready pairs of ids go after --pairs, titles and "
            "abstracts after --papers."
        )
    if not contexts.sentences and not report.ready:
        return "The files hold neither a citing sentence nor a ready pair. Check that they are the right ones."
    if contexts.sentences and not contexts.kept and contexts.unknown:
        why = "Their cited papers are not in the corpus: give --papers that hold them, with a title and an abstract."
    else:
        why = "Give more full texts or pairs, or relax the filters: --most-cited, --most-words."
    return f"No pair is left of {contexts.sentences:,} citing sentences and {report.ready:,} ready pairs. {why}"


def _pairs_in(contexts: list[list[int]]) -> tuple[Rows, Rows]:
    """The pairs of contexts, int32 (n, 2), and the context of each, int32 (n,), rising."""
    pairs = [np.array(list(combinations(rows, 2)), np.int32) for rows in contexts]
    return np.concatenate(pairs), np.repeat(np.arange(len(pairs), dtype=np.int32), [len(each) for each in pairs])


# Tables of ready pairs

_FIRST = ("anchor", "first", "a", "id1", "id_1", "paper1", "paper_1", "query", "source")
_SECOND = ("positive", "second", "b", "id2", "id_2", "paper2", "paper_2", "cocited", "target")
_CITING = ("citing", "citing_id", "citing_paper", "cited_by")
_ADVICE = "Give two ids per line, separated by a tab, a comma or a semicolon, or JSON Lines of anchor and positive."


def read_pair_table(path: Path) -> Iterator[tuple[str, CitingSentence]]:
    """The pairs of ids in a file of TSV, CSV or JSON Lines, in order, each with its place; they have no sentence.

    The file may be gzip. Columns or keys named anchor and positive (or first and second, a and b, id1 and id2), and
    citing, are used by name; else the first two columns are the ids, and a third one is the citing paper.
    Raises PairsError for other content, naming the line, and UnreadableFileError.
    """
    try:
        with closing(CappedStream(path, DEFAULT_LIMITS)) as stream:
            yield from _table_pairs(stream, path.name)
    except UnreadableFileError as error:
        error.locate(file=path.name)
        raise


def _table_pairs(stream: CappedStream, file: str) -> Iterator[tuple[str, CitingSentence]]:
    delimiter = ""
    columns: Sequence[int | None] = (0, 1, 2)
    for number, line in enumerate(bounded_lines(stream, max_chars=DEFAULT_LIMITS.line_bytes), start=1):
        place = f"{file}, line {number}"
        if line is None:
            raise PairsError(f"{place}: this is too long for a pair of ids. {_ADVICE}")
        text = line.strip("\r\n \ufeff")
        if not text.strip():
            continue
        if text.startswith(("{", "[")):
            cells = _json_cells(text, place=place)
        else:
            is_header = not delimiter
            # The first line's delimiter holds for all: a DOI may contain a semicolon.
            delimiter = delimiter or next((each for each in ("\t", ",", ";", "|") if each in text), " ")
            try:
                row = text.split() if delimiter == " " else next(csv.reader([text], delimiter=delimiter))
            except csv.Error as error:
                raise PairsError(f"{place}: it cannot be read as a line of a table ({error}). {_ADVICE}") from error
            names = [cell.strip().lower() for cell in row] if is_header else []
            named = [next((names.index(name) for name in known if name in names), None) for known in _NAMES]
            if None not in named[:2]:
                columns = named
                continue
            cells = [row[column] if column is not None and column < len(row) else "" for column in columns]
        first, second, citing = (cell.strip() for cell in cells)
        if not first or not second:
            raise PairsError(f"{place}: {text[:60]!r} names fewer than two papers. {_ADVICE}")
        cited = _reference(first), _reference(second)
        if not all(each.identifiers for each in cited):
            raise PairsError(f"{place}: {text[:60]!r} holds an invalid id: too long, or without a visible character.")
        # As in lines of sentences, so that the citing paper is in one split with theirs.
        name = clean(citing[: DEFAULT_LIMITS.field_chars])
        yield place, CitingSentence(parsed_citation_key(name) or name, "", cited)


_NAMES = (_FIRST, _SECOND, _CITING)


def _json_cells(text: str, *, place: str) -> list[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PairsError(f"{place}: it is not JSON. {_ADVICE}") from error
    if isinstance(value, dict):
        if "sentence" in value:
            raise PairsError(f"{place}: this is a citing sentence, not a pair. Give the file without --pairs.")
        value = [next((value[name] for name in known if name in value), "") for known in _NAMES]
    if not isinstance(value, list):
        raise PairsError(f"{place}: it is no pair of ids. {_ADVICE}")
    cells = (*value, "", "", "")[:3]
    is_number = [type(cell) is int and 0 <= cell < 10**18 for cell in cells]
    return [str(cell) if number or isinstance(cell, str) else "" for cell, number in zip(cells, is_number, strict=True)]


def _reference(text: str) -> Reference:
    """What an id may be: an identifier with its kind before it, or the own id of a paper."""
    prefix, _, value = text.partition(":")
    kind = next((kind for kind in ID_KINDS if value and kind == prefix.lower()), None)
    keys = [citation_key(kind, value) if kind else "", citation_key("id", text)]
    return Reference(tuple(key for key in keys if key))
