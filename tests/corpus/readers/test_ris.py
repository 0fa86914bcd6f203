import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.errors import UnreadableFileError
from corpus.io.limits import Limits
from corpus.readers import read

RECORD = "TY  - JOUR\nTI  - Title\nAB  - Abstract.\n{}\nER  - \n"


def papers_of(tmp_path, text, *, encoding="utf-8", **settings):
    """The papers of a file, and its report. Every record is counted once."""
    path = tmp_path / "library.ris"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    with read(path, **settings) as reading:
        papers = list(reading)
    assert reading.report.read == reading.report.kept + reading.report.left_out
    return papers, reading.report


def paper_of(tmp_path, *lines):
    (paper,), report = papers_of(tmp_path, RECORD.format("\n".join(lines)))
    assert report.format == "RIS"
    return paper


def test_a_record_as_it_should_be(tmp_path):
    text = (
        "TY  - JOUR\nID  - 12\nTI  - A title\nAU  - Smith, John A.\nAU  - The Group\nPY  - 2020\nJF  - Journal of Foo\n"
        "JO  - J Foo\nDO  - 10.1000/ABC.d\nAN  - 33301246\nKW  - Behavior, Animal\nKW  - Mice\nUR  - https://a.org/b\n"
        "AB  - An abstract.\nER  - \n"
    )
    (paper,), _report = papers_of(tmp_path, text)
    assert paper.title == "A title"
    assert paper.abstract == "An abstract."
    assert paper.authors == ("Smith, John A.", "The Group")
    assert (paper.year, paper.venue, paper.doi, paper.pmid) == (2020, "Journal of Foo", "10.1000/ABC.d", "33301246")
    assert (paper.id, paper.url, paper.topics) == ("33301246", "https://a.org/b", ("Behavior, Animal", "Mice"))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings_and_line_ends(tmp_path, encoding, ends):
    text = RECORD.format("AU  - Müller, Søren\nJO  - Revue française d’œnologie").replace("\n", ends)
    (paper,), report = papers_of(tmp_path, text * 1, encoding=encoding)
    assert (paper.authors, paper.venue) == (("Müller, Søren",), "Revue française d’œnologie")
    assert report.left_out == 0


def test_damage_loses_neither_the_other_records_nor_their_places(tmp_path):
    text = (
        "\n\nTY  - JOUR\nTI  - One\nAB  - A.\n"  # no ER
        "TY  - JOUR\nTI  - Two\nER  - \n\n"  # no abstract
        "TI  - Three\nAB  - C.\nER  - \n"  # no TY
        "junk\nTY  - JOUR\nER  -\n"
        "TY  - BOOK\nTI  - Five\nAB  - E.\n"  # ends with the file
    )
    papers, report = papers_of(tmp_path, text)
    assert [paper.title for paper in papers] == ["One", "Three", "Five"]
    assert [(problem.place, problem.reason) for problem in report.problems] == [
        ("record 2, line 6", "no abstract. Add one, or drop the record."),
        ("record 4, line 14", "no title. Add one, or drop the record."),
    ]


def test_records_without_ty_and_er_are_parted_by_blank_lines(tmp_path):
    papers, _report = papers_of(tmp_path, "TI  - One\nAB  - A.\n\nTI  - Two\nAB  - B.\n\n\n")
    assert [paper.title for paper in papers] == ["One", "Two"]


@pytest.mark.parametrize("tag", ["ti  - T", "TI - T", "TI- T", "TI  -T", "  TI  - T", "TI  - T  "])
def test_tags_in_other_dress(tmp_path, tag):
    (paper,), _report = papers_of(tmp_path, f"TY  - JOUR\n{tag}\nAB  - A.\nER  - \n")
    assert (paper.title, paper.abstract) == ("T", "A.")


def test_tags_without_any_space_are_read_in_records_that_begin_so(tmp_path):
    (paper,), _report = papers_of(tmp_path, "ty-jour\nti-T\nab-A.\npy-2020\ner-\n")
    assert (paper.title, paper.abstract, paper.year) == ("T", "A.", 2020)


def test_lines_that_only_look_like_tags_go_on_with_the_abstract(tmp_path):
    paper = paper_of(
        tmp_path, "AB  - AIM: To see", "T2-weighted images.", "ER - positive ones too.", "RESULTS: Seen.", "", "More."
    )
    # The first AB line of the template is an abstract of its own.
    assert paper.abstract == "Abstract.\nAIM: To see T2-weighted images. ER - positive ones too.\nRESULTS: Seen.\nMore."


