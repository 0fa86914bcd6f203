"""The list of references of a JATS article: what each entry is, and which numbers the text calls it by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from corpus.cocitations.full_text import Reference
from corpus.cocitations.identifiers import Kind, reference
from corpus.cocitations.jats_text import attribute, child_at, children, local_name, text_of
from corpus.readers.fields import year_of

_CITATIONS = ("element-citation", "mixed-citation", "nlm-citation", "citation", "citation-alternatives", "product")
_TITLES = ("article-title", "chapter-title", "data-title", "part-title")
_BOOKS = frozenset({"book", "thesis", "report", "software", "data", "web", "webpage", "other"})  # titled in `source`
_KINDS: dict[str, Kind] = {
    "doi": "doi", "pmid": "pmid", "medline": "pmid", "pmc": "pmcid", "pmcid": "pmcid", "arxiv": "arxiv",
}  # fmt: skip
_LABEL = re.compile(r"\W*(\d{1,4})[a-z]?\W*", re.ASCII)
_DOI_IN_TEXT = re.compile(r"\b10\.\d{4,9}/[^\s\"<>]{1,200}")
_PMID_IN_TEXT = re.compile(r"\bPMID:?\s?(\d{1,9})\b", re.IGNORECASE)
_ARXIV_IN_TEXT = re.compile(r"\barXiv:\s?([a-z./-]{0,30}\d{4}\.?\d{3,5})", re.IGNORECASE)


@dataclass(slots=True)
class ReferenceList:
    """references: by key. keys_of: the keys that an id of the XML stands for, several where an entry lists several."""

    references: dict[str, Reference] = field(default_factory=dict)
    keys_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _number_of: dict[str, int] = field(default_factory=dict)  # by id of the XML
    _numbered: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def add(self, rid: str, number: int | None, entries: dict[str, Reference]) -> None:
        """Add an entry. Of two with one id or one number, the first is meant by it."""
        self.references.update(entries)
        self.keys_of.setdefault(rid, tuple(entries))
        if number is not None:
            self._number_of.setdefault(rid, number)
            self._numbered.setdefault(number, tuple(entries))

    def number(self, rid: str) -> int | None:
        """The number of the entry with an id: its label's, or its place in a list without labels."""
        return self._number_of.get(rid)

    def numbered(self, number: int) -> tuple[str, ...]:
        """The keys of the entry with a number; none where there is no such entry."""
        return self._numbered.get(number, ())


def reference_list(article: Any) -> ReferenceList:
    """The references of an article, without those of its sub-articles, letters and answers."""
    entries = list(_entries(article))
    labels = [_label(entry) for entry in entries]
    if not any(labels):
        labels = list(range(1, len(entries) + 1))
    found = ReferenceList()
    for place, (entry, number) in enumerate(zip(entries, labels, strict=True), start=1):
        rid = entry.get("id") or f"#{place}"
        if rid in found.keys_of:
            rid = f"{rid}#{place}"
        citations = list(children(entry, *_CITATIONS)) or [entry]
        keys = [rid, *(f"{rid}#{part}" for part in range(2, len(citations) + 1))]
        read = [_reference(citation) for citation in citations]
        found.add(rid, number, dict(zip(keys, read, strict=True)))
        for key, citation, said in zip(keys, citations, read, strict=True):
            for inner in citation.iter():  # some texts refer to the citation in an entry, or to one of its two forms
                if isinstance(inner.tag, str) and inner.get("id"):
                    found.add(inner.get("id"), None, {key: said})
    return found


def own_reference(article: Any) -> Reference:
    """What an article is itself."""
    meta = child_at(article, "front", "article-meta")
    ids = [(_KINDS.get(one.get("pub-id-type", "").lower()), text_of(one)) for one in children(meta, "article-id")]
    years = [year_of(text_of(child_at(date, "year"))) for date in children(meta, "pub-date")]
    title = child_at(meta, "title-group", "article-title")
    return reference(
        [(kind, value) for kind, value in ids if kind],
        title=text_of(title if title is not None else child_at(meta, "article-title")),
        year=min((year for year in years if year), default=None),
    )


def _entries(element: Any) -> Iterator[Any]:
    for child in element:
        name = local_name(child)
        if name == "ref":
            yield child
        elif name not in ("sub-article", "response"):
            yield from _entries(child)


def _label(entry: Any) -> int | None:
    label = next(children(entry, "label"), None)
    if label is None:
        label = next(
            (inner for citation in children(entry, *_CITATIONS) for inner in children(citation, "label")), None
        )
    found = _LABEL.fullmatch(text_of(label))
    return int(found[1]) or None if found else None


def _reference(citation: Any) -> Reference:
    inner = [element for element in citation.iter() if isinstance(element.tag, str)]
    titles = {local_name(element): element for element in reversed(inner)}
    title = next((titles[name] for name in _TITLES if name in titles), None)
    forms = [citation, *children(citation, *_CITATIONS)]
    types = {form.get(name) for form in forms for name in ("publication-type", "citation-type")}
    if title is None and not types.isdisjoint(_BOOKS) and "volume" not in titles:  # a volume is a journal's
        title = titles.get("source")
    year = titles.get("year")
    return reference(
        [*_tagged_ids(inner), *_ids_in_text(citation)],
        title=text_of(title).rstrip("."),
        year=year_of(text_of(year)) if year is not None else None,
    )


def _tagged_ids(elements: list[Any]) -> Iterator[tuple[Kind, object]]:
    for element in elements:
        name = local_name(element)
        if name in ("pub-id", "object-id", "article-id"):
            kind = _KINDS.get((element.get("pub-id-type") or "").lower())
            if kind:
                yield kind, text_of(element)
        elif name in ("ext-link", "uri"):
            kind = _KINDS.get((element.get("ext-link-type") or "").lower())
            for address in (attribute(element, "href"), text_of(element)):
                if kind:
                    yield kind, address
                elif "/" in address:  # a number alone could be anything
                    # Each kind takes its own addresses and refuses the others'.
                    yield from ((one, address) for one in ("doi", "pmid", "pmcid", "arxiv"))


def _ids_in_text(citation: Any) -> Iterator[tuple[Kind, object]]:
    """What is told in running text: "doi:10.1000/x" in a comment, or in a citation without tags."""
    text = " ".join(citation.itertext())
    patterns: tuple[tuple[Kind, re.Pattern[str]], ...] = (
        ("doi", _DOI_IN_TEXT), ("pmid", _PMID_IN_TEXT), ("arxiv", _ARXIV_IN_TEXT),
    )  # fmt: skip
    for kind, pattern in patterns:
        if found := pattern.search(text):
            yield kind, found[found.lastindex or 0]
