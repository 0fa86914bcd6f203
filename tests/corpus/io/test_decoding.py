import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.io.decoding import head_text, text_lines
from corpus.io.limits import DEFAULT_LIMITS
from corpus.io.streams import CappedStream

FRENCH = "Étude de l’été à Genève\nœuvre\n"
CHINESE = "深度学习在医学图像中的应用研究\n王, 明\n"


def lines_of(folder, data):
    path = folder / "text"
    path.write_bytes(data)
    stream = CappedStream(path, DEFAULT_LIMITS)
    try:
        return list(text_lines(stream))
    finally:
        stream.close()


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_lines_are_the_same_in_every_encoding(tmp_path, encoding, ends):
    text = "An ASCII beginning\n" * 9_000 + "\n" + FRENCH * 50 + "no end"
    lines = lines_of(tmp_path, text.replace("\n", ends).encode(encoding))
    assert "".join(lines) == text
    assert all(line.endswith("\n") for line in lines[:-1])


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "gb18030"),
        ("山田, 太郎\n日本における研究の現状について\n", "shift_jis"),
        ("Иванов, И\nИсследование больных в больнице\n", "cp1251"),
        ("김, 철수\n한국의 연구 현황과 전망\n", "euc_kr"),
    ],
)
def test_other_scripts_are_distinguished(tmp_path, text, encoding):
    whole = f"TY  - JOUR\n{text}AB  - An abstract of it in English.\n" * 5
    assert "".join(lines_of(tmp_path, whole.encode(encoding))) == whole


def test_a_damaged_character_does_not_make_a_line_latin(tmp_path):
    damaged = "Łódź, Gdańsk, Kraków".encode() + b"\xc5\n" + "Ćwik".encode()
    assert lines_of(tmp_path, damaged) == ["Łódź, Gdańsk, Kraków\ufffd\n", "Ćwik"]


def test_one_file_may_hold_two_encodings(tmp_path):
    assert "".join(lines_of(tmp_path, FRENCH.encode() + FRENCH.encode("cp1252"))) == FRENCH * 2


def test_long_lines_come_in_pieces_cut_at_a_space(tmp_path):
    text = "wörd " * 100_000 + "end\nnext"
    pieces = lines_of(tmp_path, text.encode())
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 3 * 65_536
    assert all(piece.endswith((" ", "\n", "next")) for piece in pieces)


def test_marks_in_the_middle_of_joined_files_are_dropped(tmp_path):
    assert lines_of(tmp_path, b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n") == ["a\n", "b\n"]


@settings(max_examples=50)
@given(data=st.binary(max_size=400))
@example(data=b"\xff\xfe\x00")
@example(data=b"\x00" * 40)
@example(data=b"a\r")
def test_any_bytes_are_lines(tmp_path_factory, data):
    if data.startswith(b"\x1f\x8b"):
        return  # gzip is another matter
    lines = lines_of(tmp_path_factory.mktemp("bytes"), data)
    assert all("\r" not in line and "\n" not in line[:-1] for line in lines)
    head_text(data)


@settings(max_examples=30)
@given(text=st.text(st.characters(exclude_characters="\r\ufeff\x00", exclude_categories=["Cs"]), max_size=200))
def test_utf8_comes_back_as_it_was(tmp_path_factory, text):
    assert "".join(lines_of(tmp_path_factory.mktemp("text"), text.encode())) == text
