"""Whatever a machine makes of the schema that the server describes, it is answered as it says.

schemathesis (pip install schemathesis) is no part of the extra dev; without it this is skipped.
LIMNER_EXAMPLES is how many requests it makes of each operation, 100 without.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.servers import Client, client_of, save_models, serving

from limner.server.bodies import FILES, TEXT_BYTES, TEXTS  # isort: skip
from limner.server.config import ServerConfig  # isort: skip
from limner.server.run import Server  # isort: skip
from limner.server.safety import own_hooks  # isort: skip
from limner.server.schemas import Edit, Generation  # isort: skip

EXAMPLES = os.environ.get("LIMNER_EXAMPLES", "100")
# A schema cannot say which base64 is a picture, or how many pixels n pictures have together.
UNSAID = "positive_data_acceptance"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    config = ServerConfig(port=0, models=save_models(folder), gallery=str(folder / "gallery.db"))
    with serving(config, own_hooks(config)) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    return client_of(server)


def test_all_that_schemathesis_asks_is_answered_as_described(
    client: Client, tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    place = f"http://127.0.0.1:{client.port}/openapi.json"
    words = ["run", place, "--checks", "all", "--exclude-checks", UNSAID, "--seed", "1"]
    words += ["--max-examples", EXAMPLES, "--phases", "examples,coverage,fuzzing"]
    program = "from schemathesis.cli import schemathesis; schemathesis()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--continue-on-failure"],
        capture_output=True, text=True, cwd=tmp_path,  # where it keeps what it found
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = re.findall(
        r'^limner_requests_total{.*outcome="(\w+)"} (\d+)$',
        client.get("/metrics").body.decode(),
        re.M,
    )
    assert {outcome for outcome, _ in found} == {"ok", "refused"}
    assert sum(int(count) for _, count in found) > 500


def test_every_name_in_a_path_is_described(client: Client) -> None:
    for path, ways in client.get("/openapi.json").json["paths"].items():
        for about in ways.values():
            named = {e["name"] for e in about.get("parameters", []) if e["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)", path)), path


def test_a_form_may_have_every_field_that_there_is(client: Client) -> None:
    texts: list[tuple[str, str | bytes]] = [
        (name, "") for name in Edit.model_fields if name not in ("prompt", "images", "mask")
    ]
    png = client.draw(size="32x32", response_format="url").json["data"][0]["url"]
    file = client.get(png.removeprefix(f"http://127.0.0.1:{client.port}")).body
    parts = [*texts, ("prompt", "a red apple"), ("image", file)]
    answer = client.form("/v1/images/edits", *parts)
    assert answer.status == 200, answer.body
    assert len(answer.json["data"]) == 1
    for value in ("null", ""):  # as programs write what they have not
        answer = client.form("/v1/images/edits", *parts[-2:], ("n", value), ("seed", value))
        assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([(f"x{n}", "y") for n in range(TEXTS + 1)], f"more than {TEXTS} texts or {FILES} files"),
        ([("image", b"y")] * (FILES + 1), f"more than {TEXTS} texts or {FILES} files"),
        ([("prompt", "x" * (TEXT_BYTES + 1))], f"larger than {TEXT_BYTES} bytes"),
        ([("prompt", "x"), ("prompt", "y"), ("image", b"z")], "has 'prompt' twice"),
        ([("image", "x"), ("image", b"z")], "as a text and as a file"),
    ],
)
def test_a_form_that_is_too_much_is_told_so(client: Client, parts: Any, told: str) -> None:
    answer = client.form("/v1/images/edits", *parts)
    assert answer.status == 400 and told in answer.error["message"], answer.body


def test_unknown_fields_of_a_form_may_come_twice(client: Client) -> None:
    parts = ("prompt", "a dog"), ("tags[]", "x"), ("tags[]", "y"), ("n", "1")
    answer = client.form("/v1/images/edits", *parts)
    assert "no picture is sent" in answer.error["message"]


def test_a_pattern_of_the_schema_refuses_no_prompt_and_no_size_that_is_drawn() -> None:
    said = Generation.model_json_schema()["properties"]
    for prompt in ("a red apple", "夜空下的三个红苹果", "🍎"):
        assert re.search(said["prompt"]["pattern"], prompt)
    for size, fits in (
        ("auto", True), ("", True), ("16x16", True), ("4096x4096", True), ("1024x1792", True),
        ("15x16", False), ("4097x16", False), ("0x0", False), ("16X16", False), ("16", False),
    ):  # fmt: skip
        assert bool(re.search(said["size"]["pattern"], size)) == fits, size
