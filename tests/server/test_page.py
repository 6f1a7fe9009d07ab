"""The page in a real browser: a person draws, cancels, comes back, edits, in both languages."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.cli.shared.messages import to_chinese
from limner.metadata import read_metadata
from tests.server.pages import Tab, browsing, new_tab
from tests.server.servers import Brake, client_of, save_models, serving, wait_for_jobs

from limner.server import assets  # isort: skip
from limner.server.config import ServerConfig  # isort: skip
from limner.server.hooks import Hooks  # isort: skip
from limner.server.run import Server  # isort: skip

WEB = Path(assets.__file__).parent / "web"
DRAWN = "#status:has-text('Drawn in'), #status:has-text('画好了')"
KEY = "sk-0123456789abcdef"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def brake() -> Brake:
    made = Brake()
    made.go.set()
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    # The preset knows words; the others are too small to have any.
    return (*save_models(tmp_path_factory.mktemp("models")), "gan")


@pytest.fixture(scope="module")
def server(
    models: tuple[str, ...], brake: Brake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    def change(server: Server) -> None:
        brake.hold(server)

    gallery = tmp_path_factory.mktemp("gallery") / "gallery.db"
    config = ServerConfig(port=0, models=models, gallery=str(gallery))
    with serving(config, Hooks(translate=to_chinese), change) as it:
        yield it


@pytest.fixture(autouse=True)
def emptied(server: Server) -> None:
    """Every test begins with an empty gallery."""
    for each in server.service.gallery.find("local"):
        server.service.gallery.delete("local", each["number"])


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    made = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 900})
    yield made
    made.close()


@pytest.fixture
def tab(context: Any) -> Tab:
    return new_tab(context)


def draws(page: Any, prompt: str = "") -> None:
    if prompt:
        page.fill("#prompt", prompt)
    page.click("#draw")
    page.wait_for_selector(DRAWN)


def file_of(server: Server, number: int) -> bytes:
    found = server.service.gallery.file("local", number)
    assert found is not None
    return found[0]


def numbers(server: Server) -> list[int]:
    return [each["number"] for each in server.service.gallery.find("local")]


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_one_click_draws_the_first_picture_and_a_reload_keeps_it(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    assert page.input_value("#prompt") == "three red apples under the night sky"
    page.wait_for_selector("#gallery-told:has-text('are kept here')")
    page.click("#draw")
    page.wait_for_selector(DRAWN)
    assert page.locator("#pictures button img").count() == 1
    page.wait_for_selector("#kept img")
    tab.shot("drawn")
    (kept,) = server.service.gallery.find("local")
    assert kept["prompt"] == "three red apples under the night sky" and kept["model"] == "tiny"
    page.reload()
    page.wait_for_selector("#kept img")
    page.click("#kept button")
    page.wait_for_selector("#viewer[open]")
    assert page.inner_text("#viewer-prompt") == kept["prompt"]
    assert kept["seed"] in page.inner_text("#viewer-facts")
    assert tab.faults == []


def test_a_download_says_how_it_was_drawn_and_its_seed_draws_it_again(
    server: Server, tab: Tab, tmp_path: Path
) -> None:
    page = tab.goes_to(server.address)
    draws(page, "a red apple")
    page.click("#pictures button")
    with page.expect_download() as caught:
        page.click("[data-act=download]")
    caught.value.save_as(tmp_path / "a.png")
    said = read_metadata(tmp_path / "a.png")
    (first,) = numbers(server)
    assert said is not None and said.prompt == "a red apple"
    assert (tmp_path / "a.png").read_bytes() == file_of(server, first)
    page.fill("#prompt", "", force=True)
    page.click("[data-act=again]")
    page.wait_for_selector("#kept li:nth-child(2)")
    assert page.input_value("#prompt") == "a red apple" and page.is_checked("#lock")
    second, _ = numbers(server)
    assert pixels(file_of(server, second)) == pixels(file_of(server, first))
    # Another draw with the seed kept is the same again; a new one is not asked for.
    assert page.input_value("#seed") == str(said.seed)
    # A file that is opened tells the same, whoever's gallery it was in.
    page.set_input_files("#file", tmp_path / "a.png")
    page.wait_for_selector("#viewer[open]")
    assert page.inner_text("#viewer-prompt") == "a red apple"
    assert page.locator("[data-act=again]").count() == 1
    assert tab.faults == []


def test_several_pictures_appear_while_they_are_drawn(
    server: Server, brake: Brake, tab: Tab
) -> None:
    page = tab.goes_to(server.address)
    page.click("#settings summary")
    page.select_option("#count", "4")
    brake.go.clear()
    page.click("#draw")
    page.wait_for_selector(".slot.drawing")
    assert page.locator(".slot.drawing").count() == 4 and page.is_visible("#cancel")
    assert page.get_attribute("#stage", "aria-busy") == "true"
    brake.go.set()
    page.wait_for_selector(DRAWN)
    assert page.locator("#pictures button").count() == 4 and not page.is_visible("#cancel")
    seeds = {each["seed"] for each in server.service.gallery.find("local")}
    assert len(seeds) == 4 and tab.faults == []


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_cancelling_frees_the_model_at_once(
    server: Server, brake: Brake, tab: Tab, way: str
) -> None:
    page, client = tab.goes_to(server.address), client_of(server)
    brake.go.clear()
    try:
        page.click("#draw")
        wait_for_jobs(client, 1)
        if way == "Escape":
            page.keyboard.press("Escape")
        else:
            page.click("#cancel")
        page.wait_for_selector("#status:has-text('Cancelled.')")
        wait_for_jobs(client, 0)
    finally:
        brake.go.set()
    assert page.locator(".slot.empty").count() == 1 and numbers(server) == []
    draws(page)
    assert len(numbers(server)) == 1 and tab.faults == []


def test_a_drawing_waits_while_the_model_is_loaded_and_a_refused_one_changes_nothing(
    server: Server, tab: Tab
) -> None:
    page = tab.goes_to(server.address)
    server.service.loaded = False
    try:
        page.click("#draw")
        page.wait_for_selector("#status:has-text('is being loaded')")
    finally:
        server.service.loaded = True
    page.wait_for_selector(DRAWN)
    shown = page.get_attribute("#pictures img", "src")
    limit, server.service.queue.limit = server.service.queue.limit, 0
    try:
        page.click("#draw")
        page.wait_for_selector("#message:has-text('The server is busy. Try again in')")
    finally:
        server.service.queue.limit = limit
    assert page.get_attribute("#pictures button img", "src") == shown
    assert len(numbers(server)) == 1


def test_two_tabs_show_one_gallery(server: Server, context: Any) -> None:
    one, two = new_tab(context), new_tab(context)
    first, second = one.goes_to(server.address), two.goes_to(server.address)
    draws(first, "a red apple")
    second.wait_for_selector("#kept img")
    draws(second, "夜空下的三个红苹果")
    first.wait_for_selector("#kept li:nth-child(2)")
    first.click("#kept li:nth-child(2) button")
    first.click("[data-act=favourite]")
    second.wait_for_selector("#kept li:nth-child(2) .star:not([hidden])")
    second.click("#favourites")
    second.wait_for_selector("#kept li:nth-child(2)", state="detached")
    second.click("#favourites")
    second.fill("#gallery-search", "苹果")
    second.wait_for_selector("#kept li:nth-child(2)", state="detached")
    assert second.get_attribute("#kept img", "alt") == "夜空下的三个红苹果"
    first.click("[data-act=delete]")
    assert first.inner_text("[data-act=delete]") == "Delete for good?"
    first.click("[data-act=delete]")
    first.wait_for_selector("#viewer[open]", state="detached")
    first.wait_for_selector("#kept li:nth-child(2)", state="detached")
    assert len(numbers(server)) == 1 and one.faults == two.faults == []


def test_it_speaks_chinese_by_the_browser_and_by_a_switch(server: Server, browser: Any) -> None:
    context = browser.new_context(locale="zh-CN")
    tab = new_tab(context)
    page = tab.goes_to(server.address)
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert page.inner_text("#draw") == "画"
    assert page.input_value("#prompt") == "夜空下的三个红苹果"
    page.click("#draw")
    page.wait_for_selector("#status:has-text('画好了')")
    page.wait_for_selector("#kept img")
    tab.shot("zh")
    # A note has the model's words in the language of the page, and typed ones as they are.
    pair, left_out = page.evaluate(NOTE)
    assert pair == "并排画，前一个在后一个的左边：猫、狗。" and "cat" in left_out
    # What the server refuses is told in the language of the page, whatever the browser's is.
    # A person cannot type so much, so it is put there.
    page.evaluate("document.querySelector('#prompt').value = 'x'.repeat(4001)")
    page.click("#draw")
    page.wait_for_selector("#message:has-text('提示词有 4001 个码点；上限为 4000，请缩短。')")
    page.click("#language")
    page.click("#draw")
    page.wait_for_selector(
        "#message:has-text('The prompt has 4001 code points; the limit is 4000')"
    )
    tab.faults.clear()  # the console's lines on these two answers
    page.reload()
    page.wait_for_selector("#draw:has-text('Draw')")
    assert page.get_attribute("html", "lang") == "en"
    assert page.input_value("#prompt") == "three red apples under the night sky"
    said = page.evaluate(
        "async () => Promise.all(['en', 'zh'].map(async (each) => "
        "Object.entries((await import(`/web/${each}.js`)).default)))"
    )
    english, chinese = map(dict, said)
    assert set(english) == {each for each in chinese if not each.startswith("note-")}
    for name, text in english.items():
        assert set(re.findall(r"\{\d\}", text)) == set(re.findall(r"\{\d\}", chinese[name])), name
    assert tab.faults == []
    context.close()


def test_the_keyboard_alone_is_enough(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    focused = "() => document.activeElement.id"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    if page.evaluate(focused) != "prompt":  # the link has moved the start of tabbing only
        page.focus("#prompt")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("a red apple")
    page.keyboard.press("Enter")
    page.wait_for_selector(DRAWN)
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        if page.evaluate("() => document.activeElement.closest('#pictures') !== null"):
            break
    assert seen[0] == "draw"
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    assert page.evaluate("() => document.activeElement.closest('dialog')?.id") == "viewer"
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer[open]", state="detached")
    assert page.evaluate("() => document.activeElement.closest('#pictures') !== null")
    assert tab.faults == []


def test_a_mask_is_painted_and_sent_with_its_picture(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    draws(page, "a red apple")
    page.click("#pictures button")
    page.click("[data-act=edit]")
    page.wait_for_selector("#editor[open]")
    assert page.is_disabled("#undo")
    box = page.locator("#board").bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y)
    page.mouse.up()
    page.focus("#board")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    page.click("#undo")
    page.wait_for_selector("#editor-told:has-text('is painted')")
    tab.shot("edit")
    page.evaluate(WATCH)
    with page.expect_response("**/v1/images/edits"):
        page.click("#edit-form [type=submit]")
    files = {name: bytes(each) for name, each in page.evaluate(SENT)}
    mask = Image.open(io.BytesIO(files["mask"]))
    assert files["image"] == file_of(server, numbers(server)[-1]) and mask.size == (16, 16)
    alpha = mask.getchannel("A")
    assert alpha.getpixel((4, 4)) == 0 and alpha.getpixel((12, 12)) == 255
    assert (files["gallery"], files["n"], files["model"]) == (b"true", b"1", b"tiny")
    # Models that can't edit are said to, in the server's own words, and the mask is not lost.
    page.wait_for_selector(f"#editor-message:not(:empty), {DRAWN}")
    if page.is_visible("#editor-message"):
        assert "edits are not supported" in page.inner_text("#editor-message").lower()
        assert page.is_enabled("#undo")


# Keeps the form that is sent: of one with files the browser's own tools tell nothing.
WATCH = """() => {
  const before = window.fetch;
  window.fetch = (path, given) => {
    if (given.body instanceof FormData) window.sent = given.body;
    return before(path, given);
  };
}"""
SENT = """async () => Promise.all([...window.sent].map(async ([name, value]) =>
  [name, [...new Uint8Array(await new Response(value).arrayBuffer())]]))"""


def test_a_picture_is_varied_by_the_model_that_can(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    draws(page, "a red apple")
    page.click("#pictures button")
    page.click("[data-act=vary]")
    page.wait_for_selector("#kept li:nth-child(2)")
    newest = server.service.gallery.find("local")[0]
    assert (newest["way"], newest["model"]) == ("vary", "tiny-unclip") and tab.faults == []


def test_a_word_shows_what_it_drew(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    draws(page, "three red apples")
    page.click("#pictures button")
    page.click("[data-act=explain]")
    page.wait_for_selector("#reason-words .chip[aria-pressed=true]")
    words = page.locator("#reason-words .chip")
    assert words.count() >= 2 and words.last.inner_text() == "surprise"
    assert page.is_visible("#heat") and page.evaluate(PAINTED) > 0
    words.last.click()
    assert words.last.get_attribute("aria-pressed") == "true"
    words.last.click()
    assert not page.is_visible("#heat")
    page.click("[data-act=explain]")
    assert not page.is_visible("#reasons")
    assert page.get_attribute("[data-act=explain]", "aria-expanded") == "false"
    assert tab.faults == []


# How many pixels of the heat are not clear.
PAINTED = """() => {
  const heat = document.querySelector('#heat');
  const { data } = heat.getContext('2d').getImageData(0, 0, heat.width, heat.height);
  return data.filter((each, at) => at % 4 === 3 && each > 0).length;
}"""


def test_a_picture_turns_into_another(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    draws(page, "a red apple")
    page.click("#pictures button")
    page.click("[data-act=morph]")
    page.fill("#turn-into", "a blue dog")
    page.keyboard.press("Enter")
    page.wait_for_selector("#kept li:nth-child(2)")
    newest, first = server.service.gallery.find("local")
    assert (newest["way"], newest["prompt"]) == ("morph", "a red apple → a blue dog")
    assert newest["seed"] == first["seed"]
    page.wait_for_selector("#pictures button img[alt^='a red apple → a blue dog']")
    page.wait_for_selector("#kept li:first-child .moves")  # and yet its tile does not
    page.wait_for_selector("#kept li:first-child img[src^=blob]")
    page.click("#kept button")
    acts = page.locator("#viewer [data-act]")
    found = [each.get_attribute("data-act") for each in acts.all()]
    assert found == ["download", "copy", "favourite", "delete"]
    # What cannot be drawn again from its prompt is morphed from its pixels.
    page.keyboard.press("Escape")
    page.click("#kept li:nth-child(2) button")
    page.click("[data-act=vary]")
    page.wait_for_selector("#kept li:nth-child(3)")
    page.click("#kept button")
    page.click("[data-act=morph]")
    page.fill("#turn-into", "a cat")
    page.keyboard.press("Enter")
    page.wait_for_selector("#kept li:nth-child(4)")
    assert server.service.gallery.find("local")[0]["prompt"].endswith("→ a cat")
    assert tab.faults == []


def test_a_picture_is_drawn_in_another_style_with_its_seed(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    page.click("#settings summary")
    page.select_option("#model", "gan")
    page.wait_for_selector("#chips .chip")
    draws(page, "a red apple")
    page.click("#pictures button")
    page.click("[data-act=restyle]")
    page.select_option("#turn-style", label="in pixel art")
    page.click("#turn [type=submit]")
    page.wait_for_selector("#kept li:nth-child(2)")
    newest, first = server.service.gallery.find("local")
    assert newest["seed"] == first["seed"] and "pixel art" in newest["prompt"]
    assert page.input_value("#prompt") == newest["prompt"] and tab.faults == []


def test_words_are_found_and_put_into_the_prompt(server: Server, tab: Tab) -> None:
    page = tab.goes_to(server.address)
    assert not page.is_visible("#words")  # the tiny model does not say what it knows
    page.click("#settings summary")
    page.select_option("#model", "gan")
    page.wait_for_selector("#chips .chip:has-text('dog')")
    page.fill("#prompt", "a red apple")
    page.fill("#word-search", "zebr")
    page.click("#chips .chip:has-text('zebra')")
    assert page.input_value("#prompt") == "a red zebra"
    page.fill("#word-search", "nothing such")
    page.wait_for_selector("#words-told:has-text('knows no such word')")
    page.click("#kinds button:has-text('Numbers')")
    assert page.locator("#chips .chip").all_inner_texts() == ["two", "three", "four", "five"]
    cases = {
        ("a red zebra", "colour", "blue"): "a blue zebra",
        ("a zebra", "colour", "orange"): "an orange zebra",
        ("a red apple", "number", "three"): "three red apples",
        ("three red apples", "thing", "cat"): "three red cats",
        ("a cat", "place", "on the beach"): "a cat on the beach",
        ("a cat on the beach", "style", "in pixel art"): "pixel",
        ("一只猫", "colour", "红色的"): "一只红色的猫",
        ("一只猫", "place", "沙滩上"): "沙滩上的一只猫",
        ("", "thing", "owl"): "an owl",
        ("", "style", "in pixel art"): "in pixel art",
        # A prompt in one language on a page in the other: the word is said as the prompt is.
        ("一只猫", "colour", "blue"): "一只蓝色的猫",
        ("一只猫", "style", "in pixel art"): "一只猫的像素画",
        ("a cat", "place", "沙滩上"): "a cat on the beach",
    }
    for (prompt, kind, phrase), wanted in cases.items():
        told = page.evaluate(PLACED, [prompt, kind, phrase])
        assert wanted in told if kind == "style" else told == wanted, (prompt, phrase, told)
    draws(page, "a beautiful cat and a zeplin in the snow")
    page.click("#notes .chip:has-text('use “lion”')")
    assert page.input_value("#prompt") == "a beautiful cat and a lion in the snow"
    assert tab.faults == []


NOTE = """async () => {
  await (await import('/web/words.js')).load({id: 'gan'});
  const {sentenceOf} = await import('/web/drawing.js');
  const notes = [{code: 'pair', words: ['cat', 'dog']}, {code: 'left_out', words: ['cat']}];
  return notes.map(sentenceOf);
}"""
PLACED = """async ([prompt, kind, phrase]) => {
  const {place} = await import('/web/compose.js');
  const found = await (await fetch('/api/words?model=gan')).json();
  const kinds = Object.fromEntries(found.kinds.map((each) => [each.kind, each.words]));
  const language = /[a-z]/.test(phrase) ? 'en' : 'zh';
  const word = kinds[kind].find((each) => each[language].some((one) => one.includes(phrase)));
  return place(prompt, kind, word, kinds, language);
}"""


def test_a_key_is_asked_for_once_and_kept_in_the_tab(
    models: tuple[str, ...], browser: Any, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"alice {KEY}\n", encoding="utf-8")
    config = ServerConfig(
        port=0, models=models[:1], keys=str(keys), gallery=str(tmp_path / "gallery.db")
    )
    with serving(config) as server:
        context = browser.new_context(locale="en-GB")
        tab = new_tab(context)
        page = tab.page
        page.goto(server.address)
        for key, wanted in (("wrong", "#key-message:not(:empty)"), (KEY, "#model option")):
            page.wait_for_selector("#keyring[open]")
            page.fill("#key", key)
            page.keyboard.press("Enter")
            page.wait_for_selector(wanted, state="attached")
        draws(page, "a red apple")
        page.reload()
        page.wait_for_selector("#kept img[src^=blob]")
        assert not page.is_visible("#keyring")
        assert len(server.service.gallery.find("alice")) == 1
        assert page.evaluate("() => Object.keys(localStorage).join()").find("key") < 0
        context.close()
    assert [each for each in tab.faults if "401" not in each] == []


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_nothing_is_cut_off_on_the_smallest_phone(
    server: Server, browser: Any, locale: str
) -> None:
    context = browser.new_context(locale=locale, viewport={"width": 320, "height": 640})
    tab = new_tab(context)
    page = tab.goes_to(server.address)
    page.click("#settings summary")
    page.select_option("#model", "gan")
    page.wait_for_selector("#chips .chip")
    page.click("#draw")
    page.wait_for_selector("#kept img")
    width = "() => document.scrollingElement.scrollWidth"
    assert page.evaluate(width) == 320
    page.click("#kept button")
    page.click("[data-act=edit]")
    page.wait_for_selector("#editor[open]")
    inside = page.locator("#editor").evaluate("each => each.scrollWidth - each.clientWidth")
    assert inside == 0 and page.evaluate(width) == 320
    assert tab.faults == []
    context.close()


# What has no name for a screen reader; an <img> without a name must say so with alt="".
NAMELESS = """() => [...document.querySelectorAll('button, input, select, textarea, canvas, img')]
  .filter((each) => each.type !== 'file' && !each.closest('dialog:not([open]), [aria-hidden=true]'))
  .filter((each) => each.tagName === 'IMG' ? !each.hasAttribute('alt')
    : !(each.getAttribute('aria-label') || each.labels?.length || each.textContent.trim()
      || each.querySelector('img[alt]:not([alt=""])')))
  .map((each) => each.outerHTML.slice(0, 120))"""
# The contrast of each text with the first background that is not clear, as WCAG counts it.
CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255)
      .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (each) => {
    const colour = getComputedStyle(each).backgroundColor;
    return /, 0\\)$|transparent/.test(colour) && each.parentElement
      ? behind(each.parentElement) : colour;
  };
  return [...document.querySelectorAll('body *')]
    .filter((each) => each.checkVisibility() && !each.closest('button:disabled')
      && [...each.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim()))
    .map((each) => {
      const pair = [light(getComputedStyle(each).color), light(behind(each))].sort((a, b) => b - a);
      return [(pair[0] + 0.05) / (pair[1] + 0.05), each.outerHTML.slice(0, 80)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_and_weak_eyes_find_their_way(
    server: Server, browser: Any, scheme: str, locale: str
) -> None:
    context = browser.new_context(locale=locale, color_scheme=scheme)
    tab = new_tab(context)
    page = tab.goes_to(server.address)
    page.click("#settings summary")
    page.select_option("#model", "gan")
    page.wait_for_selector("#chips .chip")
    draws(page, "a red apple and a zeppelin")
    page.wait_for_selector("#kept img")
    states = {"page": None, "viewer": "#pictures button", "editor": "[data-act=edit]"}
    for name, press in states.items():
        if press:
            page.click(press)
            page.wait_for_selector(f"#{name}[open]")
        assert page.evaluate(NAMELESS) == [], name
        assert page.evaluate(CONTRASTS) == [], name
        if path := os.environ.get("LIMNER_AXE"):  # axe.min.js, where somebody has it
            page.evaluate(Path(path).read_text(encoding="utf-8"))
            found = page.evaluate("async () => (await axe.run()).violations")
            told = [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found]
            assert [each for each in told if each[1] in ("serious", "critical")] == [], name
    for role in ("header", "main", "h1", "[role=status]", "[role=alert]"):
        assert page.locator(role).count() >= 1, role
    assert tab.faults == []
    context.close()


def test_a_picture_that_finds_no_room_is_shown_and_said(
    models: tuple[str, ...], browser: Any, tmp_path: Path
) -> None:
    config = ServerConfig(port=0, models=models[:1], gallery=str(tmp_path / "gallery.db"))
    with serving(config) as server:
        server.service.gallery.limit = 1
        context = browser.new_context(locale="en-GB")
        tab = new_tab(context)
        page = tab.goes_to(server.address)
        draws(page, "a red apple")
        assert "The gallery is full" in page.inner_text("#notes")
        assert page.locator("#kept li").count() == 0 and tab.faults == []
        server.service.gallery.path = None
        page.reload()
        page.wait_for_selector("#gallery-told:has-text('keeps no gallery')")
        draws(page, "a red apple")
        assert page.locator("#pictures button").count() == 1
        context.close()


def test_files_of_the_page_are_small_and_hold_nothing_inline() -> None:
    names = {each.name for each in WEB.iterdir()}
    assert names == {*assets.FILES, assets.PAGE} | {
        f"arena.{each}" for each in ("html", "js", "css")
    }
    for name in (*assets.FILES, assets.PAGE):
        text = assets.read(name).decode()
        assert len(text.splitlines()) <= 400, name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|\beval\(", text), name
    page = assets.read(assets.PAGE).decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", page)
    told = set(re.findall(r'(?:href|src)="web/([\w.]+)"', page))
    assert told <= set(assets.FILES)
    used = {
        each
        for name in assets.FILES
        for each in re.findall(r'from "\./([\w.]+)"', assets.read(name).decode())
    }
    assert told | used == set(assets.FILES)


def test_the_routes_of_the_page_answer_and_refuse(server: Server) -> None:
    client = client_of(server)
    answer = client.get("/")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for name in assets.FILES:
        assert client.get(f"/web/{name}").headers["x-content-type-options"] == "nosniff"
    for path in (
        "/web/arena.js",
        "/web/..%2fapp.py",
        "/api/gallery/0",
        "/api/gallery/x",
        f"/api/gallery/{'9' * 30}",
        "/api/gallery/-1",
    ):
        assert client.get(path).status == 404, path
    for path in ("/api/gallery?before=x", f"/api/gallery?search={'x' * 201}"):
        assert client.get(path).status == 400, path
    assert client.get("/api/words?model=nosuch").error["code"] == "model_not_found"
    assert client.post("/api/gallery/1", {"favourite": 1}).error["param"] == "favourite"
    assert client.post("/api/gallery/999999", {"favourite": True}).status == 404
    assert client.ask("DELETE", "/api/gallery/999999").status == 404
    found = client.draw(gallery=True, seed=5, n=2).json["data"]
    # Pictures of one request are finished side by side, and kept in the order in which they are.
    assert sorted(numbers(server)) == sorted(each["gallery"] for each in found)
    assert client.draw(seed=5).json["data"][0].keys().isdisjoint({"gallery"})
    assert len(numbers(server)) == 2
