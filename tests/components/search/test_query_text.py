"""Pastes whose title and abstract are known, and pathological ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.search.query_text import MAX_PASTE_CHARS, MAX_TITLE_CHARS, QueryText, understand

TITLE = "Beta blockers after myocardial infarction"
ABSTRACT = (
    "We followed the patients of a cardiology ward for two years. Mortality was lower in those who were given beta "
    "blockers, and the effect was the same in women and in men."
)


@pytest.mark.parametrize(
    "paste",
    [
        f"{TITLE}\n\n{ABSTRACT}",
        f"{TITLE}\n{ABSTRACT}",
        f"\n\n  {TITLE}  \n \t \n\n  {ABSTRACT}\n\n",
        f"{TITLE}\r\n\r\n{ABSTRACT}",
        f"{TITLE}\r\r{ABSTRACT}",
        f"Title: {TITLE}\nAbstract: {ABSTRACT}",
        f"TITLE – {TITLE}\n\nAbstract\n{ABSTRACT}",
        f"Title:\n{TITLE}\n\nSummary:\n{ABSTRACT}",
        f"{TITLE}\n\nABSTRACT\n\n{ABSTRACT}",
        TITLE.replace(" after", "\nafter") + f"\n\n{ABSTRACT}",
        f"{TITLE}\n\n" + ABSTRACT.replace(". ", ".\n\n"),
        f"{TITLE[:9]}\x00{TITLE[9:]}\n\n{ABSTRACT}\x00",
    ],
    ids=[
        "blank-line", "first-line", "white-space", "crlf", "cr", "headings", "dash", "headings-alone", "heading-apart",
        "title-in-two-lines", "paragraphs", "nul",
    ],
)  # fmt: skip
def test_title_and_abstract_are_distinguished(paste: str) -> None:
    assert understand(paste) == QueryText(TITLE, ABSTRACT)


@pytest.mark.parametrize(
    "paste",
    [
        f"<h1>{TITLE}</h1><p>{ABSTRACT}</p>",
        f"<div><title>{TITLE}</title>\n<abstract><p>{ABSTRACT}</p></abstract></div>",
        f"<jats:title>{TITLE}</jats:title><jats:p>{ABSTRACT}</jats:p>",
        f"<b>{TITLE}</b><br/><br/>{ABSTRACT.replace('lower', '<i>lower</i>')}",
        f"<style>p {{ color: red }}</style><script>if (a<b) alert('x')</script><p>{TITLE}</p><p>{ABSTRACT}</p>",
        f"<!-- a comment -->\n<!DOCTYPE html><h2 class='x'>{TITLE}</h2>\n{ABSTRACT}",
        f"{TITLE}\n\n{ABSTRACT.replace(' ', '&nbsp;', 1)}",
    ],
)
def test_html_is_read_as_the_text_that_it_shows(paste: str) -> None:
    found = understand(paste)
    assert (found.title, found.abstract) == (TITLE, ABSTRACT)
    assert found.notes == ("HTML was converted to plain text.",)


def test_entities_and_signs_of_comparison_are_characters() -> None:
    found = understand(f"{TITLE} &amp; more\n\nThe p was &lt;0.05 and <b>n<k</b> in <i>x<y z and more, <![or so of it")
    assert found.title == f"{TITLE} & more"
    assert found.abstract == "The p was <0.05 and n<k in x<y z and more, <![or so of it"


def test_signs_of_comparison_alone_are_no_html() -> None:
    text = "The age was <65 and the p was < 0.05 for a<b and c>d, with x & y in R&D; see the table of it"
    assert understand(f"{TITLE}\n\n{text}") == QueryText(TITLE, text)


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"\emph{lower}", "lower"),
        (r"$\alpha$-blocked", "α-blocked"),
        (r"Poincar\'e", "Poincaré"),
        (r"$x^2$ in 50% of all and 3\% of", "x^2 in 50% of all and 3% of"),
    ],
)
def test_latex_is_read_as_the_text_that_it_prints(latex: str, plain: str) -> None:
    found = understand(f"\\title{{{TITLE}}}\n\nThe first was {latex} the second. {ABSTRACT}")
    assert (found.title, found.abstract) == (TITLE, f"The first was {plain} the second. {ABSTRACT}")
    assert "LaTeX was converted to plain text." in found.notes


def test_prices_are_no_latex() -> None:
    text = f"It was $5 in the first year and $10 in the second. {ABSTRACT}"
    assert understand(f"{TITLE}\n\n{text}") == QueryText(TITLE, text)


def test_a_first_line_too_long_for_a_title_is_abstract() -> None:
    paste = " ".join([ABSTRACT] * 3)
    assert len(paste) > MAX_TITLE_CHARS
    found = understand(paste)
    assert (found.title, found.abstract) == ("", paste)
    assert any("the whole text was read as the abstract" in note for note in found.notes)


def test_an_abstract_under_its_heading_has_no_title() -> None:
    found = understand(f"Abstract: {ABSTRACT}")
    assert (found.title, found.abstract) == ("", ABSTRACT)


@pytest.mark.parametrize(
    "title", ["Abstract algebra and its graphs", "Summary statistics in trials", "Title pages of old books"]
)
def test_a_title_may_begin_as_headings_do(title: str) -> None:
    assert understand(f"{title}\n\n{ABSTRACT}") == QueryText(title, ABSTRACT)


@pytest.mark.parametrize("paste", ["", " \n\t\r\n ", "\x00\x00"])
def test_nothing_is_nothing(paste: str) -> None:
    assert not understand(paste)
    assert understand(paste).notes == ()


@pytest.mark.parametrize("paste", ["sepsis", "COVID-19", "  sepsis\n"])
def test_one_word_is_searched_and_said(paste: str) -> None:
    found = understand(paste)
    assert (found.title, found.abstract) == (paste.strip(), "")
    assert len(found.notes) == 1
    assert found.notes[0].startswith("One word is little to go on")


@pytest.mark.parametrize(
    "paste",
    [
        "Über die Herzschwäche\n\nWir haben die Wirkung von Betablockern auf die Sterblichkeit von Patienten mit "
        "chronischer Herzschwäche untersucht und mit der eines Placebos verglichen.",
        "Insuficiencia cardíaca\n\nSe estudiaron los pacientes con insuficiencia cardíaca crónica tratados con "
        "betabloqueantes y se comparó su mortalidad con la del grupo de control.",
        "心力衰竭患者的β受体阻滞剂治疗\n\n我们随访了心脏病房的患者。",
        "Бета-блокаторы при сердечной недостаточности",
        "قصور القلب",
    ],
    ids=["german", "spanish", "chinese", "russian", "arabic"],
)
def test_other_languages_are_read_and_said(paste: str) -> None:
    found = understand(paste)
    assert found.title == paste.split("\n")[0]
    assert any("does not look like English" in note for note in found.notes)


def test_english_is_not_called_foreign() -> None:
    assert understand(f"{TITLE}\n\n{ABSTRACT}").notes == ()
    assert understand(f"{TITLE.upper()}\n\n{ABSTRACT.upper()}").notes == ()


def test_a_megabyte_is_cut_and_said() -> None:
    found = understand(f"{TITLE}\n\n" + f"{ABSTRACT} " * 5000)
    assert found.title == TITLE
    assert MAX_PASTE_CHARS - 1000 < len(found.abstract) <= MAX_PASTE_CHARS
    assert found.notes[0].startswith("You pasted ")


def test_a_full_text_is_reported_from_an_abstract() -> None:
    assert any("longer than an abstract" in note for note in understand(f"{TITLE}\n\n{ABSTRACT * 60}").notes)


@pytest.mark.parametrize(
    "paste",
    [
        "{" * 50_000,
        "<" * 50_000,
        "<p>" + "<" * 49_000,
        "<p>" + "<a" * 20_000,
        "<p>" + "<!--" * 12_000,
        "<p>x</p><![x[ y",
        "<p><![ ",
        "$\\" * 25_000,
        "$" + "\\" * 49_000,
        "$" + "^" * 49_000,
        "\\emph{" * 8_000,
        "\\emph{x}" + "[" * 40_000,
        "\\emph{x} \\verb",
        "\\emph{x}\\",
        "\\begin{a}" * 5_000,
        "\\frac{" * 8_000,
        "abstract" + "\n \t" * 16_000,
        "\n \n" * 16_000,
        "&lt;" * 12_000,
        "&#xd800;&#99999999;",
        "\ud800 half a character",
    ],
    ids=lambda paste: ascii(paste[:14]),
)
def test_pathological_pastes_are_read_too(paste: str) -> None:
    assert isinstance(understand(paste), QueryText)


_MARKUP = st.lists(
    st.sampled_from(
        ["<p>", "</p>", "<b", "<!", "<![", "<?", "<!--", "-->", "&", "&lt;", "&#", ";", "$", "\\", "{", "}", "[", "]",
         "^", "_", "%", "~", "\\emph{", "\\begin{a}", "\\end{a}", "\\verb", "\\item", "\\'e", "\\frac", "\n", "\n\n",
         " ", "a", "word", "Abstract:", "Title:", "\x00", "é", "心"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@settings(deadline=None)
@given(paste=st.text() | _MARKUP)
def test_nothing_raises_and_what_is_shown_is_one_line(paste: str) -> None:
    found = understand(paste)
    for text in (found.title, found.abstract):
        assert text == " ".join(text.split())
    assert all(note.endswith(".") for note in found.notes)


_WORDS = st.lists(
    st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=12).filter(
        lambda word: word.lower() not in ("title", "abstract", "summary")
    ),
    min_size=1,
    max_size=80,
)


@settings(deadline=None)
@given(
    words=_WORDS, gaps=st.lists(st.sampled_from([" ", "  ", "\n", "\n\n", "\r\n", " \n \n", ", ", "; "]), min_size=79)
)
def test_no_word_of_plain_prose_is_lost(words: list[str], gaps: list[str]) -> None:
    paste = "".join(word + gap for word, gap in zip(words, [*gaps[: len(words) - 1], ""], strict=False))
    found = understand(paste)
    assert f"{found.title} {found.abstract}".split() == paste.split()
