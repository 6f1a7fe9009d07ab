"""Pages: whole, escaped, loading nothing; plots where matplotlib is there."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from limner import html as pages
from limner.errors import ResourceError
from limner.evaluate.prompts.conditions import Conditions, Reference
from limner.evaluate.prompts.prompt_files import PromptItem
from limner.evaluate.prompts.prompted import DrawnSample, Measurement
from limner.evaluate.prompts.report import render_measurement
from limner.evaluate.resampling import Estimate, Metric

HOSTILE = '<script>alert("x")</script> & co'


class Balance(HTMLParser):
    """Checks that every tag that is opened is closed, and gathers what pictures point to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag == "img":
            self.sources.append(dict(attrs)["src"] or "")
        elif tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> list[str]:
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert all(each.startswith("data:image/png;base64,") for each in balance.sources)
    return balance.sources


def measurement(scored: bool = True) -> Measurement:
    shown = [
        DrawnSample(PromptItem(HOSTILE, "odd"), place, Image.new("RGB", (200, 100)),
              float(place) if scored else None)
        for place in range(5)
    ]  # fmt: skip
    figure = Metric("FID(net 12345678)", Estimate(3.0, 2.0, 4.0, 5), "lower", HOSTILE)
    kinds = {"odd": Estimate(2.0, 1.0, 3.0, 5), "one": Estimate(1, -float("inf"), float("inf"), 1)}
    return Measurement(shown, [figure], kinds if scored else {}, (HOSTILE,))


CONDITIONS = Conditions(
    "m", "ab" * 32, "a processor", {"top_p": 0.9}, reference=Reference("photos", 5, "cd" * 32)
)


def test_a_report_holds_figures_conditions_and_pictures_escaped() -> None:
    text = render_measurement(measurement(), CONDITIONS, HOSTILE)
    plots = 2 if pages.can_plot() else 0
    assert len(check(text)) == plots + 3 * 5  # best, worst, sheet
    for told in ("FID(net 12345678)", "2 to 4", "top_p 0.9", "photos: 5 pictures, cdcdcdcd"):
        assert told in text
    assert "no interval: 1 is too few" in text and "inf" not in text.replace("infinite", "")
    assert text.count("<script") == 0 and "&lt;script&gt;" in text


def test_every_part_of_a_page_is_escaped() -> None:
    image = Image.new("RGB", (8, 8))
    shown = pages.figure(image, HOSTILE, HOSTILE, marks=[(HOSTILE, True), (HOSTILE, False)])
    rows = [((HOSTILE, HOSTILE), HOSTILE)]
    text = pages.page(HOSTILE, [
        pages.heading(HOSTILE), pages.paragraph(HOSTILE), pages.table((HOSTILE,), rows),
        pages.together(shown, pages.figure(image, "kept", chosen=True)), pages.sheet([shown]),
    ])  # fmt: skip
    assert len(check(text)) == 3
    assert text.count("&lt;script&gt;") == 2 + 2 + 1 + 3 + 2 * 4
    assert text.count("Content-Security-Policy") == 1 and pages.POLICY in text


def test_without_scores_there_are_pictures_alone() -> None:
    text = render_measurement(measurement(scored=False), CONDITIONS, "m")
    assert len(check(text)) == 5 and "Worst" not in text


def test_plots_are_left_out_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "can_plot", lambda: False)
    assert pages.histogram([1.0, 2.0], "x") == pages.intervals_plot([("a", 1, 0, 2)], "x") == ""


def test_a_plot_is_a_picture() -> None:
    pytest.importorskip("matplotlib")
    for text in (pages.histogram([1.0, 2.0, 2.5], "x", [2.0]),
                 pages.histogram([1.0], "一 $\\frac"),
                 pages.intervals_plot([("$\\frac{", 1, 0, 2), ("医生", 1, 0, 2)], "$"),
                 ):  # fmt: skip
        assert len(check(text)) == 1


def test_a_page_makes_its_folder_or_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    pages.write_page(path, pages.page("a half pair \ud800", []))
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(ResourceError, match="cannot make the folder"):
        pages.write_page(path / "below" / "report.html", "")


def test_conditions_name_all_that_a_number_depends_on() -> None:
    answer = CONDITIONS.to_json()
    assert set(answer) == {"model", "model_hash", "sampler", "precision", "best_of", "reference",
                           "network", "clip", "hardware"}  # fmt: skip
    assert answer["reference"]["pictures"] == 5 and answer["network"] is None
    assert [name for name, _ in CONDITIONS.rows()] == [
        "model", "sampler", "best of", "reference set", "feature network", "CLIP", "hardware",
    ]  # fmt: skip
