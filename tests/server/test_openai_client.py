"""The official client of OpenAI, unmodified, against a real server."""

import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from limner.images import encode_png
from tests.server.servers import Brake, Client, client_of, save_models, serving, wait_for_jobs
from tests.waiting import PATIENCE

from limner.server.config import ServerConfig  # isort: skip
from limner.server.run import Server  # isort: skip

openai: Any = pytest.importorskip("openai", reason="OpenAI's client is not installed")

KEY = "sk-0123456789abcdef"
BRAKE = Brake()


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
            return pipeline

        server.service.catalogue.load = braked

    BRAKE.go.set()
    config = ServerConfig(port=0, models=models, keys=str(folder / "keys.txt"), queue=2)
    with serving(config, change=change) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(
        api_key=KEY, base_url=f"http://127.0.0.1:{server.config.port}/v1", timeout=PATIENCE
    ) as client:
        yield client


@pytest.fixture
def png() -> tuple[str, bytes, str]:
    return ("a.png", encode_png(Image.new("RGB", (32, 32), "red")), "image/png")


def test_pictures_are_drawn(client: Any) -> None:
    found = client.images.generate(
        prompt="a red apple", model="gpt-image-1", n=2, size="auto", quality="auto",
        background="auto", output_format="png", extra_body={"seed": 4, "guidance_scale": 3},
    )  # fmt: skip
    assert [each.seed for each in found.data] == [4, 5] and found.usage.total_tokens > 0
    image = Image.open(io.BytesIO(base64.b64decode(found.data[0].b64_json)))
    assert f"{image.width}x{image.height}" == found.size
    found = client.images.generate(
        prompt="a red apple", model="dall-e-3", size="1024x1792", quality="hd", style="vivid"
    )
    assert found.data[0].url.endswith(".png") and found.data[0].revised_prompt


def test_a_stream_is_read(client: Any) -> None:
    with client.images.generate(
        prompt="a red apple", stream=True, partial_images=2, model="gpt-image-1"
    ) as stream:
        events = list(stream)
    assert [type(each).__name__ for each in events] == [
        *2 * ["ImageGenPartialImageEvent"], "ImageGenCompletedEvent",
    ]  # fmt: skip
    assert events[-1].usage.input_tokens > 0


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_a_variation_is_drawn(client: Any, png: tuple[str, bytes, str]) -> None:
    found = client.images.create_variation(image=png, n=1, size="256x256")
    assert found.data and found.model == "tiny-unclip"


def test_a_picture_is_edited(client: Any, png: tuple[str, bytes, str]) -> None:
    for image in (png, [png, png]):
        found = client.images.edit(image=image, prompt="a red apple", n=2)
        assert len(found.data) == 2 and found.model == "tiny"
    with client.images.edit(image=png, prompt="a red apple", stream=True) as events:
        assert [type(each).__name__ for each in events][-1] == "ImageEditCompletedEvent"


def test_models_are_read(client: Any) -> None:
    assert [each.id for each in client.models.list()][:2] == ["tiny", "tiny-unclip"]
    assert client.models.retrieve("tiny").owned_by == "limner"


def test_each_error_has_its_class(client: Any, server: Server) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        client.images.generate(prompt="x", n=11)
    assert (told.value.param, told.value.type) == ("n", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as told:
        client.images.generate(prompt="x", model="nobody/nothing")
    assert told.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/nothing")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError) as told:
        client.moderations.create(input="x")
    assert told.value.code == "not_supported"


def test_a_full_queue_is_tried_again_and_then_served(client: Any, server: Server) -> None:
    BRAKE.go.clear()
    plain = Client(server.config.port, KEY)
    with ThreadPoolExecutor(3) as pool:
        held = [pool.submit(plain.draw) for _ in range(2)]
        wait_for_jobs(plain, 2)
        with pytest.raises(openai.RateLimitError) as told:
            client.with_options(max_retries=0).images.generate(prompt="x")
        assert int(told.value.response.headers["retry-after"]) >= 1
        again = pool.submit(client.with_options(max_retries=50).images.generate, prompt="x")
        before = plain.get("/metrics").body
        BRAKE.go.set()
        assert again.result().data and before
        assert [each.result().status for each in held] == [200, 200]
    assert client_of(server, KEY).gauge("limner_queue_jobs") == 0
