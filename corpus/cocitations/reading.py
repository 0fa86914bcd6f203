"""Reading full texts: files, folders and archives in, citing sentences out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corpus.cocitations.full_text import CitingSentence, FullTextError
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.sentence_lines import FORMAT, read_sentence_line

ReadingProgress = Callable[[int, int], None]  # bytes of the files that are done, and of all files


def read_citing_sentences(
    paths: Sequence[Path],
    *,
    workers: int = 1,
    progress: ReadingProgress | None = None,
    report: FullTextReport,
) -> Iterator[CitingSentence]:
    """The citing sentences of full texts, in the order of the files, whatever the number of workers.

    paths: files or folders. report: complete once all sentences are taken.
    Raises FullTextError for a path that is not there.
    """
    total = sum(path.stat().st_size for path in paths)
    done = 0
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                place = f"{path.name}, line {number}"
                try:
                    sentence = read_sentence_line(line, place=place)
                except FullTextError as error:
                    report.refuse(place, str(error))
                    continue
                report.read(FORMAT)
                report.sentences += 1
                yield sentence
        done += path.stat().st_size
        if progress is not None:
            progress(done, total)
