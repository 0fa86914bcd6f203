"""CSV and TSV: real headers, dirty spreadsheets, and rows that break."""

import csv
import gzip
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.export import to_csv
from corpus.identity import derived_id
from corpus.paper import Paper
from corpus.readers import ColumnsNotFound, Limits, UnknownFormatError, preview, read
from corpus.readers.columns import map_columns
from corpus.readers.fields import doi_of, names_of, pmid_of, topics_of, url_of, year_of
from corpus.readers.text import clean, clean_paragraphs, distinct


def reading_of(tmp_path, data, *, columns=None, keep=True, name="library.csv", **limits):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    reading = read(path, columns=columns, without_abstract="keep" if keep else "leave_out", limits=Limits(**limits))
    return list(reading), reading.report


def table(headers, *rows, delimiter=",", **dialect):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, **dialect).writerows([headers, *rows])
    return text.getvalue()


# Real headers

ZOTERO = (
    '"Key","Item Type","Publication Year","Author","Title","Publication Title","ISBN","ISSN","DOI","Url",'
    '"Abstract Note","Date","Date Added","Date Modified","Access Date","Pages","Num Pages","Issue","Volume",'
    '"Number Of Volumes","Journal Abbreviation","Short Title","Series","Series Number","Series Text","Series Title",'
    '"Publisher","Place","Language","Rights","Type","Archive","Archive Location","Library Catalog","Call Number",'
    '"Extra","Notes","File Attachments","Link Attachments","Manual Tags","Automatic Tags","Editor"'
)
SCOPUS = (
    '"Authors","Author full names","Author(s) ID","Title","Year","Source title","Volume","Issue","Art. No.",'
    '"Page start","Page end","Cited by","DOI","Link","Affiliations","Authors with affiliations","Abstract",'
    '"Author Keywords","Index Keywords","PubMed ID","Language of Original Document","Document Type",'
    '"Publication Stage","Open Access","Source","EID"'
)
WEB_OF_SCIENCE = (
    "PT\tAU\tBA\tBE\tGP\tAF\tBF\tCA\tTI\tSO\tSE\tBS\tLA\tDT\tCT\tCY\tCL\tSP\tHO\tDE\tID\tAB\tC1\tC3\tRP\tEM\tRI\tOI\tFU"
    "\tFP\tFX\tCR\tNR\tTC\tZ9\tU1\tU2\tPU\tPI\tPA\tSN\tEI\tBN\tJ9\tJI\tPD\tPY\tVL\tIS\tPN\tSU\tSI\tMA\tBP\tEP\tAR\tDI"
    "\tDL\tD2\tEA\tPG\tWC\tWE\tSC\tGA\tPM\tOA\tHC\tHP\tDA\tUT"
)
PUBMED = "PMID,Title,Authors,Citation,First Author,Journal/Book,Publication Year,Create Date,PMCID,NIHMS ID,DOI"
LENS = (
    "Lens ID,Title,Date Published,Publication Year,Publication Type,Source Title,ISSNs,Publisher,Source Country,"
    "Author/s,Abstract,Volume,Issue Number,Start Page,End Page,Fields of Study,Keywords,MeSH Terms,Chemicals,Funding,"
    "Source URLs,External URL,PMID,DOI,Microsoft Academic ID,PMCID,Citing Patents Count,References,Citing Works Count"
)
DIMENSIONS = (
    "Rank,Publication ID,DOI,PMID,PMCID,ISBN,Title,Abstract,Acknowledgements,Funding,Source title,Anthology title,"
    "Book editors,MeSH terms,Publication date,PubYear,Volume,Issue,Pagination,Open Access,Publication Type,Authors,"
    "Authors (Raw Affiliation),Corresponding Authors,Times cited,Source Linkout,Dimensions URL,Fields of Research"
)
MENDELEY = "Document Type,Authors,Title,Year,Publication,Volume,Issue,Pages,Abstract,DOI,PMID,Keywords,URL"
SEMANTIC_SCHOLAR = "paperId,externalIds,url,title,abstract,venue,year,fieldsOfStudy,publicationDate,authors"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            ZOTERO,
            {
                "id": "Key",
                "title": "Title",
                "abstract": "Abstract Note",
                "authors": "Author",
                "doi": "DOI",
                "year": "Publication Year",
                "venue": "Publication Title",
                "url": "Url",
                "topics": "Manual Tags",
            },
        ),
        (
            SCOPUS,
            {
                "id": "EID",
                "title": "Title",
                "abstract": "Abstract",
                "authors": "Author full names",
                "year": "Year",
                "venue": "Source title",
                "doi": "DOI",
                "pmid": "PubMed ID",
                "url": "Link",
                "topics": "Author Keywords",
            },
        ),
        (
            WEB_OF_SCIENCE,
            {
                "id": "UT",
                "title": "TI",
                "abstract": "AB",
                "authors": "AF",
                "year": "PY",
                "venue": "SO",
                "doi": "DI",
                "pmid": "PM",
                "topics": "DE",
            },
        ),
        (
            PUBMED,
            {
                "title": "Title",
                "authors": "Authors",
                "year": "Publication Year",
                "venue": "Journal/Book",
                "doi": "DOI",
                "pmid": "PMID",
            },
        ),
        (
            LENS,
            {
                "id": "Lens ID",
                "title": "Title",
                "abstract": "Abstract",
                "authors": "Author/s",
                "pmid": "PMID",
                "year": "Publication Year",
                "venue": "Source Title",
                "doi": "DOI",
                "url": "External URL",
                "topics": "MeSH Terms",
            },
        ),
        (
            DIMENSIONS,
            {
                "id": "Publication ID",
                "title": "Title",
                "abstract": "Abstract",
                "authors": "Authors",
                "year": "PubYear",
                "venue": "Source title",
                "doi": "DOI",
                "pmid": "PMID",
                "url": "Dimensions URL",
                "topics": "MeSH terms",
            },
        ),
        (
            MENDELEY,
            {
                "title": "Title",
                "abstract": "Abstract",
                "authors": "Authors",
                "year": "Year",
                "doi": "DOI",
                "venue": "Publication",
                "pmid": "PMID",
                "topics": "Keywords",
                "url": "URL",
            },
        ),
        (
            SEMANTIC_SCHOLAR,
            {
                "id": "paperId",
                "title": "title",
                "abstract": "abstract",
                "authors": "authors",
                "year": "year",
                "venue": "venue",
                "url": "url",
                "topics": "fieldsOfStudy",
            },
        ),
        (
            "TITLE,Article_Abstract,ABSTRACT,pub_year,Author Names,JOURNAL,doi,PubMed_ID,key words,Keywords",
            {
                "title": "TITLE",
                "abstract": "ABSTRACT",
                "year": "pub_year",
                "authors": "Author Names",
                "venue": "JOURNAL",
                "doi": "doi",
                "pmid": "PubMed_ID",
                "topics": "key words",
            },
        ),
    ],
)
def test_the_headers_of_real_exports_are_understood(tmp_path, header, expected):
    path = tmp_path / "library.txt"
    path.write_text(header + "\n")
    shown = preview(path)
    assert shown.columns == expected
    assert shown.format == "CSV"
    assert list(shown.headers) == next(csv.reader([header], delimiter="\t" if "\t" in header else ","))
    assert (shown.papers, shown.problems) == ((), ())


