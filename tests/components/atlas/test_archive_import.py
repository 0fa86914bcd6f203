"""Nothing hostile is imported: not a zip, not a manifest, not an array, not a paper."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from components.atlas.archive import write_archive
from components.atlas.archive_import import ArchiveRefused, import_archive
from components.atlas.paths import NameReserved, atlas_names
from components.atlas.reencode import reencode
from components.atlas.store import AtlasParts, open_atlas
from components.encoder.catalogue import LEXICAL

if TYPE_CHECKING:
    from conftest import Archives

MakeParts = Callable[..., AtlasParts]


class Trial:
    """The archive of the atlas `one`, in a home without any atlas; changed and imported, as a stranger would."""

    def __init__(self, archives: type[Archives], alone: Path, home: Path) -> None:
        self.archives, self.home = archives, home
        self.files = archives.content(alone)
        self.manifest = json.loads(self.files["manifest.json"])
        self.path = alone.with_name("a.zip")

    def write(self, files: dict[str, bytes] | None = None, **changes: Any) -> Path:
        """An archive with some files and some fields of the manifest changed, every checksum right."""
        return self.archives.sealed(self.files | (files or {}), self.path, **changes)

    def refused(self, files: dict[str, bytes] | None = None, **changes: Any) -> str:
        return self.archives.refused(self.write(files, **changes), self.home)


@pytest.fixture
def trial(archives: type[Archives], alone: Path, home: Path) -> Trial:
    return Trial(archives, alone, home)


def npy(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_the_default_atlas_is_not_replaced(trial: Trial) -> None:
    with pytest.raises(NameReserved, match="default atlas"):
        import_archive(trial.write(), name="medline")
    manifest = import_archive(trial.write(name="medline", corpus="medline"))
    assert (manifest.name, manifest.corpus) == ("medline-2", "medline-2")
    assert atlas_names() == ["medline-2"]


# Hostile zips


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"<html>" * 90, bytes(5000)])
def test_other_files_are_refused(archives: type[Archives], home: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    archives.refused(tmp_path / "a.zip", home)
    assert "No such file" in archives.refused(tmp_path / "none.zip", home)
    assert "directory" in archives.refused(tmp_path, home)


def test_an_archive_cut_off_anywhere_is_refused(trial: Trial) -> None:
    whole = trial.write().read_bytes()
    for end in range(0, len(whole), len(whole) // 40):
        trial.path.write_bytes(whole[:end])
        trial.archives.refused(trial.path, trial.home)


def test_a_byte_changed_anywhere_is_harmless_or_refused(alone: Path, home: Path, tmp_path: Path) -> None:
    whole = alone.read_bytes()
    random = np.random.default_rng(3)
    ends = range(len(whole) - 700, len(whole))  # the end of the manifest and the directory, where a change matters most
    for at in [*random.integers(0, len(whole), 60).tolist(), *random.choice(ends, 60, replace=False).tolist()]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(random.integers(8))
        (tmp_path / "a.zip").write_bytes(changed)
        try:
            manifest = import_archive(tmp_path / "a.zip")
        except (ArchiveRefused, NameReserved):
            assert not home.exists() or list(home.iterdir()) == []
            continue
        open_atlas(manifest.name)  # what was changed was no content: a date, say
        shutil.rmtree(home)


def test_archives_with_other_members_are_refused(trial: Trial, tmp_path: Path) -> None:
    def refused(files: dict[str, bytes]) -> str:
        return trial.archives.refused(trial.archives.zipped(files, trial.path), trial.home)

    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts} | {trial.path}
    for name in trial.files:
        assert "instead of" in refused({other: data for other, data in trial.files.items() if other != name})
    for name in ("x.txt", "index.hnsw", "papers.parquet", "sub/vectors.npy", "__MACOSX/x", "sub/"):
        assert "instead of" in refused(trial.files | {name: b""})
    for name in ("../vectors.npy", "/etc/passwd", "a/../../b", "c:\\x", "a\\b"):
        refused(trial.files | {name: b"x"})
    for name in trial.files.keys() - {"manifest.json"}:
        changed = trial.files[name][:-1] + bytes([trial.files[name][-1] ^ 1])
        assert f"{name} in it is not what its manifest says" in refused(trial.files | {name: changed})
    refused({str(number): b"" for number in range(2000)})
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == before


def test_a_repeated_member_is_refused(trial: Trial) -> None:
    path = trial.write()
    with zipfile.ZipFile(path, "a") as made, pytest.warns(UserWarning, match="Duplicate"):
        made.writestr(zipfile.ZipInfo("vectors.npy"), trial.files["vectors.npy"])
    trial.archives.refused(path, trial.home)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(trial: Trial, kind: int) -> None:
    with zipfile.ZipFile(trial.path, "w") as made:
        for name, data in trial.files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16 if name == "vectors.npy" else 0
            made.writestr(info, data)
    trial.archives.refused(trial.path, trial.home)


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused(trial: Trial, how: int) -> None:
    with zipfile.ZipFile(trial.path, "w", how) as made:
        for name, data in trial.files.items():
            made.writestr(name, data)
    trial.archives.refused(trial.path, trial.home)


def test_encrypted_and_overlapping_members_are_refused(trial: Trial) -> None:
    whole = trial.write().read_bytes()
    at = whole.index(b"PK\x01\x02")
    encrypted, overlapping = bytearray(whole), bytearray(whole)
    encrypted[at + 8] |= 1
    sizes = struct.unpack_from("<LL", whole, at + 20)
    struct.pack_into("<LL", overlapping, at + 20, *(size + 2**30 for size in sizes))
    for data in (encrypted, overlapping):
        trial.path.write_bytes(data)
        trial.archives.refused(trial.path, trial.home)


def test_zip64_archives_are_read(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)  # as if it had gigabytes
    path = trial.write()
    assert b"PK\x06\x06" in path.read_bytes()
    assert import_archive(path).papers == 60
    shutil.rmtree(trial.home)
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, data.index(b"PK\x06\x07") + 8, 5)
    path.write_bytes(data)
    trial.archives.refused(path, trial.home)


# Hostile contents, with the right checksums


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"papers": 59}, "the 59 papers"),
        ({"papers": 61}, "the 61 papers"),
        ({"papers": 0}, "0 papers"),
        ({"papers": 10**12}, "1,000,000,000,000 papers"),
        ({"papers": 10**30}, "papers"),
        ({"dimensions": 7}, "vectors.npy holds"),
        ({"dimensions": 10**9}, "dimensions"),
        ({"format": 2}, "format"),
        ({"regions": []}, "names a region"),
        ({"name": "../../x"}, "name"),
        ({"corpus": "A/B"}, "corpus"),
        ({"title": "x" * 1000}, "title"),
        ({"source": {"reports": [{"kept": 1, "note": nested(800)}]}}, "recursion"),
        ({"versions": {"python": ["3"]}}, "versions"),
        ({"versions": dict.fromkeys(map(str, range(101)), "1")}, "versions"),
        ({"projection": {"seed": "x" * 9}}, "projection"),
        ({"source": {"reports": [{"kept": "<b>"}]}}, "source"),
        ({"extra": 1}, "extra"),
    ],
)
def test_false_manifests_are_refused(trial: Trial, changes: dict[str, Any], message: str) -> None:
    assert message in trial.refused(**changes)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"papers": 1' + b"0" * 9000 + b"}"])
def test_invalid_manifests_are_refused(trial: Trial, text: bytes) -> None:
    path = trial.archives.zipped(trial.files | {"manifest.json": text}, trial.path)
    trial.archives.refused(path, trial.home)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "short"}, "an invalid encoder"),
        ({"name": ""}, "an invalid encoder"),
        ({"name": "x" * 500}, "an invalid encoder"),
        ({"source": "specter"}, "makes no vectors of 8 dimensions"),
        ({"source": "tfidf-svd"}, "encoder.npz belongs"),
        ({"normalised": True}, "not of length 1"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_false_encoders_are_refused(trial: Trial, changes: dict[str, Any], message: str) -> None:
    assert message in trial.refused(encoder=trial.manifest["encoder"] | changes)


def test_region_names_are_checked_and_sizes_are_counted(trial: Trial) -> None:
    first, second = trial.manifest["regions"]
    for name in ("", "\u202e", "x" * 300):
        assert "region 0" in trial.refused(regions=[first | {"name": name}, second])
    manifest = import_archive(trial.write(regions=[first | {"size": 10**9}, second | {"size": 0}]))
    counted = np.bincount(open_atlas(manifest.name).region_ids + 1, minlength=3)[1:]
    assert [region.size for region in manifest.regions] == counted.tolist()


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        *(("vectors.npy", value, "vector 2 holds") for value in (np.nan, np.inf, -np.inf, 1e30)),
        *(("coordinates.npy", value, "outside the map") for value in (np.nan, np.inf, 1.5)),
        *(("regions.npy", value, "names a region") for value in (-2, 2, 32767)),
    ],
)
def test_invalid_numbers_are_refused(trial: Trial, file: str, value: float, message: str) -> None:
    array = np.load(io.BytesIO(trial.files[file]))
    array.flat[17] = value
    assert message in trial.refused({file: npy(array)})


def with_header(text: str) -> bytes:
    """A .npy file with any header, and zeros after it."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(60 * 8 * 4)


