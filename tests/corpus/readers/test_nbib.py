import pytest

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


@pytest.fixture
def paper_of(read_data):
    """paper_of(*lines): the paper of a record with these lines."""

    def read_record(*lines):
        (paper,), _ = read_data("\n".join(["PMID- 1", "TI  - T", "AB  - A.", *lines]))
        return paper

    return read_record


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_record_as_pubmed_writes_it(read_data, encoding, ends):
    (paper,), reading = read_data(f"\n\n{RECORD}\n".replace("\n", ends).encode(encoding))
    assert reading.report.format == "PubMed text"
    assert paper.id == paper.pmid == "33301246"
    assert paper.title == "Safety of a vaccine & its efficacy."
    assert paper.abstract == "BACKGROUND: p < 0.05 in T2-weighted TI - images."
    assert paper.authors == ("Voysey, Merryn", "Smith, John A Jr.", "Oxford Group", "Doe, Jane")
    assert (paper.year, paper.venue) == (2021, "Lancet (London, England)")
    assert paper.doi == "10.1016/S0140-6736(20)32661-1"
    assert paper.url == "https://pubmed.ncbi.nlm.nih.gov/33301246/"
    assert paper.topics == ("COVID-19", "Behavior, Animal", "Humans", "vaccine")


def test_short_names_where_there_are_no_others(paper_of):
    authors = paper_of("AU  - Smith JA", "AU  - van der Berg A Jr", "AU  - Plato", "CN  - The Group").authors
    assert authors == ("Smith, JA", "van der Berg, A Jr", "Plato", "The Group")


def test_lesser_fields_stand_in(paper_of):
    paper = paper_of("TA  - J Foo", "DEP - 20190101", "AID - 10.1000/a [doi]", "AID - x [pii]")
    assert (paper.venue, paper.year, paper.doi) == ("J Foo", 2019, "10.1000/a")


def test_translated_titles_lose_their_brackets_and_are_kept(read_data):
    papers, _ = read_data("PMID- 1\nTI  - [A title].\nAB  - A.\nLA  - ger\n\nPMID- 2\nBTI - A book\nAB  - B.\n")
    assert [paper.title for paper in papers] == ["A title.", "A book"]


def test_records_that_give_no_paper_are_reported_by_their_place(read_data):
    papers, reading = read_data(
        "PMID- 1\nTI  - T\n\n\nPMID- x\nTI  - T\nPMID- 3\nTI  - T\nAB  - A.\nPMID- 4\nAB  - A.\n"
    )
    assert [paper.id for paper in papers] == ["3"]
    assert [(problem.place, problem.reason.split(".")[0]) for problem in reading.report.problems] == [
        ("record 1, line 1", "no abstract"),
        ("record 2, line 5", "the PMID 'x' is not valid"),
        ("record 4, line 10", "no title"),
    ]
