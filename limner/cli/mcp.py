"""`limner mcp`: tools for agents, over the Model Context Protocol."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

from limner.cli.draw import Metadata
from limner.cli.shared import files, options, progress
from limner.cli.shared.answers import answer, table
from limner.cli.shared.messages import say
from limner.cli.shared.options import Guarding, Loading, Marking, grouped, option
from limner.errors import UsageError

OUT = "limner-pictures"  # in the home folder: clients start servers anywhere

Folder = Annotated[
    Path | None,
    option("-o --out", "Folder for pictures.", default=f"~/{OUT}"),
]
Http = Annotated[bool, option("--http", "Serve HTTP at --host and --port, in place of stdio.")]
Host = Annotated[str, option("--host", "Address to serve on; only of this machine.")]
Port = Annotated[int, option("--port", "Port to serve on.")]
Listed = Annotated[bool, option("--list", "Print the tools, and serve nothing.")]


@grouped
def mcp(  # noqa: PLR0913  # typer reads the options off the signature
    marking: Marking,
    guarding: Guarding,
    model: options.Model = "default",
    out: Folder = None,
    metadata: Metadata = True,
    http: Http = False,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    listed: Listed = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Serve tools to agents by MCP: generate_image, edit_image, describe_model, list_words."""
    if as_json and not listed:
        raise UsageError("--json goes with --list; give both, or neither")
    guarding.check("a test of the policy")
    saving = marking.saving(metadata)
    Loading().check(model)
    place = files.Place(Path.home() / OUT if out is None else out)
    if not listed:
        place.prepare()
    with progress.loading("the tools"):
        from limner.server.mcp import check_address, serve
        from limner.server.tools import NAMES, Tools
    check_address(host, port)
    if listed:
        told = {name: inspect.getdoc(getattr(Tools, name)) or "" for name in NAMES}
        rows = [(name, about.partition("\n")[0]) for name, about in told.items()]
        tools = [{"name": name, "about": about} for name, about in told.items()]
        answer({"tools": tools}, table(rows), as_json)
        return
    watch = guarding.watcher()
    tools_of_model = Tools(model, place.folder, saving=saving, check=guarding.check, watch=watch)
    if http and not quiet:
        say(f"serving tools at http://{host}:{port}/mcp; Ctrl-C ends it")
    serve(tools_of_model, (host, port) if http else None)
