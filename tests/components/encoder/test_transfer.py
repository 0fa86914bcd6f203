"""Transfers of large files: over a real server that drops, changes, lies and is gone."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from components.encoder import transfer
from components.encoder.base import EncoderUnavailable
from components.encoder.transfer import download

CONTENT = np.random.default_rng(3).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_S", 0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.zip"


def plant(web, content: bytes = CONTENT, etag: str | None = '"one"') -> str:
    web.files["/model.zip"] = content
    web.etags.pop("/model.zip", None)
    if etag is not None:
        web.etags["/model.zip"] = etag
    return f"{web.url}/model.zip"


def fetch(url: str, target: Path, **settings) -> str:
    return download(url, target, name="the model", **{"progress": lambda *_: None, **settings})


def refused(url: str, target: Path, **settings) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        fetch(url, target, **settings)
    assert not target.exists()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the model")
    return str(caught.value)


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def test_a_file_comes_whole_and_its_progress_is_reported_in_bytes(web, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert fetch(plant(web), target, progress=lambda stage, *numbers: seen.append(numbers)) == SHA256
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def test_dropped_connections_are_taken_up_where_they_broke(web, target: Path) -> None:
    web.drops = [1_000_000, 500_000]
    assert fetch(plant(web), target) == SHA256
    assert web.got("/model.zip") == ["", "bytes=1000000-", "bytes=1500000-"]
    assert target.read_bytes() == CONTENT


class Stopped(Exception):
    pass


def stop_at(least: int):
    def progress(stage: str, done: int, total: int) -> None:
        if done >= least:
            raise Stopped

    return progress


def stopped(url: str, target: Path, least: int = 1_000_000, **settings) -> int:
    """Stop a download on its way; how many bytes are kept."""
    with pytest.raises(Stopped):
        fetch(url, target, progress=stop_at(least), **settings)
    assert not target.exists()
    return (target.parent / "model.zip.partial").stat().st_size


def test_a_stopped_download_goes_on_from_there(web, target: Path) -> None:
    kept = stopped(plant(web), target)
    assert 1_000_000 <= kept < len(CONTENT)
    seen: list[int] = []
    fetch(plant(web), target, progress=lambda stage, done, total: seen.append(done))
    assert seen[0] == kept
    assert web.got("/model.zip") == ["", f"bytes={kept}-"]
    assert target.read_bytes() == CONTENT
    assert leftovers(target) == []


def test_a_killed_download_goes_on_from_there(web, target: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom components.encoder.transfer import download\n"
        "def slow(stage, done, total):\n"
        "    if done > 1_000_000: print(done, flush=True); time.sleep(600)\n"
        "download(sys.argv[1], Path(sys.argv[2]), name='it', progress=slow)\n"
    )
    url = plant(web)
    process = subprocess.Popen([sys.executable, "-c", script, url, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    assert fetch(url, target) == SHA256
    assert web.got("/model.zip")[1].startswith("bytes=")
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"two"', None, 'W/"two"'])
def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(web, target: Path, etag: str | None) -> None:
    stopped(plant(web), target)
    changed = bytes(reversed(CONTENT))
    fetch(plant(web, changed, etag), target)
    assert target.read_bytes() == changed


def test_a_part_of_another_file_than_was_begun_is_not_joined(web, target: Path) -> None:
    # This server answers the range although its tag has changed.
    kept = stopped(plant(web), target)
    url = plant(web, bytes(reversed(CONTENT)), '"two"')
    note = target.parent / "model.zip.partial.json"
    web.etags["/model.zip"] = '"one"'
    web.headers["/model.zip"] = {"ETag": '"two"'}
    assert '\\"one\\"' in note.read_text()
    fetch(url, target)
    assert web.got("/model.zip") == ["", f"bytes={kept}-", ""]
    assert target.read_bytes() == bytes(reversed(CONTENT))


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_tag_that_holds_for_bytes_nothing_is_resumed(web, target: Path, etag: str | None) -> None:
    stopped(plant(web, etag=etag), target)
    fetch(plant(web, etag=etag), target)
    assert web.got("/model.zip") == ["", ""]
    assert target.read_bytes() == CONTENT


def test_with_a_known_hash_it_is_resumed_without_a_tag(web, target: Path) -> None:
    kept = stopped(plant(web, etag=None), target, sha256=SHA256)
    assert fetch(plant(web, etag=None), target, sha256=SHA256) == SHA256
    assert web.got("/model.zip") == ["", f"bytes={kept}-"]


def test_a_server_without_ranges_sends_it_again(web, target: Path) -> None:
    stopped(plant(web), target)
    web.ranges = False
    assert fetch(plant(web), target) == SHA256
    assert target.read_bytes() == CONTENT


def test_a_file_that_became_shorter_than_the_part_is_fetched_anew(web, target: Path) -> None:
    stopped(plant(web), target)
    fetch(plant(web, CONTENT[:1000]), target)
    assert target.read_bytes() == CONTENT[:1000]


def test_a_file_of_another_hash_is_refused_and_not_kept(web, target: Path) -> None:
    told = refused(plant(web), target, sha256="0" * 64)
    assert SHA256[:16] in told
    assert "--forget" in told
    assert leftovers(target) == []


def test_a_file_of_another_size_than_was_announced_is_refused(web, target: Path) -> None:
    assert "3,000,000" in refused(plant(web), target, size=2_999_999)


def test_a_file_that_ends_too_soon_each_time_is_refused_and_its_part_kept(web, target: Path) -> None:
    url = plant(web)
    web.lengths["/model.zip"] = len(CONTENT) + 10
    web.ranges = False
    assert "broke off" in refused(url, target)
    assert len(web.got("/model.zip")) == transfer.ATTEMPTS


def test_a_check_that_refuses_leaves_nothing(web, target: Path) -> None:
    def check(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise EncoderUnavailable("the model is none.")

    assert refused(plant(web), target, check=check) == "the model is none."
    assert leftovers(target) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410, 418])
def test_a_refusal_of_the_server_is_said_at_once(web, target: Path, status: int) -> None:
    url = plant(web)
    web.statuses = [status] * 3
    assert f"answers {status}" in refused(url, target)
    assert len(web.got("/model.zip")) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_of_the_server_is_waited_out(web, target: Path, status: int) -> None:
    url = plant(web)
    web.statuses = [status] * (transfer.ATTEMPTS - 1)
    assert fetch(url, target) == SHA256
    target.unlink()
    web.statuses = [status] * transfer.ATTEMPTS
    assert f"the server answers {status}" in refused(url, target)


def test_no_network_is_a_sentence(target: Path) -> None:
    assert "http://127.0.0.1:9/x" in refused("http://127.0.0.1:9/x", target)


def test_waiting_between_attempts_can_be_stopped(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_S", 3600)
    before = time.monotonic()
    with pytest.raises(Stopped):
        fetch("http://127.0.0.1:9/x", target, progress=stop_at(0))
    assert time.monotonic() - before < 1800


def test_a_disk_without_room_is_reported_before_anything_is_written(
    web, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=transfer.SPARE_BYTES + len(CONTENT) - 1))
    assert "COCITE_ATLAS_ENCODERS" in refused(plant(web), target)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=transfer.SPARE_BYTES + len(CONTENT)))
    assert fetch(plant(web), target) == SHA256


def test_a_disk_that_fills_up_on_the_way_is_a_sentence_and_the_part_is_kept(web, target: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from corpus.errors import CociteAtlasError\nfrom components.encoder.transfer import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))\n"
        "try: download(sys.argv[1], Path(sys.argv[2]), name='it', progress=lambda stage, done, total: None)\n"
        "except CociteAtlasError as error: print(error)\n"
    )
    url = plant(web)
    told = subprocess.run(
        [sys.executable, "-c", script, url, str(target)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "what has been downloaded is kept" in told
    assert (target.parent / "model.zip.partial").stat().st_size == 1_500_000
    assert fetch(url, target) == SHA256
    assert web.got("/model.zip") == ["", "bytes=1500000-"]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}', '{"url": "", "validator": "", "total": "x"}'])
def test_a_damaged_note_costs_no_more_than_a_new_start(web, target: Path, note: str) -> None:
    stopped(plant(web), target)
    (target.parent / "model.zip.partial.json").write_text(note)
    assert fetch(plant(web), target) == SHA256
