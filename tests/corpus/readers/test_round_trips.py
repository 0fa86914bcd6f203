"""Papers out and in again, in every format that is both written and read: they are the same."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.export import export_pieces
from corpus.paper import Paper
from corpus.readers import read
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

FORMATS = ["csv", "ris", "bibtex", "jsonl", "parquet"]


def settled(text: str) -> str:
    """A text as it comes out of a reader: cleaned, its markup gone, as often as it takes."""
    for _ in range(20):
        before, text = text, clean(plain(text))
        if text == before:
            return text
    return ""


ODD = st.one_of(
    st.text(st.characters(), max_size=25),
    st.text(st.sampled_from("{}\\%&$#_~^@=+-\"'`<>|*[]():;,.?! \n\r\tabZé中α"), max_size=25),
    st.sampled_from(
        [
            "x\nER  - \nTY  - JOUR\nTI  - forged",
            "TY  - JOUR",
            "AB - x",
            "},\n}\n@article{forged, title={",
            "@article{a, b",
            '=HYPERLINK("http://192.0.2.1","x")',
            "'=1",
            "''+",
            "'t Hooft",
            '"',
            '""quoted""',
            "a;b",
            "a,b,c,d,e,f",
            "p < 0.05 & a<b>c",
            "$x^2$ \\alpha \\'e",
            "--- en–dash — “quotes” ``latex''",
            "1988",
            "\ufeffmark",
            "and",
            "T2-weighted",
        ]
    ),
)
TEXT = ODD.map(settled)
VISIBLE = TEXT.filter(bool)
ABSTRACT = st.lists(VISIBLE, min_size=1, max_size=3).map("\n".join).map(clean_paragraphs).filter(bool)
# What stands at the ends of a name parts it from others; "others" and "et al." stand for more names.
NAME = VISIBLE.map(lambda name: settled(name.strip(",; "))).filter(
    lambda name: name == name.strip(",; ") and name.lower() not in ("", "others", "et al", "et al.", "[et al.]", "anon")
)
PERSON = st.tuples(st.sampled_from(["Müller", "de la Cruz", "O'Neil", "李", "van der Berg"]), st.sampled_from("AB"))
AUTHOR = st.one_of(PERSON.map(", ".join), NAME)
DOI = st.from_regex(r"10\.[1-9][0-9]{3}/[a-z0-9().<>_-]{0,8}[a-z0-9]", fullmatch=True).filter(
    lambda doi: doi.count("(") == doi.count(")") and settled(doi) == doi
)
URL = st.from_regex(r"https?://[a-z]{1,9}\.org/[a-z0-9/?=&_.%~-]{0,12}", fullmatch=True).filter(
    lambda url: settled(url) == url
)
PAPER = st.builds(
    Paper,
    id=VISIBLE,
    title=VISIBLE,
    abstract=ABSTRACT,
    authors=st.lists(AUTHOR, max_size=3).map(tuple),
    year=st.none() | st.integers(1000, 2999),
    venue=TEXT,
    doi=st.just("") | DOI,
    pmid=st.just("") | st.integers(1, 10**8).map(str),
    url=st.just("") | URL,
    topics=st.lists(VISIBLE, max_size=3).map(distinct),
)
PAPERS = st.lists(PAPER, min_size=1, max_size=4)


def there_and_back(papers: list[Paper], format: str) -> list[Paper]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"  # the content tells the format
        with path.open("wb") as file:
            file.writelines(export_pieces(iter(papers), format))
        with read(path) as reading:
            found = list(reading)
        assert reading.report.problems == []
        return found


def flat(paper: Paper) -> Paper:
    """A paper with its abstract on one line: RIS parts only those paragraphs that a label begins."""
    return replace(paper, abstract=clean(paper.abstract))


@settings(max_examples=60)
@given(papers=PAPERS)
def test_json_lines_keep_everything(papers: list[Paper]) -> None:
    assert there_and_back(papers, "jsonl") == papers


@settings(max_examples=60)
@given(papers=PAPERS)
def test_parquet_keeps_everything(papers: list[Paper]) -> None:
    assert there_and_back(papers, "parquet") == papers


@settings(max_examples=60)
@given(papers=PAPERS)
@example(papers=[Paper(id="'=1", title="'=1", abstract="''+\n@x", authors=("=a",), topics=("-b",))])
def test_csv_gives_the_papers_back(papers: list[Paper]) -> None:
    # Several names, or topics, share a cell, and "; " parts them.
    papers = [
        replace(
            paper,
            authors=tuple(name.replace("; ", ";") for name in paper.authors),
            topics=distinct(topic.replace("; ", ";") for topic in paper.topics),
        )
        for paper in papers
    ]
    assert there_and_back(papers, "csv") == papers


@settings(max_examples=60)
@given(papers=PAPERS)
def test_ris_gives_the_papers_back(papers: list[Paper]) -> None:
    assert list(map(flat, there_and_back(papers, "ris"))) == list(map(flat, papers))


@settings(max_examples=60)
@given(papers=PAPERS)
@example(
    papers=[
        Paper(id="a", title="b", abstract="c", authors=("0 , 0",)),
        Paper(id="d", title="e", abstract="f", authors=("0;, 0",)),
    ]
)
def test_bibtex_gives_the_papers_back(papers: list[Paper]) -> None:
    assert there_and_back(papers, "bibtex") == papers
