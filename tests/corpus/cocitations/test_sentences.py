"""Sentences and what each cites: planted ones, any text, and 60 real articles where they are available."""

import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.cocitations.full_text import Citation, FullText, FullTextReport, Paragraph, Reference, reference
from corpus.cocitations.jats import read_articles
from corpus.cocitations.sentences import Span, citing_sentences, sentences_in

PLOS = Path(__file__).resolve().parents[4] / "shared" / "data" / "plos" / "articles.tar.gz"


def marked(text: str) -> tuple[str, list[Span]]:
    """A text without its ‹ and ›, and the spans between them."""
    spans, parts, length = [], [], 0
    for number, part in enumerate(re.split("[‹›]", text)):
        if number % 2:
            spans.append((length, length + len(part)))
        parts.append(part)
        length += len(part)
    return "".join(parts), spans


# A | stands between two sentences; ‹ and › around a citation's span.
@pytest.mark.parametrize(
    "planted",
    [
        "Cells grow. |They die! |Do they? |Yes.",
        "As Smith et al. saw (Fig. 2), i.e. at 3.5 mg, cells grow. |E. coli does, too.",
        "As Smith et al. saw. |The cells grew.",
        "See Eq. 3, Eqs. 4 and 5, Suppl. Table 2, Sect. 2.3 and refs. 4 and 5. |Then cf. Smith.",
        "It was no. 4 in vol. 2 of approx. 3 vs. 5. |He said no. |Then it ended.",
        "We saw Drs. Smith and Jones in St. Louis, U.S.A. and so on. |Fine.",
        # Numbered markers.
        "Cells grow ‹[3]›. |They die ‹[4]›, ‹[5]›. |Fine.",
        "Cells grow. ‹[3]› |They die.‹[4]› |Then.‹[5]›–‹[7]› |Fine.",
        "Cells grow. [‹3›, ‹4›] |They die. [‹5›–‹6›] |Fine. [‹7›]",
        "Cells grow.‹12,13› |They die.‹14› |In all, p53.‹15› |Fine.",
        "Cells grow. |‹[3]› showed that. |‹[4]›, too, did.",
        "As Smith et al. ‹[3]› Foxp3 cells grow. |See ref. ‹[4]› Fig. 2.",
        "Cells grow (see ‹[3]›). |They die. |(See ‹[4]›.) |Fine.",
        # Markers without a span.
        "Cells grow. [3] |They die. [4,5] |Then. [6–8] |Fine.",
        # By author and year.
        "Cells grow (‹Smith et al. 2000›; ‹Ng, J. 2001›). |They die. (‹Smith 2000›) |Fine.",
        "Cells grow. |‹Smith et al. (2000)› saw it. |‹Jones et al. 2001› did not.",
        "Cells grow (‹Chang et al. 2000›) (Table 1, rows 5–7). |In all, they die (‹Kim 1998›) (Table 2). |Fine.",
        "Cells grow (‹St. John, A. B. et al. 2000. Nature›). |Fine.",
        # Lists and brackets, after which sentencex finds no more sentences.
        "(1) Cells grow [a]. |They die. |(2) Others live. |They grow.",
        "1) Cells grow ‹[7]›. |They die; 2) others live. |They grow.",
        "Cells grow (so. It was. And) still. |They die.",
        "They were seen. |(An aside with two. Sentences.) |Fine.",
        # A lower-case word begins none; a gene's or a unit's name may.
        "We used approx. five. |mRNA was seen. |pH was 7. |α-cells grew.",
        "Ünïcode 𝛼 cells grow. |𝛼 cells die ‹[3]›. |Ωmega.",
        "Do cells in the U.K. grow? ‹[3]› ",
    ],
)
def test_planted_sentences_are_found(planted: str) -> None:
    bare = planted.replace("‹", "").replace("›", "")
    expected = [part for part in bare.split("|") if part]
    text, spans = marked(planted.replace("|", ""))
    assert [text[start:end] for start, end in sentences_in(text, spans=spans)] == expected


TEXT = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(["Cells", " ", ". ", "? ", "[3]", "‹[3]›", "‹4,5›", "‹Smith 2000›", "(", ")", "[", "]",
                         "et al.", "\n\n", "\n", "Fig.", "2000) ", "𝛼", "\ud800", '"', "The", "mRNA", "\u2029"]),
    ),
    max_size=30,
).map(lambda parts: "".join(parts))  # fmt: skip


@given(TEXT)
def test_sentences_cover_any_text_and_split_no_marker(text: str) -> None:
    plain, spans = marked(text)
    spans = [(start, end) for start, end in spans if start < end]
    found = sentences_in(plain, spans=spans)
    assert "".join(plain[start:end] for start, end in found) == plain
    assert all(start < end for start, end in found)
    for start, end in spans:
        assert sum(first <= start and end <= last for first, last in found) == 1


