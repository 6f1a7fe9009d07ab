"""The arena's page in a real browser: keys, buttons, both languages, and what it must not tell."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.evaluate.arena.standings import standing_of
from tests.server.arenas import PROMPTS, make_arena, serving
from tests.waiting import PATIENCE

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian's is apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'limner[dev]'")
    with playwright.sync_playwright() as driver:
        # A container's root has no user namespaces for Chromium's sandbox.
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """Give a page, and the list of what goes wrong in it or leaves this machine."""
    faults: list[str] = []
    context = browser.new_context(locale="en-GB", viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.on("console", lambda each: faults.append(each.text))
    page.on("pageerror", lambda each: faults.append(str(each)))

    def leave(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:")):
            faults.append(request.url)

    page.on("request", leave)
    yield page, faults
    context.close()


def is_at(page: Any, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('#progress').textContent === text", arg=text
    )


def test_a_person_judges_with_keys_and_buttons(
    watched: tuple[Any, list[str]], tmp_path: Path
) -> None:
    page, faults = watched
    votes = make_arena(tmp_path)
    with serving(votes) as server:
        page.goto(server.address)
        is_at(page, "1 of 3")
        assert page.inner_text("#prompt") in PROMPTS  # as text: <b> is no tag
        assert page.inner_text("#ask") == "Which picture fits better?"
        assert page.locator("#pictures img").count() == 2
        sizes = page.eval_on_selector_all(
            "#pictures img", "all => all.map(each => [each.naturalWidth, each.alt])"
        )
        assert sizes == [[64, "left picture"], [64, "right picture"]]
        told = page.content()
        assert "reds" not in told and "blues" not in told
        if folder := os.environ.get("LIMNER_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "arena-en.png")

        page.keyboard.press("ArrowLeft")
        is_at(page, "2 of 3")
        page.keyboard.press("Backspace")
        is_at(page, "1 of 3")
        page.keyboard.press("ArrowUp")
        is_at(page, "2 of 3")
        page.click("#right")
        is_at(page, "3 of 3")
        page.reload()
        is_at(page, "3 of 3")
        page.click("#choices [data-choice=neither]")
        page.wait_for_selector("body.done")
        assert page.inner_text("#prompt") == "All pictures are judged. Thank you!"
    assert [each.choice for each in votes.votes()] == ["equal", "right", "neither"]
    assert standing_of(votes.votes(), 2).pairs[0].equal == 1
    assert faults == []


def test_the_page_speaks_chinese_too_and_says_when_it_is_alone(
    watched: tuple[Any, list[str]], tmp_path: Path
) -> None:
    page, _ = watched
    with serving(make_arena(tmp_path)) as server:
        page.goto(server.address)
        is_at(page, "1 of 3")
        page.click("#language")
        is_at(page, "第 1 对，共 3 对")
        assert page.get_attribute("html", "lang") == "zh-CN"
        assert page.inner_text("#choices [data-choice=equal]") == "↑ 差不多"
        assert page.get_attribute("#left img", "alt") == "左图"
        if folder := os.environ.get("LIMNER_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "arena-zh.png")
    page.keyboard.press("ArrowRight")
    # A function, not an expression: the page's policy lets nothing evaluate a string.
    page.wait_for_function(
        "() => document.querySelector('#message').textContent.includes('没有响应')"
    )
