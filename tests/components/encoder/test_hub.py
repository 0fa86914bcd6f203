"""Downloads from the Hugging Face hub: one file of weights, pinned, resumed, every error explained."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import XetDownloadError

from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders, clear, fetch, find_snapshot, is_available, partial_bytes
from corpus.progress import no_progress

NAME = "aspire-biencoder-biomed-spec-full"
FIRST, SECOND = "1" * 40, "2" * 40


class Stopped(Exception):
    pass


def stop(stage: str, done: int, total: int) -> None:
    raise Stopped


@pytest.fixture
def released(tiny: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of `tiny` as a repository with both files of weights."""
    torch.save(safetensors.torch.load_file(tiny / "model.safetensors"), tmp_path / "pytorch_model.bin")
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    return files | {"pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes(), "README.md": b"#"}


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
