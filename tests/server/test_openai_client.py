"""The official client of OpenAI, unmodified, against a real server: more than sixty calls."""

import asyncio
import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from limner.images import encode_png
from tests.server.servers import Brake, Client, client_of, save_models, serving, wait_for_jobs
from tests.tiny_model import SIZE
from tests.waiting import PATIENCE

from limner.server.config import ServerConfig  # isort: skip
from limner.server.run import Server  # isort: skip
from limner.server.safety import own_hooks  # isort: skip

openai: Any = pytest.importorskip("openai", reason="OpenAI's client is not installed")

KEY = "sk-0123456789abcdef"
BRAKE = Brake()
FAULT = "a fault of the model"
OWN = (SIZE, SIZE)
PROMPT = "a red apple"
PNG = encode_png(Image.linear_gradient("L").resize((32, 32)).convert("RGB"))
CUT = Image.new("RGBA", (32, 32), (9, 9, 9, 255))
CUT.paste((0, 0, 0, 0), (0, 0, 16, 32))
MASK = encode_png(CUT)
FILE, MASK_FILE = ("a.png", PNG, "image/png"), ("m.png", MASK, "image/png")
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
MASK_URL = f"data:image/png;base64,{base64.b64encode(MASK).decode()}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "keys.txt").write_text(KEY, encoding="utf-8")
    models = save_models(folder)

    def change(server: Server) -> None:
        load = server.service.catalogue.load

        def braked(place: str) -> Any:
            pipeline = load(place)
            BRAKE.put_on(pipeline)
            whole = pipeline.stream_together

            def failing(requests: Any) -> Any:
                if any(each.prompt == FAULT for each in requests):
                    raise RuntimeError("out of luck")
                return whole(requests)

            pipeline.stream_together = failing  # type: ignore[method-assign]
            return pipeline

        server.service.catalogue.load = braked
        server.service.worker.lanes = 1  # one batch after the other, however many threads there are

    BRAKE.go.set()
    config = ServerConfig(port=0, models=models, keys=str(folder / "keys.txt"), queue=2)
    with serving(config, own_hooks(config), change) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(
        api_key=KEY, base_url=f"http://127.0.0.1:{server.config.port}/v1", timeout=PATIENCE
    ) as client:
        yield client


@pytest.fixture
def plain(server: Server) -> Client:
    return client_of(server, KEY)


def image_of(item: Any, plain: Client) -> Image.Image:
    """Return the picture of an item, by its address where it has no other."""
    if item.b64_json is not None:
        return Image.open(io.BytesIO(base64.b64decode(item.b64_json)))
    got = Client(plain.port).get(item.url.removeprefix(f"http://127.0.0.1:{plain.port}"))
    return Image.open(io.BytesIO(got.body))


