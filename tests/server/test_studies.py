"""What is asked of a picture that is there: which words drew what, and the way to another."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image, ImageSequence

import limner
from tests.server.servers import Brake, Client, client_of, save_models, serving, wait_for_jobs

from limner.server import studies  # isort: skip
from limner.server.config import ServerConfig  # isort: skip
from limner.server.run import Server  # isort: skip
from limner.server.studies import FPS  # isort: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def server(models: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.db"
    with serving(ServerConfig(port=0, models=models, gallery=str(gallery))) as it:
        yield it


@pytest.fixture
def client(server: Server) -> Client:
    return client_of(server)


def frames_of(text: str) -> list[bytes]:
    """Return the pixels of each frame; one that lasts, as equal frames are one, is there again."""
    found = []
    with Image.open(io.BytesIO(base64.b64decode(text))) as opened:
        for each in ImageSequence.Iterator(opened):
            pixels = each.convert("RGB").tobytes()  # this reads the duration too
            found += [pixels] * round(each.info["duration"] * FPS / 1000)
    return found


def test_an_explanation_is_the_one_of_the_library(client: Client, models: tuple[str, str]) -> None:
    asked = {"prompt": "three red apples", "seed": 5, "guidance": 3.0}
    answer = client.post("/api/explain", {**asked, "n": 4, "size": "512x512"})
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    own = limner.explain("three red apples", model=models[0], seed=5, guidance=3.0).to_json()
    told = answer.json
    assert told["model"] == "tiny" and told["unit"] == "nats" and len(told["words"]) > 1
    for name in ("words", "surprise", "seed", "way", "revised_prompt"):
        assert told[name] == own[name], name


def test_a_morph_begins_and_ends_with_the_pictures_of_its_prompts(
    client: Client, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "QUALITY", None)  # every pixel, for noise is all that it draws
    asked = {"prompt": "a red apple", "to": "三个苹果", "seed": 5, "frames": 4, "gallery": True}
    told = client.post("/api/morph", asked).json
    frames = frames_of(told["b64_json"])
    assert len(frames) == 6  # there and back
    own = limner.morph("a red apple", "三个苹果", model=models[0], seed=5, frames=4)
    for sent, frame in zip(frames, [*own.frames, *own.frames[-2:0:-1]], strict=True):
        assert sent == frame.tobytes()
    (kept,) = client.get("/api/gallery").json["pictures"]
    assert (kept["way"], kept["kind"], kept["seed"]) == ("morph", "webp", "5")
    assert kept["number"] == told["gallery"] and kept["prompt"] == "a red apple → 三个苹果"
    file = client.get(f"/api/gallery/{kept['number']}")
    assert file.headers["content-type"] == "image/webp"
    assert base64.b64encode(file.body).decode() == told["b64_json"]
    assert b"trainedAlgorithmicMedia" in file.body  # it says that a model drew it


def test_a_morph_from_a_picture_begins_with_what_its_codec_makes_of_it(client: Client) -> None:
    png = client.draw(seed=1).json["data"][0]["b64_json"]
    image = {"image_url": f"data:image/png;base64,{png}"}
    told = client.post("/api/morph", {"image": image, "to": "a dog", "seed": 2, "frames": 3})
    assert told.status == 200 and len(frames_of(told.json["b64_json"])) == 4
    assert "gallery" not in told.json


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("explain", {}, 400, "prompt"),
        ("explain", {"prompt": " "}, 400, "prompt"),
        ("explain", {"prompt": "a dog", "model": "nosuch"}, 404, "model"),
        ("morph", {"prompt": "a dog"}, 400, "to"),
        ("morph", {"to": "a dog"}, 400, "prompt"),
        ("morph", {"prompt": "a dog", "to": "a cat", "frames": 1}, 400, "frames"),
        ("morph", {"prompt": "a dog", "to": "a cat", "frames": 999}, 400, "frames"),
        ("morph", {"image": {"image_url": "http://x/"}, "to": "a cat"}, 400, "image"),
    ],
)
def test_mistakes_are_told(
    client: Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answer = client.post(f"/api/{path}", body)
    assert (answer.status, answer.error["param"]) == (status, param)


def test_it_waits_its_turn_alone_and_ends_when_the_client_leaves(models: tuple[str, str]) -> None:
    brake = Brake()

    brake.go.set()
    config = ServerConfig(port=0, models=models, gallery="none")
    with serving(config, change=brake.hold) as server, ThreadPoolExecutor(8) as pool:
        client = client_of(server)
        brake.go.clear()
        brake.batches.clear()
        asked = [pool.submit(client.draw, seed=0)]
        wait_for_jobs(client, 1)
        body = {"prompt": "a dog", "to": "a cat", "frames": 3}
        asked += [pool.submit(client.post, "/api/morph", body) for _ in range(2)]
        asked += [pool.submit(client.draw, seed=each) for each in range(2)]
        wait_for_jobs(client, 5)
        brake.go.set()
        assert [each.result().status for each in asked] == [200] * 5
        assert brake.batches == [1, 2]  # the morphs are no company of pictures
        wait_for_jobs(client, 0)
