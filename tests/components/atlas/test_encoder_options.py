"""What can be chosen for a corpus: the catalogue and the user's own, what is here, and what it would take."""

import shutil
from pathlib import Path

import pytest

from components.atlas.encoder_options import EncoderOption, cost, encoder_options, option_name
from components.atlas.reencode import reencode
from components.atlas.store import open_atlas
from components.encoder.base import EncoderUnavailable
from components.encoder.catalogue import CATALOGUE, EMBEDDED, LEXICAL


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No download of this machine's counts."""
    monkeypatch.setenv("COCITE_ATLAS_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "encoders"


def by_name(corpus: str) -> dict[str, EncoderOption]:
    return {choice.name: choice for choice in encoder_options(corpus)}


def test_all_of_the_catalogue_can_be_chosen_and_what_is_here_is_reported(topics: str) -> None:
    found = by_name(topics)
    assert list(found) == list(CATALOGUE)
    assert [name for name, choice in found.items() if choice.here] == [EMBEDDED, LEXICAL]
    assert [manifest.name for manifest in found[EMBEDDED].atlases] == [topics]
    assert found[EMBEDDED].download == found[LEXICAL].download == 0
    assert found["specter"].atlases == ()
    assert found["specter"].download == CATALOGUE["specter"].download_bytes > 100_000_000
    assert [name for name, choice in found.items() if not choice.neural] == [LEXICAL]


def test_every_atlas_of_the_corpus_is_with_its_encoder(topics: str) -> None:
    reencode(topics, encoder=LEXICAL)
    assert [manifest.name for manifest in by_name(topics)[LEXICAL].atlases] == ["topics--tfidf-svd"]
    assert by_name("another")[LEXICAL].atlases == ()


def test_an_own_checkpoint_is_chosen_by_its_name(topics: str, own_cache: Path, tiny: Path) -> None:
    shutil.copytree(tiny, own_cache / "own" / "mine")
    mine = by_name(topics)["own/mine"]
    assert (mine.entry, mine.here, mine.download, mine.atlases) == (None, True, 0, ())
    manifest = reencode(topics, encoder="own/mine")
    assert by_name(topics)["own/mine"].atlases == (manifest,)
    assert option_name(manifest.encoder.source) == "own/mine"
    assert (option_name("specter"), option_name("/elsewhere")) == ("specter", "/elsewhere")


def test_what_an_atlas_takes_is_measured_without_fetching(topics: str, own_cache: Path, tiny: Path) -> None:
    shutil.copytree(tiny, own_cache / "own" / "mine")
    atlas, found = open_atlas(topics), by_name(topics)
    small, large = (cost(found[name], atlas, precision="float32") for name in ("own/mine", "specter"))
    assert 0 < small.encoding < large.encoding
    assert small.besides == large.besides > 0
    assert cost(found[LEXICAL], atlas, precision="float32").encoding > 0
    assert not found["specter"].here


def test_an_own_folder_that_is_no_checkpoint_is_an_error_when_it_is_chosen(topics: str, own_cache: Path) -> None:
    folder = own_cache / "own" / "empty"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("[]")
    with pytest.raises(EncoderUnavailable):
        cost(by_name(topics)["own/empty"], open_atlas(topics), precision="float32")
