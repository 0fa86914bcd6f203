"""What tests in several files share: homes of atlases, planted papers, the real encoder, a tiny one, a small atlas."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from components.encoder.base import EncoderUnavailable
from components.encoder.bi_encoder import BiEncoder, load_encoder
from components.encoder.catalogue import EMBEDDED
from corpus.paper import Paper, to_table

if TYPE_CHECKING:
    from components.atlas.store import AtlasParts

# No test is judged by the clock: a busy machine is slow, not wrong.
settings.register_profile("unhurried", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_MAIN = sys.modules["__main__"]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes by their length: compressed ones hold the time, and every process must collect the same tests."""
    return f"{len(val)}_bytes" if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def the_main_module() -> None:
    """AppTest leaves its script as the main module, which every process that is spawned later would run."""
    sys.modules["__main__"] = _MAIN


# Two topics that share no word of substance, so that any encoder of English must keep them apart.
_TOPICS = {
    "heart": (
        (
            "Heart failure",
            "Cardiac output",
            "Left ventricular function",
            "Myocardial infarction",
            "Atrial fibrillation",
        ),
        ("beta blockers", "valve repair", "sodium restriction", "implanted defibrillators", "exercise training"),
        "We followed {n} patients of a cardiology ward who were given {b}. {a} was measured by echocardiography "
        "at discharge and after {m} months. Cardiovascular mortality and readmission fell with {b}.",
    ),
    "galaxy": (
        ("Spiral galaxies", "Black holes", "Supernova remnants", "Dark matter halos", "Stellar clusters"),
        ("radio interferometry", "infrared spectroscopy", "gravitational lensing", "X-ray imaging", "photometry"),
        "We observed {n} objects at redshift {m} by {b} with a large telescope. {a} trace the mass of the early "
        "universe. The luminosity that {b} shows agrees with simulations of cosmic structure.",
    ),
}


