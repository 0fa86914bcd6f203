"""The Evaluate page's own logic, run by Streamlit's AppTest. What a person does there is in tests/browser/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from components.atlas.store import AtlasParts, write_atlas
from components.evaluation import sets, store
from components.evaluation.evaluate import SystemSpec, evaluate_set
from components.jobs import runner as background
from components.pages import error_analysis as looked
from components.pages import evaluated, resources
from corpus.judged_sets.model import Handled, JudgedSet, PoolPaper, RawPool, judged_set
from corpus.paper import Paper, to_table

APP = Path(__file__).parents[3] / "app.py"
PATIENCE = 120  # seconds; nothing is measured by it
BAD = "<img src=x onerror=alert(1)> [x](javascript:y) **b** $x$"


@pytest.fixture(autouse=True)
def a_new_process() -> None:
    """Nothing is open, remembered or under way."""
    resources._open.clear()
    looked._open.clear()
    evaluated._read_scores.clear()
    evaluated._tested.clear()
    background._latest = None


def hearts_and_galaxies(planted: Callable[[int], list[Paper]], *, name: str = "sky") -> JudgedSet:
    """A set of 2 × 6 papers: the first three of each topic are queries, and the rest of it is relevant."""
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
    """The page, drawn for a link with these parameters."""
    app = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    app._page_hash = calc_hash("evaluate")
    for name, value in params.items():
        app.query_params[name] = value
    return whole(app.run())


def whole(app: AppTest) -> AppTest:
    """The page, which was drawn without an exception."""
    assert not app.exception, app.exception
    return app


def test_what_was_left_out_of_a_set_is_said_before_anything_is_run(
    topical: Path, planted: Callable[[int], list[Paper]]
) -> None:
    judged = hearts_and_galaxies(planted)
    sets.keep_set(replace(judged, handled=(Handled("candidate_without_text", 7, ("<b>gone</b>",)),)), "sky")
    assert any(
        "7 candidates without a text" in one.value and "<b>" not in one.value for one in page(set="sky").markdown
    )


@pytest.mark.parametrize("others", [0, 1])
def test_what_was_evaluated_on_a_set_that_is_not_kept_can_be_opened(
    sky: dict[str, str], planted: Callable[[int], list[Paper]], others: int
) -> None:
    sets.delete_set("sky")
    if others:
        sets.keep_set(hearts_and_galaxies(planted), "another")
    app = press(page(tab="all"), f"open-{sky['bm25']}")
    assert any("sky, split test" in one.value for one in app.subheader)
    assert ["not here" in one.value for one in app.info] == [True]
    assert not app.warning
    whole(page(set="sky", tab="queries"))
    assert any("no judged set 'cloud'" in one.value for one in page(set="cloud").warning)


def press(app: AppTest, key: str) -> AppTest:
    return whole(app.button(key=key).click().run())


def said(app: AppTest) -> str:
    """Every sentence of the page, and its HTML."""
    kinds = [app.caption, app.text, app.info, app.warning, app.error, app.success, app.subheader, app.markdown]
    words = [str(element.value) for kind in kinds for element in kind]
    return "\n".join([*words, *(str(element.proto.body) for element in app.get("html"))])


def params(app: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


# The first time


def test_a_page_that_was_never_used_says_what_it_is_for_and_goes_from_nothing_to_a_figure(topical: Path) -> None:
    app = page()
    assert "Check every number yourself" in said(app)
    assert "**nobody judged it**" in said(app)
    press(app, "first-set")
    assert sets.set_names() == ["medline-topics"]
    assert params(app) == {"set": "medline-topics"}
    assert "Nothing was evaluated on medline\\-topics yet" in said(app)
    press(app, "first-run")
    assert background._latest is not None
    background._latest.wait(PATIENCE * 2)
    whole(app.run())
    (one,) = store.evaluations()
    assert (one.system.name, one.set_name, one.split) == ("TF-IDF", "medline-topics", "all")
    assert "TF\\-IDF was evaluated on medline\\-topics" in said(app)
    assert f"<b>{100 * one.means['MAP']:.2f}</b>" in said(app)
    # From another page, too, one gets back to it.
    other = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    other._page_hash = calc_hash("corpora")
    whole(other.run())
    (link,) = [link for link in other.get("page_link") if link.proto.label == "See it"]
    assert link.proto.query_string == f"set=medline-topics&split=all&system={one.id}"


def test_a_corpus_without_topics_is_refused_in_a_sentence(home: Path, atlas_parts: Callable[..., AtlasParts]) -> None:
    bare = [Paper(id=f"m{i}", title=f"Paper {i}", abstract="Of nothing.") for i in range(60)]
    write_atlas(replace(atlas_parts(), name="medline", papers=to_table(bare)))
    app = press(page(), "first-set")
    assert "Choose a larger corpus, or one with subject headings or keywords" in said(app)
    assert sets.set_names() == []


def test_a_set_gets_a_name_that_is_free_and_can_be_one(topical: Path, sky: dict[str, str]) -> None:
    app = page()
    app.text_input(key="set-name-topics").set_value("Sky!").run()
    press(app, "topics-go")
    assert "cannot be the name of a set" in said(app)
    app.text_input(key="set-name-topics").set_value("sky").run()
    press(app, "topics-go")
    assert "There is a set sky already" in said(app)
    app.text_input(key="set-name-topics").set_value("").run()
    press(app, "topics-go")
    assert sets.set_names() == ["medline-topics", "sky"]


# What is shown


def test_results_stand_with_their_intervals_marks_and_reasons(sky: dict[str, str]) -> None:
    app = page()
    shown = said(app)
    assert "sky, split test" in shown
    for one in store.evaluations():
        low, high = one.intervals["MAP"]
        assert f"<b>{100 * one.means['MAP']:.2f}</b>" in shown
        assert f"{100 * low:.2f} – {100 * high:.2f}" in shown
        assert one.system.fingerprint[:16] in shown
    assert shown.count("not comparable</small>") == 2
    assert "Nothing is published here for sky" in shown
    assert store.evaluations()[0].set_fingerprint in shown
    labels = [one.proto.label for one in app.get("download_button")]
    assert labels[:3] == ["Markdown", "CSV", "JSON"]
    assert {"TF\\-IDF", "BM25"} == set(labels[3:])


def test_published_figures_stand_beside_ours_and_in_rows_of_their_own(sky: dict[str, str], topical: Path) -> None:
    path = topical / ".evaluations" / sky["tfidf"] / "result.json"
    told = json.loads(path.read_text())
    told |= {"set_name": "relish", "facet": "", "not_comparable": []}
    told["system"] |= {"kind": "encoder", "name": "specter", "source": "specter", "precision": "float32"}
    path.write_text(json.dumps(told))
    shutil.move(topical / ".sets" / "sky", topical / ".sets" / "relish")
    shown = said(page(set="relish", split="test"))
    ours = 100 * told["means"]["MAP"]
    assert f"published 60.62 ({ours - 60.62:+.2f})".replace("-", "−") in shown
    assert "✓ comparable" in shown
    assert "aspire-biencoder-biomed-scib" in shown
    assert "published; not evaluated here" in shown


def test_an_evaluation_of_other_texts_is_told_of(sky: dict[str, str], topical: Path) -> None:
    path = topical / ".evaluations" / sky["tfidf"] / "result.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"set_fingerprint": "0" * 16, "made": "2020-01-01T00:00:00Z"}))
    assert "of other texts, pools or grades" in said(page())
    # Neither is it put beside the other, nor are its queries looked at in texts that it was not of.
    app = page(tab="queries", system=sky["bm25"])
    assert app.selectbox(key="queries-second").options == ["nothing"]
    assert "is not the one that was evaluated" in said(page(tab="queries", system=sky["tfidf"], query="heart-1"))


def test_queries_are_shown_looked_at_and_gone_through_by_links_without_texts(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"])
    whole(app.selectbox(key="queries-second").set_value(sky["tfidf"]).run())
    assert params(app)["beside"] == sky["tfidf"]
    assert "No certain difference" in said(app) or "No difference" in said(app) or "is better" in said(app)
    opened = [button for button in app.button if (button.key or "").startswith("look-")]
    assert len(opened) == 4
    whole(opened[0].click().run())
    first = params(app)["query"]
    assert "relevant candidates stand at rank" in said(app)
    press(app, "query-after")
    assert params(app)["query"] not in ("", first)
    assert app.button(key="query-before").disabled is False
    press(app, "all-queries")
    assert "query" not in params(app)
    ids = {paper.id for paper in sets.read_set("sky").papers}
    assert first in ids
    assert set(params(app)) <= {"set", "facet", "split", "system", "beside", "query", "tab"}


def test_the_order_and_the_metric_stay_while_queries_are_looked_at(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"], beside=sky["tfidf"])
    whole(app.selectbox(key="queries-metric").set_value("nDCG@10").run())
    whole(app.get("button_group")[0].set_value("won").run())
    listed = [button.key for button in app.button if (button.key or "").startswith("look-")]
    press(app, listed[0])
    for key in listed[1:]:
        press(app, "query-after")
        assert params(app)["query"] == key.split("-", 2)[2]
    press(app, "all-queries")
    assert app.selectbox(key="queries-metric").value == "nDCG@10"
    assert [button.key for button in app.button if (button.key or "").startswith("look-")] == listed
    # Without a second system there is nothing to win against.
    whole(app.selectbox(key="queries-second").set_value("").run())
    assert app.session_state["queries-order"] == "worst"


def test_a_hostile_paper_is_shown_and_does_nothing(sky: dict[str, str]) -> None:
    app = page(tab="queries", system=sky["bm25"], query="heart-0")
    assert "Heart failure" in app.subheader[-1].value
    assert "<img" not in "".join(str(one.proto.body) for one in app.get("html"))
    markdown = "".join(str(one.value) for kind in (app.markdown, app.caption, app.subheader) for one in kind)
    assert "<img" not in markdown.replace("\\<img", "")
    assert "](javascript" not in markdown
    listed = page(tab="queries", system=sky["bm25"])
    labels = [button.label for button in listed.button if (button.key or "").startswith("look-")]
    assert any("\\<img" in label for label in labels)


def test_every_tab_is_drawn_alone_and_the_link_says_which(sky: dict[str, str]) -> None:
    assert "Measure it" in [button.label for button in page(tab="index").button]
    board = page(tab="all")
    assert [button.key for button in board.button if (button.key or "").startswith("open-")]
    press(board, f"open-{sky['bm25']}")
    assert params(board) == {"set": "sky", "split": "test", "system": sky["bm25"]}


def test_an_evaluation_is_deleted_and_a_damaged_one_is_told_of(sky: dict[str, str], topical: Path) -> None:
    app = press(page(tab="all"), f"delete-{sky['tfidf']}")
    assert [one.id for one in store.evaluations()] == [sky["bm25"]]
    (topical / ".evaluations" / sky["bm25"] / "result.json").write_text("{")
    whole(app.run())
    assert f"The evaluation {sky['bm25']} is damaged" in said(app)
    press(app, f"delete-{sky['bm25']}")
    assert store.damaged() == []
    assert "Nothing is kept yet" in said(app)


def test_what_is_evaluated_is_asked_for_as_it_was_chosen(sky: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[background.Job] = []
    monkeypatch.setattr(background, "start", asked.append)
    app = page(tab="queries")
    whole(app.selectbox(key="judged-split").set_value("dev").run())
    whole(app.selectbox(key="judged-system").set_value("all-minilm-l6-v2").run())
    press(app, "run-evaluation")
    (job,) = asked
    assert job.arguments[:3] == ("--set=sky", "--split=dev", "--encoder=all-minilm-l6-v2")
    assert params(app) == {"set": "sky", "split": "dev"}


def test_links_to_what_is_not_there_are_answered_in_words(sky: dict[str, str], topical: Path) -> None:
    app = page(set="<b>nothing</b>", split="?", facet="x", system="../..", tab="nonsense")
    assert "There is no judged set" in said(app)
    assert "<b>nothing" not in said(app).replace("\\<b\\>nothing", "")
    assert "sky, split test" in said(app)
    assert "This evaluation has no query" in said(page(tab="queries", query="nobody"))
    (topical / ".sets" / "sky" / "card.json").unlink()
    next((topical / ".sets" / "sky").glob("abstracts-*")).write_text("{")
    broken = page()
    assert "abstracts\\-sky" in "".join(str(one.value) for one in broken.error)
    assert broken.button(key="delete-set")


def _boards(same: bool) -> None:
    from dataclasses import replace

    from components.evaluation import store
    from components.panels.leaderboard import leaderboard

    found = store.evaluations()
    others = [replace(one, id=one.id[::-1], set_fingerprint="abcdef0123") for one in found]
    leaderboard(found if same else [*found, *others], on_open=print, on_delete=print)


def test_sets_of_one_name_that_differ_are_not_ranked_together(sky: dict[str, str]) -> None:
    ranks = {}
    for same in (True, False):
        app = AppTest.from_function(_boards, args=(same,), default_timeout=PATIENCE).run()
        assert not app.exception
        ranks[same] = [one.value for one in app.markdown]
    assert "**sky**, split test" in ranks[True] and "**sky**, split test, set abcdef01" in ranks[False]
    assert [sum(line.startswith(f"{rank}\\.") for line in ranks[False]) for rank in (1, 2, 3)] == [2, 2, 0]
