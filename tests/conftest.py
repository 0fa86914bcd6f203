"""What the tests of several modules share: homes of atlases, planted papers, and the real encoder, loaded once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.encoder import EMBEDDED, BiEncoder, load_encoder
from corpus.paper import Paper

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


@pytest.fixture(scope="session")
def topics_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the atlas `topics`: 2 × 6 planted papers, built by the real encoder. Not to be changed: copy it."""
    from components.build import build_atlas
    from corpus.readers import write_jsonl

    folder = tmp_path_factory.mktemp("topics")
    write_jsonl(_planted(6), folder / "topics.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder / "home"))
        build_atlas("topics", [folder / "topics.jsonl"], encoder=EMBEDDED)
    return folder / "home"


@pytest.fixture
def topics(topics_home: Path, home: Path) -> str:
    """The name of the atlas `topics`, in this test's own copy."""
    shutil.copytree(topics_home, home)
    return "topics"


@pytest.fixture(scope="session")
def medline_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the default atlas, assembled from the shipped files. Not to be changed."""
    from components.medline import ensure_medline

    folder = tmp_path_factory.mktemp("medline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(folder))
        ensure_medline()
    return folder
