import csv
import io
import re

import bibtexparser
import pytest
import rispy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.export import to_bibtex, to_csv, to_ris
from corpus.paper import Paper
from corpus.text.plain import clean, clean_paragraphs

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


def test_csv_reads_back_with_distances():
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


def test_csv_wants_a_distance_for_each_paper():
    with pytest.raises(ValueError, match="1 distances for 2 papers"):
        to_csv([PAPER, PAPER], distances=[0.5])


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "\u00a0=1",
        "\u200e=1",
        "＝1",
        "＋1",
        "－1",
        "＠1",
    ],
)
def test_csv_runs_no_formula(formula):
    row = csv_rows(to_csv([Paper(id=formula, title=formula, abstract=f"A.\n{formula}")]))[0]
    assert row["title"] == row["id"] == f"'{clean(formula)}"
    assert row["abstract"].startswith("A.")


@settings(max_examples=150, deadline=None)
@given(papers=PAPERS)
def test_csv_of_hostile_text_has_its_rows_and_no_formula(papers):
    rows = csv_rows(to_csv(papers))
    assert len(rows) == len(papers)
    for row, paper in zip(rows, papers, strict=True):
        assert None not in row
        for name in ("id", "title", "abstract", "venue", "doi", "pmid", "url"):
            expected = clean_paragraphs(getattr(paper, name))
            assert row[name] in (expected, f"'{expected}")
            assert not row[name].lstrip().startswith(tuple("=+-@\t\r＝＋－＠"))


def test_ris_reads_back():
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


@settings(max_examples=150, deadline=None)
@given(papers=PAPERS)
@example(papers=[Paper(id="1", title="x\nER  - \nTY  - JOUR\nTI  - forged", abstract="A\r\nER  - ")])
@example(papers=[Paper(id="1", title="T", abstract="A\nER  - TY: x\nTY  - ABC: forged\nTI  -TY: forged")])
def test_no_text_passes_for_a_tag_of_ris(papers):
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


def test_bibtex_reads_back():
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


def test_every_special_character_is_escaped_and_braces_stay_in_pairs():
    (entry,) = bibtex_entries(to_bibtex([Paper(id="1", title="}a{ % & $ # _ ~ ^ \\", abstract="é α")]))
    title = entry["title"].removeprefix("{").removesuffix("}")
    assert title == (
        r"\textbraceright{}a\textbraceleft{} \% \& \$ \# \_ \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}"
    )
    assert entry["abstract"] == "é α"


def test_a_key_is_the_same_in_every_export_and_unlike_all_others():
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
def test_bibtex_takes_no_name_apart(name, field):
    (entry,) = bibtex_entries(to_bibtex([Paper(id="1", title="T", abstract="A", authors=(name,))]))
    assert entry["author"] == field


@settings(max_examples=150, deadline=None)
@given(papers=PAPERS)
@example(papers=[Paper(id="1", title="}} @article{forged, title={x", abstract="\\", url="}{\\")])
def test_no_text_breaks_out_of_its_bibtex_field(papers):
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
