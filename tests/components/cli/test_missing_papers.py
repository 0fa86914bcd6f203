"""`pairs --missing`: the cited papers that are in no corpus, to be looked up."""

import json
from pathlib import Path

import pytest

from components.cli.main import main
from corpus.paper import Paper
from corpus.readers import write_jsonl

SENTENCES = [
    # 1 to 9 are in the corpus; 404 is cited by three, 405 and the arXiv paper by two, the title by one.
    *({"citing": f"c{i}", "sentence": f"One of {'i' * i} says [1, 2].", "dois": [f"10.1000/{i}", f"10.1000/{i + 1}"]}
      for i in range(1, 9)),
    *({"citing": f"d{i}", "sentence": f"More of {'i' * i} says [1, 2].", "dois": ["10.1000/404", "10.1000/1"]}
      for i in range(3)),
    *({"citing": f"e{i}", "sentence": f"Much of {'i' * i} says [1, 2].", "pmids": ["405", "406"]} for i in range(2)),
    *({"citing": f"f{i}", "sentence": f"Many of {'i' * i} say [1, 2].", "cited": ["arXiv:2101.00001v2", "pmid:406"]}
      for i in range(2)),
]  # fmt: skip


@pytest.fixture
def files(home: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, SENTENCES)))
    papers = [Paper(id=f"p{i}", title=f"Thing {i}", abstract="Text.", doi=f"10.1000/{i}") for i in range(1, 10)]
    write_jsonl(papers, tmp_path / "papers.jsonl")
    return ["pairs", str(tmp_path / "s.jsonl"), "--papers", str(tmp_path / "papers.jsonl"), "--workers=1"]


def test_what_is_in_no_corpus_is_written_down_the_most_cited_first(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.txt"
    assert main([*files, f"--out={tmp_path / 'out'}", "--dev=2", "--test=0", f"--missing={missing}"]) == 0
    assert missing.read_text().split() == ["406", "10.1000/404", "405", "arXiv:2101.00001"]
    assert "In no corpus: 4 PMIDs and DOIs" in capsys.readouterr().out


def test_they_are_written_down_where_no_pair_is_left(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl([Paper(id="other", title="Another", abstract="Text.")], tmp_path / "papers.jsonl")
    missing = tmp_path / "missing.txt"
    assert main([*files, f"--out={tmp_path / 'out'}", f"--missing={missing}"]) == 1
    assert len(missing.read_text().split()) == 13
    assert not (tmp_path / "out").exists()
    capsys.readouterr()


def test_a_folder_that_is_not_there_is_refused_before_any_work(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*files, f"--out={tmp_path / 'out'}", f"--missing={tmp_path / 'no' / 'missing.txt'}"])
    assert ended.value.code == 2
