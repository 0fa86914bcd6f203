"""Downloads of large files from a real server that drops connections, changes files and sends wrong answers."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.encoder import transfer
from components.encoder.base import EncoderUnavailable
from components.encoder.transfer import download, partial_bytes
from corpus.progress import no_progress

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
    return download(url, target, name="the model", **{"progress": no_progress, **settings})


def refused(url: str, target: Path, **settings) -> str:
    with pytest.raises(EncoderUnavailable) as caught:
        fetch(url, target, **settings)
    assert not target.exists()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the model")
    return str(caught.value)


class Stopped(Exception):
    pass


def stop_at(least: int):
    def progress(stage: str, done: int, total: int) -> None:
        if done >= least:
            raise Stopped

    return progress


def stopped(url: str, target: Path, **settings) -> int:
    """Stop a download after a third; returns the number of bytes kept."""
    with pytest.raises(Stopped):
        fetch(url, target, progress=stop_at(1_000_000), **settings)
    assert not target.exists()
    return partial_bytes(target)


def test_a_file_is_downloaded_with_progress_in_bytes(web, target: Path) -> None:
    reports: list[tuple[int, int]] = []
    assert fetch(plant(web), target, progress=lambda stage, *numbers: reports.append(numbers)) == SHA256
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert reports == sorted(reports)
    assert (reports[0], reports[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def test_dropped_connections_are_resumed(web, target: Path) -> None:
    web.drops = [1_000_000, 500_000]
    assert fetch(plant(web), target) == SHA256
    assert web.got("/model.zip") == ["", "bytes=1000000-", "bytes=1500000-"]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("etag", "sha256"), [('"one"', ""), (None, SHA256)])
def test_a_stopped_download_is_resumed(web, target: Path, etag: str | None, sha256: str) -> None:
    kept = stopped(plant(web, etag=etag), target, sha256=sha256)
    assert 1_000_000 <= kept < len(CONTENT)
    done: list[int] = []
    fetch(plant(web, etag=etag), target, sha256=sha256, progress=lambda stage, *numbers: done.append(numbers[0]))
    assert done[0] == kept
    assert web.got("/model.zip") == ["", f"bytes={kept}-"]
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_or_a_hash_it_starts_again(web, target: Path, etag: str | None) -> None:
    stopped(plant(web, etag=etag), target)
    fetch(plant(web, etag=etag), target)
    assert web.got("/model.zip") == ["", ""]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"two"', None, 'W/"two"'])
@pytest.mark.parametrize("changed", [bytes(reversed(CONTENT)), CONTENT[:1000]], ids=["other", "shorter"])
def test_a_changed_file_is_downloaded_from_its_beginning(web, target: Path, changed: bytes, etag: str | None) -> None:
    stopped(plant(web), target)
    fetch(plant(web, changed, etag), target)
    assert target.read_bytes() == changed


def test_parts_of_two_files_are_not_joined(web, target: Path) -> None:
    kept = stopped(plant(web), target)
    url = plant(web, bytes(reversed(CONTENT)))
    web.headers["/model.zip"] = {"ETag": '"two"'}  # it answers the range although the file has changed
    fetch(url, target)
    assert web.got("/model.zip") == ["", f"bytes={kept}-", ""]
    assert target.read_bytes() == bytes(reversed(CONTENT))


def test_a_server_without_ranges_sends_the_whole_file(web, target: Path) -> None:
    stopped(plant(web), target)
    web.ranges = False
    assert fetch(plant(web), target) == SHA256
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}', '{"url": "", "validator": "", "total": "x"}'])
def test_a_damaged_record_of_the_part_starts_again(web, target: Path, note: str) -> None:
    stopped(plant(web), target)
    (target.parent / "model.zip.partial.json").write_text(note)
    assert fetch(plant(web), target) == SHA256


def test_a_file_of_another_hash_or_size_is_refused(web, target: Path) -> None:
    message = refused(plant(web), target, sha256="0" * 64)
    assert SHA256[:16] in message
    assert "--forget" in message
    assert list(target.parent.iterdir()) == []
    assert "3,000,000" in refused(plant(web), target, size=2_999_999)


def test_a_refused_check_leaves_nothing(web, target: Path) -> None:
    def check(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise EncoderUnavailable("the model is invalid.")

    assert refused(plant(web), target, check=check) == "the model is invalid."
    assert list(target.parent.iterdir()) == []


def test_a_file_that_always_ends_early_is_refused_and_its_part_kept(web, target: Path) -> None:
    url = plant(web)
    web.lengths["/model.zip"] = len(CONTENT) + 10
    web.ranges = False
    assert "broke off" in refused(url, target)
    assert len(web.got("/model.zip")) == transfer.ATTEMPTS
    assert partial_bytes(target) == len(CONTENT)


@pytest.mark.parametrize("status", [401, 404, 418])
def test_a_refusal_of_the_server_is_reported_at_once(web, target: Path, status: int) -> None:
    url = plant(web)
    web.statuses = [status] * 3
    assert f"answers {status}" in refused(url, target)
    assert len(web.got("/model.zip")) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_temporary_fault_of_the_server_is_retried(web, target: Path, status: int) -> None:
    url = plant(web)
    web.statuses = [status] * (transfer.ATTEMPTS - 1)
    assert fetch(url, target) == SHA256
    target.unlink()
    web.statuses = [status] * transfer.ATTEMPTS
    assert f"the server answers {status}" in refused(url, target)


def test_without_a_network_it_is_refused_and_a_wait_can_be_stopped(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "http://127.0.0.1:9/x" in refused("http://127.0.0.1:9/x", target)
    monkeypatch.setattr(transfer, "PAUSE_S", 3600)
    with pytest.raises(Stopped):
        fetch("http://127.0.0.1:9/x", target, progress=stop_at(0))


def test_too_little_disk_space_is_reported_before_the_download(
    web, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, needed = shutil.disk_usage(target.parent), transfer.SPARE_BYTES + len(CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    assert "COCITE_ATLAS_ENCODERS" in refused(plant(web), target)
    assert partial_bytes(target) == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    assert fetch(plant(web), target) == SHA256


def test_a_write_error_is_reported_and_the_part_kept(web, target: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\n"
        "from corpus.errors import CociteAtlasError\nfrom components.encoder.transfer import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))\n"
        "try: download(sys.argv[1], Path(sys.argv[2]), name='it', progress=lambda *_: None)\n"
        "except CociteAtlasError as error: print(error)\n"
    )
    url = plant(web)
    command = [sys.executable, "-c", script, url, str(target)]
    message = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "what has been downloaded is kept" in message
    assert partial_bytes(target) == 1_500_000
    assert fetch(url, target) == SHA256
    assert web.got("/model.zip") == ["", "bytes=1500000-"]
