"""Models, moderations, provenance, A1111's API, and what an operator asks."""

import base64
import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image

import limner
from limner.images import encode_png
from tests.server.servers import Client, client_of, save_models, serving
from tests.tiny_model import SIZE

from limner.server.config import ServerConfig  # isort: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def client(models: tuple[str, str]) -> Iterator[Client]:
    with serving(ServerConfig(port=0, models=models)) as server:
        yield client_of(server)


def test_models_are_listed_real_ones_first(client: Client) -> None:
    found = client.get("/v1/models").json
    assert found["object"] == "list"
    names = [each["id"] for each in found["data"]]
    assert names == ["tiny", "tiny-unclip", "dall-e-2", "dall-e-3", "gpt-image-1"]
    for each in found["data"]:
        assert set(each) == {"id", "object", "created", "owned_by", "shutdown_date"}
    assert client.get("/v1/models/tiny").json["id"] == "tiny"
    assert client.get("/v1/models/gpt-image-9").json["id"] == "gpt-image-9"
    answer = client.get("/v1/models/nobody%2Fnothing")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_aliases_can_be_turned_off(models: tuple[str, str]) -> None:
    with serving(ServerConfig(port=0, models=models, aliases=False)) as server:
        client = client_of(server)
        assert len(client.get("/v1/models").json["data"]) == 2
        assert client.draw(model="dall-e-3").status == 404
        assert client.draw().status == 200


def test_nothing_is_judged_from_nothing(client: Client) -> None:
    answer = client.post("/v1/moderations", {"input": "x"})
    assert (answer.status, answer.error["code"]) == (404, "not_supported")
    assert client.post("/v1/moderations", {"input": 5}).status == 400
    png = encode_png(Image.new("RGB", (16, 16)))
    answer = client.form("/v1/content_provenance_checks", ("file", png))
    assert (answer.status, answer.error["code"]) == (404, "not_supported")
    assert client.form("/v1/content_provenance_checks", ("x", "y")).status == 400


def test_a_picture_is_drawn_as_open_webui_asks_a1111(
    client: Client, models: tuple[str, str]
) -> None:
    body = {
        "prompt": "a red apple", "batch_size": 2, "width": 512, "height": 512, "steps": 20,
        "negative_prompt": "", "seed": 5, "sampler_name": "Euler a", "cfg_scale": 3.0,
        "override_settings": {"sd_model_checkpoint": "tiny"}, "enable_hr": False,
    }  # fmt: skip
    answer = client.post("/sdapi/v1/txt2img", body)
    assert answer.status == 200, answer.body
    found = answer.json
    info = json.loads(found["info"])
    assert info["all_seeds"] == [5, 6] and info["sd_model_name"] == "tiny"
    images = [Image.open(io.BytesIO(base64.b64decode(each))) for each in found["images"]]
    assert [each.size for each in images] == [(512, 512)] * 2
    small = client.post("/sdapi/v1/txt2img", {"prompt": "a red apple", "seed": 5, "cfg_scale": 3})
    (image,) = (Image.open(io.BytesIO(base64.b64decode(e))) for e in small.json["images"])
    (drawn,) = limner.draw("a red apple", model=models[0], seed=5, guidance=2.0)
    assert image.size == (SIZE, SIZE) and image.tobytes() == drawn.image.tobytes()


def test_the_model_of_a1111s_api_is_chosen_by_its_options(client: Client) -> None:
    assert client.get("/sdapi/v1/options").json["sd_model_checkpoint"] == "tiny"
    assert client.post("/sdapi/v1/options", {"sd_model_checkpoint": "tiny-unclip"}).status == 200
    assert client.get("/sdapi/v1/options").json["sd_model_checkpoint"] == "tiny-unclip"
    info = json.loads(client.post("/sdapi/v1/txt2img", {"prompt": "x"}).json["info"])
    assert info["sd_model_name"] == "tiny-unclip"
    assert client.post("/sdapi/v1/options", {"sd_model_checkpoint": "nosuch"}).status == 404
    assert client.post("/sdapi/v1/options", {"sd_model_checkpoint": "tiny"}).status == 200


def test_lists_of_a1111s_api_are_what_programs_read(client: Client) -> None:
    models = client.get("/sdapi/v1/sd-models").json
    assert [each["model_name"] for each in models] == ["tiny", "tiny-unclip"]
    assert models[0]["filename"] == "tiny" and len(models[0]["sha256"]) == 64
    names = [each["name"] for each in client.get("/sdapi/v1/samplers").json]
    assert names[0] == "default" and "ddim" in names
    assert client.get("/sdapi/v1/upscalers").json[0]["name"] == "Lanczos"
    for path in ("schedulers", "sd-vae", "latent-upscale-modes"):
        assert client.get(f"/sdapi/v1/{path}").json == []
    assert client.get("/sdapi/v1/progress").json["progress"] == 0
    assert client.post("/sdapi/v1/interrupt", {}).json == {}
    for body in (
        {"prompt": "x", "batch_size": 5, "n_iter": 3}, {"prompt": "x", "width": 5}, {},
        {"prompt": "x", "override_settings": {"sd_model_checkpoint": 5}},
    ):  # fmt: skip
        assert client.post("/sdapi/v1/txt2img", body).status == 400


def test_health_is_told_and_the_docs_load_nothing(client: Client) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready"}
    page = client.get("/docs")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    assert b"/v1/images/generations" in page.body and b"<script" not in page.body
    assert "default-src 'none'" in page.headers["content-security-policy"]
    found = client.get("/openapi.json").json
    assert "/v1/images/edits" in found["paths"] and "$defs" not in json.dumps(found)
    body = found["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}


def test_metrics_are_as_prometheus_reads_them(client: Client) -> None:
    client.draw()
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ")) or len(line.rsplit(" ", 1)) == 2
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert named >= {"limner_requests_total", "limner_queue_jobs", "limner_request_seconds"}
    assert len(lines) < 2000
