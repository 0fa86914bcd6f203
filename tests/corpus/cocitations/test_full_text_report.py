import json

from corpus.cocitations.full_text_report import FullTextReport, Refusal


def test_the_first_thousand_refusals_are_kept_and_all_are_counted() -> None:
    whole, part = FullTextReport(), FullTextReport()
    for number in range(700):
        whole.refuse(f"file {number}", f"reason {number % 80}")
        part.refuse(f"other {number}", f"reason {number % 90}")
    whole.add(part)
    assert whole.refused == 1_400 and len(whole.refusals) == 1_000
    assert whole.refusals[999] == Refusal("other 299", "reason 29")
    assert whole.as_json()["refusals_left_out"] == 400
    assert whole.reasons.total() == 1_400 and len(whole.reasons) == 90


def test_reasons_that_differ_without_end_are_counted_together() -> None:
    report = FullTextReport()
    for number in range(500):
        report.refuse("file", f"it breaks off at {number}")
    assert report.reasons["another reason"] == 400 and report.reasons.total() == 500


def test_accounts_add_up_and_can_be_written_as_json() -> None:
    whole, part = FullTextReport(), FullTextReport()
    for report in (whole, part):
        report.read("S2ORC")
        report.sentences += 3
        report.dropped["a reason"] += 2
        report.repaired["another"] += 1
    part.read("JATS")
    whole.add(part)
    said = json.loads(json.dumps(whole.as_json()))
    assert said["documents"] == 3 and said["formats"] == {"S2ORC": 2, "JATS": 1}
    assert (said["sentences"], said["dropped"], said["repaired"]) == (6, {"a reason": 4}, {"another": 2})
    assert str(Refusal("file", "it is empty.")) == "file: it is empty."
