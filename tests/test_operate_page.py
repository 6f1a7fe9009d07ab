"""docs/operate.md and deploy/ say what the server does: commands, settings, limits, series."""

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

import limner
from limner.cli import main
from limner.cli.serve import serve
from limner.cli.shared.pages import OPTIONS
from tests.server.servers import Client, client_of, save_models, serving

from limner.images import BYTES_LIMIT  # isort: skip
from limner.server import asking, bodies, gate, metrics, protocol, run, schemas, service  # isort: skip
from limner.server.config import KEY_LENGTH, ServerConfig, read_keys  # isort: skip
from limner.server.gallery import Gallery  # isort: skip
from limner.text.normalise import PROMPT_LIMIT  # isort: skip

ROOT = Path(limner.__file__).parent.parent
DEPLOY = ROOT / "deploy"
TEXT = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
CONFIG = ServerConfig()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def rows(head: str) -> list[list[str]]:
    """Return the cells of the table whose head begins so, without the marks of code."""
    (found,) = re.findall(rf"^\| {re.escape(head)} .*\n\|[-| ]+\n((?:\|.*\n)+)", TEXT, re.M)
    return [
        [cell.strip().replace("`", "") for cell in line.strip("|\n ").split(" |")]
        for line in found.splitlines()
    ]


def explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """Return the settings of a command line, which is checked as before it serves."""
    capsys.readouterr()  # what others printed
    with pytest.raises(SystemExit) as ended:
        main([*words, "--explain", "--json"])
    assert ended.value.code == 0, words
    told = json.loads(capsys.readouterr().out)["settings"]
    return {each["key"]: (each["value"], each["from"]) for each in told}


def write_keys(command: str) -> None:
    """Run the page's own line, which prints a key."""
    first, second, code, arrow, place = shlex.split(command)
    assert (first, second, arrow, place) == ("python", "-c", ">", "keys.txt")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    Path(place).write_text(done.stdout, encoding="utf-8")


def test_the_commands_of_the_page_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (toml,) = blocks("toml")
    Path("server.toml").write_text(toml, encoding="utf-8")
    key, *lines = [line for block in blocks("sh") for line in block.splitlines()]
    write_keys(key)
    assert list(read_keys(ServerConfig(keys="keys.txt")).values()) == ["alice"]
    served = [shlex.split(line) for line in lines if line.startswith("limner")]
    on_ray = [words for words in served if "--ray" in words]
    served = [words for words in served if "--ray" not in words]  # these need a cluster
    assert len(served) == 3 and len(on_ray) == 2
    monkeypatch.setattr(run.Server, "run", lambda server, started: started())
    for name, *words in served:
        assert name == "limner"
        explained([each for each in words if each != "--explain"], capsys)
        with pytest.raises(SystemExit) as ended:
            main([*words, "--gallery", "none", *([] if "--explain" in words else ["--port", "0"])])
        assert ended.value.code == 0
    told = explained(["serve", "--config", "server.toml"], capsys)
    assert {name: source for name, (_, source) in told.items() if source != "built in"} == (
        dict.fromkeys(tomllib.loads(toml), "server.toml")
    )


def test_a_gallery_is_backed_up_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ServerConfig(port=0, models=save_models(tmp_path)[:1], gallery="gallery.db")
    with serving(config) as server:
        assert client_of(server).draw(gallery=True).status == 200
        (line,) = [each for block in blocks("sh") for each in block.splitlines() if "copy" in each]
        python, *words = shlex.split(line)
        assert python == "python"
        subprocess.run([sys.executable, *words], check=True)
    (kept,) = Gallery(Path("gallery-copy.db")).find("local")
    assert kept["prompt"] == "a red apple"


