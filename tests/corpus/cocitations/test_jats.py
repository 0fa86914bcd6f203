"""Planted articles whose text, citations and references are known, in the many forms of publishers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.cocitations.full_text import FullText, FullTextError, FullTextReport, Paragraph, Reference
from corpus.cocitations.jats import read_articles
from corpus.cocitations.markers import NO_REFERENCE, UNKNOWN_REFERENCE
from corpus.identifiers import title_key

FRONT = """<front><article-meta>
<article-id pub-id-type="pmid">31</article-id><article-id pub-id-type="publisher-id">x-1</article-id>
<article-id pub-id-type="doi">10.1000/Citing</article-id><article-id pub-id-type="pmc">77</article-id>
<title-group><article-title>The <italic>citing</italic> paper<xref ref-type="fn" rid="f1">*</xref></article-title>
</title-group><pub-date><year>2012</year></pub-date><pub-date><year>2011</year></pub-date>
<abstract><p>No <xref ref-type="bibr" rid="b1">1</xref> here.</p></abstract></article-meta></front>"""


def entry(number: int, *, label: str | None = None, inner: str = "") -> str:
    label = f"<label>{number}.</label>" if label is None else label
    inner = inner or f"<article-title>Title {number}</article-title><year>2001</year>"
    return f'<ref id="b{number}">{label}<element-citation>{inner}</element-citation></ref>'


def article(body: str, *, refs: str | None = None, front: str = FRONT, root: str = "<article>") -> bytes:
    refs = "".join(map(entry, range(1, 13))) if refs is None else refs
    back = f"<back><ref-list><title>References</title>{refs}</ref-list></back>"
    return f"{root}{front}<body>{body}</body>{back}</article>".encode()


def read_jats(content: bytes, report: FullTextReport | None = None) -> FullText:
    [found] = read_articles(content, report=report or FullTextReport())
    return found


def xref(*numbers: int, text: str | None = None) -> str:
    rids = " ".join(f"b{number}" for number in numbers)
    return f'<xref ref-type="bibr" rid="{rids}">{numbers[0] if text is None else text}</xref>'


def paragraph(inner: str, *, refs: str | None = None) -> Paragraph:
    found = read_jats(article(f"<sec><title>A heading</title><p>{inner}</p></sec>", refs=refs)).paragraphs
    assert len(found) == 1
    return found[0]


def citations_in(found: Paragraph) -> list[tuple[str, str]]:
    """Each marker's text and the numbers of its references, as "1 2 3"."""
    return [(found.text[each.start : each.end], " ".join(key[1:] for key in each.cited)) for each in found.citations]


A, B, C = xref(3), xref(6), xref(9)


