"""Checkpoints of the hub, by its real client from a server that answers as the hub does: pinned, resumed, offline."""

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

from components.encoder import download as hub_module
from components.encoder import files
from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import load_encoder
from components.encoder.catalogue import EMBEDDED
from components.encoder.checkpoints import find_checkpoint
from components.encoder.download import cached_encoders, clear, fetch, is_available, partial_bytes

FIRST, SECOND = "1" * 40, "2" * 40
TEXTS = [("heart failure", "of the galaxy"), ("star", "")]


def quietly(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def released(tiny: Path, tmp_path: Path) -> dict[str, bytes]:
    """What `tiny` would be as a repository with both files of weights."""
    torch.save(safetensors.torch.load_file(tiny / "model.safetensors"), tmp_path / "pytorch_model.bin")
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    return files | {"pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes(), "README.md": b"#"}


# What cannot be had


@pytest.mark.parametrize(
    "surroundings",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
        {"ALL_PROXY": "socks5://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
    ],
    ids=["offline", "unreachable", "a proxy that the client cannot use"],
)
def test_a_hub_checkpoint_that_cannot_be_fetched_is_said_in_a_sentence(
    surroundings: dict[str, str], tmp_path: Path
) -> None:
    script = (
        "from components.encoder.base import EncoderUnavailable\n"
        "from components.encoder.checkpoints import find_checkpoint\n"
        "try: find_checkpoint('specter')\n"
        "except EncoderUnavailable as error: print(error)\n"
    )
    home = {"HF_HOME": str(tmp_path), "COCITE_ATLAS_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **home, **surroundings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert told.startswith("specter is not on this machine and could not be downloaded from the Hugging Face hub.")
    assert told.count("\n") == 1
    assert "allenai/specter" in told
    assert EMBEDDED in told


@pytest.mark.parametrize("call", ["huggingface_hub.HfApi.model_info", "huggingface_hub.hf_hub_download"])
@pytest.mark.parametrize("error", [httpx2.ProxyError("403"), XetDownloadError("torn"), OSError(28, "No space left")])
def test_no_error_of_the_hub_client_gets_through_bare(
    error: Exception, call: str, monkeypatch: pytest.MonkeyPatch, refusal, hub, released: dict[str, bytes]
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    hub.publish("allenai/specter", FIRST, released)
    monkeypatch.setattr(call, fail)
    told = refusal("specter")
    assert told.startswith("specter is not on this machine")
    assert str(error) in told


def test_a_repository_that_is_not_there_is_a_sentence(refusal, hub) -> None:
    assert "specter is not on this machine" in refusal("specter")


def test_a_repository_without_weights_is_a_sentence(refusal, hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, {"config.json": released["config.json"], "vocab.txt": b"[PAD]\n"})
    assert "holds no model.safetensors or pytorch_model.bin" in refusal("specter")


# What is fetched


@pytest.mark.parametrize("held", [("model.safetensors", "pytorch_model.bin"), ("pytorch_model.bin",)])
def test_one_file_of_weights_is_fetched_and_then_found_offline(
    tiny: Path, hub, released: dict[str, bytes], held: tuple[str, ...]
) -> None:
    if "model.safetensors" not in held:
        del released["model.safetensors"]
    hub.publish("allenai/specter", FIRST, released)
    with pytest.raises(EncoderUnavailable, match="nothing may be downloaded now"):
        load_encoder("specter", device="cpu", local_files_only=True)
    assert hub.asked == []
    fetched = find_checkpoint("specter")
    assert [path.name for path in fetched.folder.iterdir() if path.suffix in (".safetensors", ".bin")] == [held[0]]
    assert not (fetched.folder / "README.md").exists()
    asked = len(hub.asked)
    assert find_checkpoint("specter", local_files_only=True) == fetched
    assert find_checkpoint("specter") == fetched
    fetch("specter", progress=quietly)
    assert len(hub.asked) == asked  # what is here asks nobody
    encoder = load_encoder("specter", device="cpu", local_files_only=True)
    plain = load_encoder(str(tiny), device="cpu")
    assert np.array_equal(encoder.encode(TEXTS), plain.encode(TEXTS))


def test_the_weights_progress_is_reported_and_a_stopped_download_goes_on(
    hub, cache: Path, released: dict[str, bytes]
) -> None:
    weights = released["model.safetensors"] = released["model.safetensors"] + bytes(2_000_000)
    hub.publish("allenai/specter", FIRST, released)

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        assert total == len(weights)
        if done > 1_000_000:
            raise Stopped

    with pytest.raises(Stopped):
        fetch("specter", progress=stop)
    kept = partial_bytes("specter")
    assert 1_000_000 < kept < len(weights)
    assert not is_available("specter")
    assert [(one.name, one.partial, one.bytes) for one in cached_encoders() if one.partial] == [("specter", True, kept)]
    seen: list[int] = []
    fetch("specter", progress=lambda stage, done, total: seen.append(done))
    assert seen[0] == kept
    assert seen[-1] == len(weights)
    assert hub.got(f"/cdn/{hashlib.sha256(weights).hexdigest()}") == ["", f"bytes={kept}-"]
    folder = hub_module.find_snapshot("allenai/specter", weights=True)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".lock"]


def test_weights_that_are_not_what_the_hub_announced_are_refused(refusal, hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, released)
    path = f"/cdn/{hashlib.sha256(released['model.safetensors']).hexdigest()}"
    hub.files[path] = bytes(reversed(hub.files[path]))
    assert "SHA-256" in refusal("specter")
    assert partial_bytes("specter") == 0


# Pinned


def test_the_commit_that_was_met_first_is_kept_to(hub, released: dict[str, bytes]) -> None:
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


def test_a_stopped_first_fetch_is_finished_at_its_own_commit(hub, released: dict[str, bytes]) -> None:
    hub.publish("allenai/specter", FIRST, released)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("specter", progress=stop)
    hub.publish("allenai/specter", SECOND, released)
    fetch("specter", progress=quietly)
    assert hub_module.find_snapshot("allenai/specter", weights=True).name == FIRST


def test_what_another_program_fetched_is_used_and_kept_to(
    hub, cache: Path, released: dict[str, bytes], tmp_path: Path
) -> None:
    repository = tmp_path / "hub" / "models--allenai--specter"
    for commit in (FIRST, SECOND):
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        for name, content in released.items():
            (folder / name).write_bytes(content)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(FIRST)
    assert find_checkpoint("specter").folder.name == FIRST
    (repository / "refs" / "main").write_text(SECOND)
    assert find_checkpoint("specter").folder.name == FIRST
    assert hub.asked == []


@pytest.mark.parametrize("commit", ["../../outside", "main", "", "x" * 40])
def test_a_commit_that_is_none_leads_nowhere(
    cache: Path, tmp_path: Path, released: dict[str, bytes], commit: str
) -> None:
    (tmp_path / "outside").mkdir()
    for name, content in released.items():
        (tmp_path / "outside" / name).write_bytes(content)
    repository = tmp_path / "hub" / "models--allenai--specter"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
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


@pytest.mark.parametrize("name", ["x", "a/b/c", "../b", "a/..", "a/b--c", "https://x/y", "/a/b", "a/b\n", "", "a//b"])
def test_what_is_no_repository_is_distinguished(name: str) -> None:
    assert not files.is_repository(name)
    assert files.is_repository("allenai/scibert_scivocab_uncased")
