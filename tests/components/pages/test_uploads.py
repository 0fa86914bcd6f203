"""Uploaded files: what is shown of them, and what a job gets after their columns were changed."""

import io

import pytest
from streamlit.testing.v1 import AppTest

from components.jobs.store import file_path
from components.pages.uploads import Uploads, copy_files
from components.panels.files import changed_columns
from corpus.export import to_csv
from corpus.paper import Paper
from corpus.readers import read
from tests.components.pages.app import checked

TABLE = b"Title,Abstract Note,Publication Year,Date,Manual Tags,Automatic Tags\nA,B,,1999-01-01,one,two\n"
pytestmark = pytest.mark.usefixtures("home")


class Upload(io.BytesIO):
    """What Streamlit hands over: bytes with a name and an id."""

    def __init__(self, id: str, name: str, content: bytes) -> None:
        super().__init__(content)
        self.file_id, self.name = id, name


def previewed(request_id: str, name: str) -> None:
    """A page with the preview of one file; `columns` gets what the job would."""
    import streamlit as st

    from components.jobs.model import UploadedFile
    from components.pages.uploads import Uploads, draw_previews, readable_files

    uploads = Uploads(request_id=request_id, files={"1": UploadedFile(name=name, original_name=name)})
    draw_previews(uploads, key="k", keep_without_abstract=True)
    st.session_state["columns"] = [dict(file.columns) for file in readable_files(uploads, key="k")]


class Page:
    """The preview of a table."""

    def __init__(self, content: bytes) -> None:
        self.uploads = Uploads()
        copy_files(self.uploads, [Upload("1", "a.csv", content)])
        args = (self.uploads.request_id, "a.csv")
        self.app = checked(AppTest.from_function(previewed, args=args, default_timeout=60).run())

    @property
    def columns(self) -> list[dict[str, str]]:
        return self.app.session_state["columns"]

    def choose(self, field: str, header: str) -> dict[str, str]:
        """The columns after one was chosen."""
        self.app.selectbox(key=f"k-{self.uploads.request_id}-a.csv-column-{field}").select(header).run()
        checked(self.app)
        (columns,) = self.columns
        return columns

    def paper(self) -> Paper:
        """The only paper, as a job would read it."""
        (columns,) = self.columns
        with read(file_path(self.uploads.request_id, "a.csv"), columns=columns or None) as reading:
            (paper,) = reading
        return paper


def test_a_file_taken_back_and_chosen_again_is_another_file() -> None:
    uploads = Uploads()
    first, second = Upload("1", "a.csv", b"title,year\nOld,1999\n"), Upload("2", "a.csv", b"name,when\nNew,2001\n")
    copy_files(uploads, [first])
    (old,) = uploads.files.values()
    copy_files(uploads, [second])  # previews and columns of the first go by its name
    (new,) = uploads.files.values()
    assert new.name != old.name
    assert new.original_name == old.original_name == "a.csv"
    assert file_path(uploads.request_id, new.name).read_bytes() == second.getvalue()
    assert not file_path(uploads.request_id, old.name).exists()


def test_recognised_columns_are_not_passed_on() -> None:
    page = Page(TABLE)
    assert page.columns == [{}]
    assert page.choose("year", "Date") == {"year": "Date"}
    assert page.choose("year", "Publication Year") == {}
    page.choose("topics", "(none)")
    assert (page.paper().topics, page.paper().year, page.paper().abstract) == ((), 1999, "B")


def test_a_column_may_stand_for_two_fields() -> None:
    page = Page(b"Title,Summary\nA,B\n")
    page.choose("venue", "Summary")
    assert (page.paper().venue, page.paper().abstract) == ("B", "B")


def test_a_table_without_a_known_title_keeps_its_recognised_columns() -> None:
    page = Page(b"Wording,Abstract,Year\nA,B,1999\n")
    assert page.columns == []
    page.choose("title", "Wording")
    assert (page.paper().title, page.paper().abstract, page.paper().year) == ("A", "B", 1999)
    assert page.app.selectbox(key=f"k-{page.uploads.request_id}-a.csv-column-abstract").value == "Abstract"


def test_an_export_of_this_app_is_read_exactly() -> None:
    paper = Paper(id="a <b>1</b>", title="A", abstract="B", authors=("One, Two, Three",), topics=("Behavior, Animal",))
    assert Page(to_csv([paper])).paper() == paper


@pytest.mark.parametrize(
    ("chosen", "changed"),
    [
        ({"title": "T", "abstract": "A", "year": "Y"}, {}),
        ({"title": "T", "abstract": "A"}, {"year": ""}),
        ({"title": "T", "abstract": "A", "year": "Y", "venue": "V"}, {"venue": "V"}),
        ({"title": "T", "abstract": "A", "year": "Y", "venue": "A"}, {"venue": "A", "abstract": "A"}),
    ],
)
def test_only_changed_columns_are_passed_on(chosen: dict[str, str], changed: dict[str, str]) -> None:
    assert changed_columns(chosen, recognised={"title": "T", "abstract": "A", "year": "Y"}) == changed
