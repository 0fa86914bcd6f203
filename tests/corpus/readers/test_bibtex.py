import pytest


@pytest.fixture
def paper_of(read_data):
    """paper_of(*fields): the paper of an entry with these fields."""

    def read_entry(*fields, title="{Title}"):
        text = ",\n  ".join([f"title = {title}", "abstract = {Abstract.}", *fields])
        (paper,), reading = read_data(f"@article{{key,\n  {text}\n}}\n")
        assert reading.report.format == "BibTeX"
        return paper

    return read_entry


def test_an_entry_by_the_book(paper_of):
    paper = paper_of(
        "author = {Smith, John A. and van der Berg, Ada}",
        "journal = {Journal of Foo}",
        "year = 2020",
        "month = jan",
        "doi = {10.1000/ABC_d}",
        "pmid = {33301246}",
        "url = {https://a.org/b_c?d=%20}",
        "keywords = {Behavior, Animal; Mice}",
        "file = {:C$\\backslash$:/x.pdf:pdf}",
        "mendeley-groups = {Foo}",
    )
    assert paper.id == paper.pmid == "33301246"  # not the key of the entry
    assert paper.authors == ("Smith, John A.", "van der Berg, Ada")
    assert (paper.venue, paper.year, paper.doi) == ("Journal of Foo", 2020, "10.1000/ABC_d")
    assert (paper.url, paper.topics) == ("https://a.org/b_c?d=%20", ("Behavior, Animal", "Mice"))


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"{{DNA} repair in {\'E}vora}", "DNA repair in Évora"),
        (r"{Erd{\H o}s, G{\"{o}}del, \L{}\'od\'z, {\aa}ngstr\"om, Stra{\ss}e, \v{S}\'{\i}}", None),
        (r'"A {"}quoted{"} title"', 'A "quoted" title'),
        (r"{10 % of 50\% and 5\,\% at $p<0.05$, \$5 or $6}", "10 % of 50% and 5 % at p<0.05, $5 or $6"),
        (r"{H$_2$O, CO\textsubscript{2}, $10^{-3}$ and 10$^5$, x$^2$}", "H2O, CO2, 10^-3 and 10^5, x2"),
        (
            r"{$\alpha$-helix $\leq$5 $\mathrm{TiO}_{2}$ \textit{in vivo} \emph{\textbf{x}}}",
            "α-helix ≤5 TiO2 in vivo x",
        ),
        (r"{A--B --- ``quoted'' \& R\&D, a\_b, \#1, x~y}", "A–B — “quoted” & R&D, a_b, #1, x y"),
        (r"{<i>Ixodes</i> \&amp; &amp; &lt; 3}", "Ixodes & & < 3"),
        (r"{C\# and F# & co_op, ^x}", "C# and F# & co_op, ^x"),
        (r"{\url{https://a.org/b_c} and \href{https://d.org}{there}}", "https://a.org/b_c and there"),
        ("{Over\n   two lines}", "Over two lines"),
        (r"{A {\it long word} of $a + b$ \(c d\), \'e \c c \begin{equation} x = 1 \end{equation}}", None),
        (r"{Unknown \foo{bar} and \verb}", "Unknown bar and"),
    ],
)
def test_latex_becomes_its_text(paper_of, latex, text):
    if text is None:
        text = "A long word of a + b c d, é ç x = 1" if "long" in latex else "Erdős, Gödel, Łódź, ångström, Straße, Ší"
    assert paper_of(title=latex).title == text


