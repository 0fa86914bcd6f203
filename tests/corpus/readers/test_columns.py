"""Columns: the headers of real exports, mappings by hand, and headers that fit nothing."""

import csv
import io
from functools import partial

import pytest

from corpus.identifiers import derived_id
from corpus.paper import Paper
from corpus.readers import preview
from corpus.readers.columns import ColumnsNotFound, map_columns


@pytest.fixture
def read_data(read_data):
    """As in conftest, but papers without an abstract are kept."""
    return partial(read_data, without_abstract="keep")


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
            "id=Key|title=Title|abstract=Abstract Note|authors=Author|doi=DOI|year=Publication Year|"
            "venue=Publication Title|url=Url|topics=Manual Tags",
        ),
        (
            SCOPUS,
            "id=EID|title=Title|abstract=Abstract|authors=Author full names|year=Year|venue=Source title|"
            "doi=DOI|pmid=PubMed ID|url=Link|topics=Author Keywords",
        ),
        (
            WEB_OF_SCIENCE,
            "id=UT|title=TI|abstract=AB|authors=AF|year=PY|venue=SO|doi=DI|pmid=PM|topics=DE",
        ),
        (
            PUBMED,
            "title=Title|authors=Authors|year=Publication Year|venue=Journal/Book|doi=DOI|pmid=PMID",
        ),
        (
            LENS,
            "id=Lens ID|title=Title|abstract=Abstract|authors=Author/s|pmid=PMID|year=Publication Year|"
            "venue=Source Title|doi=DOI|url=External URL|topics=MeSH Terms",
        ),
        (
            DIMENSIONS,
            "id=Publication ID|title=Title|abstract=Abstract|authors=Authors|year=PubYear|"
            "venue=Source title|doi=DOI|pmid=PMID|url=Dimensions URL|topics=MeSH terms",
        ),
        (
            MENDELEY,
            "title=Title|abstract=Abstract|authors=Authors|year=Year|doi=DOI|venue=Publication|pmid=PMID|"
            "topics=Keywords|url=URL",
        ),
        (
            SEMANTIC_SCHOLAR,
            "id=paperId|title=title|abstract=abstract|authors=authors|year=year|venue=venue|url=url|"
            "topics=fieldsOfStudy",
        ),
        (
            "TITLE,Article_Abstract,ABSTRACT,pub_year,Author Names,JOURNAL,doi,PubMed_ID,key words,Keywords",
            "title=TITLE|abstract=ABSTRACT|year=pub_year|authors=Author Names|venue=JOURNAL|doi=doi|"
            "pmid=PubMed_ID|topics=key words",
        ),
    ],
)
def test_the_headers_of_real_exports_are_understood(tmp_path, header, expected):
    path = tmp_path / "library.txt"
    path.write_text(header + "\n")
    shown = preview(path)
    assert shown.columns == dict(pair.split("=") for pair in expected.split("|"))
    assert shown.format == "CSV"
    assert list(shown.headers) == next(csv.reader([header], delimiter="\t" if "\t" in header else ","))
    assert (shown.papers, shown.problems) == ((), ())


def test_zotero(read_data):
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
    papers, _ = read_data("\ufeff" + table(row.keys(), row.values(), quoting=csv.QUOTE_ALL))
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


def test_scopus_says_what_it_does_not_have(read_data):
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
    papers, reading = read_data(table(row.keys(), row.values()))
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
    assert reading.report.without_abstract == 1


def test_web_of_science_has_quotes_of_its_own(read_data):
    names = WEB_OF_SCIENCE.split("\t")
    told = {"AU": "Noether, E", "AF": "Noether, Emmy", "TI": '"Rings', "AB": 'Of "rings', "PY": "1921", "PM": "7"}
    told |= {"SO": "ANNALEN", "DI": "10.1000/x", "DE": "rings; ideals", "ID": "ALGEBRA", "UT": "WOS:000001"}
    rows = ["\t".join(told.get(name, "") for name in names) + "\t" for _ in range(2)]
    papers, reading = read_data("\r\n".join([WEB_OF_SCIENCE, *rows]))
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
    assert reading.report.problems == []


def test_pubmed_has_no_abstracts_and_parts_names_by_commas(read_data):
    row = '31234567,"Rings, and fields.","Noether E, van der Waerden BL.",,Noether E,Ann,1921,1921/05/01,,,10.1000/x'
    papers, _ = read_data(f"{PUBMED}\n{row}\n")
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
    papers, reading = read_data(f"{PUBMED}\n{row}\n", without_abstract="leave_out")
    assert (papers, reading.report.empty) == ([], 1)


def test_what_stands_before_the_header_is_passed_over(read_data):
    lead = '"About the data: Exported on May 01, 2021. Criteria: rings, fields",,\n\n'
    papers, reading = read_data(f"{lead}{DIMENSIONS}\n1,pub.1,10.1000/x,,,,Rings,Text\n")
    assert [(paper.id, paper.title, paper.abstract) for paper in papers] == [("pub.1", "Rings", "Text")]
    assert reading.report.read == 1


# What cannot be understood


def test_headers_that_fit_nothing_are_named_with_the_way_out(read_data, tmp_path):
    data = table([f"col {number}" for number in range(20)], ["x"] * 20)
    with pytest.raises(ColumnsNotFound) as caught:
        read_data(data)
    assert str(caught.value).startswith(
        'library: none of its columns is recognised as the title (it has "col 0", "col 1",'
    )
    assert "and 8 more" in str(caught.value)
    assert "--column title=HEADER" in str(caught.value)
    assert caught.value.headers[19] == "col 19"
    shown = preview(tmp_path / "library")
    assert (shown.papers, shown.columns, shown.headers) == ((), {}, caught.value.headers)
    assert "recognised as the title" in shown.problems[0].reason
    with pytest.raises(ColumnsNotFound, match='it has no column "nope" for title'.replace('"', "'")):
        read_data(data, columns={"title": "nope"})
    with pytest.raises(ColumnsNotFound, match="no field 'colour'"):
        read_data(data, columns={"colour": "col 1"})
    papers, _ = read_data(data, columns={"title": "col 3", "abstract": "COL_4"})
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


def test_a_comma_parts_no_names_where_semicolons_do(read_data):
    rows = [["A", "x", "Garcia Lopez, Maria Jose"], ["B", "x", "Noether, Emmy; Hilbert, David"]]
    papers, _ = read_data(table(["title", "abstract", "authors"], *rows))
    assert papers[0].authors == ("Garcia Lopez, Maria Jose",)
