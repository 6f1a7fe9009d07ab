"""The report: one page that holds every prompt, escaped, and marks what is wrong."""

from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from math import log

import torch

from limner.data.scenes.graph import Graph, Thing
from limner.evaluate.metrics.likelihood import Likelihoods
from limner.evaluate.resampling import Estimate, Metric
from limner.evaluate.scenes.detection import Detections
from limner.evaluate.scenes.judging import judge
from limner.evaluate.scenes.report import render_report
from limner.evaluate.scenes.score import Answer, SceneScores

PROMPTS = ["a red car in the snow", '<script>alert("x")</script> & a car', "雪地里的一辆红色的汽车"]


def answer(prompt: str, shown: Detections) -> Answer:
    asked = Graph((Thing("car", "red"),), "snow")
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    return Answer(prompt, asked, shown, judge(asked, shown), image)


def result() -> SceneScores:
    right = Detections("snow", (Thing("car", "red"),))
    pair = (Thing("dog"), Thing("door", "blue"))
    wrong = Detections("beach", pair, "left")
    return SceneScores(
        answers={
            "seen": [answer(PROMPTS[0], right), answer(PROMPTS[1], wrong)],
            "chinese": [answer(PROMPTS[2], right)],
            "ceiling": [answer("only the true picture", right), answer("misread", wrong)],
        },
        codec={"psnr": 25.123, "ssim": 0.9},
        seed=4,
    )


class Balance(HTMLParser):
    """Checks that every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag not in ("img", "br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page() -> str:
    return render_report(result(), model='a "<model>"', seconds=12.4)


def test_every_prompt_is_there_and_escaped() -> None:
    text = page()
    assert all(escape(prompt) in text for prompt in PROMPTS)
    assert "<script>" not in text
    assert "a &quot;&lt;model&gt;&quot;" in text


def test_the_page_is_whole_and_needs_no_other_file() -> None:
    detector = Balance()
    detector.feed(page())
    assert detector.open == []
    assert len(detector.images) == 4
    assert all(source.startswith("data:image/png;base64,") for source in detector.images)


def test_marks_and_readings() -> None:
    text = page()
    assert '<span class="right">✓ object</span>' in text
    assert '<span class="wrong">✗ object</span>' in text
    assert "read as natural dog left blue door on beach" in text
    assert "PSNR 25.12 dB" in text
    assert "0.500<small>0.09 to 0.91, n 2</small>" in text


def test_what_was_measured_of_true_pictures() -> None:
    assert "NLL" not in page() and "rFID" not in page()
    rfid = Metric("rFID(stub abababab)", Estimate(0.25, 0.2, 0.3, 40), "lower", "")
    likelihoods = Likelihoods("each <code>", 128, {"chinese": Estimate(log(2), 0.5, 1.0, 40)})
    whole = replace(result(), rfid=rfid, likelihoods=likelihoods)
    text = render_report(whole, model="m", seconds=1)
    detector = Balance()
    detector.feed(text)
    assert detector.open == []
    assert "SSIM 0.900, rFID(stub abababab) 0.25 (0.2 to 0.3), n 40" in text
    assert "<th>Chinese, seen combinations</th><td>0.6931 (0.5 to 1)</td><td>128 (" in text
    assert "128 codes a picture, of each &lt;code&gt;" in text


def test_of_a_ceiling_only_what_was_misread_is_shown() -> None:
    text = page()
    assert "misread" in text
    assert "only the true picture" not in text


def test_the_conditions_stand_above_the_scores() -> None:
    text = render_report(result(), model="m", seconds=1, conditions=[("sampler", "top_p <0.9>")])
    assert text.index("top_p &lt;0.9&gt;") < text.index("English, seen combinations")