@pytest.mark.parametrize(
    ("inner", "text", "citations"),
    [
        (f"Cells [{A}, {B}].", "Cells [3, 6].", [("3", "3"), ("6", "6")]),
        (f"Cells [{A}–{B}].", "Cells [3–6].", [("3–6", "3 4 5 6")]),
        (f"Cells [{A}-{B},{C}].", "Cells [3-6,9].", [("3-6", "3 4 5 6"), ("9", "9")]),
        (f"Cells ({A})–({B}).", "Cells (3)–(6).", [("3)–(6", "3 4 5 6")]),
        (
            f"Cells {xref(3, text='[3]')} \n– {xref(6, text='[6]')}.",
            "Cells [3] – [6].",
            [("[3] – [6]", "3 4 5 6")],
        ),
        (f"Cells [{xref(1, text='1–3')}].", "Cells [1–3].", [("1–3", "1 2 3")]),
        (f"Cells {xref(1, text='[1-3,7]')}.", "Cells [1-3,7].", [("[1-3,7]", "1 2 3 7")]),
        (f"Cells {xref(1, 3, text='[1–3]')}.", "Cells [1–3].", [("[1–3]", "1 2 3")]),
        (f"Cells [{A}–6].", "Cells [3–6].", [("3–6", "3 4 5 6")]),
        (f"Cells [{B}–{A}].", "Cells [6–3].", [("6", "6"), ("3", "3")]),
        (f"Cells [{xref(3, 4, text='3,4')}].", "Cells [3,4].", [("3,4", "3 4")]),
        # The middle of a range, hidden as PubMed Central does.
        (f"Cells [{A}{xref(4, text='')}{xref(5, text='')}–{B}].", "Cells [3–6].", [("3–6", "3 4 5 6")]),
        (f"Cells [{xref(2, text='')}{A}].", "Cells [3].", [("3", "3 2")]),
        (f"Cells [{xref(3, 4, 5, text='3')}–{B}].", "Cells [3–6].", [("3–6", "3 4 5 6")]),
        (f"Cells {xref(4, text='')} die.", "Cells [4] die.", [("[4]", "4")]),
        # By author and year: no ranges there, and years are no numbers.
        (
            f"So ({xref(1, text='A et al. 2000')}; {xref(2, text='2001')}–{xref(9, text='2009')}).",
            "So (A et al. 2000; 2001–2009).",
            [("A et al. 2000", "1"), ("2001", "2"), ("2009", "9")],
        ),
        # Raised, and against a word.
        (f"Cells.<sup>{A},{B}</sup> Then", "Cells.[3,6] Then", [("3", "3"), ("6", "6")]),
        (f"Cells.<sup>{A}–{B}</sup> Then", "Cells.[3–6] Then", [("3–6", "3 4 5 6")]),
        (f"Cells{xref(3, text='<sup>3</sup>')}, then", "Cells[3], then", [("3", "3")]),
        (f"Cells.{A},{B} Then", "Cells.[3,6] Then", [("3", "3"), ("6", "6")]),
        (f"Cells<sup>[{A}]</sup>.", "Cells[3].", [("3", "3")]),
        (f"See ref. {A}.", "See ref. 3.", [("3", "3")]),
        (f"Cells.<sup>\n {A}\n</sup> Then", "Cells. [3] Then", [("3", "3")]),
        (f"Cells.<sup>{A}{B}</sup> Then", "Cells.[3, 6] Then", [("3", "3"), ("6", "6")]),
        (f"Cells [{A}{B}].", "Cells [3, 6].", [("3", "3"), ("6", "6")]),
        # Dangling and foreign references.
        (f"Cells [{xref(99)}, {xref(99, 3, text='3')}].", "Cells [99, 3].", [("3", "3")]),
        (f'See <xref ref-type="fig" rid="b1">Fig. 1</xref> [{A}].', "See Fig. 1 [3].", [("3", "3")]),
        (f'Cells<xref ref-type="fn" rid="b1"><sup>a</sup></xref> [{A}].', "Cells [3].", [("3", "3")]),
        # What stands within a paragraph must not tear it.
        (
            f"Cells [{A}] <fig><caption><p>A cap [{B}].</p></caption></fig>die<table-wrap><table><tr><td>{B}</td></tr>"
            f"</table></table-wrap>\n [{C}].",
            "Cells [3] die [9].",
            [("3", "3"), ("9", "9")],
        ),
        (
            f'By <inline-formula><inline-graphic href="x"/></inline-formula> [{A}]<disp-formula><label>(1)</label>'
            "<tex-math>\\frac{a}{b}</tex-math></disp-formula>where",
            "By formula [3] formula where",
            [("3", "3")],
        ),
        (
            "If <inline-formula><alternatives><tex-math>\\alpha=1</tex-math><m:math xmlns:m='http://www.w3.org/1998/"
            f"Math/MathML'><m:mi>α</m:mi> <m:mo>=</m:mo><m:mn>1</m:mn></m:math></alternatives></inline-formula> [{A}].",
            "If α=1 [3].",
            [("3", "3")],
        ),
        (f"10<sup>5</sup> in mm<sup>2</sup>\n\t of CD4<sup>+</sup> [{A}]", "10^5 in mm2 of CD4+ [3]", [("3", "3")]),
        (f"α &lt; β &amp; &#x3b3;\u2009𝛼 [{A}]", "α < β & γ 𝛼 [3]", [("3", "3")]),
        (f"Cafe\u0301 <bold> bold</bold>  <!-- no --><?no?>[<italic>{A}</italic>]", "Café bold [3]", [("3", "3")]),
        (f"Cells [<named-content>{A}</named-content>–{B}]", "Cells [3–6]", [("3–6", "3 4 5 6")]),
    ],
)  # fmt: skip
def test_paragraphs_have_the_planted_text_and_citations(
    inner: str, text: str, citations: list[tuple[str, str]]
) -> None:
    found = paragraph(inner)
    assert found.text == text
    assert citations_in(found) == citations


