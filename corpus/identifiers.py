"""Paper identifiers: recognise and normalise DOIs, PMIDs, PMCIDs, arXiv and Semantic Scholar ids, and titles."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal, get_args
from urllib.parse import unquote

from corpus.text.markup import plain
from corpus.text.plain import clean

IdentifierKind = Literal["doi", "pmid", "pmcid", "arxiv", "s2"]
_LABELS: dict[IdentifierKind, str] = {
    "doi": "DOI",
    "pmid": "PMID",
    "pmcid": "PMCID",
    "arxiv": "arXiv",
    "s2": "Semantic Scholar",
}
MAX_IDENTIFIER_CHARS = 300


# DOI

_DOI_PREFIX = re.compile(r"^(?:https?://)?(?:dx\.|www\.)?doi\.org/|^(?:info:doi/|urn:doi:|doi:)\s*", re.IGNORECASE)
_DOI = re.compile(r"10\.\d{4,9}(?:\.\d+)*/\S+")


def normalised_doi(text: str) -> str:
    """A DOI in lower case without resolver, prefix or trailing full stop; "" for a text that is no DOI.

    >>> normalised_doi("https://doi.org/10.1000/ABC.1"), normalised_doi("doi: 10.1000/abc.1."), normalised_doi("n/a")
    ('10.1000/abc.1', '10.1000/abc.1', '')
    """
    bare = text.strip()
    if prefix := _DOI_PREFIX.match(bare):
        bare = bare[prefix.end() :]
        bare = unquote(bare) if prefix[0].endswith("/") else bare
    bare = bare.strip().rstrip(".,;")
    # A DOI may end in a bracket, but hardly in one that it did not open.
    if bare.endswith(")") and bare.count("(") < bare.count(")"):
        bare = bare[:-1]
    return bare.lower() if _DOI.fullmatch(bare) else ""


def is_doi(text: str) -> bool:
    """Whether a text is a DOI without any prefix."""
    return bool(_DOI.fullmatch(text))


def doi_of(text: str) -> str:
    """The DOI that a whole text is: in its own case where it has no prefix, else in lower case; "" if there is none."""
    doi = normalised_doi(clean(text))
    return clean(text) if clean(text).lower() == doi else doi


def find_doi(text: str) -> str:
    """The first DOI among the words of a text, in its own case; "" if there is none.

    >>> find_doi("https://doi.org/10.1000/ABC.1"), find_doi("10.1000/a [doi]"), find_doi("n/a")
    ('10.1000/ABC.1', '10.1000/a', '')
    """
    for part in (text, *text.split()):
        if doi := normalised_doi(plain(part)):
            start = text.lower().find(doi)
            return clean(text[start : start + len(doi)]) if start >= 0 else clean(doi)
    return ""


# PMID

_PMID = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_PMID_VALUE = re.compile(
    r"(?:(?:https?://)?(?:www\.ncbi\.nlm\.nih\.gov/pubmed/|pubmed\.ncbi\.nlm\.nih\.gov/)|(?:PMID|MEDLINE)\s*:?\s*)?"
    r"([1-9]\d{0,8})/?",
    re.ASCII | re.IGNORECASE,
)
_PMID_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,20})?(?:[eE]\+?\d{1,2})?", re.ASCII)
# In notes, "extra" fields, accession numbers and addresses.
_PMID_LABELLED = re.compile(r"\b(?:PMID|PubMed(?:[ -]?ID)?|MEDLINE|PM)\s*[:=]?\s*([1-9]\d{0,8})(?!\d)", re.ASCII | re.I)
_PMID_ADDRESS = re.compile(r"(?:pubmed\.ncbi\.nlm\.nih\.gov|ncbi\.nlm\.nih\.gov/pubmed)/([1-9]\d{0,8})(?!\d)", re.ASCII)


def is_pmid(text: str) -> bool:
    """Whether a text is a PMID and nothing else."""
    return bool(_PMID.fullmatch(text.strip()))


def pmid_of(value: object) -> str:
    """The PMID that a number or a whole text such as "PMID: 123" or "123.0" is; "" if it is none.

    A number of which a spreadsheet has dropped digits is no PMID.

    >>> pmid_of(31234567), pmid_of("31234567.0"), pmid_of("3.1234567E+07"), pmid_of("3.12E+07"), pmid_of("n/a")
    ('31234567', '31234567', '31234567', '', '')
    """
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = str(int(value)) if is_whole(value) and value < 10**9 else ""
    text = clean(value) if isinstance(value, str) else ""
    if match := _PMID_VALUE.fullmatch(text):
        return match[1]
    if not _PMID_NUMBER.fullmatch(text):
        return ""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return ""
    if number != int(number) or not 0 < number < 10**9:
        return ""
    whole = str(int(number))
    return whole if "e" not in text.lower() or len(number.as_tuple().digits) >= len(whole) else ""


def find_pmid(texts: Iterable[str]) -> str:
    """The first PMID that is labelled as one, or part of a PubMed address, in some texts; "" if there is none.

    >>> find_pmid(["12345", "PMCID: PMC7 PMID: 33301246"]), find_pmid(["https://pubmed.ncbi.nlm.nih.gov/1/"])
    ('33301246', '1')
    """
    for text in texts:
        if match := _PMID_LABELLED.search(text) or _PMID_ADDRESS.search(text):
            return match[1]
    return ""


def is_whole(value: int | float | Decimal) -> bool:
    """Whether a number is finite and has no fraction."""
    # For an int of hundreds of digits, math.isfinite raises.
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


# Any kind


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier in normal form.

    value: a DOI in lower case, "123" for a PMID, "PMC123" for a PMCID, an arXiv id without its version, and for
    Semantic Scholar 40 hexadecimal digits or "CorpusId:123".
    """

    kind: IdentifierKind
    value: str

    def __str__(self) -> str:
        return f"{_LABELS[self.kind]} {self.value}"


