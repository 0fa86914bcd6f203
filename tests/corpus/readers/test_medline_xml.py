import gzip
import itertools
from xml.sax.saxutils import escape

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from corpus.errors import DamagedFileError, UnreadableFileError, UnsafeFileError
from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.readers import read
from corpus.sources.bundled import bundled_medline
from corpus.text.plain import clean

DOCTYPE = (
    '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2019//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">'
)


def article(
    pmid="1",
    *,
    title="A title.",
    abstract="<AbstractText>An abstract.</AbstractText>",
    languages=("eng",),
    authors="",
    date="<Year>2021</Year>",
    journal="A journal",
    eloc="",
    ids="",
    after="",
):
    """One PubmedArticle; title, abstract and the like are XML."""
    return f"""<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID>
      <Article><Journal><JournalIssue><PubDate>{date}</PubDate></JournalIssue><Title>{journal}</Title></Journal>
      <ArticleTitle>{title}</ArticleTitle>{eloc}<Abstract>{abstract}</Abstract>
      <AuthorList>{authors}</AuthorList>{"".join(f"<Language>{one}</Language>" for one in languages)}
      </Article>{after}</MedlineCitation>
      <PubmedData><ArticleIdList>{ids}</ArticleIdList></PubmedData></PubmedArticle>"""


def document(*articles, doctype=DOCTYPE):
    body = "\n".join(articles)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{doctype}\n<PubmedArticleSet>{body}</PubmedArticleSet>\n'


@pytest.fixture
def paper_of(read_data):
    """paper_of(**parts): the paper of `article(**parts)`."""

    def read_article(**parts):
        (paper,), reading = read_data(document(article(**parts)))
        assert reading.report.problems == []
        return paper

    return read_article


def test_every_field_is_read(paper_of):
    paper = paper_of(
        pmid="33301246",
        title="The p<i>K<sub>a</sub></i> of\n   mice.",
        abstract='<AbstractText Label="AIM" NlmCategory="OBJECTIVE">To find <b>x<sup>2</sup></b>.</AbstractText>'
        '<AbstractText Label="RESULTS">Found\n  it.</AbstractText><AbstractText/>'
        "<AbstractText>No label.</AbstractText><CopyrightInformation>© us</CopyrightInformation>",
        authors="<Author ValidYN='Y'><LastName>Smith</LastName><ForeName>Ada B</ForeName><Initials>AB</Initials>"
        "<Suffix>Jr</Suffix></Author>"
        "<Author ValidYN='N'><LastName>Smiht</LastName><ForeName>Ada</ForeName></Author>"
        "<Author><CollectiveName>The <i>Heart</i> Group</CollectiveName></Author>"
        "<Author><LastName>Plato</LastName></Author>"
        "<Author><LastName>Cafe\u0301</LastName><Initials>Z</Initials></Author>",
        journal="Lancet (London, England) : a journal : of medicine",
        eloc='<ELocationID EIdType="doi" ValidYN="Y">10.1016/s01</ELocationID>'
        '<ELocationID EIdType="pii" ValidYN="Y">S01</ELocationID>',
        after="<MeshHeadingList><MeshHeading><DescriptorName UI='D001'>Asthma</DescriptorName>"
        "<QualifierName UI='Q1'>therapy</QualifierName></MeshHeading><MeshHeading>"
        "<DescriptorName UI='D002'>Behavior, Animal</DescriptorName></MeshHeading></MeshHeadingList>"
        "<KeywordList><Keyword>asthma</Keyword><Keyword>IL-<i>6</i>; IL-8</Keyword></KeywordList>"
        "<KeywordList><Keyword>Second list</Keyword></KeywordList>",
    )
    assert paper == Paper(
        id="33301246",
        title="The pKa of mice.",
        abstract="AIM: To find x2.\nRESULTS: Found it.\nNo label.",
        authors=("Smith, Ada B Jr", "The Heart Group", "Plato", "Café, Z"),
        year=2021,
        venue="Lancet (London, England)",
        doi="10.1016/s01",
        pmid="33301246",
        url="https://pubmed.ncbi.nlm.nih.gov/33301246/",
        topics=("Asthma", "Behavior, Animal", "IL-6; IL-8", "Second list"),
    )


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("[A translated title].", "A translated title."),
        ("[Is it one?].", "Is it one?"),
        ("[A title.]", "A title."),
        ("[A title]", "A title"),
        ("[On [18F]FDG].", "On [18F]FDG."),
        ("[18F]FDG in [11C]choline", "[18F]FDG in [11C]choline"),
        ("[18F]FDG in mice.", "[18F]FDG in mice."),
        ("A title <!-- aside --><![CDATA[a < b]]>", "A title a < b"),
    ],
)
def test_only_brackets_around_the_whole_title_are_dropped(paper_of, title, expected):
    assert paper_of(title=title).title == expected


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("<Year>1999</Year>", 1999),
        ("<MedlineDate>2020 Dec-2021 Jan</MedlineDate>", 2020),
        ("<MedlineDate>Winter</MedlineDate>", None),
        ("<Year/>", None),
        ("<Season>Winter</Season>", None),
        ("<Year>99999</Year>", None),
    ],
)
def test_the_year_is_a_year_or_none(paper_of, date, year):
    assert paper_of(date=date).year == year


