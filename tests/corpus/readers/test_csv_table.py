"""CSV and TSV: dirty spreadsheets, rows that break, and what comes back of our own."""

import csv
import io
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.text.cells import unguard_cell
from corpus.text.plain import clean, clean_paragraphs


@pytest.fixture
def read_data(read_data):
    """As in conftest, but papers without an abstract are kept."""
    return partial(read_data, without_abstract="keep")


def table(headers, *rows, delimiter=",", **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, **dialect).writerows([headers, *rows])
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_dialect_and_encoding(read_data, delimiter, end, encoding):
    told = table(
        ["Title", "Abstract", "Year"],
        ["Naïve café; rings, fields | ideals", 'He said "ja".', "1921"],
        ["Über Körper", "Größe, Länge; Maß", "1922.0"],
        delimiter=delimiter,
        lineterminator=end,
    )
    papers, _ = read_data(told.encode(encoding))
    assert [(paper.title, paper.abstract, paper.year) for paper in papers] == [
        ("Naïve café; rings, fields | ideals", 'He said "ja".', 1921),
        ("Über Körper", "Größe, Länge; Maß", 1922),
    ]


def test_the_dirt_of_spreadsheets(read_data):
    data = (
        "sep=;\r\n"
        "PMID;Title;Abstract;Year;Authors;DOI;;\r\n"
        "3.1234567E+07;Rings;'=A note;1921-05-01;Noether, Emmy;https://doi.org/10.1000/X;;\r\n"
        ";;;;;;;\r\n"
        "\r\n"
        '="00123";"Two\r\nlines";"A ""quoted"" text\r\nof two";May 1922;;n/a;;\r\n'
        "PMID;Title;Abstract;Year;Authors;DOI;;\r\n"
        "1.23E+07;Ideals\x00;Short\r\n"
        "31234568.0;Fields;Text;in press;Noether, Emmy;;;\r\n"
    )
    papers, reading = read_data(data)
    assert [(paper.pmid, paper.title, paper.abstract, paper.year, paper.doi) for paper in papers] == [
        ("31234567", "Rings", "=A note", 1921, "10.1000/x"),
        ("123", "Two lines", 'A "quoted" text\nof two', 1922, ""),
        ("", "Ideals", "Short", None, ""),
        ("31234568", "Fields", "Text", None, ""),
    ]
    assert papers[0].authors == ("Noether, Emmy",)
    assert (reading.report.read, reading.report.kept, reading.report.problems) == (4, 4, [])


def test_rows_that_are_too_long_or_too_short_are_distinguished(read_data):
    data = "year,title,abstract\n2020,A,B\n2020,A,B,C\n2020\n2020,A,B,, \n2020,A\n"
    papers, reading = read_data(data)
    assert [(paper.title, paper.abstract) for paper in papers] == [("A", "B"), ("A", "B"), ("A", "")]
    assert [str(problem) for problem in reading.report.problems] == [
        "library, row 3: 4 cells under 3 headers. Put quotes around cells that hold ',', or drop the record.",
        "library, row 4: 1 cells under 3 headers, and no title. Correct it, or drop the record.",
    ]


@pytest.mark.parametrize("after", [0, 1, 30])
def test_a_quote_that_is_never_closed_costs_its_own_line(read_data, after):
    rows = "".join(f'{number},"Title, {number}",Text\n' for number in range(after))
    papers, reading = read_data(f'id,title,abstract\nx,"A title,Text\n{rows}')
    assert [paper.id for paper in papers if paper.id != "x"] == [str(number) for number in range(after)]
    assert reading.report.damaged == (1 if after else 0)
    if after:
        assert reading.report.problems[0].place == "row 2"
        assert reading.report.problems[0].reason.startswith("a quote is not closed")


def test_a_row_longer_than_the_limit_is_passed_over_and_no_other(read_data):
    rows = ['a,"' + "x\n" * 600 + '",b', "c,d,e", "f," + "y" * 1500 + ",g", "h,i,j"]
    papers, reading = read_data("id,title,abstract\n" + "\n".join(rows) + "\n", line_bytes=1000)
    assert [paper.id for paper in papers][-2:] == ["c", "h"]
    assert reading.report.damaged >= 2
    assert reading.report.problems[0].reason.startswith("the row has more than 1,000 characters")


def test_a_file_of_broken_quotes_alone_ends(read_data):
    papers, reading = read_data("title,abstract,year\n" + 'a"b,"c\n' * 20_000, line_bytes=10_000)
    assert papers == []
    assert 0 < reading.report.damaged < 20_001


CELL = st.text(st.characters(exclude_categories=["C"]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELL.filter(clean), CELL.filter(clean)), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_is_read(read_data, rows, delimiter, quoting):
    # Our own header is read exactly: markup and formulas are another test's.
    headers = ["id", "title", "authors", "year", "venue", "doi", "pmid", "url", "topics", "abstract"]
    full = [[str(number), title, *[""] * 7, abstract] for number, (title, abstract) in enumerate(rows)]
    papers, _ = read_data(table(headers, *full, delimiter=delimiter, quoting=quoting))
    kept = [(clean(unguard_cell(title)), clean_paragraphs(unguard_cell(abstract))) for title, abstract in rows]
    assert [(paper.title, paper.abstract) for paper in papers] == [row for row in kept if row[0]]
