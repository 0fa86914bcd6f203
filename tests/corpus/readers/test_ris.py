import pytest

RECORD = "TY  - JOUR\nTI  - Title\nAB  - Abstract.\n{}\nER  - \n"


@pytest.fixture
def paper_of(read_data):
    """paper_of(*lines): the paper of a record with these lines."""

    def read_record(*lines):
        (paper,), reading = read_data(RECORD.format("\n".join(lines)))
        assert reading.report.format == "RIS"
        return paper

    return read_record


def test_a_record_by_the_book(read_data):
    text = (
        "TY  - JOUR\nID  - 12\nTI  - A title\nAU  - Smith, John A.\nAU  - The Group\nPY  - 2020\nJF  - Journal of Foo\n"
        "JO  - J Foo\nDO  - 10.1000/ABC.d\nAN  - 33301246\nKW  - Behavior, Animal\nKW  - Mice\nUR  - https://a.org/b\n"
        "AB  - An abstract.\nER  - \n"
    )
    (paper,), _ = read_data(text)
    assert paper.title == "A title"
    assert paper.abstract == "An abstract."
    assert paper.authors == ("Smith, John A.", "The Group")
    assert (paper.year, paper.venue, paper.doi, paper.pmid) == (2020, "Journal of Foo", "10.1000/ABC.d", "33301246")
    assert (paper.id, paper.url, paper.topics) == ("33301246", "https://a.org/b", ("Behavior, Animal", "Mice"))


def test_a_damaged_record_costs_no_other(read_data):
    text = (
        "\n\nTY  - JOUR\nTI  - One\nAB  - A.\n"  # no ER
        "TY  - JOUR\nTI  - Two\nER  - \n\n"  # no abstract
        "TI  - Three\nAB  - C.\nER  - \n"  # no TY
        "junk\nTY  - JOUR\nER  -\n"
        "TY  - BOOK\nTI  - Five\nAB  - E.\n"  # ends with the file
    )
    papers, reading = read_data(text)
    assert [paper.title for paper in papers] == ["One", "Three", "Five"]
    assert [(problem.place, problem.reason) for problem in reading.report.problems] == [
        ("record 2, line 6", "no abstract. Add one, or drop the record."),
        ("record 4, line 14", "no title. Add one, or drop the record."),
    ]


def test_blank_lines_separate_records_without_ty_and_er(read_data):
    papers, _ = read_data("TI  - One\nAB  - A.\n\nTI  - Two\nAB  - B.\n\n\n")
    assert [paper.title for paper in papers] == ["One", "Two"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"TY  - JOUR\n{tag}\nAB  - A.\nER  - \n"
            for tag in ("ti  - T", "TI - T", "TI- T", "TI  -T", "  TI  - T", "TI  - T  ")
        ),
        "ty-jour\nti-T\nab-A.\ner-\n",
        "TY  - JOUR\nT1  - T\nN2  - A.\nER  - \n",
    ],
)
def test_unusual_tags_are_read(read_data, text):
    (paper,), _ = read_data(text)
    assert (paper.title, paper.abstract) == ("T", "A.")


