import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import UnreadableFileError
from corpus.io.limits import Limits
from corpus.readers import read

RECORD = """PMID- 33301246
OWN - NLM
STAT- MEDLINE
LID - S0140-6736(20)32661-1 [pii]
LID - 10.1016/S0140-6736(20)32661-1 [doi]
TI  - Safety of a vaccine &amp; its
      efficacy.
PG  - 99-111
AB  - BACKGROUND: p < 0.05 in
      T2-weighted
      TI  - images.
CI  - Copyright
FAU - Voysey, Merryn
AU  - Voysey M
AD  - Oxford
FAU - Smith, John A, Jr.
AU  - Smith JA Jr
CN  - Oxford Group
FAU - Doe, Jane
AU  - Doe J
LA  - eng
PT  - Journal Article
DEP - 20201208
TA  - Lancet
JT  - Lancet (London, England) : a journal
MH  - *COVID-19/*prevention & control
MH  - Behavior, Animal/drug effects
MH  - Humans
OT  - *covid-19
OT  - vaccine
PMC - PMC7723445
DP  - 2021 Jan-Feb
SO  - Lancet. 2021.
"""


def papers_of(tmp_path, text, *, encoding="utf-8", **settings):
    """The papers of a file, and its report. Every record is counted once."""
    path = tmp_path / "library.nbib"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    with read(path, **settings) as reading:
        papers = list(reading)
    assert reading.report.read == reading.report.kept + reading.report.left_out
    return papers, reading.report


def paper_of(tmp_path, *lines):
    (paper,), _report = papers_of(tmp_path, "\n".join(["PMID- 1", "TI  - T", "AB  - A.", *lines]))
    return paper


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_record_as_pubmed_writes_it(tmp_path, encoding, ends):
    (paper,), report = papers_of(tmp_path, f"\n\n{RECORD}\n".replace("\n", ends), encoding=encoding)
    assert report.format == "PubMed text"
    assert paper.id == paper.pmid == "33301246"
    assert paper.title == "Safety of a vaccine & its efficacy."
    assert paper.abstract == "BACKGROUND: p < 0.05 in T2-weighted TI - images."
    assert paper.authors == ("Voysey, Merryn", "Smith, John A Jr.", "Oxford Group", "Doe, Jane")
    assert (paper.year, paper.venue) == (2021, "Lancet (London, England)")
    assert paper.doi == "10.1016/S0140-6736(20)32661-1"
    assert paper.url == "https://pubmed.ncbi.nlm.nih.gov/33301246/"
    assert paper.topics == ("COVID-19", "Behavior, Animal", "Humans", "vaccine")


def test_short_names_where_there_are_no_others(tmp_path):
    authors = paper_of(tmp_path, "AU  - Smith JA", "AU  - van der Berg A Jr", "AU  - Plato", "CN  - The Group").authors
    assert authors == ("Smith, JA", "van der Berg, A Jr", "Plato", "The Group")


def test_lesser_fields_stand_in(tmp_path):
    paper = paper_of(tmp_path, "TA  - J Foo", "DEP - 20190101", "AID - 10.1000/a [doi]", "AID - x [pii]")
    assert (paper.venue, paper.year, paper.doi) == ("J Foo", 2019, "10.1000/a")


def test_translated_titles_lose_their_brackets_and_are_kept(tmp_path):
    papers, _report = papers_of(
        tmp_path, "PMID- 1\nTI  - [A title].\nAB  - A.\nLA  - ger\n\nPMID- 2\nBTI - A book\nAB  - B.\n"
    )
    assert [paper.title for paper in papers] == ["A title.", "A book"]


def test_records_that_give_no_paper_are_reported_by_their_place(tmp_path):
    papers, report = papers_of(
        tmp_path, "PMID- 1\nTI  - T\n\n\nPMID- x\nTI  - T\nPMID- 3\nTI  - T\nAB  - A.\nPMID- 4\nAB  - A.\n"
    )
    assert [paper.id for paper in papers] == ["3"]
    assert [(problem.place, problem.reason.split(".")[0]) for problem in report.problems] == [
        ("record 1, line 1", "no abstract"),
        ("record 2, line 5", "the PMID is 'x', which is none"),
        ("record 4, line 10", "no title"),
    ]


def test_ten_thousand_authors_and_a_record_too_large(tmp_path):
    names = [f"Family{number}, G" for number in range(10_000)]
    assert paper_of(tmp_path, *(f"FAU - {name}" for name in names)).authors == tuple(names)
    papers, report = papers_of(
        tmp_path, f"PMID- 1\nTI  - {'x ' * 100_000}\n\n{RECORD}", limits=Limits(record_bytes=100_000)
    )
    assert [paper.id for paper in papers] == ["33301246"]
    assert report.damaged == 1


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), start=st.integers(0, len(RECORD)), length=st.integers(0, 60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, start, length):
    for text in (b"PMID- 1\n" + data, data, RECORD[:start].encode() + data + RECORD[start + length :].encode()):
        try:
            papers, report = papers_of(tmp_path_factory.mktemp("fuzz"), text)
        except UnreadableFileError:
            continue
        assert report.kept == len(papers)
