"""Years, names, links and topics in the forms that files have them in."""

import pytest

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


def test_links_and_topics():
    assert url_of("see https://a.org/x;y; https://b.org") == "https://a.org/x;y"
    assert url_of("javascript:alert(1)") == ""
    assert topics_of("a; b, c") == ["a", "b, c"]
    assert topics_of("a, b") == ["a", "b"]
