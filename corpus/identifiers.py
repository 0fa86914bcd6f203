"""Identifiers of papers: DOIs, titles and ids in one form, by which two records of one paper are recognised."""

import hashlib
import re
import unicodedata
from typing import Literal, get_args
from urllib.parse import unquote

from corpus.text.plain import clean

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


# Citation keys: the identifiers of cited and citing papers with their kind, "doi:10.1000/x" or "pmid:123"

IdKind = Literal["doi", "pmid", "pmcid", "arxiv", "s2", "openalex", "acl", "mag", "id"]
ID_KINDS: tuple[IdKind, ...] = get_args(IdKind)  # the most reliable first
TITLE_PREFIX = "title:"  # of what `title_key` gives

_MAX_KEY_CHARS = 300  # longer than any identifier
_ADDRESS = r"(?:https?://)?(?:[a-z0-9-]{1,30}\.){0,3}"
_TAIL = r"/?(?:[?#]\S*)?"
_KEY_FORMS: dict[IdKind, str] = {
    "pmid": rf"(?:{_ADDRESS}(?:nih\.gov/(?:pubmed/)?|europepmc\.org/(?:article|abstract)/med/)"
    rf"|(?:pmid|medline)\s*:?\s*)?(\d{{1,9}})(?:\.0)?{_TAIL}",
    "pmcid": rf"(?:{_ADDRESS}(?:nih\.gov/(?:pmc/)?articles/|europepmc\.org/articles?/(?:pmc/)?))?"
    rf"(?:pmcid:?\s?)?(?:pmc)?:?\s?(\d{{1,9}})(?:\.\d{{1,2}})?{_TAIL}",
    "arxiv": rf"(?:{_ADDRESS}arxiv\.org/[a-z]{{1,6}}/|(?:{_ADDRESS}doi\.org/|doi:\s?)?10\.48550/)?"
    r"(?:arxiv[.:]\s?)?(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}"
    r"|[a-z][a-z-]*(?:\.[a-z-]{2,})?/\d{2}(?:0[1-9]|1[0-2])\d{3})"
    rf"(?:v\d{{1,3}})?(?:\.pdf)?(?:\s?\[[a-z.-]{{2,20}}\])?{_TAIL}",
    "s2": rf"(?:{_ADDRESS}semanticscholar\.org/(?:paper/(?:[^\s/?#]{{1,200}}/)?)?)?"
    rf"(?:corpus_?id:\s?)?([0-9a-f]{{40}}|\d{{1,12}}){_TAIL}",
    "openalex": rf"(?:{_ADDRESS}openalex\.org/(?:works/)?)?(w\d{{1,12}}){_TAIL}",
    "acl": rf"(?:{_ADDRESS}aclanthology\.org/|{_ADDRESS}aclweb\.org/anthology/(?:papers/)?)?"
    rf"([a-z]\d{{2}}-\d{{4}}|\d{{4}}\.[a-z0-9]{{1,30}}-[a-z0-9]{{1,20}}\.\d{{1,5}})(?:v\d)?(?:\.pdf)?{_TAIL}",
    "mag": r"(?:mag:\s?)?(\d{1,12})",
}
_PREFIXED_KEY = re.compile(r"([a-z0-9_]{2,10})\s?:\s?(.+)", re.IGNORECASE | re.DOTALL)
# Kinds whose form tells them. A bare number may be any of three, and stays an "id".
_SELF_EVIDENT: tuple[IdKind, ...] = ("doi", "arxiv", "pmid", "pmcid", "openalex", "acl", "s2")


def citation_key(kind: IdKind, value: object) -> str:
    """The key of an identifier in any of its forms: a text, a web address or a number; "" for an invalid one.

    A PMID and a PMCID lose leading zeros, an arXiv id its version; a DOI that arXiv gives is the arXiv id.
    A Semantic Scholar id is a corpus id or 40 hexadecimal digits; an "id" is any text.

    >>> citation_key("doi", "https://doi.org/10.1000/ABC"), citation_key("pmid", 123), citation_key("pmcid", "PMC042.1")
    ('doi:10.1000/abc', 'pmid:123', 'pmcid:PMC42')
    >>> citation_key("arxiv", "arXiv:1706.03762v5"), citation_key("arxiv", "math.GT/0309136"), citation_key("doi", "-")
    ('arxiv:1706.03762', 'arxiv:math/0309136', '')
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    if isinstance(value, int) and not 0 < value < 10**12:  # a longer one is no identifier, and slow to convert
        return ""
    text = clean(str(value)) if len(str(value)) <= _MAX_KEY_CHARS else ""
    if kind == "doi" and "10.48550/" in text and (key := citation_key("arxiv", text)):
        return key
    if kind in ("doi", "id"):
        plain = normalised_doi(text) if kind == "doi" else text
        return f"{kind}:{plain}" if plain else ""
    found = re.fullmatch(_KEY_FORMS[kind], text, re.IGNORECASE | re.ASCII)
    if found is None:
        return ""
    plain = found[1].upper() if kind == "openalex" else found[1].lower()
    if kind == "arxiv":
        archive, slash, number = plain.rpartition("/")
        plain = f"{archive.partition('.')[0]}{slash}{number}"  # math.GT/0309136 and math/0309136 are one paper
    elif kind in ("pmid", "pmcid", "mag") or (kind == "s2" and len(plain) < 40):
        prefix = {"pmcid": "PMC", "s2": "CorpusId:"}.get(kind, "")
        plain = f"{prefix}{int(plain)}" if int(plain) else ""
    return f"{kind}:{plain}" if plain else ""


def parsed_citation_key(text: str) -> str:
    """The key of an id whose kind its prefix or form tells; of any other text, an "id".

    "" for an empty text, and where the rest contradicts the prefix ("doi:n/a").
    """
    prefixed = _PREFIXED_KEY.fullmatch(text)
    if prefixed and (kind := next((kind for kind in ID_KINDS if kind == prefixed[1].lower()), None)):
        return citation_key(kind, prefixed[2])
    kinds = _SELF_EVIDENT if re.search("[a-z]", text, re.IGNORECASE) else _SELF_EVIDENT[:2]
    return next((key for kind in (*kinds, "id") if (key := citation_key(kind, text))), "")


def title_key(title: str, year: int | None) -> str:
    """The key of a paper without an identifier: a hash of its normalised title and its year; "" for an empty title.

    >>> title_key("A  Title.", 2020) == title_key("a title", 2020) != title_key("a title", 2021)
    True
    """
    plain = normalised_title(title)
    if not plain:
        return ""
    return TITLE_PREFIX + hashlib.sha256(f"{plain}\x00{year or ''}".encode("utf-8", "replace")).hexdigest()[:24]