def test_zotero(tmp_path):
    row = dict.fromkeys(next(csv.reader([ZOTERO])), "") | {
        "Key": "AB12CD34",
        "Title": "Rings <i>in vivo</i> &amp; fields",
        "Author": "Noether, Emmy; Hilbert, David",
        "Publication Year": "1921",
        "Date": "1921-05-01",
        "Publication Title": "Annalen",
        "DOI": "10.1000/RINGS",
        "Url": "https://example.org/1",
        "Abstract Note": "Aim\nRings.",
        "Manual Tags": "rings; Ideals, prime",
        "Automatic Tags": "Rings; algebra",
    }
    papers, _ = reading_of(tmp_path, "\ufeff" + table(row.keys(), row.values(), quoting=csv.QUOTE_ALL))
    assert papers == [
        Paper(
            id="AB12CD34",
            title="Rings in vivo & fields",
            abstract="Aim\nRings.",
            authors=("Noether, Emmy", "Hilbert, David"),
            year=1921,
            venue="Annalen",
            doi="10.1000/RINGS",
            url="https://example.org/1",
            topics=("rings", "Ideals, prime", "algebra"),
        )
    ]


def test_scopus_says_in_words_what_it_does_not_have(tmp_path):
    row = dict.fromkeys(next(csv.reader([SCOPUS])), "") | {
        "Author full names": "Noether, Emmy (57190000001); Hilbert, David (6505000002)",
        "Authors": "Noether E.",
        "Title": "Rings",
        "Abstract": "[No abstract available]",
        "Source": "Scopus",
        "EID": "2-s2.0-1",
        "Source title": "Annalen",
        "Year": "1921",
        "PubMed ID": "12345678",
        "DOI": "",
        "Index Keywords": "algebra",
    }
    papers, report = reading_of(tmp_path, table(row.keys(), row.values()))
    assert papers == [
        Paper(
            id="2-s2.0-1",
            title="Rings",
            abstract="",
            authors=("Noether, Emmy", "Hilbert, David"),
            year=1921,
            venue="Annalen",
            pmid="12345678",
            topics=("algebra",),
        )
    ]
    assert report.without_abstract == 1