FIELDS = {
    "abstract": [
        ("N2  - Other", "Abstract."),
        ("AB  - Abstract.", "Abstract."),
        ("AB  - Abstract. And more.", "Abstract. And more."),
        ("AB  - Résumé.", "Abstract.\nRésumé."),
        (
            "AB  - AIM: To see\nT2-weighted images.\nER - positive ones too.\nRESULTS: Seen.\n\nMore.",
            "Abstract.\nAIM: To see T2-weighted images. ER - positive ones too.\nRESULTS: Seen.\nMore.",
        ),
    ],
    "year": [
        *(("PY  - 2020/05/01/", 2020), ("PY  - 2020///", 2020), ("Y1  - 2019/01//", 2019), ("DA  - 2018-03", 2018)),
        *(("PY  - May 2017", 2017), ("PY  - 20190131", 2019), ("PY  - 201912", 2019), ("PY  - n.d.\nDA  - 2016", 2016)),
        *((f"PY  - {text}", None) for text in ("20211", "202113", "2021131", "0123", "in press")),
    ],
    "doi": [
        ("DO  - https://doi.org/10.1000/A.b", "10.1000/A.b"),
        ("DO  - doi:10.1000/a.b.", "10.1000/a.b"),
        ("DO  - n/a\nUR  - http://dx.doi.org/10.1000/a", "10.1000/a"),
        ("M3  - doi: 10.1000/a", "10.1000/a"),
        ("N1  - see 10.1000/of-another", ""),
        (
            "DO  - 10.1002/(SICI)1097(1998)17:15&lt;1661::AID&gt;3.0.CO;2-2",
            "10.1002/(sici)1097(1998)17:15<1661::aid>3.0.co;2-2",
        ),
    ],
    "pmid": [
        ("AN  - 33301246", "33301246"),
        ("AN  - PMID: 33301246\nDB  - EBSCOhost", "33301246"),
        ("AN  - 33301246\nDB  - Ovid MEDLINE(R)", "33301246"),
        ("AN  - 33301246\nDP  - EBSCOhost\nDB  - aph", ""),
        ("AN  - WOS:000123456700001", ""),
        ("AN  - PMC7712345", ""),
        ("N1  - PMCID: PMC7712345\nPMID: 33301246", "33301246"),
        ("C7  - 33301246\nDB  - PubMed", "33301246"),
        ("M1  - 12\nDB  - PubMed", ""),
        ("ID  - 33301246", ""),
        ("M1  - PMID: 33301246", "33301246"),
        ("UR  - https://pubmed.ncbi.nlm.nih.gov/33301246/", "33301246"),
        ("UR  - http://www.ncbi.nlm.nih.gov/pubmed/33301246", "33301246"),
    ],
    "topics": [
        ("KW  - a; b ;c", ("a", "b", "c")),
        ("KW  - a\nb\nc\nKW  - A", ("a", "b", "c")),
        ("KW  - Receptors, Antigen, T-Cell, gamma-delta", ("Receptors, Antigen, T-Cell, gamma-delta",)),
        ("KW  - a, b, c, d, e", ("a", "b", "c", "d", "e")),
        ("KW  - <i>E. coli</i> &amp; co", ("E. coli & co",)),
    ],
    "authors": [
        ("A1  - One, A\nAU  - Two, B\nA1  - Three, C", ("One, A", "Two, B", "Three, C")),
        ("A1  - One, A\nA1  - Two, B\nAU  - One, A\nAU  - Two, B", ("One, A", "Two, B")),
        ("AU  - One, A; Two, B", ("One, A", "Two, B")),
        ("AU  - World Health Organization,\nAU  - et al.", ("World Health Organization",)),
        ("AU  - O&#39;Neil, X", ("O'Neil, X",)),
        ("ED  - Editor, E", ("Editor, E",)),
    ],
    "venue": [
        ("JO  - J Foo\nJF  - Journal of Foo\nT2  - Other", "Journal of Foo"),
        ("J2  - J. Foo\nT2  - Journal of Foo", "Journal of Foo"),
        ("JA  - J. Foo", "J. Foo"),
    ],
    "url": [
        ("UR  - javascript:alert(1)\nUR  - file:///x;https://a.org/?b=1;c=2; http://d.org", "https://a.org/?b=1;c=2")
    ],
    "id": [("ID  - 7\nAN  - 12", "12"), ("ID  - s2-7\nDB  - Cocite Atlas\nDO  - 10.1000/a", "s2-7")],
}


@pytest.mark.parametrize(("field", "lines", "value"), [(name, *case) for name in FIELDS for case in FIELDS[name]])
def test_fields_are_read_as_exporters_write_them(paper_of, field, lines, value):
    found = getattr(paper_of(lines), field)
    assert (found.lower() if field == "doi" else found) == (value.lower() if field == "doi" else value)


def test_markup_becomes_text_and_labels_stay(read_data):
    text = (
        'TY  - JOUR\nTI  - <i>Ixodes</i> at p &lt; 0.05 &amp;amp; a<b and c>d in <span class="nocase">DNA</span>\n'
        "AB  - <jats:sec><jats:title>Aim</jats:title><jats:p>10 % of $5 in C:\\x.</jats:p></jats:sec>\nER  - \n"
    )
    (paper,), _ = read_data(text)
    assert paper.title == "Ixodes at p < 0.05 & a<b and c>d in DNA"
    assert paper.abstract == "Aim: 10 % of $5 in C:\\x."
