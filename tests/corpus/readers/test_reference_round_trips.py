"""What `to_ris` and `to_bibtex` write is read back the same."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.export import to_bibtex, to_ris
from corpus.identifiers import derived_id
from corpus.paper import Paper
from corpus.readers import read
from corpus.text.markup import plain
from corpus.text.plain import clean, distinct

# Letters, all that LaTeX, RIS and HTML read as signs, and hardly anything twice as likely as these.
SIGNS = "abAB 10éßñα中.,:()[]{}\\%&$#_^~'`\"-–?!<>=+*/@|\u00ad\u2028"
TEXT = st.text(
    st.one_of(st.sampled_from(SIGNS), st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=40
)
HARD = st.sampled_from(
    [
        "ER  - ",
        "TY  - JOUR",
        "T2-weighted -- ``quoted'' {DNA} 10 % of $5 C:\\x",
        "a<b and c>d, p < 0.05",
        "},\n}\n@article{forged, title={",
        "x^2_i ~ $\\alpha$ \\'e --- ''' ?` !`",
        "10$^5$ \\textsuperscript{2}",
    ]
)


def settled(text):
    """Text as readers keep it: nothing left in it that reads as markup."""
    for _round in range(9):
        text = clean(plain(text))
    return text


LINE = st.one_of(TEXT, HARD).map(settled).filter(bool)
NAME = LINE.map(lambda text: settled(text.replace(";", " ").replace(",", " ").strip(" ,"))).filter(
    lambda name: name and name.casefold() not in ("others", "et al", "et al.", "[et al.]", "anonymous", "anon")
)
PERSON = st.tuples(
    st.from_regex(r"[A-Z][a-zéø]{1,8}", fullmatch=True), st.from_regex(r"[A-Z][a-z]{0,5}( [A-Z])?", fullmatch=True)
)
PAPERS = st.builds(
    Paper,
    id=st.just(""),
    title=LINE,
    abstract=st.lists(LINE, min_size=1, max_size=3).map("\n".join),
    authors=st.lists(st.one_of(PERSON.map(", ".join), NAME), max_size=3).map(tuple),
    year=st.none() | st.integers(1000, 2999),
    venue=st.just("") | LINE,
    doi=st.sampled_from(["", "10.1000/ABC_d.1", "10.1002/(SICI)1097(19)17:15<1::AID>3.0.CO;2-2", "10.1002/2#3%4"]),
    pmid=st.sampled_from(["", "1", "33301246"]),
    url=st.sampled_from(["", "https://example.org/a_b?c=%20&d=~e#f", "http://a.b/é"]),
    topics=st.lists(
        LINE.map(lambda text: text.replace(";", ":")).filter(lambda text: text.count(",") < 4), max_size=3
    ).map(distinct),
)
OWN_IDS = st.none() | st.sampled_from(["s2-7", "W123", "a_b & {c}", "10.1000/other"])
WRITERS = {"ris": to_ris, "bib": to_bibtex}


def read_back(folder, text):
    path = folder / "export"
    path.write_bytes(text.encode())
    with read(path) as reading:
        papers = list(reading)
    assert reading.report.left_out == 0, reading.report.problems
    return papers


@pytest.mark.parametrize("format", WRITERS)
@settings(max_examples=80, deadline=None)
@given(papers=st.lists(st.tuples(PAPERS, OWN_IDS), min_size=1, max_size=3))
@example(
    papers=[
        (Paper(id="", title="A -- B", abstract="AIM: To know.\nRESULTS: Known.", topics=("Behavior, Animal",)), None)
    ]
)
@example(
    papers=[(Paper(id="", title="T", abstract="A", authors=("van der Berg, Jan", "Plato", "The A and B, Ltd")), "x")]
)
def test_papers_come_back_as_they_were(tmp_path_factory, format, papers):
    given_papers = [
        replace(
            paper,
            id=own_id or derived_id(title=paper.title, year=paper.year, doi=paper.doi, pmid=paper.pmid),
        )
        for paper, own_id in papers
    ]
    papers_back = read_back(tmp_path_factory.mktemp("export"), WRITERS[format](given_papers))
    for paper, back in zip(given_papers, papers_back, strict=True):
        # RIS has one line for an abstract, but for what a label begins.
        assert clean(back.abstract) == clean(paper.abstract)
        assert replace(back, abstract="") == replace(paper, abstract="")


@pytest.mark.parametrize("format", WRITERS)
def test_paragraphs_with_labels_come_back(tmp_path, format):
    paper = Paper(id="1", pmid="1", title="T", abstract="AIM: To know.\nMETHODS AND DATA: Many.\nRESULTS: Known.")
    assert read_back(tmp_path, WRITERS[format]([paper])) == [paper]


def test_bibtex_keeps_all_paragraphs(tmp_path):
    paper = Paper(id="1", pmid="1", title="T", abstract="One.\nTwo.\nThree.")
    assert read_back(tmp_path, to_bibtex([paper])) == [paper]
