"""Pair tables in every form that people write them, and what is refused, with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from corpus.cocitations.full_text import CitingSentence
from corpus.cocitations.pair_tables import read_pair_table
from corpus.cocitations.pairs import PairsError
from corpus.cocitations.sentence_lines import read_sentence_line
from corpus.errors import UnreadableFileError

DOI = "10.1002/(SICI)1097-0258(19980815)17:15<1661::AID-SIM968>3.0.CO;2-2"


def read(tmp_path: Path, text: str | bytes) -> list[tuple[str, CitingSentence]]:
    path = tmp_path / "pairs"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_pair_table(path))


def ids(found: list[tuple[str, CitingSentence]]) -> list[tuple[str, ...]]:
    said = ((*(one.identifiers[-1] for one in pair.cited), pair.citing) for _, pair in found)
    return [tuple(one.removeprefix("id:") for one in names) for names in said]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5836\t6000423\n33370\t38355793\n", [("5836", "6000423", ""), ("33370", "38355793", "")]),
        ("\ufeffa1,b1\r\n\r\n a2 , b2 \r\n", [("a1", "b1", ""), ("a2", "b2", "")]),
        ("x y\nc  d", [("x", "y", ""), ("c", "d", "")]),
        ("x;y;z\n", [("x", "y", "z")]),
        (f"{DOI}\tb\tx\n", [(DOI, "b", "x")]),
        (f'"{DOI}","b, c"\n', [(DOI, "b, c", "")]),
        ("positive\tnote\tAnchor\tciting\np\tn\ta\tc\n", [("a", "p", "c")]),
        ("id1,id2\n1,2\n", [("1", "2", "")]),
        ('{"anchor": 1, "positive": "b", "citing": "x"}\n{"a": "1", "b": 2}\n', [("1", "b", "x"), ("1", "2", "")]),
        ('["a", "b"]\n["a", "c", "x"]\n', [("a", "b", ""), ("a", "c", "x")]),
        ("", []),
        ("anchor,positive\n", []),
    ],
)
def test_every_form_is_read(tmp_path: Path, text: str, wanted: list[tuple[str, ...]]) -> None:
    found = read(tmp_path, text)
    assert ids(found) == wanted
    assert ids(read(tmp_path, gzip.compress(text.encode()))) == wanted
    assert all(pair.sentence == "" for _, pair in found)


def test_the_place_is_the_line_and_an_id_may_say_its_kind(tmp_path: Path) -> None:
    found = read(tmp_path, "\nPMID:12\tdoi:10.1000/A\n\nx:1\ty\n")
    assert [place for place, _ in found] == ["pairs, line 2", "pairs, line 4"]
    assert [one.identifiers for one in found[0][1].cited] == [
        ("pmid:12", "id:PMID:12"),
        ("doi:10.1000/a", "id:doi:10.1000/A"),
    ]
    assert [one.identifiers for one in found[1][1].cited] == [("id:x:1",), ("id:y",)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\tb\nc\n", 2),
        ("x\ty\n\t\n", 0),
        ("a\tb\n\td\n", 2),
        ('{"a": 1}', 1),
        ('{"a": 1, "b": NaN}', 1),
        ('{"a": 1, "b": true}', 1),
        ('["a", "b"]\n{"a": ', 2),
        ("[" * 10_000, 1),
        ("[" + "1" * 5_000 + ", 2]", 1),
        ('"a\tb', 1),
        ("x" * 9_000_000 + "\ty", 1),
        ("a\tb\n" + "x" * 301 + "\ty", 2),  # longer than any id
        ("a\tb\n\x01\ty", 2),
    ],
)
def test_a_line_that_is_no_pair_is_refused_with_its_number(tmp_path: Path, text: str, line: int) -> None:
    if not line:
        assert ids(read(tmp_path, text)) == [("x", "y", "")]  # a line of white space is none
        return
    with pytest.raises(PairsError, match=f"pairs, line {line}: "):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["https://doi.org/10.2000/Z", "doi:10.2000/z", "PMID:12", "7", "a paper"])
def test_a_citing_paper_is_called_as_in_lines_of_sentences(tmp_path: Path, name: str) -> None:
    line = {"citing": name, "sentence": "As seen [1, 2].", "cited": ["x", "y"]}
    [(_, pair)] = read(tmp_path, f"p\tq\t{name}\n")
    assert pair.citing == read_sentence_line(line).citing


def test_a_citing_paper_s_name_can_be_written_as_utf_8(tmp_path: Path) -> None:
    found = read(tmp_path, '{"anchor": "\\ud800 a", "positive": "b", "citing": "\\ud800 x\\u0007"}\n')
    assert ids(found) == [("a", "b", "x")]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError):
        list(read_pair_table(tmp_path / "nowhere"))
    with pytest.raises(UnreadableFileError, match="pairs"):
        read(tmp_path, gzip.compress(b"a\tb\n" * 1_000)[:-20])