def test_web_of_science_has_quotes_of_its_own(tmp_path):
    names = WEB_OF_SCIENCE.split("\t")
    told = {"AU": "Noether, E", "AF": "Noether, Emmy", "TI": '"Rings', "AB": 'Of "rings', "PY": "1921", "PM": "7"}
    told |= {"SO": "ANNALEN", "DI": "10.1000/x", "DE": "rings; ideals", "ID": "ALGEBRA", "UT": "WOS:000001"}
    rows = ["\t".join(told.get(name, "") for name in names) + "\t" for _ in range(2)]
    papers, report = reading_of(tmp_path, "\r\n".join([WEB_OF_SCIENCE, *rows]), name="savedrecs.txt")
    assert (
        papers
        == [
            Paper(
                id="WOS:000001",
                title='"Rings',
                abstract='Of "rings',
                authors=("Noether, Emmy",),
                year=1921,
                venue="ANNALEN",
                doi="10.1000/x",
                pmid="7",
                topics=("rings", "ideals", "ALGEBRA"),
            )
        ]
        * 2
    )
    assert report.problems == []


def test_pubmed_has_no_abstracts_and_parts_names_by_commas(tmp_path):
    row = '31234567,"Rings, and fields.","Noether E, van der Waerden BL.",,Noether E,Ann,1921,1921/05/01,,,10.1000/x'
    papers, _ = reading_of(tmp_path, f"{PUBMED}\n{row}\n")
    assert papers[0] == Paper(
        id="31234567",
        title="Rings, and fields.",
        abstract="",
        authors=("Noether E", "van der Waerden BL."),
        year=1921,
        venue="Ann",
        doi="10.1000/x",
        pmid="31234567",
    )
    papers, report = reading_of(tmp_path, f"{PUBMED}\n{row}\n", keep=False)
    assert (papers, report.empty) == ([], 1)


def test_what_stands_before_the_header_is_passed_over(tmp_path):
    lead = '"About the data: Exported on May 01, 2021. Criteria: rings, fields",,\n\n'
    papers, report = reading_of(tmp_path, f"{lead}{DIMENSIONS}\n1,pub.1,10.1000/x,,,,Rings,Text\n")
    assert [(paper.id, paper.title, paper.abstract) for paper in papers] == [("pub.1", "Rings", "Text")]
    assert report.read == 1


# What cannot be understood


def test_headers_that_fit_nothing_are_named_with_the_way_out(tmp_path):
    data = table([f"col {number}" for number in range(20)], ["x"] * 20)
    with pytest.raises(ColumnsNotFound) as caught:
        reading_of(tmp_path, data)
    assert str(caught.value).startswith(
        'library.csv: none of its columns is called as a title is (it has "col 0", "col 1",'
    )
    assert "and 8 more" in str(caught.value)
    assert "--column title=HEADER" in str(caught.value)
    assert caught.value.headers[19] == "col 19"
    shown = preview(tmp_path / "library.csv")
    assert (shown.papers, shown.columns, shown.headers) == ((), {}, caught.value.headers)
    assert "called as a title is" in shown.problems[0].reason
    with pytest.raises(ColumnsNotFound, match='it has no column "nope" for title'.replace('"', "'")):
        reading_of(tmp_path, data, columns={"title": "nope"})
    with pytest.raises(ColumnsNotFound, match="no field 'colour'"):
        reading_of(tmp_path, data, columns={"colour": "col 1"})
    papers, _ = reading_of(tmp_path, data, columns={"title": "col 3", "abstract": "COL_4"})
    assert papers == [Paper(id=derived_id(title="x", year=None), title="x", abstract="x")]


