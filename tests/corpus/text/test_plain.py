import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from corpus.text.plain import clean, clean_paragraphs, distinct

ANY_TEXT = st.text(st.characters())  # surrogates and control characters included


@given(ANY_TEXT)
def test_clean_is_settled_after_one_pass_and_fits_utf8(text):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert clean_paragraphs(clean_paragraphs(text)) == clean_paragraphs(text)
    cleaned.encode("utf-8")
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned)


def test_clean_drops_marks_that_reorder_what_is_seen():
    assert clean("exe\u202egpj.\ufeff") == "exegpj."


def test_paragraphs_survive_and_spaces_do_not():
    assert clean_paragraphs("A:  one\r\n\r\n\tB: two\u2028three\n") == "A: one\nB: two three"


def test_distinct_keeps_the_first_spelling():
    assert distinct(["COVID-19", "covid-19", " Child  ", ""]) == ("COVID-19", "Child")
