"""Identifiers of papers: told from a whole text that is one, or one's web address, and from no other text.

What a query box sends to a server is the value found here and nothing else, so that a pasted abstract never leaves.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from corpus.identifiers import normalised_doi
from corpus.text.plain import clean

Kind = Literal["doi", "pmid", "pmcid", "arxiv", "s2"]
KINDS = get_args(Kind)
_NAMES: dict[Kind, str] = {
    "doi": "DOI",
    "pmid": "PMID",
    "pmcid": "PMCID",
    "arxiv": "arXiv",
    "s2": "Semantic Scholar",
}


@dataclass(frozen=True, slots=True)
class Identifier:
    """value: in one form, a DOI in lower case, a PMCID as "PMC123", an arXiv id without its version.

    A Semantic Scholar id is 40 hexadecimal digits, or "CorpusId:123".
    """

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} {self.value}"


_MOST_CHARS = 300
_SITE = r"https?://(?:www\.)?"
_TAIL = r"/?(?:[?#]\S*)?"  # what browsers and links add behind an address
_ARXIV = r"(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z][a-z-]*(?:\.[a-z-]{2,})?/\d{2}(?:0[1-9]|1[0-2])\d{3})(?:v\d{1,3})?"
_PMC = r"(?:pmc)?(\d{1,9})(?:\.\d{1,2})?"
_FORMS: tuple[tuple[Kind, str], ...] = (
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
_CORPUS_ID = re.compile(rf"(?:(?:https?://)?api\.semanticscholar\.org/)?corpusid:\s?(\d{{1,12}}){_TAIL}", re.IGNORECASE)
_PATTERNS = tuple((kind, re.compile(form, re.IGNORECASE | re.ASCII)) for kind, form in _FORMS)
# Of all the characters that a DOI may have, those of printed ones; and no "//" or "..", which lead about in a path.
_DOI = re.compile(r"(?!.*(?:\.\.|//|/\./|/$))10\.\d{4,9}(?:\.\d+)*/[!-~]{1,200}", re.ASCII)
_NOT_IN_DOI = frozenset('"\\^`{|}')


def identifier_in(text: str) -> Identifier | None:
    """The identifier that a whole text is, or whose web address it is; None for every other text.

    >>> identifier_in("https://doi.org/10.1000/ABC.1"), identifier_in(" PMID: 12345 ").value
    (Identifier(kind='doi', value='10.1000/abc.1'), '12345')
    >>> identifier_in("As 10.1000/abc.1 shows") is None
    True
    """
    if len(text) > _MOST_CHARS:
        return None
    plain = clean(text)
    for kind, pattern in _PATTERNS:
        if found := pattern.fullmatch(plain):
            return _identifier(kind, found[1])
    if found := _CORPUS_ID.fullmatch(plain):
        return Identifier("s2", f"CorpusId:{int(found[1])}")
    return _doi_in(plain)


def _identifier(kind: Kind, value: str) -> Identifier | None:
    if kind in ("pmid", "pmcid"):
        number = int(value)
        if not number:
            return None
        value = f"PMC{number}" if kind == "pmcid" else str(number)
    if kind == "arxiv":
        archive, _, number_in_it = value.lower().rpartition("/")
        # math.GT/0309136 and math/0309136 are one paper; the API knows the shorter form.
        value = f"{archive.partition('.')[0]}/{number_in_it}" if archive else number_in_it
    return Identifier(kind, value.lower() if kind == "s2" else value)


def _doi_in(plain: str) -> Identifier | None:
    if any(character.isspace() for character in re.sub(r"^doi:\s", "doi:", plain, flags=re.IGNORECASE)):
        return None
    doi = normalised_doi(plain)
    if not _DOI.fullmatch(doi) or _NOT_IN_DOI.intersection(doi):
        return None
    return Identifier("doi", doi)