def test_every_setting_is_in_the_table_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    told = rows("key | option")
    made: Any = ServerConfig
    assert [row[0] for row in told] == [
        *("host", "port", "models"),
        *(
            each.name
            for each in fields(ServerConfig)
            if each.name not in ("host", "port", "models")
        ),
    ]
    known = {name for panel in OPTIONS.values() for name in panel}
    for name, option, default, span, _ in told:
        assert default == CONFIG.shown(name), name
        assert not option or option in known
        if span:
            low, high = map(int, span.split("–"))
            more = {"ray": "local"} if name == "replicas" else {}
            for value in (low, high):
                made(**{name: value}, **more)
            for value in (low - 1, high + 1):
                with pytest.raises(limner.errors.ConfigError):
                    made(**{name: value})
    parameters = serve.__annotations__
    options = {row[1].removeprefix("--").replace("-", "_") for row in told if row[1]}
    other = {"ctx", "config", "explain", "no_policy", "as_json", "quiet", "return"}
    assert options == set(parameters) - other
    assert TEXT.count("needs the extra `safety`") == 1


def test_what_cannot_be_set_is_as_in_the_code() -> None:
    told = {row[0]: row[1] for row in rows("limit | value")}
    assert told == {
        "body of a request, JSON": f"{gate.JSON_BYTES // 2**20} MiB",
        "body of a request with pictures": f"{gate.UPLOAD_BYTES // 2**20} MiB",
        "one picture that is sent": f"{BYTES_LIMIT // 2**20} MiB",
        "bodies of all requests together": f"{gate.HELD_BYTES // 2**20} MiB",
        "header": f"{gate.HEADER_BYTES // 1024} KiB, {gate.HEADERS} lines",
        "time for a header": f"{protocol.HEADER_SECONDS:g} s",
        "time for a body": f"{gate.BODY_SECONDS:g} s, and {gate.BODY_IDLE:g} s without a byte",
        "time in which a client reads nothing": f"{protocol.READ_SECONDS:g} s",
        "connections": str(protocol.CONNECTIONS),
        "pictures of a request": f"{schemas.MOST}, of {asking.PIXELS:,} pixels together",
        "parts of a form": f"{bodies.TEXTS} texts of {bodies.TEXT_BYTES // 1024} KiB, "
        f"{bodies.FILES} files",
        "prompt": f"{PROMPT_LIMIT} code points",
        "answer of a policy or another hook": f"{service.HOOK_SECONDS:g} s",
    }
    assert f"at least {KEY_LENGTH}\n  letters" in TEXT