def test_ranges_follow_labels_else_the_order() -> None:
    shuffled = "".join(entry(number) for number in (6, 5, 1, 3, 4, 2))
    assert citations_in(paragraph(f"[{A}–{B}]", refs=shuffled)) == [("3–6", "3 4 5 6")]
    plain = "".join(entry(number, label="") for number in (3, 8, 7, 9))  # the text calls them 1 to 4
    assert citations_in(paragraph(f"[{xref(3, text='1')}–{xref(9, text='4')}]", refs=plain)) == [("1–4", "3 8 7 9")]
    # A number that is not the reference's own says nothing of the others.
    assert citations_in(paragraph(f"[{xref(3, text='5–7')}]")) == [("5–7", "3")]


def test_only_paragraphs_of_the_body_are_read() -> None:
    body = f"""<p>First [{A}].</p><sec><title>H [{A}]</title><p>Second <list><list-item><p>Item [{B}].</p></list-item>
    </list> goes on.</p><boxed-text><caption><p>No.</p></caption><p>Box.</p></boxed-text><fig><caption><p>No.</p>
    </caption></fig><table-wrap><table-wrap-foot><fn><p>No.</p></fn></table-wrap-foot></table-wrap><p> </p>
    <disp-quote><p>Quote.</p></disp-quote></sec>"""
    content = article(body).replace(
        b"</article>",
        b"<sub-article><body><p>No.</p></body><back><ref-list><ref id='b1'/></ref-list></back></sub-article></article>",
    )
    found = read_jats(content)
    texts = [each.text for each in found.paragraphs]
    assert texts == ["First [3].", "Second goes on.", "Item [6].", "Box.", "Quote."]
    assert len(found.references) == 12


REFERENCES = [
    ('<pub-id pub-id-type="pmid">12</pub-id><pub-id pub-id-type="doi">10.1000/A</pub-id>', "doi:10.1000/a pmid:12"),
    ('<object-id pub-id-type="pmid">13</object-id><pub-id pub-id-type="pmcid">PMC5</pub-id>', "pmid:13 pmcid:PMC5"),
    ('<comment>doi: <ext-link ext-link-type="uri" x:href="http://dx.doi.org/10.1000/b%3C1%3E">10.1000/b</ext-link>'
     "</comment>", "doi:10.1000/b<1> doi:10.1000/b"),
    ('<ext-link x:href="http://www.ncbi.nlm.nih.gov/pubmed/14">PubMed</ext-link>', "pmid:14"),
    ('<ext-link x:href="#b">14</ext-link><ext-link x:href="http://a.org/12">1706.03762</ext-link>', ""),
    ('<ext-link ext-link-type="pmc" x:href="PMC9">9</ext-link><ext-link ext-link-type="doi" x:href="10.1000/D"/>',
     "doi:10.1000/d pmcid:PMC9"),
    ("<comment>doi:10.1000/c.</comment>", "doi:10.1000/c"),
    ("Smith J. A study. J. Things. PMID: 15. arXiv:1706.03762v1", "pmid:15 arxiv:1706.03762"),
    ('<pub-id pub-id-type="arxiv">math.GT/0309136</pub-id><pub-id pub-id-type="coden">17</pub-id>',
     "arxiv:math/0309136"),
    ("Nothing", ""),
]  # fmt: skip