def bad_arrays() -> list[bytes]:
    real = np.zeros((60, 8), np.float32)
    header = npy(real)
    arrays = io.BytesIO()
    np.savez(arrays, a=real)
    # With text that it does not expect, numpy raises each kind of error that reading Python literals can.
    odd = [f"'shape': ({'-' * 9000}1, 8)", "'shape': (True, 8)", "'shape': '''", "[1]: 2", "1: (60, 8)"]
    return [
        b"",
        b"\x93NUMPY",
        npy(real.astype(np.float64)),
        npy(real[:-1]),
        npy(real.T.copy()),
        header[:-4],
        npy(real.astype(">f4")),
        arrays.getvalue(),
        npy(np.array([[{}] * 8] * 60, dtype=object), allow_pickle=True),
        header.replace(b"(60, 8)", b"(9**9)").replace(b"{", b"__import__('os').abort() #", 1),
        header.replace(b"(60, 8)", b"(10**9)"),
        *(with_header(f"{{'descr': '<f4', 'fortran_order': False, {text}}}") for text in odd),
    ]


@pytest.mark.parametrize("data", bad_arrays(), ids=range(16))
def test_foreign_arrays_are_refused(trial: Trial, data: bytes) -> None:
    trial.refused({"vectors.npy": data})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "id"),
        ({"id": "\u200e"}, "id"),
        ({"id": "0-3"}, "is repeated"),
        ({"id": 7}, "id"),
        *(({"url": url}, "begins with neither") for url in ("javascript:alert(1)", "data:x", " javascript:alert(1)")),
        *(({"year": year}, "year") for year in ("2001", True, 10**9, -1, 2001.0)),
        ({"title": None}, "title"),
        ({"abstract": ["a"]}, "abstract"),
        ({"authors": "Noether"}, "authors"),
        ({"authors": [1]}, "authors"),
        ({"topics": {}}, "topics"),
        ({"title": "x" * 3000}, "title of 3,000 characters"),
        ({"abstract": "x" * 60_000}, "abstract of 60,000"),
        ({"topics": ["x"] * 2000}, "2,000 topics"),
        ({"authors": ["x" * 2000]}, "author's name"),
        ({"more": 1}, "more"),
        ({"title": "\ud800"}, "JSON"),
    ],
)
def test_invalid_papers_are_refused(trial: Trial, changes: dict[str, Any], message: str) -> None:
    papers = trial.archives.papers(trial.files)
    papers[9] |= changes
    refused = trial.refused(trial.archives.with_papers({}, papers))
    assert message in refused
    assert "line 10" in refused


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b"1" * 5000, b"[" * 100_000, b"null", b"NaN"])
def test_invalid_lines_are_refused(trial: Trial, line: bytes) -> None:
    lines = gzip.decompress(trial.files["papers.jsonl.gz"]).splitlines()
    lines[9] = line
    assert "line 10" in trial.refused({"papers.jsonl.gz": gzip.compress(b"\n".join(lines) + b"\n")})


