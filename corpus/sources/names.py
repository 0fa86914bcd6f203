"""Authors' names as services give them, "Given Family", turned to "Family, Given" where that can be told."""

from corpus.readers.text import clean

# Words in lower case that begin a family name and do not end a given one.
_PARTICLES = frozenset(
    "af al am ap auf av aus bin da dal das de degli dei del della den der des di do dos du e el ibn la las le les lo los "
    "op 't te ten ter the to und van vom von y zu zum zur".split()
)
_SUFFIXES = frozenset({"jr", "jr.", "sr", "sr.", "ii", "iii", "iv"})
_GROUPS = frozenset(
    "alliance association authors board center centre collaboration collaborative collaborators committee community "
    "company consortium corporation council department foundation group initiative institute investigators "
    "laboratory network organization organisation office project program programme registry society study "
    "subcommittee task team trial union university working".split()
)


def family_first(name: str) -> str:
    """A person's name as "Family, Given"; unchanged for one word, for a group, and where there is a comma already.

    >>> family_first("Ludwig van Beethoven"), family_first("Martin L. King Jr."), family_first("Turing, Alan")
    ('van Beethoven, Ludwig', 'King, Martin L. Jr.', 'Turing, Alan')
    >>> family_first("The ATLAS Collaboration"), family_first("Plato")
    ('The ATLAS Collaboration', 'Plato')
    """
    plain = clean(name)
    words = plain.split()
    if "," in plain or len(words) < 2 or _is_group(words):
        return plain
    suffix = words.pop() if len(words) > 2 and words[-1].lower() in _SUFFIXES else ""
    start = len(words) - 1
    while start > 1 and words[start - 1] in _PARTICLES:
        start -= 1
    return f"{' '.join(words[start:])}, {' '.join(filter(None, (*words[:start], suffix)))}"


def _is_group(words: list[str]) -> bool:
    if words[0].lower() in ("the", "on") or any(character.isdigit() for word in words for character in word):
        return True
    return any(word.lower().strip("().;:") in _GROUPS for word in words[1:])