@pytest.mark.parametrize("name", ["element-citation", "mixed-citation", "nlm-citation", "citation"])
def test_references_have_the_ids_of_tags_links_and_text(name: str) -> None:
    refs = "".join(
        f'<ref id="b{number}"><label>{number}</label><{name} xmlns:x="http://www.w3.org/1999/xlink">{inner}</{name}></ref>'
        for number, (inner, _ids) in enumerate(REFERENCES, start=1)
    )
    found = read_jats(article("<p>x</p>", refs=refs)).references
    assert [" ".join(each.identifiers) for each in found.values()] == [ids for _inner, ids in REFERENCES]


def test_references_have_titles_and_years_and_may_list_several_papers() -> None:
    refs = entry(
        1, inner="<article-title>On <italic>E. coli</italic>.</article-title><source>J</source><year>1999a</year>"
    )
    refs += (
        '<ref id="b2"><citation-alternatives><mixed-citation id="m2">x</mixed-citation>'
        '<element-citation publication-type="book"><source>A book</source><year>2001</year></element-citation>'
        "</citation-alternatives></ref>"
    )
    refs += (
        '<ref id="b5"><citation citation-type="other"><source>A page</source></citation></ref>'
        '<ref id="b6"><citation citation-type="other"><source>J</source><volume>1</volume></citation></ref>'
    )
    refs += '<ref id="b3"><mixed-citation publication-type="journal"><source>J</source></mixed-citation></ref>'
    refs += (
        '<ref id="b4"><mixed-citation id="b4a"><article-title>One</article-title></mixed-citation>'
        '<mixed-citation id="b4b"><article-title>Two</article-title></mixed-citation></ref>'
    )
    text = "".join(
        f'[<xref ref-type="bibr" rid="{rid}">x</xref>]' for rid in ("b1", "m2", "b3", "b4", "b4b", "b5", "b6")
    )
    found = read_jats(article(f"<p>{text}</p>", refs=refs))
    cited = [[found.references[key] for key in each.cited] for each in found.paragraphs[0].citations]
    assert [[(each.title, each.year) for each in several] for several in cited] == [
        [("On E. coli", 1999)], [("A book", 2001)], [("", None)], [("One", None), ("Two", None)], [("Two", None)],
        [("A page", None)], [("", None)],
    ]  # fmt: skip
    assert cited[2] == [Reference(())]


def test_the_article_itself_has_its_ids_title_and_first_year() -> None:
    paper = read_jats(article("<p>x</p>")).paper
    assert paper == Reference(
        ("doi:10.1000/citing", "pmid:31", "pmcid:PMC77", title_key("The citing paper", 2011)),
        "The citing paper",
        2011,
    )
    assert read_jats(b"<article><front/><body/></article>") == FullText(Reference(()), (), {})


@pytest.mark.parametrize(
    "root",
    [
        "<article>",
        '<article xmlns="http://jats.nlm.nih.gov/ns/archiving/1.0/">',
        '<?xml version="1.0"?><!DOCTYPE article PUBLIC "-//NLM//DTD Journal Publishing DTD v2.0 20040830//EN" '
        '"http://dtd.nlm.nih.gov/publishing/2.0/journalpublishing.dtd"><article>',
    ],
)
def test_namespaces_and_dtds_do_not_matter(root: str) -> None:
    [found] = read_jats(article(f"<p>Cells [{A}–{B}].</p>", root=root)).paragraphs
    assert citations_in(found) == [("3–6", "3 4 5 6")]


def test_named_characters_are_read_without_their_dtd() -> None:
    root = '<!DOCTYPE article PUBLIC "-//NLM//DTD x" "http://127.0.0.1:9/x.dtd"><article>'
    found = read_jats(article(f"<p>Cells&ensp;&lsqb;{A}&ndash;{B}&rsqb; &alpha;&nosuch;.</p>", root=root)).paragraphs[0]
    assert found.text == "Cells [3–6] αnosuch."
    assert citations_in(found) == [("3–6", "3 4 5 6")]


@pytest.mark.parametrize("envelope", ["<pmc-articleset>{}</pmc-articleset>", "<OAI-PMH xmlns='http://x'>{}</OAI-PMH>"])
def test_articles_in_an_envelope_are_read(envelope: str) -> None:
    one = article(f"<p>One [{A}].</p>").decode()
    two = article(f"<p>Two [{B}].</p>").decode()
    each = f"<record><metadata>{one}</metadata></record><record><metadata>{two}</metadata></record>"
    content = envelope.format(each).encode()
    found = read_articles(content, report=FullTextReport())
    assert [each.paragraphs[0].text for each in found] == ["One [3].", "Two [6]."]


