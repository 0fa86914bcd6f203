"""Exports are valid in their format, safe to open, and read back as the same papers."""

import csv
import io
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import bibtexparser
import pytest
import rispy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.export import export_pieces, to_bibtex, to_csv, to_ris, write_jsonl
from corpus.paper import Paper
from corpus.readers import read
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

PAPER = Paper(
    id="33301246",
    title="Vaccines & 50% of DNA_1",
    abstract="AIM: To know.\nRESULTS: Known.",
    authors=("Müller, Ada B", "The Heart and Lung Group", "Plato"),
    year=2021,
    venue="Lancet",
    doi="10.1016/s0140-6736(20)1_2",
    pmid="33301246",
    url="https://example.org/?a=1;b=2",
    topics=("Behavior, Animal", "COVID-19"),
)

HOSTILE = st.one_of(
    st.text(st.characters(), max_size=30),
    st.text(st.sampled_from("{}\\%&$#_~^@=+-\"'`,;\n\r\t aé"), max_size=30),
    st.sampled_from(
        [
            "x\nER  - \nTY  - JOUR\nTI  - forged",
            "x\u2028ER  - \u2028",
            "},\n}\n@article{forged, title={",
            '=HYPERLINK("http://192.0.2.1","x")',
            "\t=1+1",
            "\\",
        ]
    ),
)
VISIBLE = HOSTILE.filter(clean)
PAPERS = st.lists(
    st.builds(
        Paper,
        id=VISIBLE,
        title=VISIBLE,
        abstract=VISIBLE,
        authors=st.lists(VISIBLE, max_size=3).map(tuple),
        year=st.none() | st.integers(1000, 2999),
        venue=HOSTILE,
        doi=HOSTILE,
        pmid=HOSTILE,
        url=HOSTILE,
        topics=st.lists(VISIBLE, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
)


def csv_rows(data):
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_csv_with_distances():
    data = to_csv([PAPER, PAPER], distances=[0.25, 1.0])
    assert data.startswith(b"\xef\xbb\xbfid,title,")
    first, second = csv_rows(data)
    assert first == {
        "id": "33301246",
        "title": PAPER.title,
        "authors": "Müller, Ada B; The Heart and Lung Group; Plato",
        "year": "2021",
        "venue": "Lancet",
        "doi": PAPER.doi,
        "pmid": "33301246",
        "url": PAPER.url,
        "topics": "Behavior, Animal; COVID-19",
        "abstract": PAPER.abstract,
        "l2_distance": "0.25",
    }
    assert second["l2_distance"] == "1.0"
    assert "l2_distance" not in csv_rows(to_csv([PAPER]))[0]


def test_csv_needs_a_distance_for_each_paper():
    with pytest.raises(ValueError, match="1 distances for 2 papers"):
        to_csv([PAPER, PAPER], distances=[0.5])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "  =", "\u00a0=", "\u200e=", *"＝＋－＠"])
def test_csv_has_no_formula(start):
    formula = f"{start}1"
    row = csv_rows(to_csv([Paper(id=formula, title=formula, abstract=f"A.\n{formula}")]))[0]
    assert row["title"] == row["id"] == f"'{clean(formula)}"
    assert row["abstract"].startswith("A.")


@given(papers=PAPERS)
def test_hostile_text_stays_in_its_csv_cell(papers):
    rows = csv_rows(to_csv(papers))
    assert len(rows) == len(papers)
    for row, paper in zip(rows, papers, strict=True):
        assert None not in row
        for name in ("id", "title", "abstract", "venue", "doi", "pmid", "url"):
            expected = clean_paragraphs(getattr(paper, name))
            assert row[name] in (expected, f"'{expected}")
            assert not row[name].lstrip().startswith(tuple("=+-@\t\r＝＋－＠"))


def test_ris():
    text = to_ris([PAPER, Paper(id="b", title="T", abstract="A")])
    assert text.startswith("TY  - JOUR\r\nID  - 33301246\r\nDB  - Cocite Atlas\r\n")
    full, bare = rispy.loads(text, newline="\r\n")
    assert full == {
        "type_of_reference": "JOUR",
        "id": "33301246",
        "name_of_database": "Cocite Atlas",
        "title": PAPER.title,
        "authors": list(PAPER.authors),
        "year": "2021",
        "journal_name": "Lancet",
        "doi": PAPER.doi,
        "accession_number": "33301246",
        "urls": ["https://example.org/?a=1%3Bb=2"],
        "keywords": list(PAPER.topics),
        "abstract": "AIM: To know. RESULTS: Known.",
    }
    assert "\r\nAB  - AIM: To know.\r\nRESULTS: Known.\r\n" in text
    assert bare == {
        "type_of_reference": "JOUR",
        "id": "b",
        "name_of_database": "Cocite Atlas",
        "title": "T",
        "abstract": "A",
    }


