"""An addition that is stopped anywhere, by its progress or a kill, goes on where it was."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.atlas import build
from components.atlas.build import ENCODING, INDEXING, WRITING
from components.atlas.corpora import discard_unfinished, unfinished
from components.atlas.grow import COMPARING, PLACING, add_papers, remove_papers
from components.atlas.store import open_atlas
from components.encoder import EMBEDDED, BiEncoder
from corpus.export import write_jsonl
from corpus.paper import Paper
from corpus.progress import Cancelled
from tests.components.atlas.growing import Watch, check_rows, numbered

Planted = Callable[[int], list[Paper]]


@pytest.mark.parametrize(
    "point", [(COMPARING, 0), (ENCODING, 4), (ENCODING, 7), (PLACING, 0), (INDEXING, 0), (WRITING, 0)]
)
def test_a_stopped_addition_goes_on_where_it_was(
    topics: str, planted: Planted, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(build, "CHUNK", 4)
    more = [*planted(6), *(numbered(i) for i in range(7))]
    with pytest.raises(Cancelled):
        add_papers(topics, more, progress=Watch(stop_at=point))
    assert len(open_atlas(topics)) == 12
    chunks = len(list(home.rglob("vectors-*.npy")))
    stopped = unfinished()
    if point == (COMPARING, 0):
        assert stopped == []
    else:
        (one,) = stopped
        assert (one.kind, one.name, one.base, one.corpus, one.encoder) == ("add", topics, topics, topics, EMBEDDED)
        assert (one.rows_total, one.rows_done) == (7, min(4 * chunks, 7))
    remove_papers(topics, ["heart-0"])  # the work is that of the new texts, whatever becomes of the old rows
    watch = Watch()
    assert add_papers(topics, more[1:], progress=watch).added == 7
    assert next(done for stage, done, _ in watch.calls if stage == ENCODING) == min(4 * chunks, 7)
    assert unfinished() == []
    assert list(home.rglob("work-*")) == []


def test_an_addition_killed_after_its_last_rename_is_done_and_cleared_up(topics: str, home: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        add_papers(topics, [numbered(1)])
    assert [one.kind for one in unfinished()] == ["add"]
    assert add_papers(topics, [numbered(1)]).already_there == 1
    assert unfinished() == []


def test_an_unfinished_addition_can_be_discarded(topics: str, home: Path) -> None:
    with pytest.raises(Cancelled):
        add_papers(topics, [numbered(1)], progress=Watch(stop_at=(PLACING, 0)))
    discard_unfinished(topics)
    assert unfinished() == []
    assert len(open_atlas(topics)) == 12


KILLER = """
import json, os, signal, sys
from pathlib import Path
from components.atlas import build
from components.atlas.grow import add_papers, remove_papers
from corpus.readers import read
build.CHUNK = 4
home, file, stage, at = json.loads(sys.argv[1])
os.environ["COCITE_ATLAS_HOME"] = home

def progress(now, done, total):
    if (now, done) == (stage, at):
        os.kill(os.getpid(), signal.SIGKILL)

add_papers("topics", list(read(Path(file))), progress=progress)
"""


@pytest.mark.parametrize("point", [(ENCODING, 8), (WRITING, 0)])
def test_a_killed_addition_leaves_the_atlas_whole_and_is_taken_up(
    topics: str, home: Path, tmp_path: Path, encoder: BiEncoder, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    papers = [numbered(i) for i in range(10)]
    write_jsonl(papers, tmp_path / "more.jsonl")
    arguments = json.dumps([str(home), str(tmp_path / "more.jsonl"), *point])
    ended = subprocess.run(
        [sys.executable, "-c", KILLER, arguments], env={**os.environ, "PYTHONPATH": str(Path.cwd())}, timeout=240
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(check_rows(topics, encoder, tolerance=1e-4)) == 12
    monkeypatch.setattr(build, "CHUNK", 4)
    watch = Watch()
    assert add_papers(topics, papers, progress=watch).added == 10
    assert next(done for stage, done, _ in watch.calls if stage == ENCODING) in (
        (4, 8) if point[0] == ENCODING else (10,)
    )
    atlas = check_rows(topics, encoder, tolerance=1e-4)
    assert [atlas.paper(row).id for row in range(12, 22)] == [paper.id for paper in papers]
    assert len([path for path in (home / topics).iterdir() if path.is_dir()]) == 1