@pytest.mark.parametrize(
    ("parts", "doi"),
    [
        ({"ids": '<ArticleId IdType="pii">S1</ArticleId><ArticleId IdType="doi">10.1000/a</ArticleId>'}, "10.1000/a"),
        (
            {
                "eloc": '<ELocationID EIdType="doi" ValidYN="N">10.1000/wrong</ELocationID>',
                "ids": '<ArticleId IdType="doi">10.1000/right</ArticleId>',
            },
            "10.1000/right",
        ),
        ({"eloc": '<ELocationID EIdType="doi">see the text</ELocationID>'}, ""),
        ({}, ""),
    ],
)
def test_a_doi_is_a_valid_doi_or_nothing(paper_of, parts, doi):
    assert paper_of(**parts).doi == doi


def test_planted_counts(read_data):
    articles = [
        *(article(str(pmid)) for pmid in range(1, 8)),
        article("3"),
        article("4"),
        *(article(str(pmid), abstract="") for pmid in (20, 21, 22)),
        article("23", title=""),
        article("24", title="[Not Available]."),
        *(article(str(pmid), languages=("ger",)) for pmid in (30, 31)),
        article("32", languages=()),
        article("33", languages=("fre", "eng")),
        article(""),
        article("12; drop"),
        "<PubmedArticle/>",
        "<PubmedArticle><MedlineCitation><PMID>40</PMID></MedlineCitation></PubmedArticle>",
        article("41", after="<MeshHeadingList><MeshHeading/></MeshHeadingList>"),
        "<PubmedBookArticle><BookDocument/></PubmedBookArticle>",
        "<DeleteCitation><PMID>50</PMID><PMID>51</PMID></DeleteCitation>",
    ]
    papers, reading = read_data(document(*articles))
    assert [paper.id for paper in papers] == ["1", "2", "3", "4", "5", "6", "7", "3", "4", "33"]
    assert (reading.report.kept, reading.report.duplicate, reading.report.empty, reading.report.non_english) == (
        10,
        0,
        5,
        3,
    )
    assert (reading.report.damaged, reading.report.deleted, reading.report.read) == (6, 2, len(articles) - 1)
    assert "library, record 13: no title. Add one, or drop the record." in map(str, reading.report.problems)


def test_a_single_article_without_a_set_is_read(read_data):
    papers, _ = read_data(article("7"))
    assert [paper.id for paper in papers] == ["7"]


LAUGHS = "".join(f'<!ENTITY lol{i} "{f"&lol{i - 1};" * 10 if i else "lol"}">' for i in range(10))  # 10**9 times "lol"


@pytest.mark.parametrize(
    ("subset", "name"),
    [
        (LAUGHS, "entity 'lol0'"),
        ('<!ENTITY quad "' + "x" * 50_000 + '">', "entity 'quad'"),
        ('<!ENTITY xxe SYSTEM "file:///etc/passwd">', "entity 'xxe'"),
        ('<!ENTITY xxe PUBLIC "a" "http://192.0.2.1/x">', "entity 'xxe'"),
        ('<!ENTITY % remote SYSTEM "http://192.0.2.1/x"> %remote;', "entity 'remote'"),
        ('<!ELEMENT b ANY><!ENTITY later "x">', "entity 'later'"),
        ('<!NOTATION n SYSTEM "n"><!ENTITY pic SYSTEM "a.gif" NDATA n>', "entity 'pic'"),
        ('<!ATTLIST i x CDATA "' + "x" * 10_000 + '">', "attribute 'x' of 'i'"),
    ],
)
@pytest.mark.parametrize("outside", ["", 'SYSTEM "none.dtd"', 'PUBLIC "-//NLM//DTD" "none.dtd"'])
def test_declarations_are_refused(read_data, subset, name, outside):
    hostile = document(
        article(title="&lol9;&xxe;&quad;<i/>"), doctype=f"<!DOCTYPE PubmedArticleSet {outside} [{subset}]>"
    )
    with pytest.raises(UnsafeFileError, match=rf"^library: it declares the {name}"):
        read_data(hostile)


def test_entities_hidden_in_another_encoding_are_refused(read_data):
    hostile = document(article(), doctype='<!DOCTYPE a [<!ENTITY x "y">]>').replace(
        'encoding="utf-8"', 'encoding="UTF-7"'
    )
    with pytest.raises(UnsafeFileError, match="encoding 'UTF-7'"):
        read_data(hostile.encode("utf-7"))


