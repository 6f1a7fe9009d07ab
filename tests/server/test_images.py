"""OpenAI's images API: what is drawn, how it is answered, and what can't be met and is said."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

import limner
from limner.errors import UsageError
from limner.images import encode_png
from tests.server.servers import Client, client_of, save_models, serving
from tests.tiny_model import SIZE

from limner.server.config import ServerConfig  # isort: skip
from limner.server.editing import check_edits  # isort: skip


WRONG: tuple[Any, ...] = (5, True, [], {}, None)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client(models: tuple[str, str]) -> Iterator[Client]:
    with serving(ServerConfig(port=0, models=models)) as server:
        yield client_of(server)


def image_of(item: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(item["b64_json"])))


def test_a_picture_is_the_one_that_the_library_draws(
    client: Client, models: tuple[str, str]
) -> None:
    answer = client.draw(seed=7, n=3)
    assert answer.status == 200, answer.body
    found = answer.json
    drawn = limner.draw("a red apple", model=models[0], seed=7, n=3)
    assert [each["seed"] for each in found["data"]] == [7, 8, 9]
    assert [image_of(each).tobytes() for each in found["data"]] == [
        each.image.tobytes() for each in drawn
    ]
    assert answer.headers["x-limner-seed"] == "7"
    assert found["size"] == f"{SIZE}x{SIZE}" and found["model"] == "tiny"
    assert found["output_format"] == "png" and found["created"] > 1_700_000_000
    used = found["usage"]
    assert used["output_tokens"] == 3 * 4 and used["input_tokens"] > 0
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"]


def test_the_form_of_the_answer_is_what_clients_of_that_name_expect(client: Client) -> None:
    for model, fields in (
        ("dall-e-3", {"url"}), ("dall-e-2", {"url"}), ("gpt-image-1.5", {"b64_json"}),
        ("chatgpt-image-latest", {"b64_json"}), ("tiny", {"url", "b64_json"}),
        (None, {"url", "b64_json"}),
    ):  # fmt: skip
        (item,) = client.draw(model=model).json["data"]
        assert item.keys() & {"url", "b64_json"} == fields, model
    (item,) = client.draw(model="dall-e-3", response_format="b64_json").json["data"]
    assert "url" not in item


def test_a_url_is_fetched_and_cannot_be_guessed(client: Client) -> None:
    (one, two) = client.draw(response_format="url", n=2, output_format="webp").json["data"]
    place = f"http://127.0.0.1:{client.port}"
    assert one["url"].startswith(f"{place}/pictures/") and one["url"].endswith(".webp")
    got = client.get(one["url"].removeprefix(place))
    assert (got.status, got.headers["content-type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(got.body)).format == "WEBP"
    name, other = (each["url"].rpartition("/")[2] for each in (one, two))
    assert len(name) > 40 and name != other
    assert client.get(f"/pictures/{name[:-6]}x.webp").status == 404


@pytest.mark.parametrize(
    ("asked", "size", "told"),
    [
        ("auto", (SIZE, SIZE), False),
        (f"{SIZE}x{SIZE}", (SIZE, SIZE), False),
        ("64x64", (64, 64), True),
        ("1792x1024", (1792, 1024), True),
        ("32x96", (32, 96), True),
    ],
)
def test_a_size_is_met_and_said(
    client: Client, asked: str, size: tuple[int, int], told: bool
) -> None:
    answer = client.draw(size=asked, seed=1)
    (item,) = answer.json["data"]
    assert image_of(item).size == size
    assert answer.json["size"] == f"{size[0]}x{size[1]}"
    assert ("size" in answer.headers.get("x-limner-notes", "")) == told


def test_what_cannot_be_met_is_drawn_and_said(client: Client) -> None:
    answer = client.draw(
        negative_prompt="blur", num_inference_steps=30, quality="xhigh", background="transparent",
        output_format="gif", style="vivid", user="somebody", complexity="low", zzz={"a": 1},
    )  # fmt: skip
    assert answer.status == 200
    codes = {each["code"] for each in answer.json["warnings"]}
    assert codes >= {"negative_prompt", "steps", "quality", "style", "background", "output_format"}
    for code in codes & {"negative_prompt", "steps", "quality"}:
        assert code in answer.headers["x-limner-notes"]
    assert image_of(answer.json["data"][0]).format == "PNG"


def test_words_that_the_model_does_not_know_are_told(client: Client) -> None:
    warnings = client.draw(prompt="a zeppelin " * 40).json["warnings"]
    assert {each["code"] for each in warnings} >= {"prompt_truncated", "unseen"}


def test_guidance_is_counted_as_others_count_it(client: Client, models: tuple[str, str]) -> None:
    (own,) = limner.draw("a red apple", model=models[0], seed=3, guidance=4.0)
    for name, value in (("guidance", 4), ("guidance_scale", 5), ("cfg_scale", 5.0)):
        (item,) = client.draw(seed=3, **{name: value}).json["data"]
        assert image_of(item).tobytes() == own.image.tobytes(), name


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        *(({"n": n}, "n", None) for n in (0, -1, 11, 1000, 2**63, 1.5, "2", True)),
        *(
            ({"size": size}, "size", None)
            for size in ("0x0", "-1x5", "99999x99999", "1024X1024", "1024", 7, "8x8", "4096x4097")
        ),
        *(({"prompt": wrong}, "prompt", "invalid_type") for wrong in WRONG),
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": " \u200b\u2060 "}, "prompt", "empty"),
        ({"prompt": "a\x00b"}, "prompt", "invalid_nul"),
        ({"prompt": "x" * 4001}, "prompt", "string_above_max_length"),
        ({"prompt": "\ufdfa" * 4000}, "prompt", "string_above_max_length"),
        ({"prompt": "x" * 1001, "model": "dall-e-2"}, "prompt", "string_above_max_length"),
        ({"response_format": "png"}, "response_format", None),
        ({"output_format": "bmp"}, "output_format", None),
        ({"output_compression": 101}, "output_compression", None),
        ({"partial_images": 4}, "partial_images", None),
        ({"seed": -2}, "seed", None),
        ({"seed": 2**63}, "seed", None),
        ({"guidance_scale": -1}, "guidance_scale", None),
        ({"num_inference_steps": 1000}, "num_inference_steps", None),
        ({"n": 10, "size": "4096x4096"}, "size", None),
    ],
)
def test_a_bad_value_is_named(
    client: Client, fields: dict[str, Any], param: str, code: str | None
) -> None:
    answer = client.draw(**fields)
    assert answer.status == 400, answer.body
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["param"] == param
    assert code is None or answer.error["code"] == code


@pytest.mark.parametrize(
    "text",
    [
        "../../etc/passwd", "$(id) {{7*7}} %s%n", "a\r\nb: c", "<s> [MASK]",
        "夜空下 👨‍👩‍👧", "\u202ea red apple", "a" + "\u0301" * 500,
    ],
)  # fmt: skip
def test_any_text_is_drawn_as_text(client: Client, text: str) -> None:
    assert client.draw(prompt=text).status == 200


def test_control_characters_change_nothing(client: Client) -> None:
    texts = ("a red apple", "a \x07red\u202e apple")
    clean, other = [client.draw(prompt=each, seed=5).json["data"][0]["b64_json"] for each in texts]
    assert clean == other


def test_unknown_models_are_not_found(client: Client) -> None:
    for model in ("../x", "sdxl", "tiny/", "/etc/passwd"):
        answer = client.draw(model=model)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert answer.error["param"] == "model" and "passwd" not in answer.error["message"]


def events(body: bytes) -> list[dict[str, Any]]:
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        first, second = block.split("\n")
        event = json.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        found.append(event)
    return found


@pytest.mark.parametrize("partial", [0, 1, 3])
def test_a_stream_has_partial_pictures_and_ends_with_the_picture(
    client: Client, models: tuple[str, str], partial: int
) -> None:
    answer = client.draw(stream=True, partial_images=partial, seed=7, size="32x32")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *early, last = events(answer.body)
    assert [each["partial_image_index"] for each in early] == list(range(partial))
    assert {each["type"] for each in early} <= {"image_generation.partial_image"}
    assert last["type"] == "image_generation.completed"
    for each in (*early, last):
        assert image_of(each).size == (32, 32)
        assert each.keys() >= {"created_at", "size", "quality", "background", "output_format"}
    assert last["usage"]["total_tokens"] > 0 and last["seed"] == 7
    # They come of real steps: each knows more of the picture, though a code may look like grey.
    assert len({each["b64_json"] for each in (*early, last)}) >= min(partial, 2) + 1
    whole = client.draw(seed=7, size="32x32").json["data"][0]["b64_json"]
    assert last["b64_json"] == whole


def test_a_stream_of_several_has_a_picture_for_each(client: Client) -> None:
    found = events(client.draw(stream=True, n=3, seed=1).body)
    assert [each["seed"] for each in found] == [1, 2, 3]


def test_a_picture_is_varied(client: Client, models: tuple[str, str]) -> None:
    photo = Image.new("RGB", (40, 30), (200, 30, 30))
    answer = client.form(
        "/v1/images/variations", ("image", encode_png(photo)), ("n", "2"), ("seed", "4"),
        ("size", "256x256"), ("model", "dall-e-2"), ("response_format", "b64_json"),
    )  # fmt: skip
    assert answer.status == 200, answer.body
    found = answer.json
    assert found["model"] != "tiny"
    assert [image_of(each).size for each in found["data"]] == [(256, 256)] * 2
    own = limner.vary(photo, model=models[1], n=2, seed=4)
    answer = client.form(
        "/v1/images/variations", ("image", encode_png(photo)), ("n", "2"), ("seed", "4")
    )
    assert [image_of(each).tobytes() for each in answer.json["data"]] == [
        each.image.tobytes() for each in own
    ]


def test_a_variation_needs_one_picture_and_a_model_that_can(client: Client) -> None:
    png = encode_png(Image.new("RGB", (32, 32)))
    path = "/v1/images/variations"
    for parts, param in (
        ([("n", "1")], "image"),
        ([("image", png), ("image", png)], "image"),
        ([("image", png), ("model", "tiny")], "model"),
        ([("image", png), ("n", "0")], "n"),
        ([("image", png), ("n", "two")], "n"),
        ([("image", b"")], "image"),
    ):
        answer = client.form(path, *parts)
        assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_a_part_of_a_picture_is_redrawn_by_every_way_of_asking(
    client: Client, models: tuple[str, str]
) -> None:
    photo = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
    clear = Image.new("L", (32, 32), 255)
    clear.paste(0, (0, 0, 16, 32))
    mask = photo.copy()
    mask.putalpha(clear)
    png, cut = encode_png(photo), encode_png(mask)
    url, cut_url = (
        f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in (png, cut)
    )
    white = base64.b64encode(encode_png(ImageOps.invert(clear).convert("RGB"))).decode()
    own = limner.edit(photo, "a red apple", ImageOps.invert(clear), model=models[0], n=2, seed=4)
    fields = {"prompt": "a red apple", "seed": 4, "n": 2}
    parts = [(name, str(value)) for name, value in fields.items()]
    a1111 = {"prompt": "a red apple", "seed": 4, "batch_size": 2, "init_images": [url]}
    two = ("image[]", png), ("image[]", png)
    by_url = {"images": [{"image_url": url}], "mask": {"image_url": cut_url}}
    for way, answer in {
        "form": client.form("/v1/images/edits", ("image", png), ("mask", cut), *parts),
        "two pictures": client.form("/v1/images/edits", *two, ("mask", cut), *parts),
        "JSON": client.post("/v1/images/edits", fields | by_url),
        "sdapi": client.post("/sdapi/v1/img2img", a1111 | {"mask": white, "denoising_strength": 1}),
    }.items():
        assert answer.status == 200, answer.body
        found = answer.json
        drawn = [image_of(each) for each in found["data"]] if "data" in found else [
            Image.open(io.BytesIO(base64.b64decode(each))) for each in found["images"]
        ]  # fmt: skip
        for number, (served, called) in enumerate(zip(drawn, own, strict=True)):
            assert served.tobytes() == called.image.tobytes(), (way, number)
        for each in drawn:
            assert each.crop((16, 0, 32, 32)).tobytes() == photo.crop((16, 0, 32, 32)).tobytes()
            assert each.tobytes() != photo.tobytes()
    large = client.form(
        "/v1/images/edits", ("image", png), ("mask", cut), ("size", "64x64"), *parts
    )
    assert [image_of(each).size for each in large.json["data"]] == [(64, 64)] * 2


def test_an_edit_without_a_mask_changes_as_much_as_is_asked(client: Client) -> None:
    photo = Image.effect_noise((32, 32), 60).convert("RGB")
    png, prompt = ("image", encode_png(photo)), ("prompt", "a red apple")
    same = client.form("/v1/images/edits", png, prompt, ("strength", "0"))
    (item,) = same.json["data"]
    assert image_of(item).tobytes() == photo.tobytes()
    assert "nothing was redrawn" in same.headers["x-limner-notes"]
    (item,) = client.form("/v1/images/edits", png, prompt, ("strength", "1")).json["data"]
    assert image_of(item).tobytes() != photo.tobytes()


def test_an_edit_needs_words_or_a_mask(client: Client) -> None:
    picture = Image.effect_noise((32, 32), 50).convert("RGB")
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (8, 8, 24, 24))
    sent = ("prompt", " "), ("image", encode_png(picture)), ("response_format", "b64_json")
    answer = client.form("/v1/images/edits", *sent)
    assert answer.status == 400 and "the prompt is empty" in answer.error["message"]
    answer = client.form("/v1/images/edits", *sent, ("mask", encode_png(clear)), ("seed", "3"))
    assert answer.status == 200, answer.body
    found, kept = image_of(answer.json["data"][0]), Image.new("L", (32, 32), 255)
    kept.paste(0, (8, 8, 24, 24))
    apart = ImageChops.difference(found.convert("RGB"), picture)
    assert ImageStat.Stat(apart, kept).sum[0] <= 3 * 32 * 32  # but for the invisible mark
    assert ImageStat.Stat(apart, ImageOps.invert(kept)).mean[0] > 3


def test_a_family_that_cannot_edit_is_refused_in_words_that_a_program_can_tell_by() -> None:
    for family in ("gan", "clip"):
        with pytest.raises(UsageError, match="edits are not supported by this model") as told:
            check_edits(family)
        assert (told.value.param, told.value.code) == ("model", "unsupported_value")
    check_edits("dalle")
    check_edits("unclip")


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", 400, "urls_not_supported"),
        ("https://[::ffff:127.0.0.1]/x.png", 400, "urls_not_supported"),
        ("file:///etc/passwd", 400, "urls_not_supported"),
        ("data:text/html;base64,AAAA", 400, "invalid_image"),
        ("data:image/png;base64,!!", 400, "invalid_image"),
        ("data:image/png;base64,AAAA", 400, "invalid_image"),
        ("data:image/png;base64," + "A" * (36 * 2**20), 413, "file_too_large"),
    ],
)
def test_nothing_is_fetched_from_an_address(
    client: Client, url: str, status: int, code: str
) -> None:
    body = {"prompt": "x", "images": [{"image_url": url}]}
    answer = client.post("/v1/images/edits", body)
    assert (answer.status, answer.error["code"]) == (status, code)


def test_pictures_that_are_sent_are_judged_before_they_are_read(client: Client) -> None:
    whole = encode_png(Image.effect_noise((64, 64), 50).convert("RGB"))
    small = encode_png(Image.new("RGB", (15, 64)))
    wide = encode_png(Image.new("1", (9000, 16)))
    frames = io.BytesIO()
    one = Image.new("RGB", (32, 32))
    one.save(frames, "WEBP", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")])
    broken = bytearray(whole)
    broken[60] ^= 1
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    for data, code in (
        (whole[: len(whole) // 2], "invalid_image"),
        (bytes(broken), "invalid_image"),
        (small, "image_too_small"),
        (wide, "image_too_large"),
        (frames.getvalue(), "animated_not_supported"),
        (svg, "invalid_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "invalid_image"),
    ):
        answer = client.form("/v1/images/variations", ("image", data))
        assert (answer.status, answer.error["code"]) == (400, code), answer.body
        assert b"svg" not in answer.body
    # What follows a picture is not sent on.
    answer = client.form("/v1/images/variations", ("image", whole + b"PK\x03\x04tail"))
    assert answer.status == 200 and b"PK\x03\x04" not in base64.b64decode(
        answer.json["data"][0]["b64_json"]
    )


def test_masks_are_judged_beside_their_picture(client: Client) -> None:
    png = encode_png(Image.new("RGB", (32, 32)))
    prompt = ("prompt", "x")
    other = encode_png(Image.new("RGBA", (32, 48)))
    plain = encode_png(Image.new("RGB", (32, 32)))
    clear = encode_png(Image.new("RGBA", (32, 32)))
    path = "/v1/images/edits"
    for parts, told in (
        ([("image", png), ("mask", other)], "32x48"),
        ([("image", png), ("mask", plain)], "no alpha channel"),
        ([("image", png), ("mask", clear), ("mask", clear)], "2 masks"),
        ([("mask", clear)], "no picture"),
        ([("image[]", png)] * 17, "17 pictures"),
    ):
        answer = client.form(path, prompt, *parts)
        assert answer.status == 400 and told in answer.error["message"], answer.body
    assert client.form(path, prompt, ("image", png), ("mask", clear)).status == 200
    error = client.form(path, prompt, ("image", png), ("markup", clear)).error
    assert (error["param"], error["code"]) == ("markup", "unsupported_value")


def test_pictures_hold_no_prompt(client: Client) -> None:
    (item,) = client.draw(prompt="a canary apple", response_format="b64_json").json["data"]
    assert b"canary" not in base64.b64decode(item["b64_json"]) and set(image_of(item).info) <= {
        "xmp", "XML:com.adobe.xmp",
    }  # fmt: skip


def test_paths_work_without_v1_too(client: Client) -> None:
    assert client.post("/images/generations", {"prompt": "a red apple"}).status == 200
    assert client.get("/models").json == client.get("/v1/models").json


def test_a_picture_without_n_or_with_null_is_one(client: Client, tmp_path: Path) -> None:
    assert len(client.draw(n=None, seed=-1).json["data"]) == 1