FIELDS = {
    "authors": [
        (f"author = {{{names}}}", authors)
        for names, authors in (
            ("Ludwig van Beethoven and Knuth, Donald E.", ("van Beethoven, Ludwig", "Knuth, Donald E.")),
            ("Smith, Jr, John and de la Cruz, Jr., A", ("Smith, John Jr", "de la Cruz, A Jr.")),
            ("{World Health Org} and {Health and Care, Ltd}", ("World Health Org", "Health and Care, Ltd")),
            ('M{\\"u}ller, J{\\"o}rg\n and {\\O}stergaard, S AND others', ("Müller, Jörg", "Østergaard, S")),
            ("Smith, J.; Doe, A.", ("Smith, J.", "Doe, A.")),
            ("{van der Berg}, Jan and Plato", ("van der Berg, Jan", "Plato")),
            ("Doe, K., and Roe, L.", ("Doe, K.", "Roe, L.")),
            ("O&#39;Neil, X", ("O'Neil, X",)),
        )
    ],
    "year": [
        ("year = {2020}, month = 5", 2020),
        ("date = {2019-05-01}", 2019),
        ("year = {in press}, date = {2018/2019}", 2018),
        ("year = {20211}", None),
        ('year = "c. 1999"', 1999),
    ],
    "doi": [
        ("doi = {https://doi.org/10.1000/A\\_b}", "10.1000/A_b"),
        ("DOI = {10.1002/(SICI)1097{\\_}3$<$1::AID$>$3.0.CO;2-2}", "10.1002/(SICI)1097_3<1::AID>3.0.CO;2-2"),
        ("url = {\\url{http://dx.doi.org/10.1000/a}}", "10.1000/a"),
        ("eprint = {2001.01234v2}, archivePrefix = {arXiv}", "10.48550/arXiv.2001.01234"),
        ("eprint = {hep-th/9901001}, eprinttype = {arxiv}", "10.48550/arXiv.hep-th/9901001"),
        ("journal = {arXiv preprint arXiv:2001.01234}", "10.48550/arXiv.2001.01234"),
        ("eprint = {2001.01234}, doi = {10.1000/a}", "10.1000/a"),
        ("eprint = {33301246}, eprinttype = {pubmed}", ""),
    ],
    "pmid": [
        ("pmid = 33301246", "33301246"),
        ("PMID = {PMID: 33301246}", "33301246"),
        ("note = {PMID: 33301246}", "33301246"),
        ("eprint = {33301246}, eprinttype = {pubmed}", "33301246"),
        ("url = {https://pubmed.ncbi.nlm.nih.gov/33301246/}", "33301246"),
    ],
    "topics": [
        ("keywords = {a, b,c}", ("a", "b", "c")),
        ("keywords = {Behavior, Animal; Mice}", ("Behavior, Animal", "Mice")),
        ("keywords = {{Behavior, Animal}}", ("Behavior, Animal",)),
        ("keywords = {{a; b}; c}", ("a; b", "c")),
        ("keywords = {R\\&amp;D; {\\'e}t{\\'e}}", ("R&D", "été")),
    ],
    "id": [("cocite-id = {s2\\_7}, doi = {10.1000/a}", "s2_7")],
}


@pytest.mark.parametrize(("field", "text", "value"), [(name, *case) for name in FIELDS for case in FIELDS[name]])
def test_fields_are_read_as_exporters_write_them(paper_of, field, text, value):
    assert getattr(paper_of(text), field) == value


def test_abbreviations_hold_across_entries_and_are_joined(read_data):
    text = (
        '@string{foo = "Journal of " # {Foo}}\n@STRING(Bar = {Bar})\n'
        "@article{a, title={A}, abstract={X}, journal = FOO}\n"
        '@article{b, title="B" # { \\& } # bar, abstract={X}, journaltitle = foo # " and " # bar # 2}\n'
    )
    papers, reading = read_data(text)
    assert [(paper.title, paper.venue) for paper in papers] == [
        ("A", "Journal of Foo"),
        ("B & Bar", "Journal of Foo and Bar2"),
    ]
    assert reading.report.read == 2


def test_abbreviations_that_double_do_not_fill_the_memory(read_data):
    doubling = "@string{a0 = {xxxxxxxxxx}}\n" + "".join(f"@string{{a{i + 1} = a{i} # a{i}}}\n" for i in range(60))
    papers, _ = read_data(doubling + "@article{a, title={T}, abstract={A}, journal = a60}")
    assert len(papers[0].venue) <= 1_000


def test_broken_entries_lose_no_other(read_data):
    text = (
        '% Encoding: UTF-8\n@comment{jabref-meta: {x}}\n@comment no braces\n@preamble{"\\foo"}\n'
        "@article{a, title={One}, abstract={A}}\n"
        "@article{b, title={Two, abstract={B},\n  year=2020\n}\n"  # a brace is missing
        "@article{c, title={Three}, abstract={C}}\n"
        "@article{d, title={Four}}, abstract={D}}\n"  # one too many
        "@article{e, title={Five} abstract={E}}\n"  # no comma
        "@article{f, title={Six}, abstract={F}, title={Again}}\n"
        '@article{f, title={Seven}, abstract={user@work and @foo {bar}}}@book(g, title = "Eight) x", abstract={G})\n'
        "@article{}\n@article{h title}\n"
        "@misc{i, title={Nine}, abstract={I}"  # the file ends
    )
    papers, reading = read_data(text)
    assert [paper.title for paper in papers] == ["One", "Three", "Six", "Seven", "Eight) x"]
    assert [problem.place for problem in reading.report.problems] == [
        "record 2, line 6",
        "record 4, line 10",
        "record 5, line 11",
        "record 9, line 14",
        "record 10, line 15",
        "record 11, line 16",
    ]
    assert str(reading.report.problems[0]) == (
        "library, record 2, line 6: the entry has no end: a brace or a quotation mark is missing. "
        "Correct it, or drop the entry."
    )


def test_paragraphs_of_an_abstract_survive(read_data):
    (paper,), _ = read_data("@article{a, title={T}, abstract={AIM: To\nknow.\nRESULTS: Known.\n\n50\\% more}}")
    assert paper.abstract == "AIM: To know.\nRESULTS: Known.\n50% more"


def test_all_on_one_line(read_data):
    text = "".join(f"@article{{k{i}, title={{T{i}}}, abstract={{{'word ' * 200}}}}} " for i in range(300))
    papers, _ = read_data(text)
    assert [paper.title for paper in papers] == [f"T{i}" for i in range(300)]
