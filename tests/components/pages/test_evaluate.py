"""The Evaluate page's logic, by AppTest. What a person does there is in tests/browser/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from components.atlas.store import AtlasParts, write_atlas
from components.evaluation import sets, store
from components.evaluation.evaluate import SystemSpec, evaluate_set
from components.jobs import runner
from components.jobs.model import JobRequest
from corpus.judged_sets.model import DataIssue, JudgedSet, PoolPaper, RawPool, judged_set
from corpus.paper import Paper, to_table
from tests.components.pages.app import PATIENCE, checked, keys, open_page, page_links, press, texts
from tests.components.pages.app import params as link_params

BAD = "<img src=x onerror=alert(1)> [x](javascript:y) **b** $x$"


def hearts_and_galaxies(planted: Callable[[int], list[Paper]], *, name: str = "sky") -> JudgedSet:
    """A set of 2 × 6 papers: the first three of each topic are queries, the rest of it is relevant."""
    papers = planted(6)
    ids = [paper.id for paper in papers]
    pools = [
        RawPool(
            query=f"{topic}-{i}",
            paper=f"{topic}-{i}",
            candidates=[other for other in ids if other != f"{topic}-{i}"],
            grades=[int(other.startswith(topic)) for other in ids if other != f"{topic}-{i}"],
            group=topic,
        )
        for topic in ("heart", "galaxy")
        for i in range(3)
    ]
    texts = {paper.id: PoolPaper(paper.id, paper.title, paper.abstract) for paper in papers}
    texts["heart-0"] = PoolPaper("heart-0", f"Heart failure {BAD}", f"{BAD} in a cardiology ward")
    texts["galaxy-5"] = PoolPaper("galaxy-5", f"{BAD}", "")
    return judged_set(
        name=name,
        origin="own",
        papers=texts,
        pools=pools,
        splits={"dev": [["heart-2", "galaxy-2"]], "test": [[p.query for p in pools if p.query[-1] != "2"]]},
        relevant_from=1,
    )


@pytest.fixture(scope="module")
def evaluated_home(tmp_path_factory: pytest.TempPathFactory, planted: Callable[[int], list[Paper]]) -> Path:
    """A home with the set `sky`, evaluated by both peers on its split test. Not to be changed: copy it."""
    home = tmp_path_factory.mktemp("evaluated") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COCITE_ATLAS_HOME", str(home))
        sets.keep_set(hearts_and_galaxies(planted), "sky")
        judged = sets.read_set("sky")
        for kind in ("tfidf", "bm25"):
            evaluation, scores, ranking = evaluate_set(judged, "test", SystemSpec(kind))
            store.save(evaluation, scores, ranking, judged)
    return home


@pytest.fixture
def topical(home: Path, atlas_parts: Callable[..., AtlasParts]) -> Path:
    """This test's home, with a default atlas of 60 papers; three and three of them share three rare topics."""
    papers = [
        Paper(
            id=f"m{i}",
            title=f"Paper {i} on subject{i // 3}",
            abstract=f"About subject{i // 3} and matter{i}.",
            topics=tuple(f"topic {i // 3} {part}" for part in "abc"),
        )
        for i in range(60)
    ]
    write_atlas(replace(atlas_parts(), name="medline", papers=to_table(papers)))
    return home


@pytest.fixture
def sky(evaluated_home: Path, topical: Path) -> dict[str, str]:
    """The evaluations of the set `sky` in this test's own home: system → id."""
    for folder in (".sets", ".evaluations"):
        shutil.copytree(evaluated_home / folder, topical / folder)
    return {one.system.kind: one.id for one in store.evaluations()}


def page(**params: str) -> AppTest:
    return open_page("evaluate", **params)


def params(app: AppTest) -> dict[str, str]:
    return {name: values[0] for name, values in link_params(app).items()}


# The first time


def test_a_new_page_goes_from_nothing_to_a_score(topical: Path) -> None:
    app = page()
    assert "Check every score yourself" in texts(app)
    assert "**no human judgements**" in texts(app)
    press(app, "first-set")
    assert sets.set_names() == ["medline-topics"]
    assert params(app) == {"set": "medline-topics"}
    assert "No results on medline\\-topics yet" in texts(app)
    press(app, "first-run")
    assert runner._latest is not None
    runner._latest.wait(PATIENCE * 2)
    checked(app.run())
    (evaluation,) = store.evaluations()
    assert (evaluation.system.name, evaluation.set_name, evaluation.split) == ("TF-IDF", "medline-topics", "all")
    assert "TF\\-IDF was evaluated on medline\\-topics" in texts(app)
    assert f"<b>{100 * evaluation.means['MAP']:.2f}</b>" in texts(app)
    # Other pages link to the result.
    link = page_links(open_page("corpora"))["Show the result"]
    assert link == {"set": ["medline-topics"], "split": ["all"], "system": [evaluation.id]}


