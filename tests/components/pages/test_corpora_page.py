"""The Corpora page's own logic, run by Streamlit's AppTest. What a person does there is in tests/browser/."""

import io
import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from components.atlas import paths, store
from components.atlas.corpora import note_request, rename_corpus
from components.jobs import runner as background
from components.jobs.model import JobRequest
from components.jobs.store import add_file, new_request_id, save_request, waiting_requests
from components.pages import resources

APP = Path(__file__).parents[3] / "app.py"
PATIENCE = 120  # seconds; nothing is measured by it


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch, topics: str, home: Path) -> None:
    """Nothing is open or under way, and the default atlas's manifest is there, so that it is not assembled."""
    resources._open.clear()
    background._latest = None
    manifest = json.loads((home / topics / "manifest.json").read_text())
    (home / "medline").mkdir()
    (home / "medline" / "manifest.json").write_text(json.dumps({**manifest, "name": "medline", "corpus": "medline"}))


def page() -> AppTest:
    """The page as it is drawn."""
    test = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    test._page_hash = calc_hash("corpora")
    test.run()
    assert not test.exception
    return test


def texts(test: AppTest) -> str:
    """All that stands on it."""
    return "\n".join(str(one.value) for kind in ("subheader", "markdown", "caption", "error") for one in test.get(kind))


def test_corpora_are_listed_with_their_titles_the_own_before_the_default(topics: str) -> None:
    rename_corpus(topics, "Hearts & [stars](x)")
    test = page()
    headings = [one.value for one in test.subheader]
    assert headings[:2] == ["Your corpora", "Hearts & \\[stars\\]\\(x\\)".replace("&", "\\&")]
    assert "medline" in headings
    assert "12 papers" in texts(test)


def test_an_atlas_that_cannot_be_read_is_told_of_and_hides_no_other(topics: str, home: Path) -> None:
    (home / "broken").mkdir()
    (home / "broken" / "manifest.json").write_text("{")
    test = page()
    assert "broken" in texts(test)
    assert "topics" in [one.value for one in test.subheader]


def test_what_was_stopped_can_be_thrown_away(topics: str) -> None:
    new = new_request_id()
    file = add_file(new, "a.ris", io.BytesIO(b"x"))
    asked = save_request(JobRequest(id=new, kind="files", name="mine", title="My **papers**", files=(file,)))
    test = page()
    assert "Building My \\*\\*papers\\*\\* was stopped" in texts(test)
    test.button(key=f"discard-{asked.id}").click().run()
    assert not test.exception
    assert waiting_requests() == []
    assert "was stopped" not in texts(test)


def test_what_was_encoded_for_a_stopped_addition_is_thrown_away_with_it(topics: str, home: Path) -> None:
    work = paths.work_folder(topics, {"kind": "add"})
    note_request(work, corpus=topics, base=topics, encoder="m", precision="float32", papers=9, kind="add")
    new = new_request_id()
    file = add_file(new, "a.ris", io.BytesIO(b"x"))
    asked = save_request(JobRequest(id=new, kind="add", name=topics, files=(file,)))
    test = page()
    test.button(key=f"discard-{asked.id}").click().run()
    assert not test.exception
    assert not work.exists()
    assert store.read_manifest(topics).papers == 12


def test_a_job_that_fails_is_told_of_in_its_own_words_and_waits(topics: str) -> None:
    new = new_request_id()
    file = add_file(new, "empty.ris", io.BytesIO(b""))
    asked = save_request(JobRequest(id=new, kind="files", name="mine", title="Mine", files=(file,)))
    test = page()
    test.button(key=f"go-on-{asked.id}").click().run()
    assert background._latest is not None
    background._latest.wait(PATIENCE * 2)
    test.run()
    assert "Building Mine: failed" in texts(test)
    assert "it is empty" in texts(test)
    assert waiting_requests() == [asked]


def dialog(called: str) -> None:
    """A page with one of a corpus's dialogs open."""
    from components.pages import jobs
    from components.pages.corpus_dialogs import DIALOGS

    jobs.say_refusal()
    DIALOGS[called]("topics")


def test_a_removal_from_an_atlas_that_is_damaged_is_a_sentence(topics: str, home: Path) -> None:
    next((home / topics).glob("*/papers.parquet")).write_bytes(b"x")
    test = AppTest.from_function(dialog, args=("Remove papers",), default_timeout=PATIENCE).run()
    test.text_area[0].set_value("1").run()
    assert not test.exception
    assert "papers\\.parquet has 1" in texts(test)


def test_a_change_that_a_full_disk_forbids_is_a_sentence(
    topics: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = AppTest.from_function(dialog, args=("Lay out the map again",), default_timeout=PATIENCE).run()
    (home / ".staged").write_bytes(b"")  # where a folder should be made
    test.button[0].click().run()
    assert not test.exception
    assert "File exists" in texts(test) or "Not a directory" in texts(test)
