"""Tables of ready pairs in every form, and pairs made of planted sentences. The command's test has the rest."""

import gzip
from pathlib import Path

import pytest

from corpus.cocitations.contexts import ContextRules
from corpus.cocitations.full_text import CitingSentence
from corpus.cocitations.make_pairs import PairsReport, make_pairs, read_pair_table
from corpus.cocitations.pairs import PairsError, SplitRules
from corpus.errors import UnreadableFileError
from corpus.paper import Paper
from tests.corpus.cocitations.full_texts import a_file, lines, read, sentence_line

DOI = "10.1002/(SICI)1097-0258(19980815)17:15<1661::AID-SIM968>3.0.CO;2-2"


def read_table(tmp_path: Path, text: str | bytes) -> list[tuple[str, CitingSentence]]:
    content = text.encode() if isinstance(text, str) else text
    return list(read_pair_table(a_file(tmp_path, content, "pairs")))


def ids(found: list[tuple[str, CitingSentence]]) -> list[tuple[str, ...]]:
    names = ((*(each.identifiers[-1] for each in pair.cited), pair.citing) for _, pair in found)
    return [tuple(name.removeprefix("id:") for name in row) for row in names]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5836\t6000423\n33370\t38355793\n", [("5836", "6000423", ""), ("33370", "38355793", "")]),
        ("\ufeffa1,b1\r\n\r\n a2 , b2 \r\n", [("a1", "b1", ""), ("a2", "b2", "")]),
        ("x y\nc  d", [("x", "y", ""), ("c", "d", "")]),
        ("x;y;z\n", [("x", "y", "z")]),
        ("x\ty\n\t\n", [("x", "y", "")]),
        (f"{DOI}\tb\tx\n", [(DOI, "b", "x")]),
        (f'"{DOI}","b, c"\n', [(DOI, "b, c", "")]),
        ("positive\tnote\tAnchor\tciting\np\tn\ta\tc\n", [("a", "p", "c")]),
        ("id1,id2\n1,2\n", [("1", "2", "")]),
        ('{"anchor": 1, "positive": "b", "citing": "x"}\n{"a": "1", "b": 2}\n', [("1", "b", "x"), ("1", "2", "")]),
        ('["a", "b"]\n["a", "c", "x"]\n', [("a", "b", ""), ("a", "c", "x")]),
        ('{"anchor": "\\ud800 a", "positive": "b", "citing": "\\ud800 x\\u0007"}\n', [("a", "b", "x")]),
        ("", []),
        ("anchor,positive\n", []),
    ],
)
def test_tables_of_every_form_are_read(tmp_path: Path, text: str, wanted: list[tuple[str, ...]]) -> None:
    assert ids(read_table(tmp_path, text)) == wanted
    assert ids(read_table(tmp_path, gzip.compress(text.encode()))) == wanted


def test_pairs_have_their_line_and_ids_may_have_a_prefix(tmp_path: Path) -> None:
    found = read_table(tmp_path, "\nPMID:12\tdoi:10.1000/A\n\nx:1\ty\n")
    assert [place for place, _ in found] == ["pairs, line 2", "pairs, line 4"]
    assert [[each.identifiers for each in pair.cited] for _, pair in found] == [
        [("pmid:12", "id:PMID:12"), ("doi:10.1000/a", "id:doi:10.1000/A")],
        [("id:x:1",), ("id:y",)],
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\tb\nc\n", 2),
        ("a\tb\n\td\n", 2),
        ('{"a": 1}', 1),
        ('{"a": 1, "b": NaN}', 1),
        ('{"a": 1, "b": true}', 1),
        ('["a", "b"]\n{"a": ', 2),
        ("[" * 10_000, 1),
        ("[" + "1" * 5_000 + ", 2]", 1),
        ('"a\tb', 1),
        ("x" * 9_000_000 + "\ty", 1),
        ("a\tb\n" + "x" * 301 + "\ty", 2),
        ("a\tb\n\x01\ty", 2),
    ],
)
def test_other_lines_are_refused_with_their_number(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(PairsError, match=f"pairs, line {line}: "):
        read_table(tmp_path, text)


def test_unreadable_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError):
        list(read_pair_table(tmp_path / "nowhere"))
    with pytest.raises(UnreadableFileError, match="pairs"):
        read_table(tmp_path, gzip.compress(b"a\tb\n" * 1_000)[:-20])


@pytest.mark.parametrize("name", ["https://doi.org/10.2000/Z", "doi:10.2000/z", "PMID:12", "7", "a paper"])
def test_a_citing_paper_has_the_same_name_in_tables_and_in_sentences(tmp_path: Path, name: str) -> None:
    [(_, pair)] = read_table(tmp_path, f"p\tq\t{name}\n")
    [sentence], _ = read(a_file(tmp_path, lines(sentence_line(name))))
    assert pair.citing == sentence.citing


def test_sentences_and_tables_become_pairs_and_missing_papers_are_listed(tmp_path: Path) -> None:
    papers = [Paper(id=f"p{i}", title=f"A study of thing {i}", abstract="x", doi=f"10.1000/{i}") for i in range(40)]
    records = [
        sentence_line(
            f"10.2000/{i}",
            sentence=f"Both {'x' * i} are known in here [1].",
            dois=[f"10.1000/{2 * i}", f"10.1000/{2 * i + 1}"],
        )
        for i in range(15)
    ]
    lost = [
        sentence_line(
            "10.2000/z", sentence=f"{'These ' * (i + 1)} are unknown in here [1].", dois=["10.9999/x", f"10.9999/{i}"]
        )
        for i in range(2)
    ]
    report = PairsReport()
    pairs = make_pairs(
        tmp_path / "out",
        full_texts=[a_file(tmp_path, lines(*records, *lost), "s.jsonl")],
        tables=[a_file(tmp_path, b"p30\tp31\np32\tlost\np33\tp33\n", "t.tsv")],
        papers=papers,
        rules=ContextRules(),
        split_rules=SplitRules(dev=3, test=2),
        missing=tmp_path / "missing",
        provenance={"sources": ["x"]},
        report=report,
    )
    assert len(pairs.train) + len(pairs.dev) + len(pairs.test) == 16 and len(pairs.dev) == 3
    assert pairs.papers["id"].to_pylist() == [f"p{i}" for i in range(32)]
    assert (report.ready, report.unknown, report.same, report.missing) == (3, 1, 1, 3)
    assert (tmp_path / "missing").read_text() == "10.9999/x\n10.9999/0\n10.9999/1\n"
    assert pairs.provenance["sources"] == ["x"] and pairs.provenance["contexts"]["unknown"] == 2
    text = "\n".join(report.lines(ContextRules()))
    assert "Full texts: 17 read (17 × citing sentences); 0 refused" in text
    assert "  t.tsv, line 2: no paper of the corpus has the id 'lost'" in text
