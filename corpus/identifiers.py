"""What makes two records one paper: DOIs, titles and ids in one form."""

import hashlib
import re
import unicodedata
from urllib.parse import unquote

_RESOLVERS = re.compile(r"^(?:https?://)?(?:dx\.|www\.)?doi\.org/|^(?:info:doi/|urn:doi:|doi:)\s*", re.IGNORECASE)
_DOI = re.compile(r"10\.\d{4,9}(?:\.\d+)*/\S+")
_NOT_WORD = re.compile(r"[\W_]+")


def normalised_doi(text: str) -> str:
    """A DOI in lower case without its resolver, prefix or a full stop behind it; "" for what is no DOI.

    >>> normalised_doi("https://doi.org/10.1000/ABC.1"), normalised_doi("doi: 10.1000/abc.1."), normalised_doi("n/a")
    ('10.1000/abc.1', '10.1000/abc.1', '')
    """
    plain = text.strip()
    if found := _RESOLVERS.match(plain):
        plain = plain[found.end() :]
        plain = unquote(plain) if found[0].endswith("/") else plain
    # A DOI may end in a bracket, but hardly one that it did not open.
    plain = plain.strip().rstrip(".,;")
    if plain.endswith(")") and plain.count("(") < plain.count(")"):
        plain = plain[:-1]
    return plain.lower() if _DOI.fullmatch(plain) else ""


def normalised_title(text: str) -> str:
    """A title as letters and digits alone, in lower case, accents dropped, words parted by one space.

    >>> normalised_title("Naïve B-cells: a “review”.") == normalised_title("Naive B cells — A review")
    True
    """
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return _NOT_WORD.sub(" ", plain).strip()


def derived_id(*, title: str, year: int | None, doi: str = "", pmid: str = "") -> str:
    """An id for a record that has none of its own: its PMID, else its DOI, else a hash of its title and year.

    >>> derived_id(title="A title", year=2020, pmid="123"), derived_id(title="A title", year=2020, doi="10.1000/X")
    ('123', '10.1000/x')
    >>> derived_id(title="A title", year=2020) == derived_id(title="a  Title.", year=2020)
    True
    """
    if own := pmid.strip() or normalised_doi(doi):
        return own
    told = f"{normalised_title(title)}\x00{year or ''}"
    return f"t-{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:16]}"