def _planted(each: int) -> list[Paper]:
    papers = []
    for topic, (subjects, means, abstract) in _TOPICS.items():
        for i in range(each):
            a, b = subjects[i % 5], means[(i + i // 5) % 5]
            papers.append(
                Paper(
                    id=f"{topic}-{i}",
                    title=f"{a} and {b}: report {i}",
                    abstract=abstract.format(a=a, b=b, n=100 + 7 * i, m=2 + i),
                    authors=("Noether, Emmy",),
                    year=2000 + i if i % 4 else None,
                    venue=f"Journal of {topic} {i % 3}",
                    topics=(topic, b),
                )
            )
    # Interleaved, so that neither row order nor chunks follow the topics.
    return [papers[i + j * each] for i in range(each) for j in range(2)]


@pytest.fixture(scope="session")
def planted() -> Callable[[int], list[Paper]]:
    """planted(n): n papers on heart disease (ids heart-…) and n on galaxies (galaxy-…), taking turns."""
    return _planted


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of atlases, this test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COCITE_ATLAS_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def encoder() -> BiEncoder:
    """The embedded encoder, on the CPU."""
    return load_encoder(EMBEDDED, device="cpu")


def _shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once for all processes of a run of pytest-xdist."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, done = base / name, base / f"{name}.done"
    with filelock.FileLock(base / f"{name}.lock"):
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def topics_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the atlas `topics`: 2 × 6 planted papers, built by the real encoder. Not to be changed: copy it."""
    from components.atlas.build import build_atlas
    from corpus.export import write_jsonl

    def build(folder: Path) -> None:
        write_jsonl(_planted(6), folder / "topics.jsonl")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
            build_atlas("topics", [folder / "topics.jsonl"], encoder=EMBEDDED)

    return _shared(tmp_path_factory, "topics", build) / "home"


@pytest.fixture
def topics(topics_home: Path, home: Path) -> str:
    """The name of the atlas `topics`, in this test's own copy."""
    shutil.copytree(topics_home, home)
    return "topics"


@pytest.fixture(scope="session")
def medline_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the default atlas, assembled from the shipped files. Not to be changed."""
    from components.atlas.default import ensure_medline

    def assemble(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COCITE_ATLAS_HOME", str(folder))
            ensure_medline()

    return _shared(tmp_path_factory, "medline", assemble)


@pytest.fixture
def planted_file(tmp_path: Path) -> Path:
    """Twelve planted papers in a file."""
    from corpus.export import write_jsonl

    path = tmp_path / "planted.jsonl"
    write_jsonl(_planted(6), path)
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds encode four papers at a time: `planted_file` is three chunks."""
    from components.atlas import build

    monkeypatch.setattr(build, "CHUNK", 4)


# A small atlas of numbers drawn at random, which takes no encoder.


@functools.cache
def _atlas_parts(name: str = "one", *, seed: int = 0, n: int = 60, graph: bool = True) -> AtlasParts:
    from components.atlas.manifest import EncoderRecord, IndexRecord
    from components.atlas.store import AtlasParts
    from components.index.hnsw import HnswIndex, HnswSettings
    from components.mapping.regions import Region

    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n, 8)).astype(np.float32)
    papers = [
        Paper(id=f"{seed}-{i}", title=f"Title {i} of {seed}", abstract="β", year=2000 + i % 20, topics=("a", "b"))
        for i in range(n)
    ]
    hnsw = HnswIndex.build(vectors, settings=HnswSettings(), threads=1) if graph else None
    return AtlasParts(
        name=name,
        papers=to_table(papers),
        vectors=vectors,
        coordinates=random.uniform(-1, 1, size=(n, 2)).astype(np.float32),
        region_ids=((np.arange(n) + seed) % 3 - 1).astype(np.int16),
        regions=tuple(Region(id=i, name=f"Region {i}", size=n // 3, x=0.5, y=-0.5, colour=i) for i in range(2)),
        pair_distances=np.sort(random.random(500).astype(np.float32)),
        graph=hnsw,
        encoder=EncoderRecord(name="enc", source="enc", fingerprint="f" * 64, normalised=False),
        index=IndexRecord(m=16, ef_construction=200, ef_search=64 if graph else 0, ann_recall_at_10=1.0, sample=n),
        projection={"seed": 1},
        source={"reports": []},
        versions={"python": "3"},
    )


@pytest.fixture(scope="session")
def atlas_parts() -> Callable[..., AtlasParts]:
    """atlas_parts(name="one", seed=0, n=60, graph=True): n papers in 8 dimensions, made once. Not to be changed."""
    return _atlas_parts


@pytest.fixture(scope="session")
def written_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the atlas `one`, of atlas_parts(). Not to be changed: copy it."""
    from components.atlas.store import write_atlas

    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder))
        write_atlas(_atlas_parts())
    return folder


@pytest.fixture
def written(written_home: Path, home: Path) -> AtlasParts:
    """What the atlas `one` in this test's own home was written from."""
    shutil.copytree(written_home, home)
    return _atlas_parts()


# A tiny encoder in a folder.


@pytest.fixture(scope="session")
def tiny_words() -> list[str]:
    """The vocabulary of `tiny`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, "heart", "failure", "of", "the", "galaxy", "and", "a", "star", "in", "##s"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_words: list[str]) -> Path:
    """A folder with a random BERT of two layers and 32 dimensions, as transformers saves one. Copy before changing."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=len(tiny_words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tiny_words) + "\n")
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path: Path) -> Path:
    """This test's own copy of `tiny`."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.fixture(scope="session")
def refusal() -> Callable[[object], str]:
    """refusal(name_or_folder): the sentence, on one line, with which loading or using that encoder is refused."""

    def told(name_or_folder: object) -> str:
        with pytest.raises(EncoderUnavailable) as caught:
            load_encoder(str(name_or_folder), device="cpu").encode([("heart", "failure")])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return told