def test_a_corpus_without_topics_is_refused(home: Path, atlas_parts: Callable[..., AtlasParts]) -> None:
    papers = [Paper(id=f"m{i}", title=f"Paper {i}", abstract="Of nothing.") for i in range(60)]
    write_atlas(replace(atlas_parts(), name="medline", papers=to_table(papers)))
    app = press(page(), "first-set")
    assert "Choose a larger corpus, or one with subject headings or keywords" in texts(app)
    assert sets.set_names() == []


def test_a_new_set_gets_a_free_and_valid_name(sky: dict[str, str]) -> None:
    app = page()
    for name, message in (("Sky!", "cannot be the name of a set"), ("sky", "There is a judged set"), ("", "")):
        app.text_input(key="set-name-topics").set_value(name).run()
        press(app, "topics-go")
        assert message in texts(app)
    assert sets.set_names() == ["medline-topics", "sky"]


# Results


def test_results_have_intervals_marks_and_reasons(sky: dict[str, str]) -> None:
    app = page()
    shown = texts(app)
    assert "sky, split test" in shown
    for evaluation in store.evaluations():
        low, high = evaluation.intervals["MAP"]
        assert f"<b>{100 * evaluation.means['MAP']:.2f}</b>" in shown
        assert f"{100 * low:.2f} – {100 * high:.2f}" in shown
        assert evaluation.system.fingerprint[:16] in shown
        assert evaluation.set_fingerprint in shown
    assert shown.count("not comparable</small>") == 2
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels[:3] == ["Markdown", "CSV", "JSON"]
    assert {"TF\\-IDF", "BM25"} == set(labels[3:])


def test_published_scores_are_shown_beside_ours_and_in_rows_of_their_own(sky: dict[str, str], topical: Path) -> None:
    path = topical / ".evaluations" / sky["tfidf"] / "result.json"
    result = json.loads(path.read_text())
    result |= {"set_name": "relish", "facet": "", "not_comparable": []}
    result["system"] |= {"kind": "encoder", "name": "specter", "source": "specter", "precision": "float32"}
    path.write_text(json.dumps(result))
    shutil.move(topical / ".sets" / "sky", topical / ".sets" / "relish")
    shown = texts(page(set="relish", split="test"))
    ours = 100 * result["means"]["MAP"]
    assert f"published 60.62 ({ours - 60.62:+.2f})".replace("-", "−") in shown
    assert "✓ comparable" in shown
    assert "aspire-biencoder-biomed-scib" in shown
    assert "published; not evaluated here" in shown


def test_issues_of_a_set_are_shown_before_it_is_evaluated(topical: Path, planted: Callable[[int], list[Paper]]) -> None:
    issue = DataIssue("candidate_without_text", 7, ("<b>gone</b>",))
    sets.keep_set(replace(hearts_and_galaxies(planted), handled=(issue,)), "sky")
    (text,) = [text.value for text in page(set="sky").markdown if "7 candidates without a text" in text.value]
    assert "<b>" not in text


def test_an_evaluation_of_a_changed_set_is_marked(sky: dict[str, str], topical: Path) -> None:
    path = topical / ".evaluations" / sky["tfidf"] / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"set_fingerprint": "0" * 16, "made": "2020-01-01T00:00:00Z"}))
    assert "the set has changed since" in texts(page())
    # It is not compared with the other, and its queries are not opened with the texts of another set.
    app = page(tab="queries", system=sky["bm25"])
    assert app.selectbox(key="queries-second").options == ["nothing"]
    assert "has changed since this evaluation" in texts(page(tab="queries", system=sky["tfidf"], query="heart-1"))


@pytest.mark.parametrize("others", [0, 1])
def test_evaluations_of_a_deleted_set_can_be_opened(
    sky: dict[str, str], planted: Callable[[int], list[Paper]], others: int
) -> None:
    sets.delete_set("sky")
    if others:
        sets.keep_set(hearts_and_galaxies(planted), "another")
    app = press(page(tab="all"), f"open-{sky['bm25']}")
    assert any("sky, split test" in heading.value for heading in app.subheader)
    assert ["not stored here" in info.value for info in app.info] == [True]
    assert not app.warning
    page(set="sky", tab="queries")
    assert any("no judged set 'cloud'" in warning.value for warning in page(set="cloud").warning)


# Queries