def test_deceptive_text_is_cleaned(trial: Trial) -> None:
    papers = trial.archives.papers(trial.files)
    papers[4] |= {"title": "a\u202eb\x00 c\n", "abstract": " x\r\n\ny ", "url": "HTTPS://example.org"}
    manifest = import_archive(trial.write(trial.archives.with_papers({}, papers), title="\u202eMine"))
    paper = open_atlas(manifest.name).paper(4)
    assert (paper.title, paper.abstract, paper.url) == ("ab c", "x\ny", "HTTPS://example.org")
    assert manifest.title == "Mine"


def test_other_numbers_of_papers_are_refused(trial: Trial) -> None:
    papers = trial.archives.papers(trial.files)
    for other in (papers[:-1], [*papers, papers[0] | {"id": "new"}], []):
        trial.refused(trial.archives.with_papers({}, other))


def test_gzip_bombs_are_refused(trial: Trial) -> None:
    for data in (gzip.compress(b" " * 40_000_000), gzip.compress(b"\n" * 20_000_000), b"\x1f\x8bxx", b"\n" * 60):
        assert "papers.jsonl.gz" in trial.refused({"papers.jsonl.gz": data})


def test_hostile_lexical_encoders_are_refused(
    archives: type[Archives], topics: str, home: Path, tmp_path: Path
) -> None:
    write_archive(reencode(topics, encoder=LEXICAL).name, tmp_path / "a.zip")
    files = archives.content(tmp_path / "a.zip")
    shutil.rmtree(home)

    def refused(encoder: bytes) -> None:
        path = archives.sealed(files | {"encoder.npz": encoder}, tmp_path / "b.zip")
        assert "encoder" in archives.refused(path, home)

    with np.load(io.BytesIO(files["encoder.npz"])) as found:
        arrays = dict(found)
    for changes in (
        {"idf": arrays["idf"] * np.nan},
        {"terms": np.zeros(0, np.uint8)},
        {"term_vectors": arrays["term_vectors"][:, :-1].copy()},
        {"idf": np.array([{}] * len(arrays["idf"]), dtype=object)},
        {"more": np.zeros(1)},
        {"idf": arrays["idf"] * np.float32(1.001)},  # valid, but not the encoder of these vectors
    ):
        buffer = io.BytesIO()
        np.savez(buffer, **(arrays | changes))
        refused(buffer.getvalue())
    members = {f"{name}.npy": npy(values) for name, values in arrays.items()}
    for header in ("{'descr': '<f4', 'shape': '''", "{[1]: 2}", f"{'-' * 9000}1"):
        refused(archives.zipped(members | {"idf.npy": with_header(header)}, tmp_path / "c.npz").read_bytes())
    without = {file: data for file, data in files.items() if file != "encoder.npz"}
    assert "encoder.npz belongs" in archives.refused(archives.sealed(without, tmp_path / "b.zip"), home)


def test_a_lexical_encoder_in_another_atlas_is_refused(trial: Trial) -> None:
    assert "encoder.npz belongs" in trial.refused({"encoder.npz": b"x"})
