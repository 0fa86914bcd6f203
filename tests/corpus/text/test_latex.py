from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.text.latex import from_latex, verbatim


@settings(max_examples=100)
@given(text=st.text(st.sampled_from("\\{}$%&#_^~'`\"-?!abc10 \n[]()<>"), max_size=60))
@example(text="\\verb")
@example(text="{" * 3_000)
@example(text="\\begin{x")
@example(text="$\\frac")
def test_any_text_is_read_as_latex(text):
    from_latex(text)
    verbatim(text)


@given(text=st.text("abcé .,;:()[]<>=+*/@|10-\"'%&#_^", max_size=60))
def test_text_without_latex_stays(text):
    if not any(pair in text for pair in ("--", "''")):
        assert from_latex(text) == text
