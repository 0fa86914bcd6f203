"""What tests of components share: a web server that can be made to fail, a hub in it, archives, and judged sets."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper


class Web:
    """A web server over real sockets. files: path → bytes. asked: (method, path, Range header), in order.

    etags: path → ETag; where there is none, none is sent. drops: after how many bytes of its body each of the next
    answers breaks off. statuses: what the next GETs answer in place of a file. lengths: path → a false Content-Length.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.redirects: dict[str, str] = {}
        self.lengths: dict[str, int] = {}
        self.drops: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self, body=True)

            def do_HEAD(self) -> None:
                web.answer(self, body=False)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def got(self, path: str) -> list[str]:
        """The Range headers ("" for none) of the GETs of a path."""
        return [asked for method, where, asked in self.asked if method == "GET" and where == path]

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.partition("?")[0]
        self.asked.append((request.command, path, request.headers.get("Range", "")))
        content = self.files.get(path)
        if body and self.statuses and content is not None:
            request.send_error(self.statuses.pop(0))
            return
        if path in self.redirects:
            request.send_response(302)
            for name, value in {"Location": self.redirects[path], "Content-Length": "0"}.items():
                request.send_header(name, value)
        elif content is None:
            request.send_error(404)
            return
        else:
            content = self._range(request, path, content)
            if content is None:
                return
            request.send_header("Content-Length", str(self.lengths.get(path, len(content))))
            if path in self.etags:
                request.send_header("ETag", self.etags[path])
        for name, value in self.headers.get(path, {}).items():
            request.send_header(name, value)
        request.end_headers()
        if not body or path in self.redirects:
            return
        drop = self.drops.pop(0) if self.drops and len(content) > self.drops[0] else len(content)
        request.wfile.write(content[:drop])
        request.close_connection = True

    def _range(self, request: BaseHTTPRequestHandler, path: str, content: bytes) -> bytes | None:
        """The bytes asked for, the status line sent; None where there are none."""
        asked, condition = request.headers.get("Range"), request.headers.get("If-Range")
        if not self.ranges or asked is None or (condition is not None and condition != self.etags.get(path)):
            request.send_response(200)
            return content
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        if first >= len(content):
            request.send_error(416)
            return None
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        return content[first:]

    def publish(self, hub_id: str, commit: str, files: dict[str, bytes]) -> None:
        """Hold a repository as the hub does, `commit` its main; large files are led to another address."""
        told = json.dumps(
            {"id": hub_id, "sha": commit, "siblings": [{"rfilename": name} for name in files], "tags": []}
        ).encode()
        for revision in ("main", commit):
            self.files[f"/api/models/{hub_id}/revision/{revision}"] = told
            self.headers[f"/api/models/{hub_id}/revision/{revision}"] = {"Content-Type": "application/json"}
        for name, content in files.items():
            path = f"/{hub_id}/resolve/{commit}/{name}"
            self.headers[path] = {"X-Repo-Commit": commit}
            if name.endswith((".safetensors", ".bin")):
                sha256 = hashlib.sha256(content).hexdigest()
                self.files[f"/cdn/{sha256}"] = content
                self.etags[f"/cdn/{sha256}"] = '"of the cdn"'
                # Another host, as the hub's: the client follows what stays on the same one.
                self.redirects[path] = f"{self.url.replace('127.0.0.1', 'localhost')}/cdn/{sha256}"
                self.headers[path] |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
            else:
                self.files[path] = content
                self.etags[path] = f'"{hashlib.sha1(content).hexdigest()}"'


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server of this test's own."""
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of encoders, and an empty one of the hub, of this test's own; attempts follow at once."""
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("components.encoder.transfer.PAUSE_S", 0)
    return tmp_path / "encoders"


