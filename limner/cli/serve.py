"""`limner serve`: the models over HTTP, for programs written for OpenAI's images API."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.arena import Host, Port, need_server
from limner.cli.shared import answers, complete, messages, options, progress, settings
from limner.cli.shared.options import option
from limner.cli.shared.origin import Classified, NoPolicy, PolicyFile

if TYPE_CHECKING:
    from limner.server.config import ServerConfig

Models = Annotated[
    list[str] | None,
    option("--model", options.MODEL, complete.drawing, default="all presets that draw"),
]
Config = Annotated[
    Path | None, option("--config", "A TOML file with these options and more.", default="none")
]
Keys = Annotated[
    Path | None,
    option("--keys", "A file of API keys, a name and a key on each line.", default="none"),
]
AllowHost = Annotated[
    list[str] | None,
    option("--allow-host", "A Host header to allow; may be repeated.", default="this machine"),
]
AllowOrigin = Annotated[
    list[str] | None,
    option("--allow-origin", "An Origin header to allow; may be repeated.", default="none"),
]
PublicUrl = Annotated[
    str | None,
    option(
        "--public-url", "The URL by which clients reach the server.", default="the request's Host"
    ),
]
Queue = Annotated[
    int | None,
    option("--queue", "Maximum number of requests that wait or are drawn.", default="32"),
]
Memory = Annotated[
    float | None,
    option("--memory", "GiB of model weights to keep in memory.", default="half of the machine's"),
]

Gallery = Annotated[
    str | None,
    option(
        "--gallery",
        "File of the web page's gallery; none keeps nothing.",
        default="~/.local/share/limner/gallery.db",
    ),
]
Replicas = Annotated[
    int | None,
    option("--replicas", "Number of processes on the Ray cluster that draw.", default="1"),
]
Explain = Annotated[
    bool,
    option("--explain", "Check every setting, print where each comes from, and serve nothing."),
]


def serve(  # noqa: PLR0913  # typer reads the options off the signature
    ctx: typer.Context,
    model: Models = None,
    config: Config = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    keys: Keys = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
    public_url: PublicUrl = None,
    queue: Queue = None,
    memory: Memory = None,
    gallery: Gallery = None,
    policy: PolicyFile = None,
    no_policy: NoPolicy = False,
    classifier: Classified = False,
    ray: options.Ray = "",
    replicas: Replicas = None,
    explain: Explain = False,
    device: options.Device = "cpu",
    precision: options.Precision = "fp32",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve models over HTTP, with OpenAI's images API and A1111's /sdapi/v1.

    The web page is at /, the API's documentation at /docs. Stop it with Ctrl-C or SIGTERM; what was
    accepted is drawn first.
    """
    given: dict[str, Any] = {
        "models": model, "keys": None if keys is None else str(keys), "allow_host": allow_host,
        "allow_origin": allow_origin, "public_url": public_url, "queue": queue, "memory": memory,
        "gallery": gallery, "policy": "none" if no_policy else policy and str(policy), "host": host,
        "port": port, "classifier": classifier, "device": device, "precision": precision,
        "ray": ray, "replicas": replicas,
    }  # fmt: skip
    with progress.loading("the server"):
        need_server()
        from limner.server.logs import start_logs
        from limner.server.run import make_server
        from limner.server.safety import own_hooks

        chosen, sources = _settings(ctx, config, given, "no_policy" if no_policy else "policy")
        hooks = replace(own_hooks(chosen), translate=messages.to_chinese)
        if not explain:
            server = make_server(chosen, hooks)
    if explain:
        _tell_settings(chosen, sources, as_json)
        return
    start_logs(shown=not quiet)
    _run(server, as_json=as_json, quiet=quiet)


def _run(server: Any, *, as_json: bool, quiet: bool) -> None:
    """Serve until a signal comes, and say where."""
    names = list(server.service.catalogue.offers)

    def started() -> None:
        at = server.address
        answers.answer({"address": at, "models": names}, at, as_json)
        if not quiet:
            messages.say(f"serving {', '.join(names)}; draw at {at}/, the API is at {at}/docs")

    try:
        server.run(started)
    finally:
        server.close()
    progress.clock().left = None  # a signal ended the serving alone


def _settings(
    ctx: typer.Context, config: Path | None, given: dict[str, Any], policy: str
) -> tuple[ServerConfig, dict[str, str]]:
    """Return a server's settings, and where each that is not built in comes from.

    An option comes first, then a variable, then the file of --config, then the user's own.
    """
    from limner.server.config import ServerConfig, read_values

    parameters = {"models": "model", "policy": policy}
    found, sources = read_values(config), dict[str, str]()
    sources |= dict.fromkeys(found, str(config))
    for name, value in given.items():
        parameter = next(e for e in ctx.command.params if e.name == parameters.get(name, name))
        source = ctx.get_parameter_source(str(parameter.name))
        kind = "DEFAULT" if source is None else source.name
        if kind == "DEFAULT" or value is None or (kind == "DEFAULT_MAP" and name in found):
            continue  # what a person did not say here leaves the file its say
        found[name] = value
        sources[name] = {
            "DEFAULT_MAP": str(settings.config_path(os.environ)),
            "ENVIRONMENT": str(getattr(parameter, "envvar", "")),
        }.get(kind, parameter.opts[0])
    return ServerConfig(**found), sources


def _tell_settings(config: ServerConfig, sources: dict[str, str], as_json: bool) -> None:
    """Print every setting; raises what is wrong with keys and models before."""
    from limner.server.run import check_settings

    check_settings(config)
    rows = [
        (each.name, config.shown(each.name), sources.get(each.name, "built in"))
        for each in fields(config)
    ]
    told = [dict(zip(("key", "value", "from"), row, strict=True)) for row in rows]
    answers.answer({"settings": told}, answers.table(rows), as_json)
