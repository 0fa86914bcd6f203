"""Fields: years, identifiers, names and topics in the forms that files have them in."""

import pytest

from corpus.identifiers import doi_of, pmid_of
from corpus.readers.fields import names_of, topics_of, url_of, year_of


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Noether, Emmy; Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether, Emmy;Hilbert, David;", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether, Emmy and Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Emmy Noether, David Hilbert and Felix Klein", ["Emmy Noether", "David Hilbert", "Felix Klein"]),
        ("Emmy Noether, David Hilbert, and Felix Klein", ["Emmy Noether", "David Hilbert", "Felix Klein"]),
        ("Noether, Emmy", ["Noether, Emmy"]),
        ("van Dyke, Mary Jane", ["van Dyke, Mary Jane"]),
        ("King, Martin Luther, Jr.", ["King, Martin Luther, Jr."]),
        ("Noether E, van der Waerden BL", ["Noether E", "van der Waerden BL"]),
        ("Noether, Emmy, Hilbert, David", ["Noether, Emmy", "Hilbert, David"]),
        ("Noether E, et al.", ["Noether E"]),
        ("['Emmy Noether', \"D'Arcy\"]", ["Emmy Noether", "D'Arcy"]),
        ("Noether | Hilbert", ["Noether", "Hilbert"]),
        ("The Ministry of Health and Welfare", ["The Ministry of Health and Welfare"]),
        ("", []),
    ],
)
def test_names_are_parted_as_people_write_them(text, names):
    assert names_of(text) == names


@pytest.mark.parametrize(
    ("value", "year"),
    [
        *(("1988-05-01", 1988), (1988.0, 1988), ("01/05/1988", 1988), ("2021 Jan-Feb", 2021), ("1988.0", 1988)),
        *((None, None), (True, None), (12, None), ("19881", None), (1988.5, None), (float("inf"), None)),
        *((10**400, None), (-(10**400), None)),
    ],
)
def test_a_year_is_found_in_what_tells_of_one(value, year):
    assert year_of(value) == year


@pytest.mark.parametrize(
    ("value", "pmid"),
    [
        *(("PMID: 12", "12"), ("https://pubmed.ncbi.nlm.nih.gov/12/", "12"), (12.0, "12"), (12, "12")),
        *(("12.5", ""), ("0", ""), (float("nan"), ""), (True, ""), ("1E+3", ""), ("9" * 12, ""), ("x12", "")),
        *((10**400, ""), (10**12, ""), (-12, "")),
    ],
)
def test_a_pmid_is_a_pmid_or_nothing(value, pmid):
    assert pmid_of(value) == pmid


def test_dois_links_and_topics_in_the_forms_that_files_have():
    assert doi_of("doi:10.1000/X ") == "10.1000/x"
    assert doi_of("10.1000/X") == "10.1000/X"
    assert url_of("see https://a.org/x;y; https://b.org") == "https://a.org/x;y"
    assert url_of("javascript:alert(1)") == ""
    assert topics_of("a; b, c") == ["a", "b, c"]
    assert topics_of("a, b") == ["a", "b"]