@pytest.fixture
def hub(web: Web, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The web server as the Hugging Face hub, still without repositories; its cache is empty."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", web.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", web.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    return web


def _write_zip(folder: Path, path: Path, *, root: str) -> Path:
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{root}/{file.name}")
    return path


@pytest.fixture(scope="session")
def zip_of() -> Callable[..., Path]:
    """zip_of(folder, path, root="name"): a zip of a folder's files under name/."""
    return _write_zip


@pytest.fixture(scope="session")
def full(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a -full release over `tiny`: run_info.json and model_cur_best.pt alone. Copy before changing."""
    import safetensors.torch
    import torch

    folder = tmp_path_factory.mktemp("full") / "planted-full"
    folder.mkdir()
    state = {
        f"bert_encoder.{name}": value for name, value in safetensors.torch.load_file(tiny / "model.safetensors").items()
    }
    state["bert_encoder.embeddings.position_ids"] = torch.arange(24)[None]
    state["bert_layer_weights.weight"] = torch.tensor([[0.5, -1.0, 2.0]])
    torch.save(state, folder / "model_cur_best.pt")
    run = {"all_hparams": {"base-pt-layer": "allenai/specter", "num_epochs": 1}, "data_path": "/x"}
    (folder / "run_info.json").write_text(json.dumps(run))
    return folder


@pytest.fixture
def full_copy(full: Path, tmp_path: Path) -> Path:
    """This test's own copy of `full`."""
    return Path(shutil.copytree(full, tmp_path / "own" / full.name))


# Archives of atlases.

Content = dict[str, bytes]


class Archives:
    """Archives, taken apart and put together by hand."""

    @staticmethod
    def content(path: Path) -> Content:
        """What is in an archive, by name."""
        with zipfile.ZipFile(path) as found:
            return {info.filename: found.read(info) for info in found.infolist()}

    @staticmethod
    def papers(files: Content) -> list[dict[str, Any]]:
        """The papers in the content of an archive."""
        return [json.loads(line) for line in gzip.decompress(files["papers.jsonl.gz"]).splitlines()]

    @staticmethod
    def with_papers(files: Content, papers: list[dict[str, Any]]) -> Content:
        """The content of an archive with other papers."""
        text = "".join(json.dumps(paper) + "\n" for paper in papers)
        return files | {"papers.jsonl.gz": gzip.compress(text.encode())}

    @staticmethod
    def zipped(files: Content, path: Path) -> Path:
        """The files as a stored zip, as they are."""
        with zipfile.ZipFile(path, "w") as made:
            for name, data in files.items():
                made.writestr(zipfile.ZipInfo(name), data)
        return path

    @classmethod
    def sealed(cls, files: Content, path: Path, **changes: Any) -> Path:
        """The files as an archive whose manifest, changed at the top, has the right seal for each: a careful liar's."""
        manifest = json.loads(files["manifest.json"]) | changes
        manifest["files"] = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
            if name != "manifest.json"
        }
        return cls.zipped(files | {"manifest.json": json.dumps(manifest).encode()}, path)

    @staticmethod
    def refused(path: Path, home: Path) -> str:
        """The sentence that an archive is refused with, after which nothing of it is anywhere."""
        from components.atlas.archive_import import ArchiveRefused, import_archive

        before = sorted(home.rglob("*")) if home.exists() else []
        with pytest.raises(ArchiveRefused) as caught:
            import_archive(path)
        assert (sorted(home.rglob("*")) if home.exists() else []) == before
        told = str(caught.value)
        assert told.startswith(f"{path.name} is refused: ")
        assert "\n" not in told
        return told


@pytest.fixture
def archives() -> type[Archives]:
    """How archives are taken apart and put together."""
    return Archives


@pytest.fixture
def packed(written: object, tmp_path: Path) -> Path:
    """The archive of the atlas `one`, which is there still."""
    from components.atlas.archive import write_archive

    write_archive("one", tmp_path / "one.zip")
    return tmp_path / "one.zip"


@pytest.fixture
def alone(packed: Path, home: Path) -> Path:
    """The archive of the atlas `one`, in a home without any atlas."""
    shutil.rmtree(home)
    return packed


# Judged sets.


def _judged_set(
    grades: dict[str, dict[str, int]],
    *,
    texts: dict[str, tuple[str, str]] | None = None,
    folds: list[list[str]] | None = None,
    relevant_from: int = 1,
    ids: list[str] | None = None,
) -> JudgedSet:
    """grades: query → candidate → grade. ids: of all papers, in their order; by default as they come."""
    names = ids or list(dict.fromkeys([*grades, *(one for pool in grades.values() for one in pool)]))
    row = {name: i for i, name in enumerate(names)}
    told = texts or {}
    papers = tuple(PoolPaper(name, *told.get(name, (f"Title of {name}", "An abstract."))) for name in names)
    pools = tuple(
        Pool(
            query,
            row[query],
            np.array([row[one] for one in pool], dtype=np.int32),
            np.array(list(pool.values()), dtype=np.int16),
        )
        for query, pool in grades.items()
    )
    splits = {"test": tuple(tuple(fold) for fold in folds or [list(grades)])}
    return JudgedSet("planted", "", "own", papers, pools, splits, relevant_from, (), "0" * 16)


@pytest.fixture(scope="session")
def judged_set() -> Callable[..., JudgedSet]:
    """judged_set({query: {candidate: grade}}): a set with these pools; a query's name is its paper's id."""
    return _judged_set


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch with one thread. Of more, toys make little use, and on a busy machine they wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