_SITE = r"https?://(?:www\.)?"
_TAIL = r"/?(?:[?#]\S*)?"  # what browsers and links append to an address
_ARXIV = r"(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z][a-z-]*(?:\.[a-z-]{2,})?/\d{2}(?:0[1-9]|1[0-2])\d{3})(?:v\d{1,3})?"
_PMC = r"(?:pmc)?(\d{1,9})(?:\.\d{1,2})?"
_FORMS: tuple[tuple[IdentifierKind, str], ...] = (
    ("pmid", r"pmid:?\s?(\d{1,9})"),
    ("pmid", r"(\d{6,9})"),  # with fewer digits it may be a year
    ("pmid", rf"(?:https?://)?pubmed\.ncbi\.nlm\.nih\.gov/(\d{{1,9}}){_TAIL}"),
    ("pmid", rf"{_SITE}ncbi\.nlm\.nih\.gov/pubmed/(\d{{1,9}}){_TAIL}"),
    ("pmid", rf"{_SITE}europepmc\.org/(?:article|abstract)/med/(\d{{1,9}}){_TAIL}"),
    ("pmcid", r"pmc(\d{1,9})(?:\.\d{1,2})?"),
    ("pmcid", rf"pmcid:?\s?{_PMC}"),
    ("pmcid", rf"(?:https?://)?pmc\.ncbi\.nlm\.nih\.gov/articles/{_PMC}{_TAIL}"),
    ("pmcid", rf"{_SITE}ncbi\.nlm\.nih\.gov/pmc/articles/{_PMC}{_TAIL}"),
    ("pmcid", rf"{_SITE}europepmc\.org/(?:articles?|abstract)(?:/pmc)?/{_PMC}{_TAIL}"),
    ("arxiv", rf"(?:arxiv:\s?)?{_ARXIV}"),
    ("arxiv", rf"(?:https?://)?(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/{_ARXIV}(?:\.pdf)?{_TAIL}"),
    ("arxiv", rf"(?:{_SITE}(?:dx\.)?doi\.org/|https?://dx\.doi\.org/|doi:\s?)?10\.48550/arxiv\.{_ARXIV}"),
    ("s2", r"([0-9a-f]{40})"),
    ("s2", rf"{_SITE}semanticscholar\.org/paper/(?:[^\s/?#]{{1,200}}/)?([0-9a-f]{{40}}){_TAIL}"),
)
_PATTERNS = tuple((kind, re.compile(form, re.IGNORECASE | re.ASCII)) for kind, form in _FORMS)
_CORPUS_ID = re.compile(rf"(?:(?:https?://)?api\.semanticscholar\.org/)?corpusid:\s?(\d{{1,12}}){_TAIL}", re.IGNORECASE)
# Only printable ASCII, and no "//" or "..": the value becomes part of a service's address.
_SAFE_DOI = re.compile(r"(?!.*(?:\.\.|//|/\./|/$))10\.\d{4,9}(?:\.\d+)*/(?:(?![\"\\^`{|}])[!-~]){1,200}", re.ASCII)


