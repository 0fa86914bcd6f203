"""The probe: it counts what it says it counts. How fast a machine is, no test can know."""

from components.encoder.probe import probe

SMALL = {
    "hidden_size": 64,
    "heads": 2,
    "intermediate_size": 128,
    "lengths": [20, 40],
    "precision": "float32",
    "device": "cpu",
}


def test_time_is_above_zero_and_says_of_what() -> None:
    found = probe(layers=2, **SMALL)  # type: ignore[arg-type]
    assert found.seconds_a_text > 0
    assert found.device == "cpu"


def test_layers_count_by_their_number() -> None:
    few, many = probe(layers=1, **SMALL), probe(layers=1000, **SMALL)  # type: ignore[arg-type]
    assert many.seconds_a_text > 20 * few.seconds_a_text
