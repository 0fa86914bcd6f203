"""Reports of runs: what is drawn of planted curves, what is said of them, and texts that try to be markup."""

import dataclasses
import html.parser
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from components.mapping.palette import DARK, LIGHT
from components.training.chart_lines import MOST_RUNS, Run, colours, window_of
from components.training.charts import Chart, charts
from components.training.curves import CURVES, Curves, LookRecord
from components.training.held_out_file import HELD_OUT, HeldOutRow, held_out_rows, read_held_out, verdict
from components.training.report import flattened, report_of, write_report
from components.training.run_folder import RunRecord, write_run
from components.training.settings import TrainingError, TrainingSettings
from components.training.stories import Story, story_of
from tests.components.training.planted_runs import planted_curves, planted_look, planted_step, write_curves

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(1)</script>&amp;\u2028 %{y} @ink'


def _run(curves: Curves, name: str = "a run") -> Run:
    return Run(name, curves, margin=1.0, batch=10)


def _chart(id: str, *runs: Run) -> Chart:
    return next(chart for chart in charts(runs) if chart.id == id)


def _story(name: str = "a run", **changes: Any) -> Story:
    values: dict[str, Any] = {
        "name": name,
        "status": "finished",
        "start": "tiny",
        "pairs": "planted",
        "settings": TrainingSettings(),
        "curves": planted_curves(),
        "total_steps": 100,
    }
    return Story(**values | changes)


def _held_out() -> dict[str, Any]:
    def side(rank: float, share: float) -> dict[str, Any]:
        means = {"mean_rank": rank, "MAP": share, "recall@10": share}
        ends = {name: [value * 0.9, value * 1.1] for name, value in means.items()}
        return {"encoder": "x", "queries": 7, "papers": 70, "means": means, "intervals": ends}

    tests = {name: {"difference": 0.1, "p_value": 0.01} for name in ("mean_rank", "MAP", "recall@10")}
    return {"before": side(20.0, 0.25), "after": side(10.0, 0.5), "tests": tests}


