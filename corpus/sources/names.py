"""Authors' names as services give them, "Given Family", turned to "Family, Given" where that can be told."""

import re

from corpus.text.plain import clean

# Words in lower case that begin a family name and do not end a given one.
_PARTICLES = re.compile(
    r"af|al|am|ap|auf|aus|av|bin|da|dal|das|de|degli|dei|del|della|den|der|des|di|do|dos|du|e|el|ibn|la|las|le|les|lo|"
    r"los|op|'t|te|ten|ter|the|to|und|van|vom|von|y|zu|zum|zur"
)
_SUFFIXES = re.compile(r"(?:jr|sr)\.?|ii|iii|iv", re.IGNORECASE)
_GROUPS = re.compile(
    r"alliance|association|authors|board|cent(?:er|re)|collaborat(?:ion|ive|ors)|committee|community|company|consortium|"
    r"corporation|council|department|foundation|group|initiative|institute|investigators|laboratory|network|"
    r"organi[sz]ation|office|project|program(?:me)?|registry|society|study|subcommittee|task|team|trial|union|"
    r"university|working",
    re.IGNORECASE,
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
    suffix = words.pop() if len(words) > 2 and _SUFFIXES.fullmatch(words[-1]) else ""
    start = len(words) - 1
    while start > 1 and _PARTICLES.fullmatch(words[start - 1]):
        start -= 1
    return f"{' '.join(words[start:])}, {' '.join(filter(None, (*words[:start], suffix)))}"


def _is_group(words: list[str]) -> bool:
    if words[0].lower() in ("the", "on") or any(character.isdigit() for word in words for character in word):
        return True
    return any(_GROUPS.fullmatch(word.strip("().;:")) for word in words[1:])