def test_markers_without_a_known_reference_are_counted() -> None:
    report = FullTextReport()
    [found] = read_jats(
        article(f'<p>Cells [{A}, {xref(77)}, {xref(3, 99)}, <xref ref-type="bibr">8</xref>].</p>'), report
    ).paragraphs
    assert [cited for _, cited in citations_in(found)] == ["3", "3"]
    assert report.dropped == {UNKNOWN_REFERENCE: 2, NO_REFERENCE: 1}


def test_articles_before_damage_are_read() -> None:
    content = b"<set>" + article("<p>One.</p>") + article("<p>Two.</p>")[:-30]
    articles = read_articles(content, report=FullTextReport())
    assert next(articles).paragraphs[0].text == "One."
    with pytest.raises(FullTextError, match="malformed"):
        next(articles)


DEEP = 300
HOSTILE = {
    "nothing": b"",
    "no XML": b"{}",
    "binary": b"\x00\x01\x02",
    "HTML": b"<html><article><p>x</p></article></html>",
    "broken off": article("<p>x</p>")[:-5],
    "wrong encoding": '<article><front/><body><p>é</p></body></article>'.encode("latin-1"),
    "unknown encoding": b'<?xml version="1.0" encoding="nope"?><article/>',
    "deep": article("<sec>" * DEEP + "</sec>" * DEEP),
    "long": article("<p>" + "a" * 10_100_000 + "</p>"),
    "a bomb": article('<p id="&b;">x</p>', root='<!DOCTYPE article [<!ENTITY a "{}"><!ENTITY b "{}">]><article>'.format(
        "a" * 30_000, "&a;" * 30_000)),
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused(content: bytes) -> None:
    # The message follows the place of a document.
    with pytest.raises(FullTextError, match=r"^(it|its|this) [^.]*.*\.$"):
        read_jats(content)


def test_declared_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not read me")
    root = f'<!DOCTYPE article [<!ENTITY a "aaaa"><!ENTITY f SYSTEM "{secret.as_uri()}"><!ENTITY alpha "no">]><article>'
    found = read_jats(article("<p>x &a; &f; &alpha;</p>", root=root))
    assert found.paragraphs[0].text == "x a f α"


def test_long_runs_are_read_in_linear_time() -> None:
    """None of these would end if a pattern or a loop went back for every character."""
    for inner in ("-" * 200_000 + "x", xref(3) + "-" * 200_000 + "x", xref(3) * 5_000, xref(4, text="") * 5_000,
                  "<sup>1</sup>," * 5_000, xref(3) + ", " * 50_000 + "x", "&lt;" * 5_000):  # fmt: skip
        paragraph(f"x{inner}")


MARKED = st.lists(
    st.one_of(
        st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs", "M"]), max_size=12).map(
            lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        ),
        st.lists(st.integers(1, 14), min_size=1, max_size=3).map(lambda numbers: xref(*numbers)),
        st.integers(1, 12).map(lambda number: xref(number, text="")),
        st.integers(1, 12).map(lambda number: f"<sup>{xref(number)}</sup>"),
        st.sampled_from(["–", "-", ", ", "[", "]", " ", "<break/>", "<sup>2</sup>", "<inline-graphic/>"]),
    ),
    max_size=12,
).map("".join)


@given(MARKED)
def test_citations_of_any_text_are_valid_and_apart(inner: str) -> None:
    for found in read_jats(article(f"<p>{inner}</p>")).paragraphs:
        assert found.text == " ".join(found.text.split())
        end = 0
        for each in found.citations:
            assert end <= each.start < each.end <= len(found.text)
            assert each.cited and len(set(each.cited)) == len(each.cited)
            assert {*each.cited} <= {f"b{n}" for n in range(1, 13)}
            assert any(character.isdigit() for character in found.text[each.start : each.end])
            end = each.end