# Fields of a call, and what the pictures are: their size, format and number, and where they stand.
Row = tuple[dict[str, Any], tuple[int, int], str, int, str]
DRAWN: tuple[Row, ...] = (
    ({}, OWN, "PNG", 1, "b64_json url"),
    ({"model": None, "n": None, "size": None}, OWN, "PNG", 1, "b64_json url"),
    ({"model": "tiny"}, OWN, "PNG", 1, "b64_json url"),
    ({"model": "tiny-unclip"}, OWN, "PNG", 1, "b64_json url"),
    ({"model": "dall-e-2", "size": "256x256"}, (256, 256), "PNG", 1, "url"),
    ({"model": "dall-e-2", "n": 10}, OWN, "PNG", 10, "url"),
    ({"model": "dall-e-2", "response_format": "b64_json"}, OWN, "PNG", 1, "b64_json"),
    (
        {"model": "dall-e-3", "size": "1024x1792", "quality": "hd", "style": "vivid"},
        (1024, 1792), "PNG", 1, "url",
    ),
    ({"model": "dall-e-3", "size": "1792x1024", "style": "natural"}, (1792, 1024), "PNG", 1, "url"),
    (
        {"model": "gpt-image-1", "size": "auto", "quality": "auto", "background": "auto"},
        OWN, "PNG", 1, "b64_json",
    ),
    ({"model": "gpt-image-1", "size": "1536x1024"}, (1536, 1024), "PNG", 1, "b64_json"),
    ({"model": "gpt-image-1.5", "output_format": "webp"}, OWN, "WEBP", 1, "b64_json"),
    (
        {"model": "gpt-image-2", "output_format": "jpeg", "output_compression": 60},
        OWN, "JPEG", 1, "b64_json",
    ),
    ({"model": "gpt-image-2.5-flare", "quality": "xhigh"}, OWN, "PNG", 1, "b64_json"),
    ({"model": "chatgpt-image-latest", "moderation": "low"}, OWN, "PNG", 1, "b64_json"),
    ({"response_format": "url", "output_format": "jpeg"}, OWN, "JPEG", 1, "url"),
    ({"response_format": "b64_json", "n": 2, "user": "u"}, OWN, "PNG", 2, "b64_json"),
    ({"background": "transparent", "output_format": "gif"}, OWN, "PNG", 1, "b64_json url"),
    ({"complexity": "low", "quality": "max"}, OWN, "PNG", 1, "b64_json url"),
    ({"stream": False, "partial_images": 0}, OWN, "PNG", 1, "b64_json url"),
)  # fmt: skip
EDITED: tuple[Row, ...] = (
    ({"image": FILE}, (32, 32), "PNG", 1, "b64_json url"),
    ({"image": [FILE]}, (32, 32), "PNG", 1, "b64_json url"),
    ({"image": [FILE, FILE], "n": 2}, (32, 32), "PNG", 2, "b64_json url"),
    ({"image": FILE, "mask": MASK_FILE}, (32, 32), "PNG", 1, "b64_json url"),
    ({"image": PNG, "mask": MASK, "n": 2}, (32, 32), "PNG", 2, "b64_json url"),
    ({"image": io.BytesIO(PNG), "model": "dall-e-2"}, (32, 32), "PNG", 1, "url"),
    ({"image": FILE, "size": "256x256"}, (256, 256), "PNG", 1, "b64_json url"),
    (
        {"image": FILE, "model": "gpt-image-1", "output_format": "webp", "quality": "high"},
        (32, 32), "WEBP", 1, "b64_json",
    ),
    ({"image": FILE, "input_fidelity": "high"}, (32, 32), "PNG", 1, "b64_json url"),
    ({"image": FILE, "extra_body": {"strength": 0.5}}, (32, 32), "PNG", 1, "b64_json url"),
)  # fmt: skip
VARIED: tuple[Row, ...] = (
    ({"image": FILE, "size": "256x256"}, (256, 256), "PNG", 1, "b64_json url"),
    ({"image": PNG, "n": 3}, (16, 16), "PNG", 3, "b64_json url"),
    ({"image": FILE, "model": "dall-e-2"}, (16, 16), "PNG", 1, "url"),
    ({"image": FILE, "response_format": "b64_json"}, (16, 16), "PNG", 1, "b64_json"),
)


def check(found: Any, row: Row, plain: Client) -> None:
    """See that an answer is as a row says, and as the client's types have it."""
    _, size, kind, count, where = row
    assert len(found.data) == count and found.created > 1_700_000_000
    assert found.output_format == kind.lower() and found.background == "opaque"
    used = found.usage
    assert used.total_tokens == used.input_tokens + used.output_tokens
    assert used.input_tokens_details.image_tokens == 0
    assert len({each.seed for each in found.data}) == count
    for each in found.data:
        assert " ".join(n for n in ("b64_json", "url") if getattr(each, n) is not None) == where
        image = image_of(each, plain)
        assert (image.size, image.format) == (size, kind)
    assert found.size == f"{size[0]}x{size[1]}"
    assert found._request_id


@pytest.mark.parametrize("row", DRAWN, ids=lambda row: ", ".join(map(str, row[0].values())))
def test_pictures_are_drawn(client: Any, plain: Client, row: Row) -> None:
    check(client.images.generate(prompt=PROMPT, **row[0]), row, plain)


@pytest.mark.parametrize("row", EDITED, ids=lambda row: ", ".join(row[0]))
def test_a_picture_is_edited(client: Any, plain: Client, row: Row) -> None:
    check(client.images.edit(prompt=PROMPT, **row[0]), row, plain)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("row", VARIED, ids=lambda row: ", ".join(row[0]))
def test_a_variation_is_drawn(client: Any, plain: Client, row: Row) -> None:
    found = client.images.create_variation(**row[0])
    check(found, row, plain)
    assert found.model == "tiny-unclip"


def test_an_edit_is_asked_for_in_json_as_in_a_form(client: Any) -> None:
    fields = {"prompt": PROMPT, "seed": 4, "response_format": "b64_json"}
    form = client.images.edit(
        image=FILE, mask=MASK_FILE, prompt=PROMPT, response_format="b64_json",
        extra_body={"seed": 4},
    )  # fmt: skip
    body = fields | {"images": [{"image_url": DATA_URL}], "mask": {"image_url": MASK_URL}}
    found = client.post("/images/edits", body=body, cast_to=openai.types.ImagesResponse)
    assert found.data[0].b64_json == form.data[0].b64_json