def test_a_mapping_goes_before_what_is_guessed():
    mapped = map_columns(
        ["Title", "Titel", "Abstract", "Note", "Year"], {"title": "Titel", "abstract": "Note", "year": ""}
    )
    assert mapped.columns == {"title": "Titel", "abstract": "Note"}
    assert map_columns(["Title", "Name"], {"venue": "Title", "title": "Name"}).columns == {
        "title": "Name",
        "venue": "Title",
    }


@pytest.mark.parametrize("data", [b"\x00\x01\x02,\x03\x04", b"\x89PNG\r\n\x1a\n,,,,", b"just one sentence without"])
def test_what_is_no_table_is_not_taken_for_one(tmp_path, data):
    with pytest.raises(UnknownFormatError, match="it begins with"):
        reading_of(tmp_path, data)


# Dirt


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
    from corpus.readers.cells import unguarded

    kept = [(clean(unguarded(title)), clean_paragraphs(unguarded(abstract))) for title, abstract in rows]
    assert [(paper.title, paper.abstract) for paper in papers] == [row for row in kept if row[0]]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"title,abstract\n", b"title;x\n", b'"title"\tab\n', b""]))
def test_any_bytes_give_papers_or_a_plain_error(tmp_path, data, start):
    path = tmp_path / "library.csv"
    path.write_bytes(start + data)
    try:
        papers = list(read(path, without_abstract="keep"))
    except UnknownFormatError as error:
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


# Fields


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Noether, Emmy; Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether, Emmy;Hilbert, David;", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether, Emmy and Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Emmy Noether, David Hilbert and Felix Klein", ["Emmy Noether", "David Hilbert", "Felix Klein"]),
        ("Emmy Noether, David Hilbert, and Felix Klein", ["Emmy Noether", "David Hilbert", "Felix Klein"]),
        ("Noether, Emmy", ["Noether, Emmy"]),
        ("van Dyke, Mary Jane", ["van Dyke, Mary Jane"]),
        ("King, Martin Luther, Jr.", ["King, Martin Luther, Jr."]),
        ("Noether E, van der Waerden BL", ["Noether E", "van der Waerden BL"]),
        ("Noether, Emmy, Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether E, et al.", ["Noether E"]),
        ("['Emmy Noether', \"D'Arcy\"]", ["Emmy Noether", "D'Arcy"]),
        ("Noether | Hilbert", ["Noether", "Hilbert"]),
        ("The Ministry of Health and Welfare", ["The Ministry of Health and Welfare"]),
        ("", []),
    ],
)
def test_names_are_parted_as_people_write_them(text, names):
    assert names_of(text) == names


def test_a_comma_parts_no_names_where_semicolons_do(tmp_path):
    rows = [["A", "x", "Garcia Lopez, Maria Jose"], ["B", "x", "Noether, Emmy; Hilbert, David"]]
    papers, _ = reading_of(tmp_path, table(["title", "abstract", "authors"], *rows))
    assert papers[0].authors == ("Garcia Lopez, Maria Jose",)


@pytest.mark.parametrize(
    ("value", "year"),
    [
        *(("1988-05-01", 1988), (1988.0, 1988), ("01/05/1988", 1988), ("2021 Jan-Feb", 2021), ("1988.0", 1988)),
        *((None, None), (True, None), (12, None), ("19881", None), (1988.5, None), (float("inf"), None)),
    ],
)
def test_a_year_is_found_in_what_tells_of_one(value, year):
    assert year_of(value) == year


@pytest.mark.parametrize(
    ("value", "pmid"),
    [
        *(("PMID: 12", "12"), ("https://pubmed.ncbi.nlm.nih.gov/12/", "12"), (12.0, "12"), (12, "12")),
        *(("12.5", ""), ("0", ""), (float("nan"), ""), (True, ""), ("1E+3", ""), ("9" * 12, ""), ("x12", "")),
    ],
)
def test_a_pmid_is_a_pmid_or_nothing(value, pmid):
    assert pmid_of(value) == pmid


def test_dois_links_and_topics_in_the_forms_that_files_have():
    assert doi_of("doi:10.1000/X ") == "10.1000/x"
    assert doi_of("10.1000/X") == "10.1000/X"
    assert url_of("see https://a.org/x;y; https://b.org") == "https://a.org/x;y"
    assert url_of("javascript:alert(1)") == ""
    assert topics_of("a; b, c") == ["a", "b, c"]
    assert topics_of("a, b") == ["a", "b"]
