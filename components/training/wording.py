"""Words of numbers that are said of runs."""


def time_words(seconds: float) -> str:
    """A time as people say it.

    >>> time_words(8.21), time_words(95), time_words(7_260), time_words(200_000)
    ('8.2 s', '1 min 35 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1_440:,} d {minutes % 1_440 // 60} h"


def layer_words(place: int) -> str:
    """What a hidden state of a scalar mix is called, 0 the embedding layer's."""
    return f"layer {place}" if place else "the words themselves"