def test_what_limner_has_besides_goes_through_extra_body(client: Any) -> None:
    extra = {"seed": 4, "guidance_scale": 3, "steps": 2, "negative_prompt": "blur", "top_k": 5}
    raw = client.images.with_raw_response.generate(prompt=PROMPT, n=2, extra_body=extra)
    found = raw.parse()
    assert [each.seed for each in found.data] == [4, 5] and raw.headers["x-limner-seed"] == "4"
    assert {each["code"] for each in found.warnings} >= {"steps", "negative_prompt"}
    assert raw.headers["x-request-id"] and "negative_prompt" in raw.headers["x-limner-notes"]
    found = client.images.generate(prompt=PROMPT, extra_body={"safety_identifier": "who"})
    assert found.safety_identifier == "who"


@pytest.mark.parametrize("partial", [None, 0, 1, 3])
def test_a_stream_is_read(client: Any, partial: int | None) -> None:
    with client.images.generate(
        prompt=PROMPT, stream=True, model="gpt-image-1",
        **({} if partial is None else {"partial_images": partial}),
    ) as stream:  # fmt: skip
        events = list(stream)
    *early, last = [type(each).__name__ for each in events]
    assert early == ["ImageGenPartialImageEvent"] * (partial or 0)
    assert [each.partial_image_index for each in events[:-1]] == list(range(partial or 0))
    assert last == "ImageGenCompletedEvent" and events[-1].usage.input_tokens > 0
    assert all(Image.open(io.BytesIO(base64.b64decode(e.b64_json))).size == OWN for e in events)


def test_an_edit_is_a_stream_too(client: Any) -> None:
    with client.images.edit(image=FILE, prompt=PROMPT, stream=True, partial_images=1) as events:
        names = [type(each).__name__ for each in events]
    assert names == ["ImageEditPartialImageEvent", "ImageEditCompletedEvent"]


def test_the_client_that_does_not_wait_reads_the_same(server: Server, client: Any) -> None:
    async def ask() -> tuple[Any, list[Any]]:
        place = f"http://127.0.0.1:{server.config.port}/v1"
        async with openai.AsyncOpenAI(api_key=KEY, base_url=place, timeout=PATIENCE) as own:
            found = await own.images.generate(prompt=PROMPT, extra_body={"seed": 8})
            stream = await own.images.generate(
                prompt=PROMPT, extra_body={"seed": 8}, stream=True, partial_images=1
            )
            return found, [each async for each in stream]

    found, events = asyncio.run(ask())
    whole = client.images.generate(prompt=PROMPT, extra_body={"seed": 8}).data[0].b64_json
    assert found.data[0].b64_json == whole == events[-1].b64_json and len(events) == 2


def test_models_are_read(client: Any) -> None:
    assert [each.id for each in client.models.list()][:2] == ["tiny", "tiny-unclip"]
    for name in ("tiny", "dall-e-3", "gpt-image-2"):
        found = client.models.retrieve(name)
        assert (found.id, found.owned_by, found.object) == (name, "limner", "model")


def test_texts_are_judged(client: Any) -> None:
    for text, flagged in (
        (PROMPT, [False]), (["h3ntai", "a knife"], [True, False]),
        ([{"type": "text", "text": "h3ntai"}], [True]),
    ):  # fmt: skip
        found = client.moderations.create(input=text, model="omni-moderation-latest")
        assert [each.flagged for each in found.results] == flagged
        assert [each.categories.sexual for each in found.results] == flagged
        assert found.results[0].category_scores.sexual == float(flagged[0])
        assert None not in found.results[0].categories.to_dict().values()


def test_where_a_file_comes_from_is_told(client: Any) -> None:
    drawn = client.images.generate(prompt=PROMPT, response_format="b64_json").data[0].b64_json
    for data, wanted in ((base64.b64decode(drawn), "detected"), (PNG, "not_detected")):
        found = client.content_provenance_checks.create(file=("a.png", data, "image/png"))
        assert found.object == "content_provenance_check"
        told = {each.type: each.outcome for each in found.results}
        assert told["iptc"] == wanted and told["c2pa"] in ("not_detected", "not_checked")


