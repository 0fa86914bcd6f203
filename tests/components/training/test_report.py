"""Reports of runs: what is drawn of planted curves, what is said of them, and texts that try to be markup."""

from __future__ import annotations

import html.parser
import math
from pathlib import Path
from typing import Any

import pytest

from components.training.held_out import HeldOut, HeldOutChange, HeldOutTest
from components.training.report import (
    MAX_RUNS,
    ReportedRun,
    charts,
    report_html,
    thinned,
    trailing_mean,
    write_report,
)
from components.training.run import Curves, RunSummary
from components.training.settings import TrainingError, TrainingSettings
from tests.components.training.test_run import RUN, write_run
from tests.components.training.training_toys import planted_curves, planted_step, planted_validation

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(1)</script>&amp;\u2028 %{y} #3979c8'


def summary(curves: Curves | None = None, name: str = "a run", **changes: Any) -> RunSummary:
    return RunSummary(Path(name), RUN.model_copy(update=changes), curves or planted_curves())


def chart(id: str, *curves: Curves) -> Any:
    runs = [ReportedRun(f"run {i}", RUN, one, None) for i, one in enumerate(curves)]
    return charts(runs)[id]


def scores() -> HeldOutChange:
    def side(rank: float, share: float) -> HeldOut:
        means = {"mean_rank": rank, "MAP": share, "recall@10": share}
        return HeldOut(
            encoder="x",
            fingerprint="ab",
            queries=7,
            papers=70,
            sampled=False,
            median_rank=rank,
            means=means,
            intervals={name: (0.9 * value, 1.1 * value) for name, value in means.items()},
        )

    test = HeldOutTest(difference=0.1, p_value=0.01, higher=5, lower=2)
    tests = dict.fromkeys(("mean_rank", "MAP", "recall@10"), test)
    return HeldOutChange(before=side(20.0, 0.25), after=side(10.0, 0.5), tests=tests)


