"""MEDLINE/PubMed XML, as in NLM's files and PubMed's export. pubmed-parser reads the records."""

from collections.abc import Iterator
from typing import Any

from corpus.errors import DamagedFileError
from corpus.identifiers import is_doi, is_pmid
from corpus.io.limits import Limits
from corpus.io.safe_xml import PARSER_OPTIONS
from corpus.io.streams import CappedStream
from corpus.paper import Paper
from corpus.readers.fields import year_of
from corpus.readers.report import Deleted, Record, Rejected
from corpus.text.plain import clean, distinct, medline_title

FORMAT = "MEDLINE XML"
UNIT = "record"
ROOTS = frozenset({"PubmedArticleSet", "PubmedArticle"})

# What pubmed-parser raises for records that lack what the DTD requires.
_PARSER_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def read_medline_xml(stream: CappedStream, *, limits: Limits) -> Iterator[Record]:  # noqa: ARG001
    """What each article, book and deletion notice of a file gives, in constant memory.

    `corpus.io.safe_xml.root_name` must have accepted the head of the stream.
    """
    from lxml import etree

    records = 0
    try:
        for _event, element in etree.iterparse(
            stream,
            tag=("PubmedArticle", "PubmedBookArticle", "DeleteCitation"),
            **PARSER_OPTIONS,
        ):
            if element.tag == "DeleteCitation":
                for pmid in element.findall("PMID"):
                    yield records, Deleted(clean(pmid.text or ""))
            else:
                records += 1
                yield records, read_article(element)
            stream.mark()
            # clear() alone leaves an empty element per record in the tree, which adds up over a whole file.
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise DamagedFileError(
            f"its XML is malformed or ends too early ({clean(error.msg)})", advice="Download it again."
        ) from error


def read_article(element: Any) -> Paper | Rejected:
    """The paper in a PubmedArticle element; Rejected for a PubmedBookArticle."""
    # Takes 0.8 s the first time, because it imports a web client.
    from pubmed_parser.medline_parser import parse_article_info

    if element.tag != "PubmedArticle":
        return Rejected("damaged", "a book; only articles are read. Drop the record.")
    # pubmed-parser would spend a quarter of its time on the references, which Paper does not have.
    for references in element.findall("PubmedData/ReferenceList"):
        references.clear()
    try:
        record = parse_article_info(
            element,
            year_info_only=True,
            nlm_category=False,
            author_list=True,
            reference_list=True,
        )
    except _PARSER_ERRORS as error:
        return Rejected("damaged", f"not valid MEDLINE ({clean(str(error))}). Drop the record.")
    pmid = clean(record["pmid"] or "")
    if not is_pmid(pmid):
        return Rejected("damaged", f"the PMID {pmid[:20]!r} is not valid. Correct it, or drop the record.")
    languages = record["languages"].split(";")
    if "eng" not in languages:
        return Rejected("non_english", f"not in English ({record['languages'] or 'no language stated'}).")
    article = element.find("MedlineCitation/Article")
    return Paper(
        id=pmid,
        title=medline_title(_text(article.find("ArticleTitle"))),
        abstract=_abstract(article),
        authors=_authors(article, record["authors"]),
        year=year_of(record["pubdate"]),
        venue=clean(record["journal"]).split(" : ")[0],
        doi=_doi(element),
        pmid=pmid,
        url=f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
        topics=_topics(element, record["mesh_terms"]),
    )


def _text(element: Any) -> str:
    """All the text in an element. pubmed-parser drops text two levels down, as b in <i>a<sub>b</sub></i>."""
    return "" if element is None else clean("".join(element.itertext()))


def _abstract(article: Any) -> str:
    """The abstract; a structured one as one "LABEL: text" paragraph per line."""
    paragraphs = []
    for part in article.findall("Abstract/AbstractText"):
        label, text = clean(part.get("Label", "")), _text(part)
        if text:
            paragraphs.append(f"{label}: {text}" if label else text)
    return "\n".join(paragraphs)


def _authors(article: Any, parsed: list[dict[str, str]]) -> tuple[str, ...]:
    names = []
    # One entry per Author element; an empty one for a group, whose name pubmed-parser does not read.
    for element, author in zip(article.findall("AuthorList/Author"), parsed, strict=True):
        if element.get("ValidYN") == "N":
            continue  # a misspelt name, kept by NLM beside the corrected one
        family = clean(author["lastname"])
        given = clean(f"{author['forename'] or author['initials']} {_text(element.find('Suffix'))}")
        group = _text(element.find("CollectiveName"))
        names.append(", ".join(filter(None, (family, given))) or group)
    return tuple(filter(None, names))


def _doi(element: Any) -> str:
    """The DOI. pubmed-parser reads only the last ELocationID, and so loses a DOI that a pii follows."""
    candidates = [
        *(
            place
            for place in element.findall("MedlineCitation/Article/ELocationID[@EIdType='doi']")
            if place.get("ValidYN") != "N"
        ),
        *element.findall("PubmedData/ArticleIdList/ArticleId[@IdType='doi']"),
    ]
    return next(filter(is_doi, map(_text, candidates)), "")


def _topics(element: Any, mesh_terms: str) -> tuple[str, ...]:
    headings = (term.partition(":")[2] for term in mesh_terms.split("; "))
    # pubmed-parser joins keywords by "; ", which some contain, and reads only the first list.
    keywords = map(_text, element.findall("MedlineCitation/KeywordList/Keyword"))
    return distinct((*headings, *keywords))