def parse_identifier(text: str) -> Identifier | None:
    """The identifier that a whole text is, or whose web address it is; None for every other text.

    A query box sends only this value to a server, so that a pasted abstract never leaves the machine.

    >>> parse_identifier("https://doi.org/10.1000/ABC.1"), parse_identifier(" PMID: 12345 ").value
    (Identifier(kind='doi', value='10.1000/abc.1'), '12345')
    >>> parse_identifier("As 10.1000/abc.1 shows") is None
    True
    """
    if len(text) > MAX_IDENTIFIER_CHARS:
        return None
    text = clean(text)
    for kind, pattern in _PATTERNS:
        if match := pattern.fullmatch(text):
            value = _normalised(kind, match[1])
            return Identifier(kind, value) if value else None
    if match := _CORPUS_ID.fullmatch(text):
        return Identifier("s2", f"CorpusId:{int(match[1])}")
    if re.search(r"\s", re.sub(r"^doi:\s", "doi:", text, flags=re.IGNORECASE)):
        return None
    doi = normalised_doi(text)
    return Identifier("doi", doi) if _SAFE_DOI.fullmatch(doi) else None


def _normalised(kind: IdentifierKind, value: str) -> str:
    if kind == "s2":
        return value.lower()
    if kind == "arxiv":
        return normalised_arxiv(value)
    number = int(value)
    return "" if not number else f"PMC{number}" if kind == "pmcid" else str(number)


def normalised_arxiv(arxiv_id: str) -> str:
    """An arXiv id without its subject class: math.GT/0309136 and math/0309136 are one paper."""
    archive, _, number = arxiv_id.lower().rpartition("/")
    return f"{archive.partition('.')[0]}/{number}" if archive else number


# Titles, and ids for papers that have none

_NOT_WORD = re.compile(r"[\W_]+")


def normalised_title(text: str) -> str:
    """A title as letters and digits in lower case, without accents, words separated by one space.

    >>> normalised_title("Naïve B-cells: a “review”.") == normalised_title("Naive B cells — A review")
    True
    """
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return _NOT_WORD.sub(" ", bare).strip()


def derived_id(*, title: str, year: int | None, doi: str = "", pmid: str = "") -> str:
    """An id for a record that has none of its own: its PMID, else its DOI, else a hash of its title and year.

    >>> derived_id(title="A title", year=2020, pmid="123"), derived_id(title="A title", year=2020, doi="10.1000/X")
    ('123', '10.1000/x')
    >>> derived_id(title="A title", year=2020) == derived_id(title="a  Title.", year=2020)
    True
    """
    if own := pmid.strip() or normalised_doi(doi):
        return own
    key = f"{normalised_title(title)}\x00{year or ''}"
    return f"t-{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:16]}"


# Citation keys: the identifiers of cited and citing papers with their kind, "doi:10.1000/x" or "pmid:123"