@pytest.mark.parametrize(
    ("lines", "abstract"),
    [
        (["N2  - Other"], "Abstract."),
        (["AB  - Abstract."], "Abstract."),
        (["AB  - Abstract. And more."], "Abstract. And more."),
        (["AB  - Résumé."], "Abstract.\nRésumé."),
    ],
)
def test_several_abstracts(tmp_path, lines, abstract):
    assert paper_of(tmp_path, *lines).abstract == abstract


def test_n2_is_the_abstract_where_there_is_no_other(tmp_path):
    (paper,), _report = papers_of(tmp_path, "TY  - JOUR\nT1  - T\nN2  - A.\nER  - \n")
    assert (paper.title, paper.abstract) == ("T", "A.")


@pytest.mark.parametrize(
    ("line", "year"),
    [
        ("PY  - 2020/05/01/", 2020),
        ("PY  - 2020///", 2020),
        ("Y1  - 2019/01//", 2019),
        ("DA  - 2018-03", 2018),
        ("PY  - May 2017", 2017),
        ("PY  - 20190131", 2019),
        ("PY  - 201912", 2019),
        ("PY  - 20211", None),
        ("PY  - 202113", None),
        ("PY  - 2021131", None),
        ("PY  - 0123", None),
        ("PY  - in press", None),
        ("PY  - n.d.\nDA  - 2016", 2016),
    ],
)
def test_years(tmp_path, line, year):
    assert paper_of(tmp_path, line).year == year


@pytest.mark.parametrize(
    ("lines", "doi"),
    [
        (["DO  - https://doi.org/10.1000/A.b"], "10.1000/A.b"),
        (["DO  - doi:10.1000/a.b."], "10.1000/a.b"),
        (["DO  - n/a", "UR  - http://dx.doi.org/10.1000/a"], "10.1000/a"),
        (["M3  - doi: 10.1000/a"], "10.1000/a"),
        (["N1  - see 10.1000/of-another"], ""),
        (["DO  - 10.1002/(SICI)1097-0258(19980815/30)17:15/16&lt;1661::AID-SIM968&gt;3.0.CO;2-2"], None),
    ],
)
def test_dois(tmp_path, lines, doi):
    expected = "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2" if doi is None else doi
    assert paper_of(tmp_path, *lines).doi.lower() == expected.lower()


@pytest.mark.parametrize(
    ("lines", "pmid"),
    [
        (["AN  - 33301246"], "33301246"),
        (["AN  - PMID: 33301246", "DB  - EBSCOhost"], "33301246"),
        (["AN  - 33301246", "DB  - Ovid MEDLINE(R)"], "33301246"),
        (["AN  - 33301246", "DP  - EBSCOhost", "DB  - aph"], ""),
        (["AN  - WOS:000123456700001"], ""),
        (["AN  - PMC7712345"], ""),
        (["N1  - PMCID: PMC7712345", "PMID: 33301246"], "33301246"),
        (["C7  - 33301246", "DB  - PubMed"], "33301246"),
        (["M1  - 12", "DB  - PubMed"], ""),
        (["ID  - 33301246"], ""),
        (["M1  - PMID: 33301246"], "33301246"),
        (["UR  - https://pubmed.ncbi.nlm.nih.gov/33301246/"], "33301246"),
        (["UR  - http://www.ncbi.nlm.nih.gov/pubmed/33301246"], "33301246"),
    ],
)
def test_pmids_in_the_habits_of_exporters(tmp_path, lines, pmid):
    assert paper_of(tmp_path, *lines).pmid == pmid


@pytest.mark.parametrize(
    ("lines", "topics"),
    [
        (["KW  - a; b ;c"], ("a", "b", "c")),
        (["KW  - a", "b", "c", "KW  - A"], ("a", "b", "c")),
        (["KW  - Receptors, Antigen, T-Cell, gamma-delta"], ("Receptors, Antigen, T-Cell, gamma-delta",)),
        (["KW  - a, b, c, d, e"], ("a", "b", "c", "d", "e")),
        (["KW  - <i>E. coli</i> &amp; co"], ("E. coli & co",)),
    ],
)
def test_keywords(tmp_path, lines, topics):
    assert paper_of(tmp_path, *lines).topics == topics


