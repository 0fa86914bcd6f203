"""CSV and TSV: dirty spreadsheets, rows that break, and what comes back of our own."""

import csv
import gzip
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import UnreadableFileError
from corpus.export import to_csv
from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.readers import read
from corpus.text.cells import unguard_cell
from corpus.text.plain import clean, clean_paragraphs, distinct


def reading_of(tmp_path, data, *, columns=None, keep=True, name="library.csv", **limits):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    reading = read(path, columns=columns, without_abstract="keep" if keep else "leave_out", limits=Limits(**limits))
    return list(reading), reading.report


def table(headers, *rows, delimiter=",", **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, **dialect).writerows([headers, *rows])
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_dialect_and_encoding(tmp_path, delimiter, end, encoding):
    told = table(
        ["Title", "Abstract", "Year"],
        ["Naïve café; rings, fields | ideals", 'He said "ja".', "1921"],
        ["Über Körper", "Größe, Länge; Maß", "1922.0"],
        delimiter=delimiter,
        lineterminator=end,
    )
    papers, _ = reading_of(tmp_path, told.encode(encoding))
    assert [(paper.title, paper.abstract, paper.year) for paper in papers] == [
        ("Naïve café; rings, fields | ideals", 'He said "ja".', 1921),
        ("Über Körper", "Größe, Länge; Maß", 1922),
    ]


def test_a_packed_table_is_read(tmp_path):
    assert len(reading_of(tmp_path, gzip.compress(b"title,abstract\na,b\n"))[0]) == 1


def test_the_dirt_of_spreadsheets(tmp_path):
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
    papers, report = reading_of(tmp_path, data)
    assert [(paper.pmid, paper.title, paper.abstract, paper.year, paper.doi) for paper in papers] == [
        ("31234567", "Rings", "=A note", 1921, "10.1000/x"),
        ("123", "Two lines", 'A "quoted" text\nof two', 1922, ""),
        ("", "Ideals", "Short", None, ""),
        ("31234568", "Fields", "Text", None, ""),
    ]
    assert papers[0].authors == ("Noether, Emmy",)
    assert (report.read, report.kept, report.problems) == (4, 4, [])


def test_rows_that_are_too_long_or_too_short_are_told_apart(tmp_path):
    data = "year,title,abstract\n2020,A,B\n2020,A,B,C\n2020\n2020,A,B,, \n2020,A\n"
    papers, report = reading_of(tmp_path, data)
    assert [(paper.title, paper.abstract) for paper in papers] == [("A", "B"), ("A", "B"), ("A", "")]
    assert [str(problem) for problem in report.problems] == [
        "library.csv, row 3: 4 cells under 3 headers. Put quotes around cells that hold ',', or drop the record.",
        "library.csv, row 4: 1 cells under 3 headers, and no title. Correct it, or drop the record.",
    ]


@pytest.mark.parametrize("after", [0, 1, 30])
def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path, after):
    rows = "".join(f'{number},"Title, {number}",Text\n' for number in range(after))
    papers, report = reading_of(tmp_path, f'id,title,abstract\nx,"A title,Text\n{rows}')
    assert [paper.id for paper in papers if paper.id != "x"] == [str(number) for number in range(after)]
    assert report.damaged == (1 if after else 0)
    if after:
        assert report.problems[0].place == "row 2"
        assert report.problems[0].reason.startswith("a quote is not closed")


def test_a_row_longer_than_the_limit_is_passed_over_and_no_other(tmp_path):
    rows = ['a,"' + "x\n" * 600 + '",b', "c,d,e", "f," + "y" * 1500 + ",g", "h,i,j"]
    papers, report = reading_of(tmp_path, "id,title,abstract\n" + "\n".join(rows) + "\n", line_bytes=1000)
    assert [paper.id for paper in papers][-2:] == ["c", "h"]
    assert report.damaged >= 2
    assert report.problems[0].reason.startswith("the row has more than 1,000 characters")


def test_a_file_of_broken_quotes_alone_ends(tmp_path):
    papers, report = reading_of(tmp_path, "title,abstract,year\n" + 'a"b,"c\n' * 20_000, line_bytes=10_000)
    assert papers == []
    assert 0 < report.damaged < 20_001


def test_ten_thousand_authors(tmp_path):
    names = [f"Family{number}, Given" for number in range(10_000)]
    papers, _ = reading_of(tmp_path, table(["title", "abstract", "authors"], ["A", "B", "; ".join(names)]))
    assert papers[0].authors == tuple(names)


CELL = st.text(st.characters(exclude_categories=["C"]), max_size=12)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CELL.filter(clean), CELL.filter(clean)), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_is_read(tmp_path, rows, delimiter, quoting):
    # Our own header is read exactly: markup and formulas are another test's.
    headers = ["id", "title", "authors", "year", "venue", "doi", "pmid", "url", "topics", "abstract"]
    full = [[str(number), title, *[""] * 7, abstract] for number, (title, abstract) in enumerate(rows)]
    papers, _ = reading_of(tmp_path, table(headers, *full, delimiter=delimiter, quoting=quoting))
    kept = [(clean(unguard_cell(title)), clean_paragraphs(unguard_cell(abstract))) for title, abstract in rows]
    assert [(paper.title, paper.abstract) for paper in papers] == [row for row in kept if row[0]]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"title,abstract\n", b"title;x\n", b'"title"\tab\n', b""]))
def test_any_bytes_give_papers_or_a_plain_error(tmp_path, data, start):
    path = tmp_path / "library.csv"
    path.write_bytes(start + data)
    try:
        papers = list(read(path, without_abstract="keep"))
    except UnreadableFileError as error:
        assert str(error).startswith("library.csv: ")
    else:
        assert all(paper.title for paper in papers)


def papers_of_export():
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    name = text.filter(lambda value: ";" not in value and "\n" not in value and clean(value))
    return st.builds(
        Paper,
        id=text.filter(clean),
        title=text.filter(clean),
        abstract=text,
        authors=st.lists(name, max_size=3).map(tuple),
        year=st.none() | st.integers(1000, 2999),
        venue=text,
        doi=st.sampled_from(["", "10.1000/ABC.1", "10.1000/x"]),
        pmid=st.sampled_from(["", "1", "31234567"]),
        url=st.sampled_from(["", "https://example.org/a;b?c=d|e"]),
        topics=st.lists(name, max_size=3).map(tuple),
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(papers=st.lists(papers_of_export(), min_size=1, max_size=4))
def test_our_own_table_comes_back(tmp_path, papers):
    found, _ = reading_of(tmp_path, to_csv(papers))
    assert found == [
        Paper(
            id=clean(paper.id),
            title=clean(paper.title),
            abstract=clean_paragraphs(paper.abstract),
            authors=tuple(filter(None, map(clean, paper.authors))),
            year=paper.year,
            venue=clean(paper.venue),
            doi=paper.doi,
            pmid=paper.pmid,
            url=paper.url,
            topics=distinct(paper.topics),
        )
        for paper in papers
    ]