IdKind = Literal["doi", "pmid", "pmcid", "arxiv", "s2", "openalex", "acl", "mag", "id"]
ID_KINDS: tuple[IdKind, ...] = get_args(IdKind)  # the most reliable first
TITLE_PREFIX = "title:"  # of what `title_key` gives

_ADDRESS = r"(?:https?://)?(?:[a-z0-9-]{1,30}\.){0,3}"
_KEY_FORMS: dict[IdKind, str] = {
    "pmid": rf"(?:{_ADDRESS}(?:nih\.gov/(?:pubmed/)?|europepmc\.org/(?:article|abstract)/med/)"
    rf"|(?:pmid|medline)\s*:?\s*)?(\d{{1,9}})(?:\.0)?{_TAIL}",
    "pmcid": rf"(?:{_ADDRESS}(?:nih\.gov/(?:pmc/)?articles/|europepmc\.org/articles?/(?:pmc/)?))?"
    rf"(?:pmcid:?\s?)?(?:pmc)?:?\s?(\d{{1,9}})(?:\.\d{{1,2}})?{_TAIL}",
    "arxiv": rf"(?:{_ADDRESS}arxiv\.org/[a-z]{{1,6}}/|(?:{_ADDRESS}doi\.org/|doi:\s?)?10\.48550/)?"
    rf"(?:arxiv[.:]\s?)?{_ARXIV}(?:\.pdf)?(?:\s?\[[a-z.-]{{2,20}}\])?{_TAIL}",
    "s2": rf"(?:{_ADDRESS}semanticscholar\.org/(?:paper/(?:[^\s/?#]{{1,200}}/)?)?)?"
    rf"(?:corpus_?id:\s?)?([0-9a-f]{{40}}|\d{{1,12}}){_TAIL}",
    "openalex": rf"(?:{_ADDRESS}openalex\.org/(?:works/)?)?(w\d{{1,12}}){_TAIL}",
    "acl": rf"(?:{_ADDRESS}aclanthology\.org/|{_ADDRESS}aclweb\.org/anthology/(?:papers/)?)?"
    rf"([a-z]\d{{2}}-\d{{4}}|\d{{4}}\.[a-z0-9]{{1,30}}-[a-z0-9]{{1,20}}\.\d{{1,5}})(?:v\d)?(?:\.pdf)?{_TAIL}",
    "mag": r"(?:mag:\s?)?(\d{1,12})",
}
_PREFIXED_KEY = re.compile(r"([a-z0-9_]{2,10})\s?:\s?(.+)", re.IGNORECASE | re.DOTALL)
# Kinds that are recognised by their form. A bare number may be any of three, and stays an "id".
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
    text = clean(str(value)) if len(str(value)) <= MAX_IDENTIFIER_CHARS else ""
    if kind == "doi" and "10.48550/" in text and (key := citation_key("arxiv", text)):
        return key
    if kind in ("doi", "id"):
        normal = normalised_doi(text) if kind == "doi" else text
        return f"{kind}:{normal}" if normal else ""
    found = re.fullmatch(_KEY_FORMS[kind], text, re.IGNORECASE | re.ASCII)
    if found is None:
        return ""
    normal = found[1].upper() if kind == "openalex" else found[1].lower()
    if kind == "arxiv":
        normal = normalised_arxiv(normal)
    elif kind in ("pmid", "pmcid", "mag") or (kind == "s2" and len(normal) < 40):
        prefix = {"pmcid": "PMC", "s2": "CorpusId:"}.get(kind, "")
        normal = f"{prefix}{int(normal)}" if int(normal) else ""
    return f"{kind}:{normal}" if normal else ""


def parsed_citation_key(text: str) -> str:
    """The key of an id whose prefix or form shows its kind; of any other text, an "id".

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
    normal = normalised_title(title)
    if not normal:
        return ""
    return TITLE_PREFIX + hashlib.sha256(f"{normal}\x00{year or ''}".encode("utf-8", "replace")).hexdigest()[:24]
