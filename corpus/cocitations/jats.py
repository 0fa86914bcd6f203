"""Full texts in JATS XML, as PubMed Central and PLOS have them, and in the NLM DTDs before it.

Read are the paragraphs of the body: no abstract, captions, tables, footnotes, headings, and no letters or answers
behind the article. Files come from strangers: no DTD is fetched, and no entity is expanded but by the name that HTML
gives a character.
"""

import io
from collections.abc import Iterator
from typing import Any

from lxml import etree

from corpus.cocitations.full_text import FullText, FullTextError
from corpus.cocitations.full_text_report import FullTextReport
from corpus.cocitations.jats_paragraphs import paragraph_of
from corpus.cocitations.jats_references import own_reference, reference_list
from corpus.cocitations.jats_text import ARTICLES, LEFT_OUT, child_at, local_name
from corpus.text.plain import clean


def read_jats(content: bytes, *, report: FullTextReport | None = None) -> FullText:
    """The one article of a file; report: as of `read_articles`.

    Raises FullTextError where it holds none or several, and for what is no XML.
    """
    articles = read_articles(content, report=report)
    first = next(articles, None)
    if first is None:
        raise FullTextError("it holds no <article>. Give JATS XML, as PubMed Central and PLOS have it.")
    if next(articles, None) is not None:
        raise FullTextError("it holds several articles. Read them with `read_articles`.")
    return first


def read_articles(content: bytes, *, report: FullTextReport | None = None) -> Iterator[FullText]:
    """The articles of a file, also those in an envelope such as <pmc-articleset> or OAI's, in its order.

    report: counts the markers that are dropped, because no reference has the id that they name.

    Raises FullTextError where its XML is malformed, behind the articles before that place, and where an <article> has
    neither front nor body, as HTML's has not.
    """
    try:
        for _event, element in etree.iterparse(io.BytesIO(content), **ARTICLES):
            yield _full_text(element, FullTextReport() if report is None else report)
            # clear() alone leaves an empty element an article behind.
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise FullTextError(
            f"its XML is malformed or ends too early ({clean(error.msg or '')[:200]}). Download it again."
        ) from error


def _full_text(article: Any, report: FullTextReport) -> FullText:
    body = child_at(article, "body")
    if body is None and child_at(article, "front") is None:
        raise FullTextError("its <article> has neither front nor body, so that it is no JATS. Leave it out.")
    references = reference_list(article)
    found = _paragraphs(body) if body is not None else ()
    paragraphs = (paragraph_of(element, references, report=report) for element in found)
    return FullText(
        own_reference(article), tuple(paragraph for paragraph in paragraphs if paragraph.text), references.references
    )


def _paragraphs(element: Any) -> Iterator[Any]:
    """The paragraphs below an element: one that holds a list comes before those in the list."""
    for child in element:
        name = local_name(child)
        if name == "p":
            yield child
        if name and name not in LEFT_OUT:
            yield from _paragraphs(child)