class _Read(html.parser.HTMLParser):
    """What a browser would find in a page: tags with their attributes, and text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in not in ("script", "style"):
            self.words += data


def test_each_step_is_faint_and_its_mean_strong() -> None:
    curves = planted_curves(100)
    assert window_of(curves) == 2
    raw, mean = _chart("loss", _run(curves)).figure["data"]
    assert raw["x"] == mean["x"] == list(range(1, 101))
    assert raw["y"] == [pytest.approx(1 / step, rel=1e-5) for step in range(1, 101)]
    assert mean["y"][9] == pytest.approx((1 / 9 + 1 / 10) / 2, rel=1e-5)
    assert raw["opacity"] < 1 and "opacity" not in mean


def test_the_star_is_on_the_look_that_is_kept() -> None:
    line, star = _chart("dev_loss", _run(planted_curves(100))).figure["data"]
    assert (line["x"], line["y"]) == ([0, 50, 100], [0.9, 0.3, 0.4])
    assert (star["x"], star["y"], star["marker"]["symbol"]) == ([50], [0.3], "star")


def test_a_long_run_is_thinned_but_keeps_its_peak() -> None:
    steps = tuple(planted_step(step, loss=9.0 if step == 7_777 else 0.5) for step in range(1, 20_001))
    raw, mean = _chart("loss", _run(Curves(steps, ()))).figure["data"]
    assert len(raw["x"]) < 2_000 and len(mean["x"]) < 2_000
    assert raw["y"][raw["x"].index(7_777)] == 9.0


def test_self_negatives_are_shares_of_a_batch() -> None:
    steps = tuple(planted_step(step, self_negatives=3) for step in range(1, 11))
    chart = _chart("active", _run(Curves(steps, ())))
    active, wasted = chart.figure["data"]
    assert set(active["y"]) == {0.5} and set(wasted["y"]) == {0.3}
    assert any("dotted line" in words for words in chart.words)
    without = _chart("active", _run(planted_curves(10)))
    assert len(without.figure["data"]) == 1 and not any("dotted line" in words for words in without.words)


def test_the_mix_is_drawn_by_layer_in_percent() -> None:
    looks = (
        planted_look(0, 0.9, best=True, mix=(0.25, 0.25, 0.5)),
        planted_look(10, 0.5, best=True, mix=(0.1, 0.3, 0.6)),
        planted_look(20, 0.6, best=False, mix=(0.1, 0.2, 0.7)),
    )
    run = _run(Curves((), looks))
    (over_time,) = _chart("mix_over_time", run).figure["data"]
    assert over_time["x"] == [0, 10, 20] and over_time["y"] == ["words", "1", "2"]
    assert over_time["z"][2] == [50, 60, 70]
    chart = _chart("mix_at_best", run)
    assert chart.figure["data"][0]["y"] == [0.1, 0.3, 0.6]
    assert chart.words[-1] == "Most: layer 2, 60.00%. Least: the words themselves, 10.00%. Equal would be 33.33% each."


def test_without_a_mix_or_a_step_there_is_no_empty_chart() -> None:
    curves = Curves((), (planted_look(0, 0.9, best=True, mix=()),))
    assert [chart.id for chart in charts([_run(curves)])] == ["dev_loss", "dev_accuracy"]
    assert charts([_run(Curves((), ()))]) == []


def test_a_loss_that_is_no_number_is_a_gap() -> None:
    steps = (planted_step(1), planted_step(2, loss=math.nan, gradient_norm=math.inf))
    page = report_of([_story(curves=Curves(steps, ()))])
    data = json.loads(re.search(r'<script id="charts" type="application/json">(.*?)</script>', page)[1])
    assert data["charts"][0]["figure"]["data"][0]["y"] == [1.0, None]


def test_runs_laid_over_one_another_are_told_apart() -> None:
    runs = [_run(planted_curves(), f"run {i}") for i in range(MOST_RUNS)]
    lines = [trace for trace in _chart("dev_loss", *runs).figure["data"] if "lines" in trace["mode"]]
    looks = {(colours(dark=False)[trace["line"]["color"]], trace["line"]["dash"]) for trace in lines}
    assert len(looks) == MOST_RUNS
    assert [trace["name"] for trace in lines] == [run.name for run in runs]


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_that_is_named_is_in_both_themes(dark: bool) -> None:
    names = colours(dark=dark)
    for some in ([_run(planted_curves())], [_run(planted_curves(), f"{i}") for i in range(MOST_RUNS)]):
        text = json.dumps([chart.figure for chart in charts(some)])
        assert set(re.findall(r'"(@\w+)"', text)) <= set(names)
    assert names["@accent"] == (DARK if dark else LIGHT).accent


def test_texts_of_unknown_origin_are_shown_and_do_nothing() -> None:
    page = report_of(
        [
            _story(
                HOSTILE,
                start=HOSTILE,
                pairs=HOSTILE,
                trouble=HOSTILE,
                facts={HOSTILE: HOSTILE},
                told={HOSTILE: {HOSTILE: [HOSTILE]}},
            ),
            _story("another"),
        ]
    )
    read = _Read(page)
    assert {"img", "iframe", "link"}.isdisjoint(tag for tag, _ in read.tags)
    assert [attributes.get("id") for tag, attributes in read.tags if tag == "script"] == ["charts", None, None]
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert not any(attributes.get("src") or attributes.get("href") for _, attributes in read.tags)
    assert read.words.count('<img src=x onerror="alert(1)">') >= 5


def test_the_page_lets_no_other_script_run_and_asks_no_server() -> None:
    read = _Read(report_of([_story()]))
    policy = next(str(one["content"]) for tag, one in read.tags if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    scripts = policy.partition("script-src ")[2].split()
    assert len(scripts) == 2 and all(one.startswith("'sha256-") for one in scripts)


def test_what_a_run_came_to_is_said_first() -> None:
    words = _Read(report_of([_story(held_out=held_out_rows(_held_out()))])).words
    for told in (
        "100",
        "1,000",
        "0.3000",
        "0.9000 before; kept: step 50",
        "75.00 %",
        "10.00",
        "20.00 before",
        "−10.00",
    ):
        assert told in words


def test_settings_that_are_not_the_cards_are_marked() -> None:
    page = report_of([_story(settings=TrainingSettings(seed=3, batch=60))])
    rows = re.findall(r'<tr class="differs"><td>(\w+)</td>', page)
    assert rows == ["batch", "seed"]


def test_runs_of_one_name_are_numbered() -> None:
    words = _Read(report_of([_story("same"), _story("same")])).words
    assert "same (2)" in words
    with pytest.raises(TrainingError, match="Name fewer"):
        report_of([_story()] * (MOST_RUNS + 1))


def test_what_the_pairs_tell_is_said_in_words() -> None:
    told = {"contexts": {"cited_in_crowd": 53}, "sources": {"atlases": []}, "by_title": False}
    assert flattened(told) == [
        ["dropped: too many papers cited", "53"],
        ["titles and abstracts of the atlases", "–"],
        ["joined by the same title and year, too", "no"],
    ]


def test_settings_that_mean_nothing_as_numbers_are_said_in_words() -> None:
    words = _Read(report_of([_story()])).words
    for told in ("all of the epochs", "never early", "not clipped", "as many as the start reads"):
        assert told in words


def test_shares_never_have_an_axis_beyond_all() -> None:
    for name in ("dev_accuracy", "active"):
        assert _chart(name, _run(planted_curves())).figure["layout"]["yaxis"]["autorangeoptions"] == {
            "clipmin": 0,
            "clipmax": 1.03,
        }


@pytest.mark.parametrize("moved", [0.0, 1e-7, 1e-5, 1e-3, 0.1])
def test_weights_of_layers_are_told_apart(moved: float) -> None:
    mix = (0.25 - moved, 0.25, 0.25, 0.25 + moved)
    look = LookRecord(step=0, dev_loss=0.5, dev_accuracy=0.5, best=True, mix=mix, seconds=1.0)
    chart = _chart("mix_at_best", _run(Curves(steps=(), looks=(look,))))
    most, least = re.findall(r"[\d.]+(?=%)", chart.words[-1])[:2]
    assert (most != least) == (moved > 0)
    digits = int(re.findall(r"\d", chart.figure["layout"]["yaxis"]["tickformat"])[0])
    assert moved == 0 or f"{mix[3]:.{digits}%}" != f"{mix[1]:.{digits}%}"


def test_what_was_told_is_flattened_however_deep_it_is() -> None:
    deep: Any = "the end"
    for _ in range(5_000):
        deep = {"in": deep}
    (row,) = flattened({"a": deep})
    assert row[1] == "the end" and len(row[0]) <= 300
    assert flattened({"a": [{"b": 1}, {"b": None}]}) == [["a › 1 › b", "1"], ["a › 2 › b", "–"]]
    assert len(flattened({str(i): i for i in range(50_000)})) < 5_000


def test_held_out_scores_are_read_back_or_refused(tmp_path: Path) -> None:
    path = tmp_path / HELD_OUT
    assert read_held_out(path) == []
    path.write_text(json.dumps(_held_out()))
    rank, average, _ = read_held_out(path)
    assert (rank.called, rank.before, rank.after, rank.queries, rank.papers) == ("Mean rank", 20.0, 10.0, 7, 70)
    assert average.difference_words == "+25.00 %" and rank.difference_words == "−10.00"
    for damaged in ("", "[]", "{}", json.dumps(_held_out()).replace("0.01", '"x"'), "[" * 9_999):
        path.write_text(damaged)
        with pytest.raises(TrainingError, match="no scores of held-out pairs"):
            read_held_out(path)


def _run_folder(folder: Path, **changes: Any) -> Path:
    record = RunRecord(
        status="finished",
        settings=dataclasses.asdict(TrainingSettings(seed=5)),
        pairs={
            "name": "some pairs",
            "fingerprint": "ab",
            "papers": 9,
            "train": 5,
            "dev": 2,
            "test": 1,
            "told": {"a": 1},
        },
        start={"name": "a start", "fingerprint": "cd"},
        model={"pooling": "mean"},
        versions={"torch": "2"},
        device="cpu",
        processes=2,
        total_steps=100,
        left_over=[3],
        steps=100,
    )
    write_curves(folder, planted_curves())
    write_run(folder, dataclasses.replace(record, **changes))
    return folder


def test_the_story_of_a_run_is_read_from_its_folder(tmp_path: Path) -> None:
    story = story_of(_run_folder(tmp_path / "here"))
    assert (story.name, story.start, story.pairs, story.settings.seed) == ("here", "a start", "some pairs", 5)
    assert story.curves == planted_curves() and story.trouble == "" and story.told == {"a": 1}
    assert story.facts["pairs"] == "9 papers, 5 train, 2 dev, 1 test" and story.facts["device"] == "cpu, 2 processes"
    assert write_report([tmp_path / "here"]) == tmp_path / "here" / "report.html"


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_run_that_is_not_over_says_so(tmp_path: Path, status: str) -> None:
    story = story_of(_run_folder(tmp_path, status=status, steps=40))
    assert "40 of 100 steps were done" in story.trouble
    (tmp_path / CURVES).unlink()
    assert "not come to its end" in report_of([story_of(tmp_path)])


@pytest.mark.parametrize(
    "settings",
    [{"batch": "many"}, {"nothing": 1}, {"seed": 10**300}, {"seed": [1]}, {"negatives": "x" * 10_000}, {"batch": 0}],
)
def test_settings_that_no_run_has_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(TrainingError):
        report_of([story_of(_run_folder(tmp_path, settings=settings))])


def test_hostile_facts_of_a_run_are_shown(tmp_path: Path) -> None:
    hostile = dict.fromkeys(("name", "fingerprint", "papers", "told"), HOSTILE)
    folder = _run_folder(tmp_path, pairs=hostile, start=hostile, model={HOSTILE: [HOSTILE]}, versions={"x": HOSTILE})
    read = _Read(report_of([story_of(folder)]))
    assert "img" not in {tag for tag, _ in read.tags}


@pytest.mark.parametrize(
    ("after", "p_value", "said"),
    [(0.7, 0.001, "rank higher"), (0.5, 0.001, "the start is the better encoder"), (0.7, 0.2, "may be chance")],
)
def test_the_scores_are_judged_in_words(after: float, p_value: float, said: str) -> None:
    row = HeldOutRow(
        metric="MAP", before=0.6, after=after, interval=(after, after), p_value=p_value, queries=9, papers=99
    )
    assert said in verdict([row])
    assert verdict([]) == ""
