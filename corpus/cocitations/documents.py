"""Documents → citing sentences, whatever their format, which the content tells. What a worker does; all of it pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corpus.cocitations import cord19, jats, s2orc, sentence_lines, unarxive
from corpus.cocitations.cutting import ADVICE, LARGEST_DOCUMENT, Content, records
from corpus.cocitations.full_text import CitingSentence, FullText, FullTextError
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.json_fields import object_in
from corpus.cocitations.sentences import citing_sentences
from corpus.io.json_values import JsonValues

_JATS = "JATS"
_NO_ARTICLE = "this XML holds no <article>. Give JATS, as PubMed Central and PLOS have it."
_METADATA = "this is metadata of S2ORC without a full text. Give it as papers, and the PDF parses as full texts."
_UNKNOWN = f"this is no full text in a shape that is read. {ADVICE}"


@dataclass(slots=True)
class Outcome:
    """What came of some documents, in their order."""

    sentences: list[CitingSentence] = field(default_factory=list)
    report: FullTextReport = field(default_factory=FullTextReport)


def read_contents(contents: Sequence[Content]) -> Outcome:
    """The citing sentences of documents; of those that cannot be read, why."""
    outcome = Outcome()
    for content in contents:
        if content.refusal:
            outcome.report.refuse(content.place, content.refusal)
            continue
        read = _read_xml if content.kind == "xml" else _read_json
        try:
            read(content, outcome)
        except FullTextError as error:
            outcome.report.refuse(content.place, str(error))
        except MemoryError:
            outcome.report.refuse(content.place, "it takes more memory than there is. Split it, or drop it.")
    return outcome


def _read_xml(content: Content, outcome: Outcome) -> None:
    number = 0
    for number, full_text in enumerate(jats.read_articles(content.data, report=outcome.report), start=1):
        place = content.place if number == 1 else f"{content.place}, article {number}"
        _take(full_text, outcome, format=_JATS, place=place)
    if not number:
        raise FullTextError(_NO_ARTICLE)


def _read_json(content: Content, outcome: Outcome) -> None:
    text = content.data.decode("utf-8-sig", "replace")
    listed = text.lstrip().startswith("[")
    for number, record in enumerate(records(JsonValues(iter([text]), max_chars=LARGEST_DOCUMENT)), start=1):
        place = f"{content.place}, record {number}" if listed or number > 1 else content.place
        try:
            if not isinstance(record, Mapping):
                raise FullTextError(_UNKNOWN)
            _read_record(record, outcome, place=place)
        except FullTextError as error:
            outcome.report.refuse(place, str(error))


def _read_record(record: Mapping[str, Any], outcome: Outcome, *, place: str) -> None:
    if sentence_lines.is_sentence_line(record):
        sentence = sentence_lines.read_sentence_line(record, place=place)
        outcome.report.read(sentence_lines.FORMAT)
        outcome.report.sentences += 1
        outcome.sentences.append(sentence)
        return
    format, read = _reader(record)
    _take(read(record, report=outcome.report), outcome, format=format, place=place)


def _reader(record: Mapping[str, Any]) -> tuple[str, Callable[..., FullText]]:
    """The format of a full text and what reads it. Raises FullTextError for what is none."""
    if s2orc.is_annotated(record) or s2orc.has_parse(record):
        return s2orc.FORMAT, s2orc.read_s2orc
    if s2orc.is_metadata(record):
        raise FullTextError(_METADATA)
    if not isinstance(record.get("body_text"), list):
        raise FullTextError(_UNKNOWN)
    if unarxive.is_unarxive(record):
        return unarxive.FORMAT, unarxive.read_unarxive
    # S2ORC's lists of references say what each entry was linked to, be it nothing; CORD-19's have `other_ids`.
    if "metadata" in record and not any("link" in entry for entry in _entries(record)):
        return cord19.FORMAT, cord19.read_cord19
    return s2orc.FORMAT, s2orc.read_s2orc


def _entries(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (entry for entry in object_in(record, "bib_entries").values() if isinstance(entry, Mapping))


def _take(full_text: FullText, outcome: Outcome, *, format: str, place: str) -> None:
    sentences = citing_sentences(full_text, place=place)
    outcome.report.read(format)
    outcome.report.sentences += len(sentences)
    outcome.sentences.extend(sentences)
