"""JSON Lines and JSON: the shapes of records, lists and services' answers."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import DamagedFileError, UnsafeFileError
from corpus.identifiers import derived_id
from corpus.paper import Paper
from corpus.readers import preview, read

FULL = {
    "id": "p1",
    "title": "A title",
    "abstract": ["One.", "Two."],
    "authors": ["Smith, Ada", "The Group"],
    "year": 2021,
    "venue": "Journal",
    "doi": "10.1/x",
    "pmid": "123",
    "url": "https://example.org/1",
    "topics": ["Asthma", "asthma", "Child"],
    "citations": 5,
}
PAPER = Paper(
    id="p1",
    title="A title",
    abstract="One. Two.",
    authors=("Smith, Ada", "The Group"),
    year=2021,
    venue="Journal",
    doi="10.1/x",
    pmid="123",
    url="https://example.org/1",
    topics=("Asthma", "Child"),
)
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
def test_a_record_of_each_shape(read_data, record, paper):
    assert read_data(json.dumps(record), without_abstract="keep")[0] == [paper]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just(10**400) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "last", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = sorted({*OPENALEX, *GRAPH, *DATASETS, *S2ORC_OLD, *PARSED, *S2ORC_NEW, "_id", "text"})


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=st.dictionaries(st.sampled_from(KEYS), ODD, max_size=8))
def test_a_record_of_any_shape_gives_a_paper_or_a_reason(read_data, record):
    assert read_data(json.dumps(record), without_abstract="keep")[1].report.read == 1


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999", "-1e999", "1.5e308"])
@pytest.mark.parametrize("key", ["year", "publication_year", "pmid", "pubmed_id", "paperId", "corpusid"])
def test_a_huge_number_costs_no_other_record(read_data, key, number):
    whole = '{"paperId": "p1", "title": "T", "abstract": "A"}'
    record = f'{{"externalIds": {{}}, "title": "T", "abstract": "A", "{key}": {number}}}'
    papers, reading = read_data(f"{whole}\n{record}\n{whole}")
    assert (papers[0].id, papers[-1].id, reading.report.read) == ("p1", "p1", 3)


@pytest.mark.parametrize("end", ["1e999", "-1e999", '"x"', "null", '"1"'])
def test_an_invalid_span_is_no_text(read_data, end):
    spans = f'[{{"start": 0, "end": {end}}}]'
    for value in (spans, json.dumps(spans)):
        record = f'{{"corpusid": 1, "content": {{"text": "abc", "annotations": {{"abstract": {value}}}}}}}'
        assert read_data(record)[1].report.read == 1


def test_wild_places_of_an_inverted_index_cost_no_memory(read_data):
    record = OPENALEX | {"abstract_inverted_index": {"far": [10**15], "near": [-1], "x": "y", "z": [None, 0.5]}}
    assert read_data(json.dumps(record))[0][0].abstract == "near far"


# JSON Lines


def test_every_field_is_read_and_unknown_keys_are_ignored(read_data):
    papers, reading = read_data(json.dumps(FULL))
    assert papers == [PAPER]
    assert (reading.report.read, reading.report.problems) == (1, [])


def test_bom_crlf_and_blank_lines_do_not_matter(read_data):
    record, other = (json.dumps(FULL | {"id": name}).encode() for name in ("p1", "p2"))
    papers, reading = read_data(b"\xef\xbb\xbf" + record + b"\r\n\r\n  \n" + other + b"\r\n")
    assert [paper.id for paper in papers] == ["p1", "p2"]
    assert reading.report.read == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": 7}, "7"),
        ({"id": None}, "123"),
        ({"id": "", "pmid": 9}, "9"),
        ({"id": None, "pmid": None, "doi": "https://doi.org/10.1000/X"}, "10.1000/x"),
        ({"id": None, "pmid": None, "doi": ""}, derived_id(title="A title", year=2021)),
    ],
)
def test_an_id_is_found_where_there_is_one(read_data, change, expected):
    papers, _ = read_data(json.dumps(FULL | change).encode())
    assert [paper.id for paper in papers] == [expected]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"title": 5}, "title is a number; it should be text"),
        ({"title": ["A"]}, "title is a list; it should be text"),
        ({"abstract": {"a": 1}}, "abstract is an object; it should be text"),
        ({"abstract": ["One.", 2]}, "abstract holds a number; it should hold texts only"),
        ({"authors": 5}, "authors is a number; it should be a list of texts"),
        ({"authors": [["Smith"]]}, "authors holds a list"),
        ({"topics": [None]}, "topics holds null"),
        ({"year": [2021]}, "year is a list; it should be a whole number"),
        ({"year": 2021.5}, "year is a number; it should be a whole number"),
        ({"year": True}, "year is true or false"),
        ({"year": 20211}, "year is not within 1000 to 2999"),
        ({"id": True}, "id is true or false; it should be text"),
        ({"url": "javascript:alert(1)"}, "url 'javascript:alert(1)' begins with neither"),
        (b"{", "not JSON"),
        (b'{"id": NaN}', "NaN is not JSON"),
        (b'{"id": -Infinity}', "-Infinity is not JSON"),
        (b'{"year": ' + b"9" * 5000 + b"}", "not readable as JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "lists or objects nested too deep"),
        (b"[1]", "the record is a list; it should be an object"),
        (b"null", "the record is null"),
        (b'{"id": "' + b"x" * 300_000 + b'"}', "the line has more than 250,000 characters"),
    ],
)
def test_a_bad_line_costs_no_other(read_data, raw, reason):
    bad = raw if isinstance(raw, bytes) else json.dumps(FULL | raw).encode()
    good = [json.dumps(FULL | {"id": name}).encode() for name in ("before", "after")]
    papers, reading = read_data(b"\n".join([good[0], bad, good[1]]), line_bytes=250_000)
    assert [paper.id for paper in papers] == ["before", "after"]
    assert (reading.report.read, reading.report.damaged) == (3, 1)
    assert reading.report.problems[0].place == "line 2"
    assert reading.report.problems[0].reason.startswith(reason)


def test_a_long_line_may_exceed_the_limit_of_a_record(read_data):
    data = b'{"id": "' + b"x" * 1_000_000 + b'"}\n' + json.dumps(FULL).encode()
    papers, reading = read_data(data, line_bytes=1000, record_bytes=200_000)
    assert papers == [PAPER]
    assert reading.report.damaged == 1


def test_records_without_title_or_abstract_are_empty(read_data):
    records = [FULL | {"title": " "}, FULL | {"abstract": []}, FULL | {"abstract": None}]
    papers, reading = read_data("\n".join(map(json.dumps, records)))
    assert papers == []
    assert [problem.reason.split(".")[0] for problem in reading.report.problems] == [
        "no title",
        "no abstract",
        "no abstract",
    ]


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
def test_lists_and_whole_answers_are_read_record_by_record(read_data, tmp_path, wrap, indent, pack):
    data = json.dumps(wrap([OPENALEX, GRAPH]), indent=indent)
    papers, reading = read_data(pack(data.encode()))
    assert papers == [OPENALEX_PAPER, GRAPH_PAPER]
    assert (reading.report.format, reading.report.read) == ("JSON", 2)
    assert preview(tmp_path / "library", count=1).papers == (OPENALEX_PAPER,)


def test_answers_and_objects_may_follow_each_other(read_data):
    page = {"meta": {"next_cursor": "x"}, "results": [OPENALEX]}
    assert len(read_data("\n".join([json.dumps(page)] * 3))[0]) == 3
    assert len(read_data("\n".join([json.dumps(OPENALEX, indent=1)] * 3))[0]) == 3
    assert read_data(json.dumps({"results": []}))[0] == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_in_another_encoding_is_read(read_data, encoding):
    record = FULL | {"title": "Größe"}
    one, lines = (json.dumps(value, ensure_ascii=False) for value in ([record], record))
    for text in (one, f"{lines}\r\n{lines}"):
        papers, _ = read_data(text.encode(encoding))
        assert {paper.title for paper in papers} == {"Größe"}


def test_a_bad_record_of_a_list_costs_no_other(read_data):
    papers, reading = read_data(json.dumps([OPENALEX, 5, {"title": ["A"]}, GRAPH]))
    assert papers == [OPENALEX_PAPER, GRAPH_PAPER]
    assert [f"{problem.place}: {problem.reason.split('.')[0]}" for problem in reading.report.problems] == [
        "record 2: the record is a number; it should be an object",
        "record 3: title is a list; it should be text",
    ]


@pytest.mark.parametrize(
    "end",
    ["", "]]", ", oops]", ", " + "[" * 100_000, ', {"a": NaN}]', ', {"year": ' + "9" * 5000 + "}]", "]\n{", " 5]"],
)
def test_a_list_that_breaks_off_gives_the_records_before(tmp_path, end):
    path = tmp_path / "answer.json"
    path.write_text(json.dumps([OPENALEX, GRAPH])[:-1] + end)
    reading = read(path)
    assert [next(reading), next(reading)] == [OPENALEX_PAPER, GRAPH_PAPER]
    with pytest.raises(DamagedFileError, match=r"^answer\.json: its JSON is malformed or ends too early .*that: 2\."):
        next(reading)


def test_a_record_of_a_list_has_its_limit(read_data):
    data = json.dumps([OPENALEX, {"title": "x" * 300_000}])
    with pytest.raises(UnsafeFileError, match="one record has more than 200,000 characters"):
        read_data(data, record_bytes=200_000)
