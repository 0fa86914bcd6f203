import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R&amp;D &amp;amp; &amp;amp;amp; A", "R&D & & A"),
        ("&lt;i&gt;Ixodes&lt;/i&gt; &amp;lt;sub&amp;gt;2&amp;lt;/sub&amp;gt;", "Ixodes 2"),
        ("&#945;&#x3B2;&gamma;&#150;&nbsp;x", "αβγ– x"),
        ("<i>In vitro</i> CO<sub>2</sub> and <SUP>18</SUP>F", "In vitro CO2 and 18F"),
        ("<span class='nocase'>De Novo</span> x<br/>y", "De Novo x y"),
        ("3.2 × 10<sup>5</sup> and 10<sup>−3</sup>", "3.2 × 10^5 and 10^−3"),
        ("<jats:italic toggle='yes'>p</jats:italic> &lt; 0.05", "p < 0.05"),
        ("<![CDATA[<b>Bold</b> claims]]> <!-- hm -->here", "Bold claims here"),
        ("<mml:math alttext='a &lt; b'><mml:mi>p</mml:mi><mml:mo>&lt;</mml:mo><mml:mn>1</mml:mn></mml:math>", "p<1"),
        ("<math><mfrac><mn>1</mn><mrow><mn>2</mn><mi>x</mi></mrow></mfrac></math>", "1/(2x)"),
        ("<math><mi>α</mi><annotation encoding='application/x-tex'>\\alpha</annotation></math>", "α"),
        ("<math><msup><mn>10</mn><mn>5</mn></msup></math>", "10^5"),
        ("<script>alert(1)</script>Safe", "Safe"),
    ],
)
def test_markup_becomes_its_text(text, expected):
    assert clean(plain(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "p < 0.05",
        "a<b and c>d",
        "a<b>c",
        "if x<i and i>y",
        "10 % of $5",
        r"C:\x and \alpha",
        "Map<title> and List<list>",
        "AT&T; R&D &notit; &copy 2",
        "<john@example.org> <https://example.org/?a=b&c=d>",
        "f(x<y, y>z) <= 3 >= 2 <- -> <<>>",
        "<!-- never closed",
        "~ ^ _ {x} #1",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert plain(text) == text


def test_structured_abstracts_keep_their_labels():
    jats = (
        "<jats:title>Abstract</jats:title><jats:sec><jats:title>Background</jats:title><jats:p>One.</jats:p></jats:sec>"
        "\n  <jats:sec><jats:title>Results:</jats:title>\n<jats:p>Two.</jats:p></jats:sec>"
    )
    assert clean_paragraphs(plain(jats)) == "Background: One.\nResults: Two."
    assert clean_paragraphs(plain("<h4>Aim</h4>One.<h4>Results</h4>Two.")) == "Aim: One.\nResults: Two."
    assert clean_paragraphs(plain("<p>One.<p>Two.")) == "One.\nTwo."


TAGS = (
    "<i> </i> <b> <p> </p> <math> </math> <mfrac> <title> </title> <h4> </h4> 10<sup> </sup> <script> </script> <?x ?>"
)
OTHERS = [
    "<a href='x'>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "&lt;",
    "&gt;",
    "&#60;",
    "&",
    "<",
    ">",
    " ",
    "x",
    "\n",
]
MARKUP = st.lists(st.sampled_from([*TAGS.split(), *OTHERS]), max_size=30).map("".join)


@given(st.one_of(MARKUP, st.text(st.characters()), st.text("<>&;/ab=' ")))
def test_any_text_is_read_and_little_grows(text):
    assert len(plain(text)) <= 2 * len(text) + 2


@given(st.text("abxyz <>.=0123456789%$\\~^_{}"))
def test_text_without_entities_and_known_tags_stays(text):
    if not re.search(r"<\s*/?\s*[a-z]", text):
        assert plain(text) == text


@pytest.mark.parametrize("name", ["script", "math", "annotation"])
def test_tags_of_a_thousand_prefixes_are_gone_through_once(name):
    prefixes = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=5)]
    text = "".join(f"<{prefix}:{name}>" for prefix in prefixes)  # a minute for each 300,000 characters, were it not so
    assert "x" in plain(f"{text}x")