@pytest.mark.parametrize(
    ("lines", "authors"),
    [
        (["A1  - One, A", "AU  - Two, B", "A1  - Three, C"], ("One, A", "Two, B", "Three, C")),
        (["A1  - One, A", "A1  - Two, B", "AU  - One, A", "AU  - Two, B"], ("One, A", "Two, B")),
        (["AU  - One, A; Two, B"], ("One, A", "Two, B")),
        (["AU  - World Health Organization,", "AU  - et al."], ("World Health Organization",)),
        (["AU  - O&#39;Neil, X"], ("O'Neil, X",)),
        (["ED  - Editor, E"], ("Editor, E",)),
    ],
)
def test_authors(tmp_path, lines, authors):
    assert paper_of(tmp_path, *lines).authors == authors


def test_links_are_web_addresses(tmp_path):
    assert paper_of(
        tmp_path, "UR  - javascript:alert(1)", "UR  - file:///x;https://a.org/?b=1;c=2; http://d.org"
    ).url == ("https://a.org/?b=1;c=2")


@pytest.mark.parametrize(
    ("lines", "venue"),
    [
        (["JO  - J Foo", "JF  - Journal of Foo", "T2  - Other"], "Journal of Foo"),
        (["J2  - J. Foo", "T2  - Journal of Foo"], "Journal of Foo"),
        (["JA  - J. Foo"], "J. Foo"),
    ],
)
def test_venues(tmp_path, lines, venue):
    assert paper_of(tmp_path, *lines).venue == venue


def test_a_title_with_html_is_plain_and_a_structured_abstract_keeps_its_labels(tmp_path):
    text = (
        'TY  - JOUR\nTI  - <i>Ixodes</i> at p &lt; 0.05 &amp;amp; a<b and c>d in <span class="nocase">DNA</span>\n'
        "AB  - <jats:sec><jats:title>Aim</jats:title><jats:p>10 % of $5 in C:\\x.</jats:p></jats:sec>\nER  - \n"
    )
    (paper,), _report = papers_of(tmp_path, text)
    assert paper.title == "Ixodes at p < 0.05 & a<b and c>d in DNA"
    assert paper.abstract == "Aim: 10 % of $5 in C:\\x."


def test_only_an_id_of_ours_is_one(tmp_path):
    assert paper_of(tmp_path, "ID  - 7").id.startswith("t-")
    assert paper_of(tmp_path, "ID  - s2-7", "DB  - Cocite Atlas", "DO  - 10.1000/a").id == "s2-7"


def test_ten_thousand_authors(tmp_path):
    names = [f"Family{number}, G" for number in range(10_000)]
    paper = paper_of(tmp_path, *(f"AU  - {name}" for name in names))
    assert paper.authors == tuple(names)


def test_a_record_too_large_is_reported_and_the_next_read(tmp_path):
    text = RECORD.format("N1  - " + "x " * 100_000) + RECORD.format("N1  - \n" + "y\n" * 5_000) + RECORD.format("")
    papers, report = papers_of(tmp_path, text, limits=Limits(record_bytes=100_000))
    assert len(papers) == 1
    assert [problem.place for problem in report.problems] == ["record 1, line 1", "record 2, line 6"]
    assert report.problems[0].reason == "the record has more than 100,000 bytes. Shorten it, or drop it."


VALID = RECORD.format("AU  - Smith, J\nKW  - a\nDO  - 10.1000/a") * 3


@settings(max_examples=60, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(["TY  - JOUR", "ER  - ", "TI  - T", "AB  - A", "", "ER  - x", "XX  - ", "x"])).map(
            lambda lines: "\n".join(lines).encode()
        ),
    ),
    start=st.integers(0, len(VALID)),
    length=st.integers(0, 40),
)
@example(data=b"ER  - TY  - ABC\n\x00", start=30, length=0)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, start, length):
    for text in (b"TY  - JOUR\n" + data, data, (VALID[:start].encode() + data + VALID[start + length :].encode())):
        try:
            papers, report = papers_of(tmp_path_factory.mktemp("fuzz"), text)
        except UnreadableFileError:
            continue
        assert report.kept == len(papers)
        assert all(paper.title and paper.abstract and paper.id for paper in papers)
