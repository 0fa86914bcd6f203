"""Regions: planted clusters are found and named by their planted words, and neighbours differ in colour."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mapping import region_names
from components.mapping.regions import Region, find_regions, name_regions, region_colours

SYSREV = Path(__file__).resolve().parents[4] / "shared" / "data" / "sysrev" / "sysrev_graded.jsonl.gz"

SUBJECTS = {
    "Heart Failure": ("Outcomes of heart failure with ejection fraction", ["Heart Failure", "Humans", "Male"]),
    "Gut Microbiota": ("Changes of the gut microbiota in patients", ["Gut microbiota", "Humans", "Female"]),
    "Sepsis": ("Early prediction of sepsis in adults", ["sepsis", "Adult", "Retrospective Studies"]),
    "Zebrafish": ("A zebrafish model for the study", ["Zebrafish", "Animals", "Mice"]),
}
CENTRES = np.array([[-0.7, -0.7], [0.7, -0.7], [0.7, 0.7], [-0.7, 0.7]])


class Planted:
    """A map of four subjects of 160, 120, 80 and 60 papers, and 40 papers between them."""

    def __init__(self) -> None:
        random = np.random.default_rng(11)
        sizes = [160, 120, 80, 60]
        self.subject = np.concatenate([np.repeat(np.arange(4), sizes), np.full(40, -1)])
        order = random.permutation(len(self.subject))
        self.subject = self.subject[order]
        points = np.where(
            self.subject[:, None] >= 0,
            CENTRES[self.subject] + random.normal(size=(len(order), 2)) * 0.05,
            random.uniform(-1, 1, size=(len(order), 2)),
        )
        self.coordinates = points.astype(np.float32)
        texts = [*SUBJECTS.values(), ("Annual report of the society", ["Humans"])]
        self.titles = [texts[subject][0] for subject in self.subject]
        self.topics = [texts[subject][1] for subject in self.subject]


@pytest.fixture(scope="module")
def planted() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def regions(planted: Planted) -> np.ndarray:
    return find_regions(planted.coordinates)


@pytest.fixture(scope="module")
def named(planted: Planted, regions: np.ndarray) -> list[Region]:
    return name_regions(regions, planted.titles, planted.topics, coordinates=planted.coordinates)


def test_planted_clusters_are_the_regions_largest_first(planted: Planted, regions: np.ndarray) -> None:
    assert regions.dtype == np.int32
    assert regions.max() == 3
    for subject in range(4):
        found = regions[planted.subject == subject]
        assert (found == subject).mean() > 0.9
    sizes = np.bincount(regions[regions >= 0])
    assert (np.diff(sizes) <= 0).all()


def test_regions_are_pure(planted: Planted, regions: np.ndarray) -> None:
    for region in range(4):
        assert (planted.subject[regions == region] == region).mean() > 0.9
    # A region grows until it meets the next one, so that it takes most papers between them.
    assert 0 < (regions == -1).sum() <= (planted.subject == -1).sum() + 20


def test_regions_have_the_planted_names(named: list[Region]) -> None:
    assert [region.name for region in named] == list(SUBJECTS)
    assert [region.id for region in named] == [0, 1, 2, 3]
    assert all(region.terms[0] == region.name for region in named)


def test_generic_words_are_no_terms(named: list[Region]) -> None:
    said = {word for region in named for term in region.terms for word in term.casefold().split()}
    assert not said & {"humans", "male", "female", "adult", "animals", "mice", "patients", "outcomes", "retrospective"}


def test_a_centre_is_a_paper_in_a_dense_part(planted: Planted, regions: np.ndarray, named: list[Region]) -> None:
    for region in named:
        centre = np.array([region.x, region.y])
        members = planted.coordinates[regions == region.id]
        assert region.size == len(members)
        assert np.linalg.norm(members - centre, axis=1).min() < 1e-6
        assert np.linalg.norm(CENTRES[region.id] - centre) < 0.1


def test_the_centre_of_a_ring_is_on_the_ring() -> None:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    only = name_regions(np.zeros(200, dtype=int), ["sepsis"] * 200, [[]] * 200, coordinates=ring)[0]
    assert np.hypot(only.x, only.y) == pytest.approx(1.0)


def test_order_of_papers_does_not_change_names_or_sizes(planted: Planted, named: list[Region]) -> None:
    order = np.random.default_rng(0).permutation(len(planted.titles))
    coordinates = planted.coordinates[order]
    titles = [planted.titles[i] for i in order]
    topics = [planted.topics[i] for i in order]
    again = name_regions(find_regions(coordinates), titles, topics, coordinates=coordinates)
    assert [(r.name, r.terms) for r in again] == [(r.name, r.terms) for r in named]
    # Equal distances are broken by position, so that a paper on the coast may change sides.
    assert [r.size for r in again] == pytest.approx([r.size for r in named], rel=0.05)


def test_a_dense_region_over_the_size_limit_is_kept() -> None:
    random = np.random.default_rng(0)
    # A grid with an exact step: all its distances are equal, so nothing divides it.
    step = np.arange(55) / 1024
    grid = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2)
    others = [random.normal(size=(150, 2)) * 0.02 + centre for centre in CENTRES]
    regions = find_regions(np.concatenate([grid, *others]))
    assert (regions[: len(grid)] == 0).mean() > 0.9
    assert {int(np.bincount(found[found >= 0]).argmax()) for found in np.split(regions[len(grid) :], 4)} == {1, 2, 3, 4}


@pytest.mark.parametrize("n", [0, 1, 2, 9, 19, 20, 25])
def test_maps_too_small_for_regions_have_none(n: int) -> None:
    coordinates = np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)
    regions = find_regions(coordinates)
    assert regions.shape == (n,)
    assert regions.max(initial=-1) <= 1
    assert len(name_regions(regions, ["a title"] * n, [[]] * n, coordinates=coordinates)) == regions.max(initial=-1) + 1


def test_equal_points_are_no_region_but_several_piles_are() -> None:
    assert (find_regions(np.zeros((50, 2), dtype=np.float32)) == -1).all()
    piles = np.repeat(CENTRES, 40, axis=0).astype(np.float32)
    assert np.bincount(find_regions(piles)).tolist() == [40, 40, 40, 40]


def test_min_size_is_the_smallest_region(planted: Planted) -> None:
    regions = find_regions(planted.coordinates, min_size=100)
    assert np.bincount(regions[regions >= 0]).min() >= 100


def regions_of(*papers: tuple[str, list[str]], each: int = 30) -> list[Region]:
    """One region of `each` equal papers for every (title, topics), and as many papers outside of all regions."""
    count = len(papers)
    ids = np.repeat([*range(count), *([-1] * count)], each)
    texts = [*papers, *([("Weather and tides", ["Meteorology"])] * count)]
    titles = [title for title, _ in texts for _ in range(each)]
    topics = [topics for _, topics in texts for _ in range(each)]
    coordinates = np.random.default_rng(0).normal(size=(len(ids), 2))
    return name_regions(ids, titles, topics, coordinates=coordinates)


def test_regions_with_one_first_term_get_a_second_one() -> None:
    covid, filler = ("COVID-19 in spring", ["COVID-19", "Lockdown"]), ("Weather and tides", ["Meteorology"])
    anxiety, vaccination = ("COVID-19", ["COVID-19", "Anxiety"]), ("COVID-19", ["COVID-19", "Vaccination"])
    papers = [covid, anxiety, anxiety, covid, covid, vaccination, vaccination, covid, *[filler] * 24]
    ids = np.repeat([0, 0, 0, 0, 1, 1, 1, 1, *[-1] * 24], 10)
    titles = [title for title, _ in papers for _ in range(10)]
    topics = [topics for _, topics in papers for _ in range(10)]
    named = name_regions(ids, titles, topics, coordinates=np.random.default_rng(0).normal(size=(320, 2)))
    assert [region.terms[0] for region in named] == ["COVID-19", "COVID-19"]
    assert [region.name for region in named] == ["COVID-19 & Anxiety", "COVID-19 & Vaccination"]


def test_equal_regions_have_different_names() -> None:
    names = [region.name for region in regions_of(*[("Sepsis", ["Sepsis"])] * 3)]
    assert len({name.casefold().rstrip("s") for name in names}) == 3


def test_regions_without_terms_are_numbered() -> None:
    assert [region.name for region in regions_of(("", []), ("The patients", ["Humans"]))] == ["Region 1", "Region 2"]


def test_spellings_of_a_term_are_one_term() -> None:
    terms = regions_of(
        (
            "Hip fractures: a hip fracture registry",
            ["Hip Fractures", "hip fracture", "Magnetic Resonance Imaging", "MRI"],
        )
    )[0].terms
    assert len([term for term in terms if "hip" in term.casefold()]) == 1
    assert len([term for term in terms if term in ("MRI", "Magnetic Resonance Imaging")]) == 1


def test_names_are_short() -> None:
    long = "Pneumonoultramicroscopicsilicovolcanoconiosis"
    region = regions_of((f"{long} in miners", [long, "Miners"]))[0]
    assert long.casefold() in {term.casefold() for term in region.terms}
    assert len(region.name) <= 32
    assert region.name == "Miners"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("heart failure", "Heart Failure"),
        ("quality of life", "Quality of Life"),
        ("SARS-CoV-2", "SARS-CoV-2"),
        ("mRNA vaccines", "mRNA Vaccines"),
        ("MRI", "MRI"),
        ("drug-induced liver injury", "Drug-Induced Liver Injury"),
        ("OBESITY", "OBESITY".title()),
        ("p53", "p53"),
        ("end-of-life care", "End-of-Life Care"),
        ("amyloid-β", "Amyloid-β"),
        ("attention-deficit/hyperactivity disorder", "Attention-Deficit/Hyperactivity Disorder"),
    ],
)
def test_title_case_keeps_acronyms(form: str, shown: str) -> None:
    assert region_names.title_case(form) == shown


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("Carcinoma, Hepatocellular", "Hepatocellular Carcinoma"),
        ("Carcinoma, Non-Small-Cell, Lung", "Lung Non-Small-Cell Carcinoma"),
        ("Neoplasms, Ductal, Lobular, and Medullary", "Neoplasms, Ductal, Lobular, and Medullary"),
        ("Evolution (Biology)", "Evolution"),
        ("Alzheimer’s disease.", "Alzheimer's disease"),
    ],
)
def test_mesh_headings_are_put_in_natural_order(topic: str, said: str) -> None:
    assert region_names.plain(topic) == said


def test_a_species_keeps_its_lower_case_epithet() -> None:
    assert region_names.heading({"Escherichia coli": 20, "escherichia coli": 1}) == "Escherichia coli"
    assert region_names.heading({"Saccharomyces cerevisiae": 3}) == "Saccharomyces cerevisiae"
    assert region_names.heading({"Oxidative stress": 10, "oxidative stress": 5}) == "Oxidative Stress"
    assert region_names.heading({"Hodgkin lymphoma": 9}) == "Hodgkin Lymphoma"


def test_spellings_of_one_term_have_one_key() -> None:
    assert len({region_names.key(form) for form in ("Hip fractures", "hip-fracture", "HIP FRACTURE")}) == 1
    assert region_names.key("Alzheimer's disease") == region_names.key("Alzheimer disease")
    assert region_names.key("Coronavirus Disease 2019") == region_names.key("COVID-19")
    long = "severe acute respiratory syndrome coronavirus 2"
    assert region_names.key(long) == region_names.key("SARS-CoV-2")
    assert region_names.is_acronym(region_names.key("ARDS"), region_names.key("acute respiratory distress syndrome"))
    assert region_names.key("therapies") == region_names.key("therapy")
    assert region_names.key("sepsis") != region_names.key("sepsi")


@pytest.mark.parametrize(
    "term", ["Humans", "Middle Aged", "Retrospective Studies", "Treatment Outcome", "China", "2021"]
)
def test_generic_terms(term: str) -> None:
    assert region_names.is_generic(region_names.key(term))


def test_neighbours_never_share_a_colour() -> None:
    random = np.random.default_rng(5)
    for count in (0, 1, 2, 9, 40, 120):
        regions = [Region(i, f"r{i}", 10, *random.uniform(-1, 1, 2).tolist(), ("t",)) for i in range(count)]
        assert_neighbours_differ(regions, region_colours(regions), 10)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40), st.integers(3, 12))
def test_colours_suffice_for_any_centres(centres: list[tuple[int, int]], n_colours: int) -> None:
    regions = [Region(i, f"r{i}", 10, float(x), float(y), ()) for i, (x, y) in enumerate(centres)]
    assert_neighbours_differ(regions, region_colours(regions, n_colours=n_colours), n_colours)


def assert_neighbours_differ(regions: list[Region], colours: list[int], n_colours: int) -> None:
    assert len(colours) == len(regions)
    assert all(0 <= colour < n_colours for colour in colours)
    for one in regions:
        others = sorted(
            (other for other in regions if other.id != one.id),
            key=lambda other: ((other.x - one.x) ** 2 + (other.y - one.y) ** 2, other.id),
        )
        for other in others[: (n_colours - 1) // 2]:
            assert colours[one.id] != colours[other.id]


def test_few_regions_have_a_colour_each() -> None:
    regions = [Region(i, f"r{i}", 10, float(i), 0.0, ()) for i in range(10)]
    assert sorted(region_colours(regions)) == list(range(10))


@pytest.mark.skipif(not SYSREV.is_file(), reason="the judged systematic reviews are not beside the repository")
def test_systematic_reviews_are_named_by_their_subjects() -> None:
    with gzip.open(SYSREV, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    subjects = ["Cohen_Estrogens", "Cohen_Triptans", "Cohen_AtypicalAntipsychotics", "Cohen_OralHypoglycemics"]
    kept = [record for record in records if record["topic"] in subjects]
    ids = np.array([subjects.index(record["topic"]) for record in kept])
    coordinates = np.random.default_rng(0).normal(size=(len(kept), 2))
    named = name_regions(ids, [record["title"] for record in kept], [[]] * len(kept), coordinates=coordinates)
    expected = ["estrogen", "migraine", "schizophreni", "diabet"]
    for region, subject in zip(named, expected, strict=True):
        assert subject in " ".join(region.terms[:3]).casefold()
