"""What well-known programs send, byte for byte, and that each finds in the answer what it reads.

The bodies are those of Open WebUI 0.12 (routers/images.py), LibreChat (DALLE3.js and
OpenAIImageTools.js), LangChain (langchain-community 0.4, and dalle.ts), and SillyTavern of
September 2024 (stable-diffusion/index.js with the settings that it begins with).
"""

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from limner.images import encode_png
from tests.server.servers import Answer, Client, client_of, save_models, serving
from tests.tiny_model import SIZE

from limner.server.config import ServerConfig  # isort: skip

KEY = "sk-0123456789abcdef"
BEARER = {"Authorization": f"Bearer {KEY}"}
BASIC = {"Authorization": f"Basic {base64.b64encode(f'limner:{KEY}'.encode()).decode()}"}
# What aiohttp, the clients of OpenAI in Python and Node, axios and node-fetch send besides.
AIOHTTP = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "Python/3.11 aiohttp"}
PYTHON = {
    "Accept": "application/json", "Accept-Encoding": "gzip, deflate", "Connection": "keep-alive",
    "User-Agent": "OpenAI/Python 3.57.0", "x-stainless-lang": "python",
    "x-stainless-async": "false", "x-stainless-retry-count": "0", "x-stainless-os": "Linux",
    "x-stainless-package-version": "3.57.0", "x-stainless-runtime": "CPython",
}  # fmt: skip
NODE = {
    "Accept": "application/json", "Accept-Encoding": "br, gzip, deflate", "Accept-Language": "*",
    "Sec-Fetch-Mode": "cors", "User-Agent": "OpenAI/JS 6.9.0", "X-Stainless-Lang": "js",
    "X-Stainless-Retry-Count": "0", "X-Stainless-Timeout": "600", "X-Stainless-Runtime": "node",
}  # fmt: skip
AXIOS = {
    "Accept": "application/json, text/plain, */*", "Accept-Encoding": "gzip, compress, deflate, br",
    "User-Agent": "axios/1.12.2",
}  # fmt: skip
FETCH = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate, br", "User-Agent": "node-fetch"}
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
TXT2IMG = "/sdapi/v1/txt2img"
PNG = encode_png(Image.linear_gradient("L").resize((32, 32)).convert("RGB"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "keys.txt").write_text(KEY, encoding="utf-8")
    config = ServerConfig(port=0, models=save_models(folder), keys=str(folder / "keys.txt"))
    with serving(config) as server:
        yield client_of(server)


def fetched(client: Client, url: str, **headers: str) -> bytes:
    """Return the picture that a URL leads to; its name is all that is needed."""
    place = f"http://127.0.0.1:{client.port}"
    assert url.startswith(f"{place}/pictures/") and url.endswith(".png")
    got = client.get(url.removeprefix(place), **headers)
    assert (got.status, got.headers["content-type"]) == (200, "image/png")
    return got.body


def as_open_webui(client: Client, answer: Answer) -> list[bytes]:
    """It takes the url where there is one, which it asks for with the key, else b64_json."""
    return [
        fetched(client, each["url"], **BEARER) if each.get("url")
        else base64.b64decode(each["b64_json"])
        for each in answer.json["data"]
    ]  # fmt: skip


def as_open_webui_reads_a1111(client: Client, answer: Answer) -> list[bytes]:
    """It takes what has no comma for a PNG, and keeps `info`."""
    found = answer.json
    assert isinstance(found["info"], str) and not any("," in each for each in found["images"])
    return [base64.b64decode(each) for each in found["images"]]


def as_librechat_dalle(client: Client, answer: Answer) -> list[bytes]:
    """It reads the first URL, and fetches it without a key."""
    return [fetched(client, answer.json["data"][0]["url"])]


def as_librechat_tools(client: Client, answer: Answer) -> list[bytes]:
    """It reads b64_json of the first, and says that it is of the format that it asked for."""
    return [base64.b64decode(answer.json["data"][0]["b64_json"])]


def as_langchain(client: Client, answer: Answer) -> list[bytes]:
    """It joins all URLs, each of which must be a text."""
    return [
        fetched(client, each)
        for each in "\n".join(item["url"] for item in answer.json["data"]).split("\n")
    ]


def as_silly_tavern(client: Client, answer: Answer) -> list[bytes]:
    """It reads the first picture."""
    return [base64.b64decode(answer.json["images"][0])]


@dataclass(frozen=True)
class App:
    """A request of a program: `body` is JSON as it goes over the wire, or the parts of a form."""

    name: str
    path: str
    body: str | tuple[tuple[str, str | bytes], ...]
    headers: dict[str, str]
    read: Callable[[Client, Answer], list[bytes]]
    size: tuple[int, int]
    count: int = 1
    kind: str = "PNG"
    notes: tuple[str, ...] = field(default=())  # codes of what it must be told


BIG, WIDE, WEBUI = (1024, 1024), (1792, 1024), (512, 512)
APPS = (
    App(
        "Open WebUI, OpenAI, as it is set up", GENERATIONS,
        '{"model": "dall-e-2", "prompt": "a red apple", "n": 1, "size": "512x512", '
        '"response_format": "b64_json"}',
        AIOHTTP | BEARER, as_open_webui, WEBUI, notes=("size",),
    ),
    App(
        "Open WebUI, OpenAI, gpt-image and auto", GENERATIONS,
        '{"model": "gpt-image-1", "prompt": "a red apple", "n": 2, "size": "auto"}',
        AIOHTTP | BEARER, as_open_webui, (SIZE, SIZE), count=2,
    ),
    App(
        "Open WebUI, OpenAI, own model and parameters", f"{GENERATIONS}?api-version=2025-04-01",
        '{"model": "tiny", "prompt": "a red apple", "n": 1, "response_format": "b64_json", '
        '"seed": 4, "guidance_scale": 3.0, "x": {"y": [1]}}',
        AIOHTTP | BEARER | {"X-OpenWebUI-User-Name": "Ann%20B", "X-OpenWebUI-User-Role": "admin"},
        as_open_webui, (SIZE, SIZE),
    ),
    App(
        "Open WebUI, edit of one picture", EDITS,
        (("model", "gpt-image-1"), ("prompt", "a red apple"), ("n", "1"), ("image", PNG)),
        AIOHTTP | BEARER, as_open_webui, (32, 32),
    ),
    App(
        "Open WebUI, edit of two pictures", EDITS,
        (
            ("model", "dall-e-2"), ("prompt", "a red apple"), ("n", "2"), ("size", "512x512"),
            ("background", "transparent"), ("response_format", "b64_json"), ("image[]", PNG),
            ("image[]", PNG),
        ),
        AIOHTTP | BEARER, as_open_webui, WEBUI, count=2, notes=("size", "background", "image"),
    ),
    App(
        "Open WebUI, AUTOMATIC1111, as it is set up", TXT2IMG,
        '{"prompt": "a red apple", "batch_size": 1, "width": 512, "height": 512, "steps": 50}',
        AIOHTTP | BASIC, as_open_webui_reads_a1111, WEBUI, notes=("size", "steps"),
    ),
    App(
        "Open WebUI, AUTOMATIC1111, with parameters", TXT2IMG,
        '{"prompt": "a red apple", "batch_size": 2, "width": 512, "height": 768, "steps": 50, '
        '"negative_prompt": "blur", "cfg_scale": 7.0, "sampler_name": "Euler a", '
        '"scheduler": "Karras"}',
        AIOHTTP | BASIC, as_open_webui_reads_a1111, (512, 768), count=2,
        notes=("size", "steps", "negative_prompt"),
    ),
    App(
        "LibreChat, DALL-E-3", GENERATIONS,
        '{"model":"dall-e-3","quality":"standard","style":"vivid","size":"1024x1024",'
        '"prompt":"a red apple","n":1}',
        NODE | BEARER, as_librechat_dalle, BIG, notes=("size", "style"),
    ),
    App(
        "LibreChat, DALL-E-3 by the settings of Azure", f"{GENERATIONS}?api-version=2023-12-01",
        '{"model":"dall-e-3","quality":"hd","style":"natural","size":"1792x1024",'
        '"prompt":"a red apple","n":1}',
        NODE | {"api-key": KEY}, as_librechat_dalle, WIDE, notes=("size", "style", "quality"),
    ),
    App(
        "LibreChat, OpenAI Image Tools", GENERATIONS,
        '{"model":"gpt-image-1","prompt":"a red apple","n":1,"background":"auto",'
        '"output_format":"png","quality":"auto","size":"auto"}',
        NODE | BEARER, as_librechat_tools, (SIZE, SIZE),
    ),
    App(
        "LibreChat, OpenAI Image Tools, today's model", GENERATIONS,
        '{"model":"gpt-image-2.5-flare","prompt":"a red apple","n":1,"background":"transparent",'
        '"output_format":"webp","output_compression":100,"quality":"high","size":"1536x1024"}',
        NODE | BEARER, as_librechat_tools, (1536, 1024), kind="WEBP",
        notes=("size", "quality", "background"),
    ),
    App(
        "LibreChat, OpenAI Image Tools, edit", EDITS,
        (
            ("model", "gpt-image-1"), ("prompt", "a red apple"), ("quality", "auto"),
            ("size", "auto"), ("image[]", PNG),
        ),
        AXIOS | BEARER, as_librechat_tools, (32, 32),
    ),
    App(
        "LangChain, Python", GENERATIONS,
        '{"model":"dall-e-2","prompt":"a red apple","n":1,"size":"1024x1024"}',
        PYTHON | BEARER, as_langchain, BIG, notes=("size",),
    ),
    App(
        "LangChain, JavaScript", GENERATIONS,
        '{"model":"dall-e-3","prompt":"a red apple","n":1,"size":"1024x1024",'
        '"response_format":"url","style":"vivid","quality":"standard"}',
        NODE | BEARER, as_langchain, BIG, notes=("size", "style"),
    ),
    App(
        "SillyTavern", TXT2IMG,
        '{"url":"http://127.0.0.1:8000","auth":"limner:KEY",'
        '"prompt":"best quality, absurdres, aesthetic, a red apple",'
        '"negative_prompt":"lowres, bad anatomy, bad hands, text, error, cropped, worst quality, '
        'low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry",'
        '"sampler_name":"DDIM","scheduler":"normal","steps":20,"cfg_scale":7,"width":512,'
        '"height":512,"restore_faces":false,"enable_hr":false,"hr_upscaler":"Latent","hr_scale":2,'
        '"denoising_strength":0.7,"hr_second_pass_steps":0,'
        '"override_settings":{"CLIP_stop_at_last_layers":1},'
        '"override_settings_restore_afterwards":true,"clip_skip":1,"save_images":true,'
        '"send_images":true,"do_not_save_grid":false,"do_not_save_samples":false}',
        FETCH | BASIC, as_silly_tavern, WEBUI,
        notes=("size", "steps", "negative_prompt", "sampler"),
    ),
)  # fmt: skip


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield a body as streams of Node send it: piece by piece, its length not told."""
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


@pytest.mark.parametrize("app", APPS, ids=[each.name for each in APPS])
def test_a_program_is_answered_with_what_it_reads(client: Client, app: App) -> None:
    if isinstance(app.body, str):
        kind = {"Content-Type": "application/json"}
        answer = client.ask("POST", app.path, app.body.encode(), app.headers | kind)
    else:
        answer = client.form(app.path, *app.body, headers=app.headers, pieces=pieces)
    assert answer.status == 200, answer.body
    pictures = [Image.open(io.BytesIO(each)) for each in app.read(client, answer)]
    assert len(pictures) == app.count
    for each in pictures:
        each.load()
        assert (each.size, each.format) == (app.size, app.kind)
    told = {each["code"] for each in answer.json.get("warnings", [])}
    assert told >= set(app.notes), told


def test_open_webui_chooses_a_model_of_a1111s_api(client: Client) -> None:
    """It asks whether the address is right, lists models, and sets one by sending all options."""
    headers = AIOHTTP | BASIC
    assert client.get("/sdapi/v1/options", **AIOHTTP).status == 401
    options = client.get("/sdapi/v1/options", **headers).json
    listed = [
        (e["title"], e["model_name"]) for e in client.get("/sdapi/v1/sd-models", **headers).json
    ]
    assert listed == [("tiny", "tiny"), ("tiny-unclip", "tiny-unclip")]
    for name in ("tiny-unclip", "tiny"):
        sent = options | {"sd_model_checkpoint": name}
        assert client.post("/sdapi/v1/options", sent, **headers).status == 200
        assert client.get("/sdapi/v1/options", **headers).json["sd_model_checkpoint"] == name


def test_silly_tavern_is_set_up(client: Client) -> None:
    """It fills its lists, sets a model, waits until nothing is drawn, and can interrupt."""
    headers = FETCH | BASIC

    def names(path: str, key: str) -> list[str]:
        return [each[key] for each in client.get(f"/sdapi/v1/{path}", **headers).json]

    assert client.get("/sdapi/v1/options", **headers).status == 200
    assert names("upscalers", "name") == ["Lanczos"] and names("latent-upscale-modes", "name") == []
    assert names("samplers", "name")[0] == "default" and names("schedulers", "name") == []
    # Of two lists it takes the one that is there; the other is Forge's.
    assert names("sd-vae", "model_name") == []
    assert client.get("/sdapi/v1/sd-modules", **headers).status == 404
    assert names("sd-models", "title") == ["tiny", "tiny-unclip"]
    sent = json.dumps({"sd_model_checkpoint": "tiny"}, separators=(",", ":")).encode()
    assert client.post("/sdapi/v1/options", sent, **headers).status == 200
    state = client.get("/sdapi/v1/progress", **headers).json
    assert (state["progress"], state["state"]["job_count"]) == (0, 0)
    assert client.ask("POST", "/sdapi/v1/interrupt", None, headers).status == 200


def test_an_error_is_where_each_program_reads_it(client: Client) -> None:
    """OpenAI's clients show error.message; Open WebUI and SillyTavern look at the status alone."""
    for headers, path in ((PYTHON | BEARER, GENERATIONS), (FETCH | BASIC, TXT2IMG)):
        answer = client.post(path, {"prompt": ""}, **headers)
        assert answer.status == 400 and "prompt" in answer.error["message"]
    answer = client.post(GENERATIONS, {"prompt": "x"}, **(NODE | {"api-key": "wrong"}))
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_a_program_that_asks_for_any_fields_is_drawn_for(client: Client) -> None:
    fields: dict[str, Any] = {"enable_hr": True, "alwayson_scripts": {"x": {"args": []}}}
    fields |= {"styles": [], "subseed": -1, "script_args": [], "seed_resize_from_h": 0}
    answer = client.post(TXT2IMG, {"prompt": "a red apple", **fields}, **BASIC)
    assert answer.status == 200 and "enable_hr" in answer.headers["x-limner-notes"]


def test_a_sampler_is_known_by_the_name_that_others_give_it(client: Client) -> None:
    told = []
    for name in ("DDIM", "Euler", "default", "Euler a"):
        fields = {"sampler_name": name, "override_settings": {"sd_model_checkpoint": "tiny-unclip"}}
        answer = client.post(TXT2IMG, {"prompt": "a red apple", "seed": 1, **fields}, **BASIC)
        assert answer.status == 200, answer.body
        told.append("sampler" in {each["code"] for each in answer.json.get("warnings", [])})
    assert told == [False, False, False, True]
