"""The Corpora page's logic, by AppTest. What a person does there is in tests/browser/."""

import io
import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from components.atlas import paths, store
from components.atlas.corpora import note_request, rename_corpus
from components.jobs import runner
from components.jobs.model import JobKind, JobRequest
from components.jobs.store import add_file, new_request_id, save_request, waiting_requests
from tests.components.pages.app import PATIENCE, checked, open_page, press, texts


@pytest.fixture(autouse=True)
def _default_manifest(topics: str, home: Path) -> None:
    """The default atlas's manifest exists, so that it is not assembled."""
    manifest = json.loads((home / topics / "manifest.json").read_text())
    (home / "medline").mkdir()
    (home / "medline" / "manifest.json").write_text(json.dumps({**manifest, "name": "medline", "corpus": "medline"}))


def saved_request(kind: JobKind, *, name: str, title: str = "", content: bytes = b"x") -> JobRequest:
    id = new_request_id()
    file = add_file(id, "a.ris", io.BytesIO(content))
    return save_request(JobRequest(id=id, kind=kind, name=name, title=title, files=(file,)))


def test_corpora_are_listed_with_their_titles_the_shipped_one_last(topics: str, home: Path) -> None:
    rename_corpus(topics, "Hearts & [stars](x)")
    (home / "broken").mkdir()
    (home / "broken" / "manifest.json").write_text("{")
    app = open_page("corpora")
    headings = [heading.value for heading in app.subheader]
    assert headings[:3] == ["Your corpora", "Hearts \\& \\[stars\\]\\(x\\)", "medline"]
    assert "12 papers" in texts(app)
    assert ["broken" in error.value for error in app.error] == [True]


def test_a_stopped_job_can_be_discarded() -> None:
    request = saved_request("files", name="mine", title="My **papers**")
    app = open_page("corpora")
    assert "Building My \\*\\*papers\\*\\* was stopped" in texts(app)
    press(app, f"discard-{request.id}")
    assert waiting_requests() == []
    assert "was stopped" not in texts(app)


def test_the_work_of_a_stopped_addition_is_discarded_with_it(topics: str) -> None:
    work = paths.work_folder(topics, {"kind": "add"})
    note_request(work, corpus=topics, base=topics, encoder="m", precision="float32", papers=9, kind="add")
    request = saved_request("add", name=topics)
    press(open_page("corpora"), f"discard-{request.id}")
    assert not work.exists()
    assert store.read_manifest(topics).papers == 12


def test_a_failed_job_says_why_and_waits() -> None:
    request = saved_request("files", name="mine", title="Mine", content=b"")
    app = press(open_page("corpora"), f"resume-{request.id}")
    assert runner._latest is not None
    runner._latest.wait(PATIENCE * 2)
    checked(app.run())
    assert "Building Mine: failed" in texts(app)
    assert "it is empty" in texts(app) or "is empty" in texts(app)
    assert waiting_requests() == [request]


def dialog(name: str) -> None:
    """A page with one of a corpus's dialogs open."""
    from components.pages import jobs
    from components.pages.corpus_dialogs import DIALOGS

    jobs.show_last_error()
    DIALOGS[name]("topics")


def test_a_removal_from_a_damaged_atlas_is_an_error(topics: str, home: Path) -> None:
    next((home / topics).glob("*/papers.parquet")).write_bytes(b"x")
    app = AppTest.from_function(dialog, args=("Remove papers",), default_timeout=PATIENCE).run()
    checked(app.text_area[0].set_value("1").run())
    assert "papers\\.parquet has 1" in texts(app)


def test_a_change_that_the_disk_forbids_is_an_error(home: Path) -> None:
    app = AppTest.from_function(dialog, args=("Lay out the map again",), default_timeout=PATIENCE).run()
    (home / ".staged").write_bytes(b"")  # where a folder should be made
    checked(app.button[0].click().run())
    assert "File exists" in texts(app) or "Not a directory" in texts(app)
