"""Full texts in every format, written by the tests: two citing sentences each, of papers that are known."""

import io
import json
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.cocitations.full_text import CitingSentence, FullTextReport
from corpus.cocitations.reading import read_citing_sentences

TOGETHER = "doi:10.1000/a", "doi:10.1000/b"
ALONE = ("doi:10.1000/c",)


def sentence_line(citing: str = "10.1000/citing", **changed: Any) -> dict[str, Any]:
    return {"citing": citing, "sentence": "Both are known [1, 2].", "dois": ["10.1000/a", "10.1000/b"], **changed}


def cord19(paper_id: str = "PMC7", **changed: Any) -> dict[str, Any]:
    text = "Both are known [1] [2]. One is new [3]."
    return {
        "paper_id": paper_id,
        "metadata": {"title": "A paper of CORD-19"},
        "body_text": [
            {"text": text, "cite_spans": spans(text, {"[1]": "BIBREF0", "[2]": "BIBREF1", "[3]": "BIBREF2"})}
        ],
        "bib_entries": {
            f"BIBREF{place}": {
                "ref_id": f"b{place}",
                "title": f"Title {letter}",
                "year": 2010,
                "other_ids": {"DOI": [f"10.1000/{letter.upper()}"]},
            }
            for place, letter in enumerate("abc")
        },
        **changed,
    }


def s2orc(paper_id: str = "123", **changed: Any) -> dict[str, Any]:
    text = "Both are known [1] [2]. One is new [3]."
    return {
        "paper_id": paper_id,
        "_pdf_hash": "f00",
        "abstract": [{"text": "Not this [1] [3].", "cite_spans": spans("Not this [1] [3].", {"[1]": "BIBREF0"})}],
        "body_text": [
            {"text": text, "cite_spans": spans(text, {"[1]": "BIBREF0", "[2]": "BIBREF1", "[3]": "BIBREF2"})}
        ],
        "bib_entries": {
            f"BIBREF{place}": {
                "title": f"Title {letter}",
                "year": "2010",
                "link": str(place + 1),
                "doi": f"10.1000/{letter}",
            }
            for place, letter in enumerate("abc")
        },
        **changed,
    }


def annotated(corpus_id: int = 456, **changed: Any) -> dict[str, Any]:
    """As the API's data sets have it: lists of annotations within JSON within JSON."""
    text = "A title\nBoth are known [1] [2]. One is new [3].\nReferences\nTitle a. 2010\nTitle b. 2010\nTitle c. 2010\n"

    def at(part: str, **attributes: Any) -> dict[str, Any]:
        start = text.index(part)
        return {"start": start, "end": start + len(part), "attributes": attributes}

    annotations = {
        "title": [at("A title")],
        "paragraph": [at("Both are known [1] [2]. One is new [3].")],
        "bibref": [at(f"[{number}]", ref_id=f"b{number}") for number in (1, 2, 3)],
        "bibentry": [
            at(f"Title {each}. 2010", id=f"b{n}", doi=f"10.1000/{each}") for n, each in enumerate("abc", start=1)
        ],
        "bibtitle": [at(f"Title {each}") for each in "abc"],
        "table": None,
    }
    return {
        "corpusid": corpus_id,
        "externalids": {"doi": None, "pubmed": None},
        "content": {
            "text": text,
            "annotations": {key: value and json.dumps(value) for key, value in annotations.items()},
        },
        **changed,
    }


def unarxive(paper_id: str = "2105.05862", **changed: Any) -> dict[str, Any]:
    return {
        "paper_id": paper_id,
        "_source_name": f"{paper_id}.gz",
        "metadata": {"id": paper_id, "title": "A paper of arXiv", "doi": None},
        "body_text": [
            {
                "content_type": "paragraph",
                "text": "Both are known {{cite:aa}}, {{cite:bb}}. One with {{formula:7f}} is new {{cite:cc}}.\n",
                "cite_spans": [{"start": 999, "end": 1000, "text": "wrong", "ref_id": "aa"}],
            }
        ],
        "bib_entries": {
            "aa": {"bib_entry_raw": "A", "ids": {"doi": "10.1000/a"}},
            "bb": {"bib_entry_raw": "B", "ids": {}, "contained_links": [{"url": "https://doi.org/10.1000/B"}]},
            "cc": {"bib_entry_raw": "C", "ids": {"doi": "https://doi.org/10.1000/c", "open_alex_id": None}},
        },
        **changed,
    }


def jats(doi: str = "10.1000/jats") -> bytes:
    references = "".join(
        f'<ref id="b{n}"><element-citation><pub-id pub-id-type="doi">10.1000/{each}</pub-id></element-citation></ref>'
        for n, each in enumerate("abc", start=1)
    )
    marker = '[<xref ref-type="bibr" rid="b{0}">{0}</xref>]'
    return (
        f'<article><front><article-meta><article-id pub-id-type="doi">{doi}</article-id></article-meta></front>'
        f"<body><p>Both are known {marker.format(1)}, {marker.format(2)}. One is new {marker.format(3)}.</p></body>"
        f"<back><ref-list>{references}</ref-list></back></article>"
    ).encode()


def spans(text: str, keys: dict[str, str | None]) -> list[dict[str, Any]]:
    """The spans of markers that stand in a text once."""
    return [
        {"start": text.index(marker), "end": text.index(marker) + len(marker), "text": marker, "ref_id": key}
        for marker, key in keys.items()
    ]


def lines(*records: object) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(*paths: Path, workers: int = 1) -> tuple[list[CitingSentence], FullTextReport]:
    report = FullTextReport()
    return list(read_citing_sentences(paths, workers=workers, report=report)), report


def citing(sentences: Sequence[CitingSentence]) -> list[str]:
    return [sentence.citing for sentence in sentences]


def a_file(tmp_path: Path, content: bytes, name: str = "file") -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tar(members: dict[str, bytes], mode: str = "w:gz", **info: Any) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in info.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


LINES = lines(sentence_line("10.1000/1"), sentence_line("10.1000/2"))
BOTH = ["doi:10.1000/1", "doi:10.1000/2"]
