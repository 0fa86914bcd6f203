"""Numbered citation markers against numbers that are known before they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.cocitations.markers import MAX_NUMBERS, MAX_RANGE, between, numbers_in


@pytest.mark.parametrize(
    ("marker", "numbers"),
    [
        ("7", [7]), ("[3–6]", [3, 4, 5, 6]), ("(3-6)", [3, 4, 5, 6]), ("[3]–[6]", [3, 4, 5, 6]), ("[3]—[5]", [3, 4, 5]),
        ("3−5", [3, 4, 5]), ("3‐5", [3, 4, 5]), ("3 -- 5", [3, 4, 5]), ("3 through 5", [3, 4, 5]),
        ("1-3,7", [1, 2, 3, 7]), ("1–3, 7; 9 and 11–12", [1, 2, 3, 7, 9, 11, 12]), ("[1], [2] & [4]", [1, 2, 4]),
        ("[1][2]", [1, 2]), ("[1], [2]–[4]", [1, 2, 3, 4]), ("1 2", [1, 2]), ("12,", [12]), ("Refs. 4, 5", [4, 5]),
        ("12a,b", [12]), ("3,3,2", [3, 2]), ("6–3", [6, 3]), ("1–900", [1, 900]),
        *((marker, []) for marker in (
            "", "[]", "Smith 2000", "1900–2000", "1998-2001", "0.05", "1..3", "1-3-5", "5 %", "five", "10^5", "3×4",
            "+2", "³", "٣", "12345", "0", "-3", "–", ",", "(" * 2_000, "1," * 1_500,
            ",".join(f"{first}-{first + 90}" for first in range(1, 1_000, 91)),
        )),
    ],
)  # fmt: skip
def test_numbers_of_a_marker(marker: str, numbers: list[int]) -> None:
    assert list(numbers_in(marker)) == numbers


def test_ranges_are_bounded() -> None:
    assert len(between(1, MAX_RANGE)) == MAX_RANGE
    for first, last in ((1, MAX_RANGE + 1), (6, 3), (3, 3), (0, 4), (-2, 2), (1950, 1960), (1, 10**9)):
        assert between(first, last) == []


@given(st.text("0123456789-–, []()and;&through", max_size=120))
def test_numbers_of_any_text_are_distinct_and_bounded(marker: str) -> None:
    numbers = numbers_in(marker)
    assert len(numbers) <= MAX_NUMBERS and len(set(numbers)) == len(numbers)
    assert all(0 < number < 10_000 for number in numbers)


@given(st.lists(st.integers(1, 1700), min_size=1, max_size=20, unique=True).map(sorted), st.data())
def test_written_numbers_are_read(numbers: list[int], data: st.DataObject) -> None:
    dash = data.draw(st.sampled_from("-–—−‑"))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}{dash}{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    written = data.draw(st.sampled_from([", ", ",", "; "])).join(parts)
    marker = data.draw(st.sampled_from(["{}", "[{}]", "({})"])).format(written)
    assert list(numbers_in(marker)) == numbers