@given(papers=PAPERS)
@example(papers=[Paper(id="1", title="x\nER  - \nTY  - JOUR\nTI  - forged", abstract="A\r\nER  - ")])
@example(papers=[Paper(id="1", title="T", abstract="A\nER  - TY: x\nTY  - ABC: forged\nTI  -TY: forged")])
def test_hostile_text_is_no_tag_of_ris(papers):
    text = to_ris(papers)
    tag = re.compile(r"(TY|ID|DB|TI|AU|PY|JO|DO|AN|UR|KW|AB|ER)  - ")
    assert all(tag.match(line) for line in text.splitlines() if line)
    records = rispy.loads(text, newline="\r\n")
    assert [record["title"] for record in records] == [clean(paper.title) for paper in papers]
    assert [record["abstract"] for record in records] == [clean(paper.abstract) for paper in papers]
    assert [record.get("authors", []) for record in records] == [list(map(clean, paper.authors)) for paper in papers]


def bibtex_entries(text):
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    assert [type(block).__name__ for block in library.blocks] == ["Entry"] * len(library.entries)
    return library.entries


PRINTED = {
    r"\textbackslash{}": "\\",
    r"\textbraceleft{}": "{",
    r"\textbraceright{}": "}",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\%": "%",
    r"\&": "&",
    r"\$": "$",
    r"\#": "#",
    r"\_": "_",
    "{}": "",
}


def printed(value):
    """What LaTeX prints; fails on a special character that is no part of an escape."""
    value = re.sub(r"([-'`?!])\{\}", r"\1", value)  # keeps two signs from being set as one
    escape = "|".join(map(re.escape, PRINTED))
    assert not re.search(r"[\\{}~^%&$#_]", re.sub(escape, "", value))
    return re.sub(escape, lambda found: PRINTED[found[0]], value)


def test_bibtex():
    text = to_bibtex([PAPER])
    (entry,) = bibtex_entries(text)
    assert entry.key == "muller2021_33301246"
    fields = {name: field.value for name, field in entry.fields_dict.items()}
    assert fields == {
        "title": r"{Vaccines \& 50\% of DNA\_1}",
        "author": "Müller, Ada B and {The Heart and Lung Group} and {Plato}",
        "journal": "Lancet",
        "year": "2021",
        "doi": PAPER.doi,
        "pmid": "33301246",
        "url": PAPER.url,
        "keywords": "Behavior, Animal; COVID-19",
        "abstract": "AIM: To know.\n\nRESULTS: Known.",
    }


def test_bibtex_escapes_every_special_character():
    (entry,) = bibtex_entries(to_bibtex([Paper(id="1", title="}a{ % & $ # _ ~ ^ \\", abstract="é α")]))
    title = entry["title"].removeprefix("{").removesuffix("}")
    assert title == (
        r"\textbraceright{}a\textbraceleft{} \% \& \$ \# \_ \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}"
    )
    assert entry["abstract"] == "é α"


def test_bibtex_keys_are_stable_and_unique():
    papers = [
        Paper(id="10.1/a-b", title="T", abstract="A", authors=("O'Neil, X",), year=2020),
        Paper(id="10.1/ab", title="T", abstract="A", authors=("O'Neil, X",), year=2020),
        Paper(id="a", title="T", abstract="A"),
        Paper(id="A", title="T", abstract="A"),
        Paper(id="论文", title="T", abstract="A", authors=("李, 明",)),
    ]
    keys = [entry.key for entry in bibtex_entries(to_bibtex(papers))]
    assert len({key.lower() for key in keys}) == len(papers)
    assert keys[0].startswith("oneil2020_101ab")
    assert keys[2] == "anon_a"
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in keys)
    assert [entry.key for entry in bibtex_entries(to_bibtex(papers[::-1]))] == keys[::-1]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Smith, Ada", "Smith, Ada"),
        ("de la Cruz, A", "de la Cruz, A"),
        ("Anderson, A", "Anderson, A"),
        ("others", "{others}"),
        ("Health AND Care, Ltd", "{Health AND Care, Ltd}"),
        ("A, B, C", "{A, B, C}"),
    ],
)
def test_bibtex_protects_names(name, field):
    (entry,) = bibtex_entries(to_bibtex([Paper(id="1", title="T", abstract="A", authors=(name,))]))
    assert entry["author"] == field


