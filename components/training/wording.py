"""Words of numbers that are said of runs, and of what the pairs tell of how they were made."""

from collections.abc import Sequence

# What `pairs` tells of itself, by where it stands there.
_TOLD = {
    ("rules", "least_cited"): "papers that a sentence cites, at least",
    ("rules", "most_cited"): "papers that a sentence cites, at most",
    ("rules", "least_words"): "words of a sentence, at least",
    ("rules", "most_words"): "words of a sentence, at most",
    ("rules", "bracket"): "a sentence must have a bracket or parenthesis",
    ("by_title",): "joined by the same title and year, too",
    ("keep_without_abstract",): "papers of the corpus may have a title alone",
    ("titles_alone",): "papers that are in no corpus stand with their title alone",
    ("sources", "full_texts"): "full texts from",
    ("sources", "pairs"): "ready pairs from",
    ("sources", "papers"): "titles and abstracts from",
    ("sources", "atlases"): "titles and abstracts of the atlases",
    ("full_texts", "documents"): "full texts that were read",
    ("full_texts", "sentences"): "sentences in them that cite",
    ("full_texts", "refused"): "full texts that could not be read",
    ("full_texts", "formats"): "full texts by format",
    ("full_texts", "reasons"): "could not be read, because",
    ("full_texts", "repaired"): "citations whose place was put right",
    ("full_texts", "dropped"): "citations dropped",
    ("full_texts", "refusals"): "could not be read",
    ("full_texts", "refusals_left_out"): "could not be read, and not listed",
    ("contexts", "sentences"): "sentences that cite",
    ("contexts", "cited_alone"): "dropped: too few papers cited",
    ("contexts", "too_short"): "dropped: too few words",
    ("contexts", "too_long"): "dropped: too many words",
    ("contexts", "without_bracket"): "dropped: no bracket or parenthesis",
    ("contexts", "unknown"): "dropped: too few of the papers in the corpus",
    ("contexts", "cited_in_crowd"): "dropped: too many papers cited",
    ("contexts", "repeated_text"): "dropped: equal to an earlier one but for digits",
    ("contexts", "repeated_set"): "dropped: the same papers cited by the same paper before",
    ("contexts", "kept"): "sentences that pairs were made of",
    ("ready", "pairs"): "ready pairs",
    ("ready", "unknown"): "ready pairs with an unknown id",
    ("ready", "same"): "ready pairs of one paper twice",
    ("ready", "unknown_places"): "where the unknown ids stand",
    ("joined", "papers_offered"): "papers that were looked through",
    ("joined", "references"): "references joined by",
    ("joined", "ambiguous_ids"): "papers with an id that another paper had before",
    ("splits", "seed"): "seed of the splits",
    ("splits", "dev_share"): "share of the dev set that was asked for",
    ("splits", "test_share"): "share of the test set that was asked for",
    ("splits", "train"): "pairs to train on",
    ("splits", "dev"): "pairs of the dev set",
    ("splits", "test"): "pairs of the test set",
    ("splits", "left_out_of_train"): "left out of train: dev or test has them",
    ("splits", "left_out_of_dev"): "left out of dev: test has them",
    ("splits", "dev_without_negative"): "left out of dev: no negative was found",
}

_SETTINGS = {
    ("pooling", "start"): "the start's; of [CLS] a scalar mix",
    ("pooling", "scalar_mix"): "scalar mix",
    ("max_steps", 0): "all of the epochs",
    ("patience", 0): "never early",
    ("max_gradient_norm", 0.0): "not clipped",
    ("max_tokens", 0): "as many as the start reads",
}


def setting_words(name: str, value: object) -> str:
    """What a setting's value means where it does not speak for itself; else empty."""
    return next((words for key, words in _SETTINGS.items() if key == (name, value)), "")


def told_words(path: Sequence[str]) -> str:
    """What a thing that the pairs tell is called; path: the names under which it stands, the outermost first.

    >>> told_words(["contexts", "cited_in_crowd"]), told_words(["sources", "papers", "1", "name"])
    ('dropped: too many papers cited', 'titles and abstracts from › 1 › name')
    >>> told_words(["of_others", "made"])
    'of others › made'
    """
    known = next((size for size in (2, 1) if tuple(path[:size]) in _TOLD), 0)
    return " › ".join(
        ([_TOLD[tuple(path[:known])]] if known else []) + [name.replace("_", " ") for name in path[known:]]
    )


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
