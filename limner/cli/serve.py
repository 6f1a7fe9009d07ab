"""`limner serve`: the models over HTTP, for programs written for OpenAI's images API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.arena import Host, Port, need_server
from limner.cli.shared import answers, complete, messages, options, progress
from limner.cli.shared.options import option
from limner.cli.shared.origin import NoPolicy, PolicyFile

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
        "gallery": gallery, "policy": "none" if no_policy else policy and str(policy),
    }  # fmt: skip
    # What a person did not say leaves the file its say.
    plain = {"host": host, "port": port, "device": device, "precision": precision}
    given |= {
        name: value
        for name, value in plain.items()
        if (source := ctx.get_parameter_source(name)) is not None and source.name != "DEFAULT"
    }
    with progress.loading("the server"):
        need_server()
        from limner.server.config import ServerConfig
        from limner.server.logs import start_logs
        from limner.server.run import make_server
        from limner.server.safety import own_hooks

        told = {name: value for name, value in given.items() if value is not None}
        settings = ServerConfig.read(config, told)
        server = make_server(settings, own_hooks(settings))
    start_logs(shown=not quiet)
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