@given(papers=PAPERS)
@example(papers=[Paper(id="1", title="}} @article{forged, title={x", abstract="\\", url="}{\\")])
def test_hostile_text_stays_in_its_bibtex_field(papers):
    entries = bibtex_entries(to_bibtex(papers))
    assert len(entries) == len(papers)
    assert len({entry.key for entry in entries}) == len(papers)
    for entry, paper in zip(entries, papers, strict=True):
        title = entry["title"].removeprefix("{").removesuffix("}")
        assert printed(title) == clean(paper.title)
        assert clean(printed(entry["abstract"])) == clean(paper.abstract)
        for field in entry.fields:
            depths = [0]
            for character in str(field.value):
                depths.append(depths[-1] + {"{": 1, "}": -1}.get(character, 0))
            assert min(depths) == depths[-1] == 0


# Round trips: what is written and read again is the same


def settled(text: str) -> str:
    """A text as readers keep it: clean, and without anything that reads as markup."""
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
            *(
                "x\nER  - \nTY  - JOUR\nTI  - forged",
                "TY  - JOUR",
                "AB - x",
                "AIM: To know",
                "T2-weighted",
                "1988",
                "and",
            ),
            *("},\n}\n@article{forged, title={", "@article{a, b", "$x^2_i$ \\alpha \\'e ~", "10$^5$ ?` !` '''"),
            *('=HYPERLINK("http://192.0.2.1","x")', "'=1", "''+", "'t Hooft", '"', '""quoted""', "a;b", "a,b,c,d,e,f"),
            *("p < 0.05 & a<b>c", "--- en–dash — “quotes” ``latex''", "\ufeffmark", "10 % of $5 C:\\x"),
        ]
    ),
)
READABLE_TEXT = ODD.map(settled)
LINE = READABLE_TEXT.filter(bool)
ABSTRACT = st.lists(LINE, min_size=1, max_size=3).map("\n".join).map(clean_paragraphs).filter(bool)
# What stands at the ends of a name parts it from others; "others" and "et al." stand for more names.
NAME = LINE.map(lambda name: settled(name.strip(",; "))).filter(
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
READABLE = st.builds(
    Paper,
    id=LINE,
    title=LINE,
    abstract=ABSTRACT,
    authors=st.lists(AUTHOR, max_size=3).map(tuple),
    year=st.none() | st.integers(1000, 2999),
    venue=READABLE_TEXT,
    doi=st.just("") | DOI,
    pmid=st.just("") | st.integers(1, 10**8).map(str),
    url=st.just("") | URL,
    topics=st.lists(LINE, max_size=3).map(distinct),
)


@pytest.mark.parametrize("format", ["csv", "ris", "bibtex", "jsonl", "parquet"])
@settings(max_examples=40)
@given(papers=st.lists(READABLE, min_size=1, max_size=4))
@example(papers=[Paper(id="'=1", title="'=1", abstract="''+\n@x", authors=("=a",), topics=("-b",))])
@example(papers=[Paper(id="a", title="b", abstract="c", authors=("0 , 0",)), Paper("d", "e", "f", ("0;, 0",))])
@example(
    papers=[Paper("1", "A -- B", "AIM: To know.\nMETHODS AND DATA: Many.", doi="10.1002/2#3%4", url="http://a.b/é")]
)
def test_papers_are_read_back_as_they_were(format, papers):
    if format == "csv":  # "; " separates the names, and the topics, in a cell
        papers = [
            replace(
                paper,
                authors=tuple(name.replace("; ", ";") for name in paper.authors),
                topics=distinct(topic.replace("; ", ";") for topic in paper.topics),
            )
            for paper in papers
        ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        path.write_bytes(b"".join(export_pieces(iter(papers), format)))
        with read(path) as reading:
            found = list(reading)
    assert reading.report.problems == []
    if format == "ris":  # has a line only for paragraphs that begin with a label
        papers, found = ([replace(paper, abstract=clean(paper.abstract)) for paper in some] for some in (papers, found))
    assert found == papers


def test_labelled_paragraphs_are_read_back_from_ris(tmp_path):
    paper = Paper(id="1", pmid="1", title="T", abstract="AIM: To know.\nMETHODS AND DATA: Many.\nRESULTS: Known.")
    (tmp_path / "a.ris").write_text(to_ris([paper]))
    assert list(read(tmp_path / "a.ris")) == [paper]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines_are_written_whole_or_not_at_all(tmp_path, name):
    path = tmp_path / name
    assert write_jsonl([PAPER], path) == 1
    content = path.read_bytes()
    assert list(read(path)) == [PAPER]

    def failing():
        yield replace(PAPER, id="new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(failing(), path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == content
    write_jsonl([PAPER], tmp_path / f"other-{name}")
    assert (tmp_path / f"other-{name}").read_bytes() == content  # no time and no name in the gzip header