def test_queries_are_opened_and_browsed_by_links_without_texts(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"])
    checked(app.selectbox(key="queries-second").set_value(sky["tfidf"]).run())
    assert params(app)["beside"] == sky["tfidf"]
    assert any(words in texts(app) for words in ("No significant difference", "No difference", "is better"))
    assert len(keys(app, "look-")) == 4
    press(app, keys(app, "look-")[0])
    first = params(app)["query"]
    assert "Ranks of the relevant candidates" in texts(app)
    press(app, "query-after")
    assert params(app)["query"] not in ("", first)
    assert app.button(key="query-before").disabled is False
    press(app, "all-queries")
    assert "query" not in params(app)
    assert first in {paper.id for paper in sets.read_set("sky").papers}
    assert set(params(app)) <= {"set", "facet", "split", "system", "beside", "query", "tab"}
    assert "This evaluation has no query" in texts(page(tab="queries", query="nobody"))


def test_order_and_metric_stay_while_queries_are_opened(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"], beside=sky["tfidf"])
    checked(app.selectbox(key="queries-metric").set_value("nDCG@10").run())
    checked(app.get("button_group")[0].set_value("won").run())
    listed = keys(app, "look-")
    press(app, listed[0])
    for key in listed[1:]:
        press(app, "query-after")
        assert params(app)["query"] == key.split("-", 2)[2]
    press(app, "all-queries")
    assert app.selectbox(key="queries-metric").value == "nDCG@10"
    assert keys(app, "look-") == listed
    # Without a second system there is nothing to win against.
    checked(app.selectbox(key="queries-second").set_value("").run())
    assert app.session_state["queries-order"] == "worst"


def test_a_hostile_paper_stays_text(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"], query="heart-0")
    assert "Heart failure" in app.subheader[-1].value
    assert "<img" not in "".join(str(element.proto.body) for element in app.get("html"))
    markdown = "".join(str(one.value) for kind in (app.markdown, app.caption, app.subheader) for one in kind)
    assert "<img" not in markdown.replace("\\<img", "")
    assert "](javascript" not in markdown
    listed = page(tab="queries", system=sky["bm25"])
    assert any("\\<img" in button.label for button in listed.button if (button.key or "").startswith("look-"))


# The other tabs, and the left side


def test_the_leaderboard_opens_and_deletes_evaluations(sky: dict[str, str], topical: Path) -> None:
    assert "Measure" in [button.label for button in page(tab="index").button]
    app = press(page(tab="all"), f"open-{sky['bm25']}")
    assert params(app) == {"set": "sky", "split": "test", "system": sky["bm25"]}
    app = press(page(tab="all"), f"delete-{sky['tfidf']}")
    assert [evaluation.id for evaluation in store.evaluations()] == [sky["bm25"]]
    (topical / ".evaluations" / sky["bm25"] / "result.json").write_text("{")
    checked(app.run())
    assert f"The evaluation {sky['bm25']} is damaged" in texts(app)
    press(app, f"delete-{sky['bm25']}")
    assert store.damaged() == []
    assert "There are no evaluations yet" in texts(app)


def _boards(same: bool) -> None:
    from dataclasses import replace

    from components.evaluation import store
    from components.panels.evaluation import leaderboard

    found = store.evaluations()
    others = [replace(one, id=one.id[::-1], set_fingerprint="abcdef0123") for one in found]
    leaderboard(found if same else [*found, *others], on_open=print, on_delete=print)


def test_different_sets_with_one_name_are_not_ranked_together(sky: dict[str, str]) -> None:
    ranks = {}
    for same in (True, False):
        app = checked(AppTest.from_function(_boards, args=(same,), default_timeout=PATIENCE).run())
        ranks[same] = [line.value for line in app.markdown]
    assert "**sky**, split test" in ranks[True] and "**sky**, split test, set abcdef01" in ranks[False]
    assert [sum(line.startswith(f"{rank}\\.") for line in ranks[False]) for rank in (1, 2, 3)] == [2, 2, 0]


def test_the_job_is_what_was_chosen(sky: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[JobRequest] = []
    monkeypatch.setattr(runner, "start", started.append)
    app = page(tab="queries")
    checked(app.selectbox(key="judged-split").set_value("dev").run())
    checked(app.selectbox(key="judged-system").set_value("all-minilm-l6-v2").run())
    press(app, "run-evaluation")
    (request,) = started
    assert (request.name, request.split, request.encoder) == ("sky", "dev", "all-minilm-l6-v2")
    assert params(app) == {"set": "sky", "split": "dev"}


def test_broken_links_and_sets_are_reported(sky: dict[str, str], topical: Path) -> None:
    app = page(set="<b>nothing</b>", split="?", facet="x", system="../..", tab="nonsense")
    assert "There is no judged set" in texts(app)
    assert "<b>nothing" not in texts(app).replace("\\<b\\>nothing", "")
    assert "sky, split test" in texts(app)
    (topical / ".sets" / "sky" / "card.json").unlink()
    next((topical / ".sets" / "sky").glob("abstracts-*")).write_text("{")
    broken = page()
    assert any("abstracts\\-sky" in error.value for error in broken.error)
    assert broken.button(key="delete-set")