def test_series_are_those_of_metrics() -> None:
    told = {row[0]: row[1] for row in rows("series | kind")}
    assert told == {name: kind for name, (kind, _) in metrics._ABOUT.items()}
    for alarm in rows("alarm | when"):
        named = re.findall(r"limner_\w+", alarm[1])
        assert len(named) == 1 and set(named) <= set(told)
        for what in re.findall(r'outcome="(\w+)"', alarm[1]):
            assert what in {metrics.outcome(status) for status in (200, 400, 429, 499, 500)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return save_models(tmp_path_factory.mktemp("models"))[:1]


def url_of(client: Client, **headers: str) -> Any:
    fields = {"prompt": "a red apple", "response_format": "url"}
    return client.post("/v1/images/generations", fields, **headers)


def test_what_a_proxy_adds_is_not_believed(models: tuple[str, ...]) -> None:
    claims = {
        "X-Forwarded-For": "10.0.0.9", "X-Forwarded-Host": "elsewhere.example",
        "X-Forwarded-Proto": "https", "Forwarded": "host=elsewhere.example;proto=https",
    }  # fmt: skip
    config = ServerConfig(port=0, models=models, allow_host=("draw.example",))
    with serving(config) as server:
        client = client_of(server)
        (item,) = url_of(client, Host="draw.example", **claims).json["data"]
        assert item["url"].startswith("http://draw.example/pictures/")
        assert url_of(client, Host="elsewhere.example").error["code"] == "host_not_allowed"
    config = ServerConfig(
        port=0, models=models, allow_host=("draw.example",), public_url="https://draw.example"
    )
    with serving(config) as server:
        origin = {"Host": "draw.example", "Origin": "https://draw.example"}
        (item,) = url_of(client_of(server), **origin, **claims).json["data"]
        assert item["url"].startswith("https://draw.example/pictures/")


def test_the_proxy_of_the_page_lets_through_what_limner_takes() -> None:
    (nginx,) = blocks("nginx")
    said = dict(re.findall(r"^\s+(\w+) (.*);$", nginx, re.M))
    assert said["client_max_body_size"] == f"{gate.UPLOAD_BYTES // 2**20}m"
    assert int(said["proxy_read_timeout"].rstrip("s")) > CONFIG.deadline
    assert said["proxy_set_header"] == "Host $host"
    assert said["proxy_pass"] == f"http://{CONFIG.host}:{CONFIG.port}"
    assert f"reverse_proxy {CONFIG.host}:{CONFIG.port}" in TEXT
    (scrape,) = blocks("yaml")
    (job,) = yaml.safe_load(scrape)["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{CONFIG.host}:{CONFIG.port}"]


def test_the_unit_of_systemd_serves_and_has_time_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "limner.service", encoding="utf-8")
    said = unit["Service"]
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text("0123456789abcdef", encoding="utf-8")
    (toml,) = blocks("toml")
    Path("server.toml").write_text(toml, encoding="utf-8")
    line = said["ExecStart"].replace("%d", str(tmp_path)).replace("/etc/limner", str(tmp_path))
    command, *words = shlex.split(line)
    assert Path(command).name == "limner"
    for variable in shlex.split(said["Environment"]):
        monkeypatch.setenv(*variable.split("=", 1))
    assert explained(words, capsys)["keys"] == (str(tmp_path / "keys"), "--keys")
    state = Path("/var/lib") / said["StateDirectory"]
    assert ServerConfig().gallery_file == state / "gallery.db"
    assert int(said["TimeoutStopSec"]) > CONFIG.drain + 5
    assert f"TimeoutStopSec={said['TimeoutStopSec']}" in TEXT


def test_the_container_serves_and_has_time_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    said = [line.partition(" ")[::2] for line in text.splitlines() if line and line[0] != "#"]
    for kind, rest in said:
        if kind == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / each).exists() for each in sources)
            ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
            assert {f"!{each}" for each in sources} <= set(ignored)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r'"\.\[(.+)\]"', text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    version = tuple(map(int, re.findall(r"^FROM python:(\d+)\.(\d+)", text, re.M)[0]))
    assert (3, 11) <= version < (3, 14)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["limner"]
    monkeypatch.chdir(tmp_path)
    Path("keys").write_text("0123456789abcdef", encoding="utf-8")
    (entry,) = [json.loads(rest) for kind, rest in said if kind == "ENTRYPOINT"]
    words = [each.replace("/run/secrets/limner-keys", "keys") for each in entry]
    told = explained([*words[1:], *service["command"]], capsys)
    assert told["host"] == ("0.0.0.0", "--host") and told["allow_host"][0] == "draw.example"
    (health,) = [json.loads(rest.split("CMD ")[1]) for kind, rest in said if kind == "HEALTHCHECK"]
    assert f"http://127.0.0.1:{CONFIG.port}/healthz" in health[-1]
    assert ("EXPOSE", str(CONFIG.port)) in said
    (root, name) = service["build"]["context"], service["build"]["dockerfile"]
    assert (DEPLOY / root / name).resolve() == (DEPLOY / "Dockerfile").resolve()
    assert int(service["stop_grace_period"].rstrip("s")) > CONFIG.drain + 5
    assert f"stop_grace_period: {service['stop_grace_period']}" in TEXT
    mounts = {each.partition(":")[2] for each in service["volumes"]}
    homes = dict(each.split("=") for k, rest in said if k == "ENV" for each in rest.split())
    assert mounts == {homes["XDG_DATA_HOME"], homes["XDG_CACHE_HOME"]}
    assert "/deploy/keys.txt" in (ROOT / ".gitignore").read_text(encoding="utf-8")
    assert compose["secrets"]["limner-keys"]["file"] == "keys.txt"
