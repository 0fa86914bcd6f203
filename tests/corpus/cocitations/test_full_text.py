import json

from corpus.cocitations.full_text import FullTextReport, Reference, Refusal, reference
from corpus.identifiers import title_key


def test_a_reference_lists_its_most_reliable_identifier_first_and_each_once() -> None:
    found = reference(
        [("mag", 5), ("pmid", "7"), ("doi", "10.1/none"), ("doi", "10.1000/B"), ("doi", "doi:10.1000/b"), ("s2", None)],
        title=" A  title. ",
        year=2001,
    )
    assert found == Reference(("doi:10.1000/b", "pmid:7", "mag:5", title_key("A title", 2001)), "A title.", 2001)
    assert found.key == "doi:10.1000/b"
    assert reference([]) == Reference(()) and reference([]).key == ""
    assert reference([], title="x", year=20211).year is None


def test_reports_add_up_and_keep_a_bounded_number_of_refusals_and_reasons() -> None:
    whole, part = FullTextReport(), FullTextReport()
    for number in range(700):
        whole.refuse(f"file {number}", f"reason {number % 80}")
        part.refuse(f"other {number}", f"breaks off at {number}")
    for report in (whole, part):
        report.documents, report.sentences = 2, 3
        report.formats["S2ORC"] += 2
        report.dropped["a reason"] += 2
    whole.add(part)
    content = json.loads(json.dumps(whole.as_json()))
    assert (content["documents"], content["sentences"], content["refused"]) == (4, 6, 1_400)
    assert content["formats"] == {"S2ORC": 4} and content["dropped"] == {"a reason": 4}
    assert len(whole.refusals) == 1_000 and content["refusals_left_out"] == 400
    assert whole.refusals[999] == Refusal("other 299", "breaks off at 299")
    assert whole.reasons.total() == 1_400 and whole.reasons["another reason"] > 600 and len(whole.reasons) <= 101
    assert str(Refusal("file", "it is empty.")) == "file: it is empty."
