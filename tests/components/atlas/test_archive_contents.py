"""Archives that are in order as zips, with the right seals, and hold what no atlas holds."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.atlas.archive import import_archive, write_archive
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas
from components.encoder import LEXICAL

if TYPE_CHECKING:
    from conftest import Archives


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


def with_header(text: str) -> bytes:
    """A .npy file with a header of any text, and zeros behind it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(60 * 8 * 4)


def spoilt(array: np.ndarray, value: float) -> bytes:
    changed = np.array(array)
    changed.flat[17] = value
    return npy(changed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_vectors_and_points_that_are_no_numbers_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, value: float
) -> None:
    files = archives.content(alone)
    for name, said in (("vectors.npy", "vector 2 holds"), ("coordinates.npy", "outside of the map")):
        array = np.load(io.BytesIO(files[name]))
        path = archives.sealed(files | {name: spoilt(array, value)}, tmp_path / "a.zip")
        assert said in archives.refused(path, home)


@pytest.mark.parametrize("region", [-2, 2, 32767])
def test_regions_out_of_range_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, region: int
) -> None:
    files = archives.content(alone)
    ids = np.load(io.BytesIO(files["regions.npy"]))
    path = archives.sealed(files | {"regions.npy": spoilt(ids, region)}, tmp_path / "a.zip")
    assert "names a region" in archives.refused(path, home)


def bad_arrays() -> list[bytes]:
    real = np.zeros((60, 8), np.float32)
    zipped_arrays = io.BytesIO()
    np.savez(zipped_arrays, a=real)
    objects = io.BytesIO()
    np.save(objects, np.array([[{}] * 8] * 60, dtype=object), allow_pickle=True)
    header = npy(real)
    # With text that it does not expect, numpy raises each kind of error that reading Python's own literals can.
    odd = [f"'shape': ({'-' * 9000}1, 8)", "'shape': (True, 8)", "'shape': '''", "[1]: 2", "1: (60, 8)"]
    lie = header.replace(b"(60, 8)", b"(60,8) ").replace(b"'fortran_order': False", b"'fortran_order': False")
    return [
        b"",
        b"\x93NUMPY",
        npy(real.astype(np.float64)),
        npy(real.astype(np.float32)[:-1]),
        npy(real.T.copy()),
        npy(real)[:-4],
        npy(real.astype(">f4")),
        zipped_arrays.getvalue(),
        objects.getvalue(),
        header.replace(b"(60, 8)", b"(9**9)").replace(b"{", b"__import__('os').abort() #", 1),
        lie.replace(b"(60,8) ", b"(10**9)"),
        *(with_header(f"{{'descr': '<f4', 'fortran_order': False, {told}}}") for told in odd),
    ]


@pytest.mark.parametrize("data", bad_arrays())
def test_files_that_are_no_arrays_of_theirs_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, data: bytes
) -> None:
    archives.refused(archives.sealed(archives.content(alone) | {"vectors.npy": data}, tmp_path / "a.zip"), home)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "no id"),
        ({"id": "\u200e"}, "no id"),
        ({"id": "0-3"}, "was given before"),
        ({"id": 7}, "is no text"),
        ({"url": "javascript:alert(1)"}, "begins with neither"),
        ({"url": "data:text/html,x"}, "begins with neither"),
        ({"url": " javascript:alert(1)"}, "begins with neither"),
        ({"year": "2001"}, "year"),
        ({"year": True}, "year"),
        ({"year": 10**9}, "year"),
        ({"year": -1}, "year"),
        ({"year": 2001.0}, "year"),
        ({"title": None}, "is no text"),
        ({"abstract": ["a"]}, "abstract is no text"),
        ({"authors": "Noether"}, "is no list"),
        ({"authors": [1]}, "is no text"),
        ({"topics": {}}, "is no list"),
        ({"title": "x" * 3000}, "title of 3,000 characters"),
        ({"abstract": "x" * 60_000}, "abstract of 60,000"),
        ({"topics": ["x"] * 2000}, "2,000 topics"),
        ({"authors": ["x" * 2000]}, "author's name"),
        ({"more": 1}, "it is no paper"),
    ],
)
def test_papers_that_are_none_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    papers = archives.papers(archives.content(alone))
    papers[9] |= changes
    told = archives.refused(
        archives.sealed(archives.with_papers(archives.content(alone), papers), tmp_path / "a.zip"), home
    )
    assert said in told
    assert "line 10" in told


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b"1" * 5000, b"[" * 100_000, b"null", b"NaN"])
def test_lines_that_are_no_papers_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path, line: bytes
) -> None:
    text = gzip.decompress(archives.content(alone)["papers.jsonl.gz"]).splitlines()
    text[9] = line
    files = archives.content(alone) | {"papers.jsonl.gz": gzip.compress(b"\n".join(text) + b"\n")}
    assert "line 10" in archives.refused(archives.sealed(files, tmp_path / "a.zip"), home)


