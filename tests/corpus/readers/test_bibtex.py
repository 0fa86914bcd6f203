import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.errors import UnreadableFileError
from corpus.io.limits import Limits
from corpus.readers import read


def papers_of(tmp_path, text, *, encoding="utf-8", **settings):
    """The papers of a file, and its report. Every record is counted once."""
    path = tmp_path / "library.bib"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    with read(path, **settings) as reading:
        papers = list(reading)
    assert reading.report.read == reading.report.kept + reading.report.left_out
    return papers, reading.report


def paper_of(tmp_path, *fields, title="{Title}"):
    text = ",\n  ".join([f"title = {title}", "abstract = {Abstract.}", *fields])
    (paper,), report = papers_of(tmp_path, f"@article{{key,\n  {text}\n}}\n")
    assert report.format == "BibTeX"
    return paper


def test_an_entry_as_it_should_be(tmp_path):
    paper = paper_of(
        tmp_path,
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
    assert paper.id == paper.pmid == "33301246"
    assert paper.authors == ("Smith, John A.", "van der Berg, Ada")
    assert (paper.venue, paper.year, paper.doi) == ("Journal of Foo", 2020, "10.1000/ABC_d")
    assert (paper.url, paper.topics) == ("https://a.org/b_c?d=%20", ("Behavior, Animal", "Mice"))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", " "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings_and_line_ends(tmp_path, encoding, ends):
    text = "@article{a,\ntitle={Été},\nabstract={A}}\n@misc{b,\ntitle={Tschüss},\nabstract={B}\n}\n".replace("\n", ends)
    papers, _report = papers_of(tmp_path, text, encoding=encoding)
    assert [paper.title for paper in papers] == ["Été", "Tschüss"]


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
def test_latex_is_read_as_the_text_it_prints(tmp_path, latex, text):
    if text is None:
        text = "A long word of a + b c d, é ç x = 1" if "long" in latex else "Erdős, Gödel, Łódź, ångström, Straße, Ší"
    assert paper_of(tmp_path, title=latex).title == text


@pytest.mark.parametrize(
    ("names", "authors"),
    [
        ("Ludwig van Beethoven and Knuth, Donald E.", ("van Beethoven, Ludwig", "Knuth, Donald E.")),
        ("Smith, Jr, John and de la Cruz, Jr., A", ("Smith, John Jr", "de la Cruz, A Jr.")),
        (
            "{World Health Organization} and {Health and Care, Ltd}",
            ("World Health Organization", "Health and Care, Ltd"),
        ),
        ('M{\\"u}ller, J{\\"o}rg\n and {\\O}stergaard, S AND others', ("Müller, Jörg", "Østergaard, S")),
        ("Smith, J.; Doe, A.", ("Smith, J.", "Doe, A.")),
        ("{van der Berg}, Jan and Plato", ("van der Berg, Jan", "Plato")),
        ("Doe, K., and Roe, L.", ("Doe, K.", "Roe, L.")),
        ("O&#39;Neil, X", ("O'Neil, X",)),
    ],
)
def test_names(tmp_path, names, authors):
    assert paper_of(tmp_path, f"author = {{{names}}}").authors == authors


@pytest.mark.parametrize(
    ("fields", "year"),
    [
        (["year = {2020}", "month = 5"], 2020),
        (["date = {2019-05-01}"], 2019),
        (["year = {in press}", "date = {2018/2019}"], 2018),
        (["year = {20211}"], None),
        (['year = "c. 1999"'], 1999),
    ],
)
def test_years(tmp_path, fields, year):
    assert paper_of(tmp_path, *fields).year == year


@pytest.mark.parametrize(
    ("fields", "doi"),
    [
        (["doi = {https://doi.org/10.1000/A\\_b}"], "10.1000/A_b"),
        (["DOI = {10.1002/(SICI)1097{\\_}3$<$1::AID$>$3.0.CO;2-2}"], "10.1002/(SICI)1097_3<1::AID>3.0.CO;2-2"),
        (["url = {\\url{http://dx.doi.org/10.1000/a}}"], "10.1000/a"),
        (["eprint = {2001.01234v2}", "archivePrefix = {arXiv}"], "10.48550/arXiv.2001.01234"),
        (["eprint = {hep-th/9901001}", "eprinttype = {arxiv}"], "10.48550/arXiv.hep-th/9901001"),
        (["journal = {arXiv preprint arXiv:2001.01234}"], "10.48550/arXiv.2001.01234"),
        (["eprint = {2001.01234}", "doi = {10.1000/a}"], "10.1000/a"),
        (["eprint = {33301246}", "eprinttype = {pubmed}"], ""),
    ],
)
def test_dois(tmp_path, fields, doi):
    assert paper_of(tmp_path, *fields).doi == doi


@pytest.mark.parametrize(
    "field",
    [
        "pmid = 33301246",
        "PMID = {PMID: 33301246}",
        "note = {PMID: 33301246}",
        "eprint = {33301246}, eprinttype = {pubmed}",
        "url = {https://pubmed.ncbi.nlm.nih.gov/33301246/}",
    ],
)
def test_pmids(tmp_path, field):
    assert paper_of(tmp_path, field).pmid == "33301246"


@pytest.mark.parametrize(
    ("keywords", "topics"),
    [
        ("a, b,c", ("a", "b", "c")),
        ("Behavior, Animal; Mice", ("Behavior, Animal", "Mice")),
        ("{Behavior, Animal}", ("Behavior, Animal",)),
        ("{a; b}; c", ("a; b", "c")),
        ("R\\&amp;D; {\\'e}t{\\'e}", ("R&D", "été")),
    ],
)
def test_keywords(tmp_path, keywords, topics):
    assert paper_of(tmp_path, f"keywords = {{{keywords}}}").topics == topics


def test_abbreviations_hold_across_entries_and_are_joined(tmp_path):
    text = (
        '@string{foo = "Journal of " # {Foo}}\n@STRING(Bar = {Bar})\n'
        "@article{a, title={A}, abstract={X}, journal = FOO}\n"
        '@article{b, title="B" # { \\& } # bar, abstract={X}, journaltitle = foo # " and " # bar # 2}\n'
    )
    papers, report = papers_of(tmp_path, text)
    assert [(paper.title, paper.venue) for paper in papers] == [
        ("A", "Journal of Foo"),
        ("B & Bar", "Journal of Foo and Bar2"),
    ]
    assert report.read == 2


def test_abbreviations_that_double_do_not_fill_the_memory(tmp_path):
    doubling = "@string{a0 = {xxxxxxxxxx}}\n" + "".join(f"@string{{a{i + 1} = a{i} # a{i}}}\n" for i in range(60))
    papers, _report = papers_of(tmp_path, doubling + "@article{a, title={T}, abstract={A}, journal = a60}")
    assert len(papers[0].venue) <= 1_000


def test_broken_entries_lose_no_other(tmp_path):
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
    papers, report = papers_of(tmp_path, text)
    assert [paper.title for paper in papers] == ["One", "Three", "Six", "Seven", "Eight) x"]
    assert [problem.place for problem in report.problems] == [
        "record 2, line 6",
        "record 4, line 10",
        "record 5, line 11",
        "record 9, line 14",
        "record 10, line 15",
        "record 11, line 16",
    ]
    assert str(report.problems[0]) == (
        "library.bib, record 2, line 6: the entry has no end: a brace or a quotation mark is missing. "
        "Correct it, or drop the entry."
    )


def test_paragraphs_of_an_abstract_survive(tmp_path):
    (paper,), _report = papers_of(
        tmp_path, "@article{a, title={T}, abstract={AIM: To\nknow.\nRESULTS: Known.\n\n50\\% more}}"
    )
    assert paper.abstract == "AIM: To know.\nRESULTS: Known.\n50% more"


def test_all_on_one_line(tmp_path):
    text = "".join(f"@article{{k{i}, title={{T{i}}}, abstract={{{'word ' * 200}}}}} " for i in range(300))
    papers, _report = papers_of(tmp_path, text)
    assert [paper.title for paper in papers] == [f"T{i}" for i in range(300)]


def test_ten_thousand_authors(tmp_path):
    names = [f"Family{number}, G" for number in range(10_000)]
    assert paper_of(tmp_path, f"author = {{{' and '.join(names)}}}").authors == tuple(names)


def test_an_entry_too_large_is_reported_and_the_next_read(tmp_path):
    text = f"@article{{a, title={{{'x ' * 100_000}}}}}\n@article{{b, title={{T}}, abstract={{A}}}}\n"
    papers, report = papers_of(tmp_path, text, limits=Limits(record_bytes=100_000))
    assert [paper.title for paper in papers] == ["T"]
    assert report.problems[0].place == "record 1, line 1"


def test_keys_are_no_ids_but_ours_are_kept(tmp_path):
    assert paper_of(tmp_path).id.startswith("t-")
    assert paper_of(tmp_path, "cocite-id = {s2\\_7}", "doi = {10.1000/a}").id == "s2_7"


VALID = (
    "@string{j = {J}}\n"
    + '@article{k,\n title = {{D}NA \\& {\\\'e}},\n abstract = "A $x$", journal = j # {x},\n}\n' * 2
)
PIECES = [
    "@article{a,",
    "@string{",
    "@comment(",
    "title=",
    "{",
    "}",
    '"',
    "\\",
    "#",
    ",",
    "=",
    "j",
    "\n",
    "$",
    "\\'",
    ")",
    "and ",
]


@settings(max_examples=60, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map(lambda p: "".join(p).encode())
    ),
    start=st.integers(0, len(VALID)),
    length=st.integers(0, 40),
)
@example(data=b'@article{a, author={and and}, title="}"', start=0, length=0)
@example(data=b"@article{a, title={T}, abstract={A}, author={, , ,}}", start=0, length=0)
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, start, length):
    for text in (b"@article{a,\n" + data, data, (VALID[:start].encode() + data + VALID[start + length :].encode())):
        try:
            papers, report = papers_of(tmp_path_factory.mktemp("fuzz"), text)
        except UnreadableFileError:
            continue
        assert report.kept == len(papers)
        assert all(paper.title and paper.abstract and paper.id for paper in papers)