class Page(html.parser.HTMLParser):
    """What a browser would find: tags with their attributes, and text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in not in ("script", "style"):
            self.text += data


def test_each_step_is_faint_and_its_mean_strong() -> None:
    raw, mean = chart("loss", planted_curves(100)).data
    assert list(raw.x) == list(mean.x) == list(range(1, 101))
    assert list(raw.y) == pytest.approx([1 / step for step in range(1, 101)], rel=1e-5)
    assert mean.y[9] == pytest.approx((1 / 9 + 1 / 10) / 2, rel=1e-5)
    assert raw.opacity < 1 and mean.opacity is None


def test_the_star_marks_the_validation_that_is_kept() -> None:
    line, star = chart("dev_loss", planted_curves(100)).data
    assert (line.x, line.y) == ((0, 50, 100), (0.9, 0.3, 0.4))
    assert (star.x, star.y, star.marker.symbol) == ((50,), (0.3,), "star")


def test_a_long_run_is_thinned_but_keeps_its_peak() -> None:
    steps = [planted_step(step, loss=9.0 if step == 7_777 else 0.5) for step in range(1, 20_001)]
    raw, mean = chart("loss", Curves(steps)).data
    assert len(raw.x) < 2_000 and len(mean.x) < 2_000
    assert raw.y[raw.x.index(7_777)] == 9.0
    assert thinned([math.nan] * 5_000)


def test_a_mean_skips_what_is_not_finite() -> None:
    means = trailing_mean([1.0, math.nan, 3.0, 1e30, 5.0], window=2).tolist()
    assert means == [1.0, 1.0, 3.0, 5e29, 5e29]
    assert math.isnan(trailing_mean([math.nan], window=3)[0])


def test_self_negatives_are_shares_of_a_batch() -> None:
    wasted = chart("active", Curves([planted_step(step, self_negatives=3) for step in range(1, 11)]))
    active, own = wasted.data
    assert set(active.y) == {0.5} and set(own.y) == {0.1}
    assert len(chart("active", planted_curves(10)).data) == 1


def test_the_mix_is_drawn_by_layer() -> None:
    mixes = [(0.25, 0.25, 0.5), (0.1, 0.3, 0.6), (0.1, 0.2, 0.7)]
    validations = [planted_validation(10 * i, 0.9 - 0.1 * i, best=i < 2, mix=mix) for i, mix in enumerate(mixes)]
    (over_time,) = chart("mix_over_time", Curves((), validations)).data
    assert (over_time.x, over_time.y) == ((0, 10, 20), ("words", "1", "2"))
    assert list(over_time.z[2]) == [50, 60, 70]
    best = chart("mix_at_best", Curves((), validations))
    assert best.data[0].y == (0.1, 0.3, 0.6)


@pytest.mark.parametrize(("moved", "digits"), [(0.0, 2), (1e-7, 6), (1e-4, 3), (0.1, 2)])
def test_layer_weights_have_as_many_digits_as_tell_them_apart(moved: float, digits: int) -> None:
    mix = (0.25 - moved, 0.25, 0.25, 0.25 + moved)
    figure = chart("mix_at_best", Curves((), [planted_validation(0, 0.5, best=True, mix=mix)]))
    assert figure.layout.yaxis.tickformat == f".{digits}~%"


def test_charts_without_data_are_left_out() -> None:
    run = ReportedRun("x", RUN, Curves((), [planted_validation(0, 0.9, best=True)]), None)
    assert list(charts([run])) == ["dev_loss", "dev_accuracy"]
    assert "charts" in report_html([(summary(Curves()), None)])


def test_runs_are_distinguished() -> None:
    lines = [trace for trace in chart("dev_loss", *[planted_curves()] * MAX_RUNS).data if "lines" in trace.mode]
    assert len({(trace.line.color, trace.line.dash) for trace in lines}) == MAX_RUNS
    assert [trace.name for trace in lines] == [f"run {i}" for i in range(MAX_RUNS)]
    with pytest.raises(TrainingError, match="Name fewer"):
        report_html([(summary(), None)] * (MAX_RUNS + 1))
    assert "same (2)" in report_html([(summary(name="same"), None)] * 2)


def test_text_of_unknown_origin_is_shown_and_does_nothing() -> None:
    pairs = RUN.pairs.model_copy(update={"name": HOSTILE, "provenance": {HOSTILE: {HOSTILE: [HOSTILE]}}})
    start = RUN.start.model_copy(update={"name": HOSTILE})
    hostile = summary(
        name=HOSTILE.replace("/", "∕"),  # a folder's name has no slash
        pairs=pairs,
        start=start,
        status="diverged",
        reason=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    page = Page(report_html([(hostile, scores()), (summary(), None)]))
    assert {"img", "iframe", "link", "a"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not any(attributes.get("src") or attributes.get("href") for _, attributes in page.tags)
    assert page.text.count('<img src=x onerror="alert(1)">') >= 5
    policy = next(str(one["content"]) for tag, one in page.tags if one.get("http-equiv") == "Content-Security-Policy")
    scripts = policy.partition("script-src ")[2].split()
    assert policy.startswith("default-src 'none';") and all(one.startswith("'sha256-") for one in scripts)
    assert len(scripts) == sum(tag == "script" for tag, _ in page.tags)


def test_the_results_are_said_first_and_the_settings_that_differ_are_marked() -> None:
    page = report_html([(summary(settings=TrainingSettings(seed=3, batch=60)), scores())])
    text = Page(page).text
    for words in (
        "100",
        "6,000",
        "0.3000",
        "0.9000 before; kept: step 50",
        "75.00 %",
        "10.00",
        "20.00 before",
        "−10.00",
    ):
        assert words in text, words
    for words in ("all steps of the epochs", "never stop early", "no clipping", "as many as the start reads"):
        assert words in text, words
    rows = [part.partition("</td>")[0] for part in page.split('<tr class="differs"><td>')[1:]]
    assert rows == ["batch", "seed"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "running"}, "This run is not finished: 100 of 100 steps are done."),
        ({"status": "diverged", "reason": "At step 3 the loss is not finite."}, "diverged. At step 3 the loss is not"),
    ],
)
def test_a_run_that_did_not_finish_says_why(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    report = write_report([write_run(tmp_path / "run", **changes)])
    assert report == tmp_path / "run" / "report.html"
    assert words in report.read_text()
    with pytest.raises(TrainingError, match="--out FILE"):
        write_report([tmp_path / "run"] * 2)
