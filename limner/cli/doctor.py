"""`limner doctor`: what this machine and installation can do."""

from __future__ import annotations

import json
import os
from typing import Any

import typer

from limner import __version__
from limner.cli.models import shown, table
from limner.cli.shared import options
from limner.cli.shared.progress import loading
from limner.cli.shared.settings import HANDED_ON, effects, strangers


def doctor(
    ctx: typer.Context,
    model: options.Model = "default",
    as_json: options.AsJson = False,
) -> None:
    """Say what is installed and set, how drawing works here, how fast it is, what would help.

    The speed is that of drawing with MODEL.
    """
    from limner import registry

    registry.check(model)
    held = effects(os.environ, ctx.meta.get(HANDED_ON, ()))
    with loading(model):
        from limner.evaluate.machine import examine

        answer = {"limner": __version__, **examine(model)}
    answer["settings"] = [
        {"key": each.setting.key, "value": each.value, "from": each.source} for each in held
    ]
    answer["advice"] += strangers(os.environ)
    typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else as_text(answer))


def as_text(answer: dict[str, Any]) -> str:
    """Return the answer as a person reads it."""
    paths, rates, picture = answer["paths"], answer["rates"], answer["picture"]
    rows = [
        ("limner", f"{answer['limner']}, Python {answer['python']}, {answer['platform']}"),
        ("torch", shown(answer["torch"])),
        ("processor", f"{answer['cpu']['name']}, {answer['cpu']['cores']} cores"),
        ("", " ".join(answer["cpu"]["flags"])),
        ("drawing path", paths["used"]),
        ("native kernel", paths["native"]["why"]),
        ("packed products", paths["packed"]["why"]),
        ("reads", f"{rates['read']} GB/s"),
        ("products", f"{rates['fp32']} GFLOP/s in fp32, {rates['bf16']} in bf16"),
        (
            "one picture",
            f"{picture['seconds']} s; reading its {picture['weights'] / 1e6:.1f} M weights "
            f"{picture['steps']} times takes {picture['limit_seconds']} s",
        ),
        ("extras", shown(answer["extras"])),
        ("emoji font", answer["font"] or "not found"),
        ("folders", ", ".join(answer["folders"][name] for name in ("kernels", "hub"))),
        ("free there", f"{answer['folders']['free'] / 1e9:.1f} GB"),
        *(
            (f"setting {each['key']}", f"{each['value']} ({each['from']})")
            for each in answer.get("settings", ())
        ),
        *(("advice", each) for each in answer["advice"]),
    ]
    return table(rows)