def test_a_prologue_that_never_ends_is_refused(read_data):
    with pytest.raises(DamagedFileError, match="no XML element begins in its first 65,536 bytes"):
        read_data(f'<?xml version="1.0"?><!-- {"x" * 100_000} -->' + article())


def test_an_undeclared_entity_reads_no_file(read_data):
    """With an external DTD that is never fetched, libxml2 cannot call it an error."""
    papers, _ = read_data(document(article(title="Caf&eacute;")))
    assert [paper.title for paper in papers] == ["Caf&eacute;"]


@pytest.mark.parametrize(
    ("inside", "error"),
    [
        ("<i>" * 100_000 + "</i>" * 100_000, DamagedFileError),  # too deep
        ("x" * 11_000_000, DamagedFileError),  # one text too long
        ("<i>x</i>" * 2_500_000, UnsafeFileError),  # one record too long
    ],
)
def test_a_monstrous_record_is_refused(read_data, inside, error):
    with pytest.raises(error, match=r"Records read before that: 1\."):
        read_data(document(article("1"), "\n" * 70_000, article("2", title=inside)))


def test_other_elements_do_not_pile_up(read_data):
    with pytest.raises(UnsafeFileError, match="one record has more than 100,000 bytes"):
        read_data(document("<junk/>" * 50_000), record_bytes=100_000)


def test_a_packed_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.xml.gz"
    bomb = document(article("1"), *[article("2", abstract="")] * 5_000)
    path.write_bytes(gzip.compress(bomb.encode(), compresslevel=9))
    with pytest.raises(UnsafeFileError, match=r"^bomb\.xml\.gz: it unpacks to more than 100 times its size"):
        list(read(path, limits=Limits(ratio_from_bytes=1_000_000)))


def test_records_leave_the_tree_when_they_are_read(read_data, monkeypatch):
    iterparse, siblings = etree.iterparse, []

    def watching(*args, **kwargs):
        for event, element in iterparse(*args, **kwargs):
            siblings.append(len(element.getparent()))
            yield event, element

    monkeypatch.setattr(etree, "iterparse", watching)
    papers, _ = read_data(document(*(article(str(pmid)) for pmid in range(1, 1001))))
    assert len(papers) == len(siblings) == 1000
    assert max(siblings) < 100  # as many as one chunk of the file holds


SMALL = document(*(article(str(pmid)) for pmid in range(1, 6))).encode()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, len(SMALL) - 30))
@example(cut=len(SMALL) - 21)
def test_a_truncated_file_gives_the_records_before(tmp_path, cut):
    path = tmp_path / "library.xml"
    path.write_bytes(SMALL[:cut])
    papers = []
    with pytest.raises(UnreadableFileError) as caught:
        for paper in read(path):
            papers.append(paper)
    whole = SMALL[:cut].count(b"</PubmedArticle>")
    assert len(papers) <= whole
    assert str(caught.value).startswith("library.xml: ")
    if b"<PubmedArticleSet>" in SMALL[:cut]:
        assert isinstance(caught.value, DamagedFileError)
        assert len(papers) == whole
        assert f"Records read before that: {whole}." in str(caught.value)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["C"])))
def test_any_text_arrives_as_text(read_data, text):
    abstract = f"<AbstractText>x {escape(text)} y</AbstractText>"
    papers, _ = read_data(document(article(abstract=abstract)))
    assert [paper.abstract for paper in papers] == [clean(f"x {text} y")]


def test_the_bundled_file_read_in_part():
    with read(bundled_medline()) as reading:
        papers = list(itertools.islice(reading, 300))
        report = reading.report
    assert papers[0].id == "10704411"
    assert papers[0].title.startswith("Dopamine modulates acute responses to cocaine, nicotine and ethanol")
    assert papers[0].abstract.startswith("BACKGROUND: Drugs of abuse")
    assert papers[0].venue == "Current biology"
    assert papers[0].year == 2000
    assert papers[0].doi == "10.1016/s0960-9822(00)00336-5"
    assert report.kept == 300
    assert len({paper.id for paper in papers}) == 299  # two versions of one
    assert 0 < reading.fraction <= 1


@pytest.mark.slow
def test_the_bundled_file_read_whole():
    reading = read(bundled_medline())
    papers = list(reading)
    report = reading.report
    assert (report.read, report.kept, report.deleted) == (20_788, 18_278, 20)
    assert (report.empty, report.non_english, report.duplicate, report.damaged) == (2_242, 268, 0, 0)
    assert len({paper.id for paper in papers}) == 18_273
    assert sum(bool(paper.doi) for paper in papers) == 18_112