def test_text_that_could_deceive_is_cleaned(archives: type[Archives], alone: Path, tmp_path: Path) -> None:
    papers = archives.papers(archives.content(alone))
    papers[4] |= {"title": "a\u202eb\x00 \ud800c\n", "abstract": " x\r\n\ny ", "url": "HTTPS://example.org"}
    manifest = import_archive(
        archives.sealed(archives.with_papers(archives.content(alone), papers), tmp_path / "a.zip")
    )
    paper = open_atlas(manifest.name).paper(4)
    assert (paper.title, paper.abstract, paper.url) == ("ab c", "x\ny", "HTTPS://example.org")


def test_more_or_fewer_papers_than_vectors_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    papers = archives.papers(archives.content(alone))
    for other in (papers[:-1], [*papers, papers[0] | {"id": "new"}], []):
        archives.refused(
            archives.sealed(archives.with_papers(archives.content(alone), other), tmp_path / "a.zip"), home
        )


def test_papers_that_unpack_without_end_are_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    bomb = gzip.compress(b" " * 40_000_000)
    told = archives.refused(
        archives.sealed(archives.content(alone) | {"papers.jsonl.gz": bomb}, tmp_path / "a.zip"), home
    )
    assert "papers.jsonl.gz" in told
    archives.refused(
        archives.sealed(archives.content(alone) | {"papers.jsonl.gz": b"\x1f\x8bxx"}, tmp_path / "a.zip"), home
    )
    for data in (b"\n" * 60, gzip.compress(b"\n" * 20_000_000)):
        archives.refused(archives.sealed(archives.content(alone) | {"papers.jsonl.gz": data}, tmp_path / "a.zip"), home)


def test_a_hostile_lexical_encoder_is_refused(
    archives: type[Archives], topics: str, home: Path, tmp_path: Path
) -> None:
    name = reencode(topics, encoder=LEXICAL).name
    write_archive(name, tmp_path / "a.zip")
    files = archives.content(tmp_path / "a.zip")
    shutil.rmtree(home)
    with np.load(io.BytesIO(files["encoder.npz"])) as found:
        arrays = dict(found)
    for changes in (
        {"idf": arrays["idf"] * np.nan},
        {"terms": np.zeros(0, np.uint8)},
        {"term_vectors": arrays["term_vectors"][:, :-1].copy()},
        {"idf": np.array([{}] * len(arrays["idf"]), dtype=object)},
        {"more": np.zeros(1)},
        {"idf": arrays["idf"] * np.float32(1.001)},  # fine by itself, and not the encoder of these vectors
    ):
        held = io.BytesIO()
        np.savez(held, **(arrays | changes))
        assert "encoder" in archives.refused(
            archives.sealed(files | {"encoder.npz": held.getvalue()}, tmp_path / "b.zip"), home
        )
    members = {f"{array}.npy": npy(values) for array, values in arrays.items()}
    for header in ("{'descr': '<f4', 'shape': '''", "{[1]: 2}", f"{'-' * 9000}1"):
        odd = archives.zipped(members | {"idf.npy": with_header(header)}, tmp_path / "c.npz").read_bytes()
        assert "encoder" in archives.refused(archives.sealed(files | {"encoder.npz": odd}, tmp_path / "b.zip"), home)
    without = {file: data for file, data in files.items() if file != "encoder.npz"}
    assert "encoder.npz belongs" in archives.refused(archives.sealed(without, tmp_path / "b.zip"), home)


def test_an_encoder_that_belongs_to_no_atlas_is_refused(
    archives: type[Archives], alone: Path, home: Path, tmp_path: Path
) -> None:
    path = archives.sealed(archives.content(alone) | {"encoder.npz": b"x"}, tmp_path / "a.zip")
    assert "encoder.npz belongs" in archives.refused(path, home)
