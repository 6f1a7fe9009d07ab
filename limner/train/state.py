"""Training state on disk: everything to go on exactly, as safetensors and JSON, never pickle."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limner.errors import CheckpointError
from limner.train.optimizer import Average


def save_state(
    folder: Path,
    step: int,
    modules: dict[str, nn.Module],
    averages: dict[str, Average],
    optimizers: list[torch.optim.Optimizer],
    extra: dict[str, Any],
) -> None:
    """Write `folder`/state whole or not at all; the old state stays until the new one is there."""
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    for name, module in modules.items():
        tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    for name, average in averages.items():
        tensors |= {f"average.{name}.{i}": value for i, value in enumerate(average.values)}
    for number, optimizer in enumerate(optimizers):
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    new, old, kept = folder / "state.new", folder / "state.old", folder / "state"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file(
        {key: value.contiguous().clone() for key, value in tensors.items()},
        new / "tensors.safetensors",
    )
    (new / "state.json").write_text(json.dumps({"step": step, **extra}, indent=1))
    for path in new.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(old, ignore_errors=True)
    if kept.exists():
        kept.rename(old)
    new.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    folder: Path,
    modules: dict[str, nn.Module],
    averages: dict[str, Average],
    optimizers: list[torch.optim.Optimizer],
) -> dict[str, Any]:
    """Put the state of `folder` back in place; return its JSON part, with the step to go on from.

    Raises CheckpointError when there is none or it belongs to another model.
    """
    kept = folder / "state" if (folder / "state").exists() else folder / "state.old"
    if not kept.exists():
        raise CheckpointError(f"no training state in {folder}; start without --resume")
    tensors = load_file(kept / "tensors.safetensors")
    information: dict[str, Any] = json.loads((kept / "state.json").read_text())
    try:
        for name, module in modules.items():
            module.load_state_dict(_under(tensors, f"module.{name}."))
    except RuntimeError as error:
        raise CheckpointError(
            f"the state in {folder} belongs to another model ({str(error).splitlines()[0]}); "
            "use the config it was made with"
        ) from error
    for name, average in averages.items():
        values = _under(tensors, f"average.{name}.")
        for index, value in enumerate(average.values):
            value.copy_(values[str(index)])
    for number, optimizer in enumerate(optimizers):
        _restore(optimizer, _under(tensors, f"optimizer.{number}."))
    torch.set_rng_state(tensors["random"])
    return information


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    # Fused optimisers walk raw memory: a moment must lie in memory as its parameter does.
    for parameter, held in optimizer.state.items():
        for key, value in held.items():
            if value.shape == parameter.shape:
                held[key] = torch.empty_like(parameter).copy_(value)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
