"""What the readers of reference formats share: fields as exporters fill them -> Paper, within bounds."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from corpus.identifiers import derived_id, normalised_doi
from corpus.paper import Paper
from corpus.readers.report import Rejected
from corpus.text.markup import plain
from corpus.text.plain import clean, clean_paragraphs, distinct

_LINE_OVERHEAD = 64  # bytes that a line takes beside its text
# Also of 20190101 and 201901, but not of 20211.
_YEAR = re.compile(r"(?<!\d)[12]\d{3}(?:(?!\d)|(?=(?:0[1-9]|1[0-2])(?:[0-3]\d)?(?!\d)))", re.ASCII)
_WEB = re.compile(r"https?://\S", re.IGNORECASE)
_PMID = re.compile(r"[1-9]\d{0,8}", re.ASCII)
# As exporters put it into notes, "extra" and accession numbers; and in addresses.
_NAMED_PMID = re.compile(r"\b(?:PMID|PubMed(?:[ -]?ID)?|MEDLINE|PM)\s*[:=]?\s*([1-9]\d{0,8})(?!\d)", re.ASCII | re.I)
_PMID_ADDRESS = re.compile(r"(?:pubmed\.ncbi\.nlm\.nih\.gov|ncbi\.nlm\.nih\.gov/pubmed)/([1-9]\d{0,8})(?!\d)", re.ASCII)
# BACKGROUND: …; a line that begins so begins a paragraph, where others go on with the one before.
_LABEL = re.compile(r"(?!..? {0,3}-)[A-Z][A-Z/&,() -]{2,60}:\s")
_NO_NAMES = frozenset({"others", "et al", "et al.", "[et al.]", "anonymous", "anon"})


@dataclass(slots=True)
class Lines:
    """The lines of one record, taken in only up to a limit.

    start: the number of its first line, from 1. Taking in goes on with nothing kept once the record is too large.
    """

    start: int
    most: int  # bytes, near enough
    texts: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, text: str) -> None:
        """Take one more line in."""
        self.size += len(text) + _LINE_OVERHEAD
        if self.too_large:
            self.texts.clear()
        else:
            self.texts.append(text)

    @property
    def too_large(self) -> bool:
        """Whether the record has passed the limit."""
        return self.size > self.most

    @property
    def refusal(self) -> Rejected:
        """What is said of a record that is too large."""
        reason = f"the record has more than {self.most:,} bytes. Shorten it, or drop it."
        return Rejected("damaged", reason)


def paper_of(
    *,
    title: str,
    abstract: str,
    authors: Iterable[str],
    year: Iterable[str],
    venue: str,
    dois: Iterable[str],
    pmid: str,
    urls: Iterable[str],
    topics: Iterable[str],
    own_id: str = "",
) -> Paper:
    """A paper from the fields of a record, cleaned; of dates, DOIs and addresses, the first that is one.

    title, abstract, authors, venue and topics may hold entities and tags; the abstract's line feeds part paragraphs.
    Title and abstract may come out empty: the reading decides what becomes of such a paper.
    """
    plain_title = clean(plain(title))
    years = (found for text in year if (found := _YEAR.search(text)))
    first_year = next((int(found[0]) for found in years), None)
    doi = next(filter(None, map(doi_in, dois)), "")
    return Paper(
        id=clean(own_id) or derived_id(title=plain_title, year=first_year, doi=doi, pmid=pmid),
        title=plain_title,
        abstract=clean_paragraphs(plain(abstract)),
        authors=tuple(name for name in map(_name, authors) if name and name.casefold() not in _NO_NAMES),
        year=first_year,
        venue=clean(plain(venue)),
        doi=doi,
        pmid=pmid,
        url=next((clean(url).replace("&amp;", "&") for url in urls if _WEB.match(url.strip())), ""),
        topics=distinct(map(plain, topics)),
    )


def doi_in(text: str) -> str:
    """The DOI that a field holds, its letters in the case they have there, or "".

    >>> doi_in("https://doi.org/10.1000/ABC.1"), doi_in("10.1000/a [doi]"), doi_in("n/a")
    ('10.1000/ABC.1', '10.1000/a', '')
    """
    for part in (text, *text.split()):
        if doi := normalised_doi(plain(part)):
            start = text.lower().find(doi)
            return clean(text[start : start + len(doi)]) if start >= 0 else clean(doi)
    return ""


def is_pmid(text: str) -> bool:
    """Whether a text is the number of a PubMed record and nothing more."""
    return bool(_PMID.fullmatch(text.strip()))


def pmid_in(texts: Iterable[str]) -> str:
    """The first PMID that texts name as one, or that an address of PubMed holds; "" where none does.

    >>> pmid_in(["12345", "PMCID: PMC7 PMID: 33301246"]), pmid_in(["https://pubmed.ncbi.nlm.nih.gov/1/"])
    ('33301246', '1')
    """
    for text in texts:
        if found := _NAMED_PMID.search(text) or _PMID_ADDRESS.search(text):
            return found[1]
    return ""


def begins_paragraph(line: str) -> bool:
    """Whether a line begins with a label of a structured abstract, and could be no tag of RIS."""
    return bool(_LABEL.match(line))


def joined(lines: Sequence[str]) -> str:
    """The lines of one value as paragraphs: wrapped lines go on, blank lines and labels begin a new one.

    >>> joined(["AIM: To know", "this.", "RESULTS: Known.", "", "More."])
    'AIM: To know this.\\nRESULTS: Known.\\nMore.'
    """
    parts: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or begins_paragraph(text):
            parts.append("\n")
        elif parts:
            parts.append(" ")
        parts.append(text)
    return re.sub(r"\s*\n\s*", "\n", "".join(parts)).strip()


def fullest(abstracts: Iterable[str]) -> str:
    """Several abstracts as one, each once, none that is but a part of another."""
    kept: list[str] = []
    for abstract in abstracts:
        seen = clean(abstract)
        if not seen or any(seen in clean(other) for other in kept):
            continue
        kept = [other for other in kept if clean(other) not in seen]
        kept.append(abstract)
        if len(kept) == 8:
            break  # abstracts in eight languages; comparing each with each would take ever longer
    return "\n".join(kept)


def _name(name: str) -> str:
    return clean(plain(name)).strip(",; ").strip()
