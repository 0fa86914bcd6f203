"""Files that are chosen on a page: what is shown of them, and what is asked for after their columns were changed."""

import io

import pytest
from streamlit.testing.v1 import AppTest

from components.jobs.store import file_path
from components.pages.uploading import Uploads, _copy
from components.panels.file_preview import told_columns
from corpus.export import to_csv
from corpus.paper import Paper
from corpus.readers import preview, read

TABLE = b"Title,Abstract Note,Publication Year,Date,Manual Tags,Automatic Tags\nA,B,,1999-01-01,one,two\n"


class Upload(io.BytesIO):
    """What Streamlit hands over: bytes with a name and an id."""

    def __init__(self, id: str, name: str, content: bytes) -> None:
        super().__init__(content)
        self.file_id, self.name = id, name


def drawn(staging: str, name: str) -> None:
    """A page with the preview of one file, and what is asked for."""
    import streamlit as st

    from components.jobs.model import UploadedFile
    from components.pages.uploading import Uploads, chosen, draw_previews

    here = Uploads(staging=staging, files={"1": UploadedFile(name=name, original_name=name)})
    draw_previews(here, key="k", keep_without_abstract=True, extra=lambda _preview: None)
    st.session_state["asked"] = [dict(file.columns) for file in chosen(here, key="k")]


def page(content: bytes) -> tuple[AppTest, Uploads]:
    here = Uploads()
    _copy(here, [Upload("1", "a.csv", content)])
    test = AppTest.from_function(drawn, args=(here.staging, "a.csv"), default_timeout=60).run()
    assert not test.exception
    return test, here


def column(test: AppTest, here: Uploads, field: str, header: str) -> list[dict[str, str]]:
    """What is asked for after a column was chosen."""
    test.selectbox(key=f"k-{here.staging}-a.csv-column-{field}").select(header).run()
    assert not test.exception
    asked: list[dict[str, str]] = test.session_state["asked"]
    return asked


@pytest.mark.usefixtures("home")
def test_a_file_taken_back_and_chosen_again_is_another_file() -> None:
    here = Uploads()
    first, second = Upload("1", "a.csv", b"title,year\nOld,1999\n"), Upload("2", "a.csv", b"name,when\nNew,2001\n")
    _copy(here, [first])
    (old,) = here.files.values()
    _copy(here, [second])  # what was looked into and chosen of the first goes by its name
    (new,) = here.files.values()
    assert new.name != old.name
    assert new.original_name == old.original_name == "a.csv"
    assert file_path(here.staging, new.name).read_bytes() == second.getvalue()
    assert not file_path(here.staging, old.name).exists()


@pytest.mark.usefixtures("home")
def test_columns_as_they_were_recognised_leave_the_reading_as_it_is_without_a_page() -> None:
    test, here = page(TABLE)
    assert test.session_state["asked"] == [{}]
    assert column(test, here, "year", "Date") == [{"year": "Date"}]
    assert column(test, here, "year", "Publication Year") == [{}]


@pytest.mark.usefixtures("home")
def test_a_field_that_no_column_is_chosen_for_is_not_read() -> None:
    test, here = page(TABLE)
    (asked,) = column(test, here, "topics", "(none)")
    with read(file_path(here.staging, "a.csv"), columns=asked) as reading:
        (paper,) = reading
    assert (paper.topics, paper.year, paper.abstract) == ((), 1999, "B")


@pytest.mark.usefixtures("home")
def test_a_column_may_stand_for_two_fields() -> None:
    test, here = page(b"Title,Summary\nA,B\n")
    (asked,) = column(test, here, "venue", "Summary")
    with read(file_path(here.staging, "a.csv"), columns=asked) as reading:
        (paper,) = reading
    assert (paper.venue, paper.abstract) == ("B", "B")


@pytest.mark.usefixtures("home")
def test_what_is_recognised_beside_an_unknown_title_is_chosen_already() -> None:
    test, here = page(b"Wording,Abstract,Year\nA,B,1999\n")
    assert test.session_state["asked"] == []
    (asked,) = column(test, here, "title", "Wording")
    with read(file_path(here.staging, "a.csv"), columns=asked) as reading:
        (paper,) = reading
    assert (paper.title, paper.abstract, paper.year) == ("A", "B", 1999)
    assert test.selectbox(key=f"k-{here.staging}-a.csv-column-abstract").value == "Abstract"


@pytest.mark.usefixtures("home")
def test_an_export_of_this_app_is_read_exactly_when_it_is_uploaded() -> None:
    paper = Paper(id="a <b>1</b>", title="A", abstract="B", authors=("One, Two, Three",), topics=("Behavior, Animal",))
    test, here = page(to_csv([paper]))
    (asked,) = test.session_state["asked"]
    with read(file_path(here.staging, "a.csv"), columns=asked or None) as reading:
        assert list(reading) == [paper]


def test_only_what_was_changed_is_told() -> None:
    recognised = {"title": "T", "abstract": "A", "year": "Y"}
    assert told_columns(recognised, recognised=recognised) == {}
    assert told_columns({"title": "T", "abstract": "A"}, recognised=recognised) == {"year": ""}
    assert told_columns(recognised | {"venue": "V"}, recognised=recognised) == {"venue": "V"}
    assert told_columns(recognised | {"venue": "A"}, recognised=recognised) == {"venue": "A", "abstract": "A"}
    assert told_columns({"title": "T"}, recognised={}) == {"title": "T"}


def test_a_preview_tells_what_it_recognised_of_a_table_without_titles(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes(b"Wording,Abstract,Year\nA,B,1999\n")
    assert preview(tmp_path / "a.csv").columns == {"abstract": "Abstract", "year": "Year"}
