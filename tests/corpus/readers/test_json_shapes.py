"""JSON as services give it: the shapes of records, lists and answers."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import DamagedFileError, UnreadableFileError, UnsafeFileError
from corpus.identifiers import derived_id
from corpus.io.limits import Limits
from corpus.paper import Paper
from corpus.readers import preview, read

OPENALEX = {
    "id": "https://openalex.org/W2741809807",
    "doi": "https://doi.org/10.7717/peerj.4375",
    "title": "The state of <i>OA</i> &amp; more",
    "display_name": "The state of <i>OA</i> &amp; more",
    "publication_year": 2018,
    "publication_date": "2018-02-13",
    "ids": {"openalex": "https://openalex.org/W2741809807", "pmid": "https://pubmed.ncbi.nlm.nih.gov/29456894"},
    "primary_location": {
        "landing_page_url": "https://doi.org/10.7717/peerj.4375",
        "source": {"id": "https://openalex.org/S1983995261", "display_name": "PeerJ"},
    },
    "authorships": [
        {"author_position": "first", "author": {"id": "https://openalex.org/A1", "display_name": "Heather Piwowar"}},
        {"author": {"id": None}, "raw_author_name": "Jason Priem"},
    ],
    "keywords": [{"id": "https://openalex.org/keywords/citation", "display_name": "Citation"}],
    "topics": [{"display_name": "Scientometrics"}, {"display_name": "citation"}],
    "mesh": [{"descriptor_ui": "D1", "descriptor_name": "Publishing", "qualifier_name": None}],
    "abstract_inverted_index": {"Despite": [0], "growing": [1], "interest": [2, 4], "in": [3], "OA.": [5]},
}
OPENALEX_PAPER = Paper(
    id="W2741809807",
    title="The state of OA & more",
    abstract="Despite growing interest in interest OA.",
    authors=("Heather Piwowar", "Jason Priem"),
    year=2018,
    venue="PeerJ",
    doi="10.7717/peerj.4375",
    pmid="29456894",
    url="https://doi.org/10.7717/peerj.4375",
    topics=("Publishing", "Citation", "Scientometrics"),
)
GRAPH = {
    "paperId": "649def34f8be52c8b66281af98ae884c09aef38b",
    "externalIds": {"MAG": "2741809807", "DOI": "10.18653/V1/N18-3011", "PubMed": "123", "CorpusId": 19170988},
    "url": "https://www.semanticscholar.org/paper/649def34f8be52c8b66281af98ae884c09aef38b",
    "title": "Construction of the Literature Graph",
    "abstract": "We describe a system.",
    "venue": "",
    "journal": {"name": "NAACL", "pages": "84-91"},
    "year": None,
    "publicationDate": "2018-05-06",
    "authors": [{"authorId": "1", "name": "Waleed Ammar"}, {"authorId": None, "name": None}],
    "fieldsOfStudy": ["Computer Science"],
    "s2FieldsOfStudy": [{"category": "Computer Science", "source": "external"}, {"category": "Linguistics"}],
}
GRAPH_PAPER = Paper(
    id=GRAPH["paperId"],
    title="Construction of the Literature Graph",
    abstract="We describe a system.",
    authors=("Waleed Ammar",),
    year=2018,
    venue="NAACL",
    doi="10.18653/V1/N18-3011",
    pmid="123",
    url=GRAPH["url"],
    topics=("Computer Science", "Linguistics"),
)
DATASETS = {
    "corpusid": 19170988,
    "externalids": {"DOI": "10.1000/x", "PubMed": None, "ArXiv": "1805.02262", "CorpusId": "19170988"},
    "url": "https://www.semanticscholar.org/paper/1",
    "title": "A title",
    "authors": [{"authorId": "1", "name": "Waleed Ammar"}],
    "venue": "NAACL",
    "publicationvenueid": None,
    "year": 2018,
    "s2fieldsofstudy": [{"category": "Linguistics", "source": "s2-fos-model"}],
    "publicationdate": "2018-05-06",
    "journal": None,
}
S2ORC_OLD = {
    "paper_id": "77499681",
    "title": "Mesh migration",
    "authors": [
        {"first": "Jihad", "middle": ["H.", "K."], "last": "Kaouk", "suffix": "Jr"},
        {"first": "", "middle": [], "last": "The Group", "suffix": ""},
    ],
    "abstract": None,
    "year": "2010",
    "arxiv_id": None,
    "pubmed_id": "20399461",
    "doi": "10.1016/j.juro.2010.01.001",
    "venue": None,
    "journal": "The Journal of Urology",
    "mag_field_of_study": ["Medicine"],
}
PARSED = {
    "paper_id": "0001418189999fea7f7cbe3e82703d71c85a6fe5",
    "metadata": {"title": "Absence of surface", "authors": [{"first": "E", "middle": [], "last": "Cornelius"}]},
    "abstract": [{"text": "Aim.", "section": "Abstract"}, {"text": "Result.", "section": "Abstract"}],
    "body_text": [{"text": "Long."}],
}
TEXT = "Absence of surface\nby E. Cornelius\nWe looked and found none.\nBody"
S2ORC_NEW = {
    "corpusid": 7,
    "externalids": {"doi": "10.1000/x", "pubmed": "12", "arxiv": None},
    "content": {
        "source": {"pdfurls": None},
        "text": TEXT,
        "annotations": {
            "title": json.dumps([{"start": "0", "end": "18"}]),
            "abstract": json.dumps([{"start": 35, "end": 60}, {"start": -5, "end": 3}, {"x": 1}]),
            "author": None,
        },
    },
}


def reading_of(tmp_path, data, **limits):
    path = tmp_path / "answer.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    reading = read(path, without_abstract="keep", limits=Limits(**limits))
    return list(reading), reading.report


@pytest.mark.parametrize(
    ("record", "paper"),
    [
        (OPENALEX, OPENALEX_PAPER),
        (GRAPH, GRAPH_PAPER),
        (
            DATASETS,
            Paper(
                id="19170988",
                title="A title",
                abstract="",
                authors=("Waleed Ammar",),
                year=2018,
                venue="NAACL",
                doi="10.1000/x",
                url="https://www.semanticscholar.org/paper/1",
                topics=("Linguistics",),
            ),
        ),
        (
            S2ORC_OLD,
            Paper(
                id="77499681",
                title="Mesh migration",
                abstract="",
                authors=("Kaouk, Jihad H. K. Jr", "The Group"),
                year=2010,
                venue="The Journal of Urology",
                doi="10.1016/j.juro.2010.01.001",
                pmid="20399461",
                topics=("Medicine",),
            ),
        ),
        (
            PARSED,
            Paper(
                id="0001418189999fea7f7cbe3e82703d71c85a6fe5",
                title="Absence of surface",
                abstract="Aim.\nResult.",
                authors=("Cornelius, E",),
            ),
        ),
        (
            S2ORC_NEW,
            Paper(id="7", title="Absence of surface", abstract="We looked and found none.", doi="10.1000/x", pmid="12"),
        ),
        ({"_id": "4983", "title": "A", "text": "B", "metadata": {}}, Paper(id="4983", title="A", abstract="B")),
        ({"doc_id": 4983, "title": "A", "abstract": ["B.", "C."]}, Paper(id="4983", title="A", abstract="B. C.")),
        (
            {"title": "A", "abstract": "B", "authors": "Noether, E; Hilbert, D", "year": "1921-05", "keywords": ["x"]},
            Paper(
                id=derived_id(title="A", year=1921),
                title="A",
                abstract="B",
                authors=("Noether, E", "Hilbert, D"),
                year=1921,
                topics=("x",),
            ),
        ),
        (
            {"id": 7.0, "pmid": 31234567.0, "title": "A", "abstract": "B", "year": 1921.0},
            Paper("7", "A", "B", (), 1921, "", "", "31234567"),
        ),
    ],
)
def test_a_record_of_each_shape(tmp_path, record, paper):
    assert reading_of(tmp_path, json.dumps(record))[0] == [paper]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just(10**400) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "last", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = sorted({*OPENALEX, *GRAPH, *DATASETS, *S2ORC_OLD, *PARSED, *S2ORC_NEW, "_id", "text"})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=st.dictionaries(st.sampled_from(KEYS), ODD, max_size=8))
def test_a_record_of_any_shape_gives_a_paper_or_a_reason(tmp_path, record):
    papers, report = reading_of(tmp_path, json.dumps(record))
    assert (len(papers), report.read) in ((1, 1), (0, 1))


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999", "-1e999", "1.5e308"])
@pytest.mark.parametrize("key", ["year", "publication_year", "pmid", "pubmed_id", "paperId", "corpusid"])
def test_a_number_that_no_machine_holds_costs_no_other_record(tmp_path, key, number):
    whole = '{"paperId": "p1", "title": "T", "abstract": "A"}'
    record = f'{{"externalIds": {{}}, "title": "T", "abstract": "A", "{key}": {number}}}'
    papers, report = reading_of(tmp_path, f"{whole}\n{record}\n{whole}")
    assert (papers[0].id, papers[-1].id, report.read) == ("p1", "p1", 3)


@pytest.mark.parametrize("end", ["1e999", "-1e999", '"x"', "null", '"1"'])
def test_a_span_that_ends_nowhere_is_no_text(tmp_path, end):
    spans = f'[{{"start": 0, "end": {end}}}]'
    for told in (spans, json.dumps(spans)):
        record = f'{{"corpusid": 1, "title": "T", "content": {{"text": "abc", "annotations": {{"abstract": {told}}}}}}}'
        assert reading_of(tmp_path, record)[1].read == 1


# Lists and answers


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda records: records,
        lambda records: {"meta": {"count": 2, "x": [1, {"results": []}]}, "results": records, "group_by": []},
        lambda records: {"total": 2, "token": None, "data": records},
    ],
)
def test_lists_and_whole_answers_are_read_record_by_record(tmp_path, wrap, indent, pack):
    data = json.dumps(wrap([OPENALEX, GRAPH]), indent=indent)
    papers, report = reading_of(tmp_path, pack(data.encode()))
    assert papers == [OPENALEX_PAPER, GRAPH_PAPER]
    assert (report.format, report.read) == ("JSON", 2)
    assert preview(tmp_path / "answer.json", count=1).papers == (OPENALEX_PAPER,)


def test_answers_one_after_another_and_pretty_objects(tmp_path):
    page = {"meta": {"next_cursor": "x"}, "results": [OPENALEX]}
    assert len(reading_of(tmp_path, "\n".join([json.dumps(page)] * 3))[0]) == 3
    assert len(reading_of(tmp_path, "\n".join([json.dumps(OPENALEX, indent=1)] * 3))[0]) == 3
    assert reading_of(tmp_path, json.dumps({"results": []}))[0] == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_what_a_terminal_of_windows_writes(tmp_path, encoding):
    assert reading_of(tmp_path, json.dumps([OPENALEX]).encode(encoding))[0] == [OPENALEX_PAPER]
    lines = "\r\n".join([json.dumps(OPENALEX)] * 2)
    assert reading_of(tmp_path, lines.encode(encoding))[0] == [OPENALEX_PAPER] * 2


def test_a_record_of_a_list_that_is_none_costs_no_other(tmp_path):
    papers, report = reading_of(tmp_path, json.dumps([OPENALEX, 5, {"title": ["A"]}, GRAPH]))
    assert papers == [OPENALEX_PAPER, GRAPH_PAPER]
    assert [str(problem).split(".json, ")[1].split(".")[0] for problem in report.problems] == [
        "record 2: the record is a number; it should be an object",
        "record 3: title is a list; it should be text",
    ]


@pytest.mark.parametrize(
    "end",
    ["", "]]", ", oops]", ", " + "[" * 100_000, ', {"a": NaN}]', ', {"year": ' + "9" * 5000 + "}]", "]\n{", " 5]"],
)
def test_a_list_that_breaks_off_gives_what_is_before(tmp_path, end):
    path = tmp_path / "answer.json"
    path.write_text(json.dumps([OPENALEX, GRAPH])[:-1] + end)
    papers = []
    with pytest.raises(DamagedFileError, match=r"^answer\.json: its JSON is malformed or ends too early .*that: 2\."):
        for paper in read(path):
            papers.append(paper)
    assert papers == [OPENALEX_PAPER, GRAPH_PAPER]


def test_a_record_of_a_list_has_its_limit(tmp_path):
    data = json.dumps([OPENALEX, {"title": "x" * 300_000}])
    with pytest.raises(UnsafeFileError, match="one record has more than 200,000 characters"):
        reading_of(tmp_path, data, record_bytes=200_000)


def test_an_abstract_of_wild_places_costs_no_memory(tmp_path):
    record = OPENALEX | {"abstract_inverted_index": {"far": [10**15], "near": [-1], "x": "y", "z": [None, 0.5]}}
    assert reading_of(tmp_path, json.dumps(record))[0][0].abstract == "near far"


SMALL = json.dumps({"meta": {}, "results": [OPENALEX, GRAPH, S2ORC_OLD]}).encode()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_scratched_anywhere_gives_papers_or_a_plain_error(tmp_path, data):
    scratched = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(SMALL) - 1))
        scratched[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=6))
    try:
        papers, _ = reading_of(tmp_path, bytes(scratched))
    except UnreadableFileError as error:
        assert str(error).startswith("answer.json: ")
    else:
        assert all(paper.title for paper in papers)