@pytest.mark.parametrize(
    ("fields", "kind", "param", "code"),
    [
        ({"n": 11}, "BadRequestError", "n", "invalid_value"),
        ({"size": "0x0"}, "BadRequestError", "size", "invalid_value"),
        ({"prompt": ""}, "BadRequestError", "prompt", "empty"),
        ({"prompt": "x" * 4001}, "BadRequestError", "prompt", "string_above_max_length"),
        ({"prompt": "h3ntai"}, "BadRequestError", "prompt", "moderation_blocked"),
        ({"output_compression": 101}, "BadRequestError", "output_compression", "invalid_value"),
        ({"model": "nobody/nothing"}, "NotFoundError", "model", "model_not_found"),
        (
            {"extra_headers": {"Origin": "https://elsewhere.example"}},
            "PermissionDeniedError", None, "origin_not_allowed",
        ),
        ({"prompt": "x" * (2**20 + 9)}, "APIStatusError", None, "file_too_large"),
        ({"extra_headers": {"Content-Encoding": "gzip"}}, "APIStatusError", None, None),
        ({"extra_headers": {"x-long": "x" * 20000}}, "APIStatusError", None, None),
    ],
)  # fmt: skip
def test_each_error_has_its_class(
    client: Any, fields: dict[str, Any], kind: str, param: str | None, code: str | None
) -> None:
    with pytest.raises(getattr(openai, kind)) as told:
        client.images.generate(**({"prompt": PROMPT} | fields))
    error = told.value
    assert type(error).__name__ == kind and 400 <= error.status_code < 500
    if "x-long" not in fields.get("extra_headers", {}):  # it is refused before it is read
        assert (error.param, error.code) == (param, code) and error.request_id
        wanted = "image_generation_user_error" if code == "moderation_blocked" else None
        assert error.type == (wanted or "invalid_request_error")


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_errors_of_other_calls_have_their_classes(client: Any) -> None:
    with pytest.raises(openai.AuthenticationError) as told:
        client.with_options(api_key="wrong").models.list()
    assert told.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")
    with pytest.raises(openai.BadRequestError) as told:
        client.images.edit(image=("a.png", b"no picture"), prompt=PROMPT)
    assert (told.value.param, told.value.code) == ("image", "invalid_image")
    with pytest.raises(openai.BadRequestError) as told:
        client.images.edit(image=FILE, markup=FILE, prompt=PROMPT)
    assert told.value.param == "markup"
    with pytest.raises(openai.BadRequestError) as told:
        client.images.create_variation(image=FILE, model="tiny")
    assert (told.value.param, told.value.code) == ("model", "unsupported_value")
    with pytest.raises(openai.BadRequestError) as told:
        client.images.generate(prompt=PROMPT, n=0, stream=True)
    assert told.value.param == "n"


def test_a_fault_is_not_tried_again(client: Any, plain: Client) -> None:
    name = r'limner_requests_total{route="/v1/images/generations",outcome="failed"}'

    def failed() -> int:
        lines = plain.get("/metrics").body.decode().splitlines()
        return sum(int(each.split()[-1]) for each in lines if each.startswith(name))

    before = failed()
    with pytest.raises(openai.InternalServerError) as told:
        client.images.generate(prompt=FAULT)
    assert (told.value.status_code, told.value.code) == (500, "internal_error")
    assert "luck" not in str(told.value) and failed() == before + 1
    # A stream has begun: its error comes as an event.
    with pytest.raises(openai.APIError) as told:
        list(client.images.generate(prompt=FAULT, stream=True))
    assert told.value.code == "internal_error"
    assert client.images.generate(prompt=PROMPT).data


def test_a_server_that_loads_says_so(client: Any, server: Server) -> None:
    server.service.loaded = False
    try:
        with pytest.raises(openai.InternalServerError) as told:
            client.with_options(max_retries=0).images.generate(prompt=PROMPT)
    finally:
        server.service.loaded = True
    assert (told.value.status_code, told.value.code) == (503, "model_loading")
    assert int(told.value.response.headers["retry-after"]) >= 1


def test_a_client_that_waits_no_longer_frees_its_place(client: Any, plain: Client) -> None:
    BRAKE.go.clear()
    try:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(max_retries=0, timeout=0.5).images.generate(prompt=PROMPT)
        wait_for_jobs(plain, 0)
    finally:
        BRAKE.go.set()


def test_a_full_queue_is_tried_again_and_then_served(client: Any, plain: Client) -> None:
    BRAKE.go.clear()
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(plain.draw) for _ in range(2)]
        wait_for_jobs(plain, 2)
        with pytest.raises(openai.RateLimitError) as told:
            client.with_options(max_retries=0).images.generate(prompt="x")
        assert told.value.code == "rate_limit_exceeded"
        assert int(told.value.response.headers["retry-after"]) >= 1
        again = pool.submit(client.with_options(max_retries=50).images.generate, prompt="x")
        before = plain.get("/metrics").body
        BRAKE.go.set()
        assert again.result().data and before
        assert [each.result().status for each in held] == [200, 200]
    assert plain.gauge("limner_queue_jobs") == 0