def test_repetitive_texts_end() -> None:
    for piece in ("(", ")", "[", "[1", "[1,", "[1] ", "A. [1] ", "((((a))))." * 9, "Fig. ", '"', ". ", "a.", "\u2029"):
        text = piece * (60_000 // len(piece))
        spans = [(at, at + 1) for at in range(0, len(text) - 1, 7)]
        found = sentences_in(text, spans=spans)
        assert found[0][0] == 0 and found[-1][1] == len(text)
    assert sentences_in("") == []


REFERENCES = {
    "a": reference([("doi", "10.1000/a"), ("pmid", 1)], title="A"),
    "b": reference([("pmid", 2)]),
    "again": reference([("pmid", 1)]),
    "c": reference([], title="C"),
    "none": Reference(()),
    "nothing": Reference(()),
}


def full_text(*texts: str, cited: list[list[str]], paper: Reference = REFERENCES["c"]) -> FullText:
    each = iter(cited)
    paragraphs = []
    for text in texts:
        plain, spans = marked(text)
        citations = tuple(Citation(start, end, tuple(next(each))) for start, end in spans)
        paragraphs.append(Paragraph(plain, citations))
    return FullText(paper, tuple(paragraphs), REFERENCES)


def test_each_sentence_has_the_papers_that_it_cites() -> None:
    text = full_text(
        "One ‹[1]› and\n two ‹[2, 3]›. None here. Three.‹4›  Four ‹[5]›.",
        "No citation.",
        "Five ‹[1]›.",
        cited=[["b"], ["a", "c"], ["a", "again"], ["none", "nothing"], ["again", "a"]],
    )
    found = citing_sentences(text, place="x.xml")
    assert [(each.sentence, each.cited) for each in found] == [
        ("One [1] and two [2, 3].", (REFERENCES["b"], REFERENCES["a"], REFERENCES["c"])),
        ("Three.4", (REFERENCES["a"],)),
        ("Four [5].", (REFERENCES["none"], REFERENCES["nothing"])),
        ("Five [1].", (REFERENCES["again"],)),
    ]
    assert {each.citing for each in found} == {REFERENCES["c"].identifiers[0]}


def test_a_paper_without_identifiers_is_named_by_its_place() -> None:
    text = full_text("One ‹[1]›.", cited=[["a"]], paper=Reference(()))
    assert [each.citing for each in citing_sentences(text, place="x.tar.gz, y.xml")] == ["x.tar.gz, y.xml"]
    assert citing_sentences(full_text("None.", cited=[]), place="x") == []


@pytest.fixture(scope="module")
def plos() -> dict[str, FullText]:
    if not PLOS.is_file():
        pytest.skip("needs real articles: ../shared/data/plos/articles.tar.gz is not there")
    return dict(_articles())


def _articles() -> Iterator[tuple[str, FullText]]:
    with tarfile.open(PLOS) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and member.name.endswith(".xml"):
                yield member.name, next(read_articles(file.read(), report=FullTextReport()))


def test_real_articles_are_read(plos: Mapping[str, FullText]) -> None:
    assert len(plos) == 60
    assert all(
        each.paper.identifiers[0].startswith("doi:10.1371/journal.") and each.paper.title for each in plos.values()
    )
    assert sum(len(each.references) for each in plos.values()) == 3_773
    assert sum(bool(each.identifiers) for text in plos.values() for each in text.references.values()) >= 3_599
    assert sum(len(paragraph.citations) for each in plos.values() for paragraph in each.paragraphs) > 5_000


def test_real_markers_cite_what_they_print(plos: Mapping[str, FullText]) -> None:
    """In these articles, the label of a reference is its place in the list."""
    checked, wrong = 0, []
    for full_text in plos.values():
        place_of = {key: place for place, key in enumerate(full_text.references, start=1)}
        for paragraph in full_text.paragraphs:
            for each in paragraph.citations:
                printed = paragraph.text[each.start : each.end]
                ends = [int(number) for number in re.findall(r"\d+", printed)]
                if re.search("[A-Za-z]", printed) or ends[0] > 1_000:
                    continue  # by author and year
                whole = ends if len(ends) == 1 else list(range(ends[0], ends[1] + 1))
                if [place_of[key] for key in each.cited] != whole:
                    wrong.append((printed, each.cited))
                checked += 1
    assert checked > 4_800
    assert wrong == [("[39]", ("pone.0067380-Domenici1",))]  # the publisher's slip: the XML's link is to the third


def test_real_sentences_look_like_sentences(plos: Mapping[str, FullText]) -> None:
    found = [each for name, text in plos.items() for each in citing_sentences(text, place=name)]
    assert len(found) > 2_500
    # Headings of lists of species and formulas have no full stop; of the others, next to all.
    ended = sum(bool(re.search(r"[.?!:;][\])”\"’']*(?:\[[^\]]*\])?$", each.sentence)) for each in found)
    begun = sum(bool(re.match(r"[^a-z.,;:)\]]|[a-z]*[A-Z0-9]", each.sentence)) for each in found)
    assert ended >= 0.985 * len(found) and begun >= 0.997 * len(found)
    assert sum(len(each.sentence.split()) > 75 for each in found) <= 0.012 * len(found)
