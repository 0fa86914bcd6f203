"""Identifiers of cited and citing papers, in the one form by which they are joined: "doi:10.1000/x", "pmid:123"."""

import hashlib
import re
from collections.abc import Iterable
from typing import Literal, get_args

from corpus.cocitations.full_text import Reference
from corpus.identifiers import normalised_doi, normalised_title, pmid_of
from corpus.readers.fields import YEARS
from corpus.text.plain import clean

Kind = Literal["doi", "pmid", "pmcid", "arxiv", "s2", "openalex", "acl", "mag", "id"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # the surest first
TITLE = "title:"  # begins what `title_identifier` gives

_MOST_CHARS = 300  # longer than any identifier; a text that is none costs no more than this
_ADDRESS = r"(?:https?://)?(?:[a-z0-9-]{1,30}\.){0,3}"
_TAIL = r"/?(?:[?#]\S*)?"
_WRITTEN: dict[Kind, str] = {
    "pmid": rf"{_ADDRESS}(?:nih\.gov/(?:pubmed/)?|europepmc\.org/(?:article|abstract)/med/)(\d{{1,9}}){_TAIL}",
    "pmcid": rf"(?:{_ADDRESS}(?:nih\.gov/(?:pmc/)?articles/|europepmc\.org/articles?/(?:pmc/)?))?"
    rf"(?:pmcid:?\s?)?(?:pmc)?:?\s?(\d{{1,9}})(?:\.\d{{1,2}})?{_TAIL}",
    "arxiv": rf"(?:{_ADDRESS}arxiv\.org/[a-z]{{1,6}}/|(?:{_ADDRESS}doi\.org/|doi:\s?)?10\.48550/)?(?:arxiv[.:]\s?)?"
    r"(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z][a-z-]*(?:\.[a-z-]{2,})?/\d{2}(?:0[1-9]|1[0-2])\d{3})"
    rf"(?:v\d{{1,3}})?(?:\.pdf)?(?:\s?\[[a-z.-]{{2,20}}\])?{_TAIL}",
    "s2": rf"(?:{_ADDRESS}semanticscholar\.org/(?:paper/(?:[^\s/?#]{{1,200}}/)?)?)?"
    rf"(?:corpus_?id:\s?)?([0-9a-f]{{40}}|\d{{1,12}}){_TAIL}",
    "openalex": rf"(?:{_ADDRESS}openalex\.org/(?:works/)?)?(w\d{{1,12}}){_TAIL}",
    "acl": rf"(?:{_ADDRESS}aclanthology\.org/|{_ADDRESS}aclweb\.org/anthology/(?:papers/)?)?"
    rf"([a-z]\d{{2}}-\d{{4}}|\d{{4}}\.[a-z0-9]{{1,30}}-[a-z0-9]{{1,20}}\.\d{{1,5}})(?:v\d)?(?:\.pdf)?{_TAIL}",
    "mag": r"(?:mag:\s?)?(\d{1,12})",
}
_PREFIX = re.compile(r"([a-z0-9_]{2,10})\s?:\s?(.+)", re.IGNORECASE | re.DOTALL)
# Kinds that tell themselves by their form; of a bare number nobody knows what it counts, and it stays an "id".
_TELLING: tuple[Kind, ...] = ("doi", "arxiv", "pmid", "pmcid", "openalex", "acl", "s2")
_TELLING_NUMBERS: tuple[Kind, ...] = ("doi", "arxiv")
_LETTER = re.compile(r"[a-z]", re.IGNORECASE)
_FORMS = {kind: re.compile(form, re.IGNORECASE | re.ASCII) for kind, form in _WRITTEN.items()}


def identifier(kind: Kind, value: object) -> str:
    """One identifier, told from what a file has for it: a text, its web address or a number; "" where it is none.

    A PMID and a PMCID lose leading noughts, an arXiv id its version; a DOI that arXiv gives is the arXiv id.
    A Semantic Scholar id is a corpus id or 40 hexadecimal digits; an "id" is any text, and what it means is for the
    file to say.

    >>> identifier("doi", "https://doi.org/10.1000/ABC"), identifier("pmid", 123), identifier("pmcid", "PMC0042.1")
    ('doi:10.1000/abc', 'pmid:123', 'pmcid:PMC42')
    >>> identifier("arxiv", "arXiv:1706.03762v5"), identifier("arxiv", "math.GT/0309136"), identifier("doi", "n/a")
    ('arxiv:1706.03762', 'arxiv:math/0309136', '')
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and not 0 < value < 10**12:  # a longer one is no identifier, and slow to write
        return ""
    text = clean(str(value)) if len(str(value)) <= _MOST_CHARS else ""
    if kind == "doi":
        if found := _FORMS["arxiv"].fullmatch(text) if "10.48550/" in text else None:
            return f"arxiv:{_arxiv(found[1])}"
        doi = normalised_doi(text)
        return f"doi:{doi}" if doi else ""
    if kind == "id":
        return f"id:{text}" if text else ""
    if kind == "pmid" and (pmid := pmid_of(text.lstrip("0"))):
        return f"pmid:{pmid}"
    found = _FORMS[kind].fullmatch(text)
    written = _written(kind, found[1]) if found else ""
    return f"{kind}:{written}" if written else ""


def any_identifier(text: str) -> str:
    """What an id is that says so itself, by a prefix or its form; else an "id".

    "" for an empty text, and for a prefix that what follows belies ("doi:n/a").
    """
    prefixed = _PREFIX.fullmatch(text)
    if prefixed and (kind := next((kind for kind in KINDS if kind == prefixed[1].lower()), None)):
        return identifier(kind, prefixed[2])
    kinds = _TELLING if _LETTER.search(text) else _TELLING_NUMBERS
    return next((said for kind in kinds if (said := identifier(kind, text))), "") or identifier("id", text)


def title_identifier(title: str, year: int | None) -> str:
    """What a paper is known by that has no identifier: a hash of its title, as letters and digits alone, and its year.

    "" where the title holds no letter or digit.

    >>> title_identifier("A  Title.", 2020) == title_identifier("a title", 2020) != title_identifier("a title", 2021)
    True
    """
    plain = normalised_title(title)
    if not plain:
        return ""
    return TITLE + hashlib.sha256(f"{plain}\x00{year or ''}".encode("utf-8", "replace")).hexdigest()[:24]


def reference(found: Iterable[tuple[Kind, object]], *, title: str = "", year: int | None = None) -> Reference:
    """A reference of what a file says of it: the surest identifier first, each once, its title's behind them all."""
    title = clean(title)
    year = year if year in YEARS else None
    written = dict.fromkeys(said for kind, value in found if (said := identifier(kind, value)))
    identifiers = sorted(written, key=_rank)
    if titled := title_identifier(title, year):
        identifiers.append(titled)
    return Reference(tuple(identifiers), title, year)


def surest(of: Reference) -> str:
    """The identifier that tells most surely which paper a reference is; "" where it has none."""
    return of.identifiers[0] if of.identifiers else ""


def _rank(said: str) -> int:
    return next(rank for rank, kind in enumerate(KINDS) if said.startswith(f"{kind}:"))


def _written(kind: Kind, found: str) -> str:
    if kind == "arxiv":
        return _arxiv(found)
    if kind == "s2" and len(found) == 40:
        return found.lower()
    if kind in ("openalex", "acl"):
        return found.upper() if kind == "openalex" else found.lower()
    number = int(found)
    if not number:
        return ""
    return {"pmcid": f"PMC{number}", "s2": f"CorpusId:{number}"}.get(kind, str(number))


def _arxiv(found: str) -> str:
    archive, _, number = found.lower().rpartition("/")
    # math.GT/0309136 and math/0309136 are one paper.
    return f"{archive.partition('.')[0]}/{number}" if archive else number
