"""`limner doctor`: what this machine and installation can do."""

from __future__ import annotations

import os
from typing import Any

import typer

from limner import __version__
from limner.cli.shared import answers, options, progress, settings


def doctor(
    ctx: typer.Context, model: options.Model = "default", as_json: options.AsJson = False
) -> None:
    """Check this machine: what is installed and set, how fast drawing is, what would help.

    The speed is that of drawing with MODEL.
    """
    from limner import registry

    registry.check(model)
    held = settings.effects(os.environ, ctx.meta.get(settings.HANDED_ON, ()))
    with progress.loading(model):
        from limner.evaluate.machine import examine

        found = {"limner": __version__, **examine(model)}
    found["settings"] = [
        {"key": each.setting.key, "value": each.value, "from": each.source} for each in held
    ]
    found["advice"] += settings.strangers(os.environ)
    answers.answer(found, as_text(found), as_json)


def as_text(found: dict[str, Any]) -> str:
    """Return the answer as a person reads it."""
    paths, rates, picture = found["paths"], found["rates"], found["picture"]
    rows = [
        ("limner", f"{found['limner']}, Python {found['python']}, {found['platform']}"),
        ("torch", answers.shown(found["torch"])),
        ("processor", f"{found['cpu']['name']}, {found['cpu']['cores']} cores"),
        ("", " ".join(found["cpu"]["flags"])),
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
        ("extras", answers.shown(found["extras"])),
        ("emoji font", found["font"] or "not found"),
        ("folders", ", ".join(found["folders"][name] for name in ("kernels", "hub"))),
        ("free there", f"{found['folders']['free'] / 1e9:.1f} GB"),
        *(
            (f"setting {each['key']}", f"{each['value']} ({each['from']})")
            for each in found.get("settings", ())
        ),
        *(("advice", each) for each in found["advice"]),
    ]
    return answers.table(rows)
