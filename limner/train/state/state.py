"""Training state on disk: everything to go on exactly, as safetensors and JSON, never pickle."""

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from limner.errors import CheckpointError, quote, shorten
from limner.nn.ranks import world
from limner.train.optimizer import EMA
from limner.train.ranks.group import barrier, run_on_rank0
from limner.train.ranks.shards import read_shards, write_shards
from limner.train.state import checkpoint_dirs as dirs

FORMAT = 2  # the first had neither a number nor a manifest, and is read too
TENSORS = "tensors.safetensors"
INFORMATION = "state.json"


class Trained(Protocol):
    """What a state keeps, as a `Step` has it."""

    modules: dict[str, nn.Module]
    averages: dict[str, EMA]
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler | None


def save_state(folder: Path, step: int, held: Trained, extra: dict[str, Any]) -> None:
    """Write `folder`/state whole or not at all; the state before stays as `state.old`.

    `extra` goes into its JSON part.
    One rank writes one file of tensors, several write shards; any number of ranks reads either.
    Raises ResourceError when the disk refuses.
    """
    here = world()
    random = "random" if here.size == 1 else f"random.{here.rank}"
    # 1. Everything by name: weights, averages and moments, with the source of chance.
    tensors = {random: torch.get_rng_state(), **_tensors_of(held)}
    for number, optimizer in enumerate(held.optimizers):
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    kinds = _kinds(held.optimizers)
    information = {"limner_state": FORMAT, "step": step, "optimizers": kinds, **extra}
    if held.scaler is not None:
        information["scaler"] = held.scaler.state_dict()
    if here.size > 1:
        information["ranks"] = here.size
    files = {INFORMATION: json.dumps(information, indent=1).encode()}
    if here.size == 1:
        whole = {key: value.contiguous().clone() for key, value in tensors.items()}
        files = {TENSORS: save(whole), **files}
    # 2. One rank writes one file of tensors; several write a shard each. Rank 0 alone makes the
    # folder, and closes it with a manifest once all shards are there.
    if here.first:
        dirs.stage_dir(folder)
    barrier()
    if here.size > 1:
        write_shards(folder / dirs.STAGED, tensors)
    if here.first:
        dirs.finish_dir(folder, files)
    barrier()


def load_state(folder: Path, held: Trained) -> dict[str, Any]:
    """Put the newest sound state of `folder` back in place; return its JSON part, with the `step`.

    `set_aside` in it tells of a newer one that was damaged. Raises CheckpointError when there is
    none, it is damaged, or it belongs to another model, optimiser or set of trained parameters.
    """
    kept, told = run_on_rank0(lambda: dirs.newest_sound(folder))
    tensors, information = _read(kept, _known(held))
    # 1. Whose state it is, before anything of this run is changed.
    optimizers = held.optimizers
    kinds = _kinds(optimizers)
    if (saved := information.get("optimizers", kinds)) != kinds:
        raise _foreign(folder, f"optimizer ({quote(saved)}, and this run has {kinds})")
    # 2. Weights and averages.
    for name, module in held.modules.items():
        try:
            module.load_state_dict(_under(tensors, f"module.{name}."))
        except RuntimeError as error:
            first = shorten(" ".join(str(error).split()), 120)
            raise _foreign(folder, f"model ({first})") from error
    for name, average in held.averages.items():
        values = _under(tensors, f"average.{name}.")
        wanted = {str(index): value for index, value in enumerate(average.values)}
        if not _alike(values, wanted):
            raise _foreign(folder, f"set of trained weights ({name})")
        for index, value in wanted.items():
            value.copy_(values[index])
    if any(name.startswith(f"optimizer.{len(optimizers)}.") for name in tensors):  # it had one more
        raise _foreign(folder, "number of optimizers")
    # 3. Moments of the optimisers, and the scale of fp16.
    for number, optimizer in enumerate(optimizers):
        if not _restore(optimizer, _under(tensors, f"optimizer.{number}.")):
            raise _foreign(folder, f"optimizer than this run's {kinds[number]}")
    if held.scaler is not None:
        if not isinstance(information.get("scaler"), dict):
            raise _foreign(folder, "precision (it has no scale of fp16)")
        held.scaler.load_state_dict(information["scaler"])
    # 4. Chance last: what was made until here may have drawn of it.
    rank = world().rank
    mine = tensors.get(f"random.{rank}", None if rank else tensors.get("random"))
    if mine is None:  # more ranks than wrote it: chance of its own, not that of the first step
        torch.manual_seed(torch.initial_seed() + int(information["step"]))
    else:
        torch.set_rng_state(mine)
    return information | {"set_aside": told}


def _tensors_of(held: Trained) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, module in held.modules.items():
        tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    for name, average in held.averages.items():
        tensors |= {f"average.{name}.{i}": value for i, value in enumerate(average.values)}
    return tensors


def _known(held: Trained) -> dict[str, Tensor]:
    """Return tensors that lie as those of a state should, by their names; their values say nothing.

    A moment lies as its parameter does.
    """
    known = _tensors_of(held)
    for number, optimizer in enumerate(held.optimizers):
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        for index, parameter in enumerate(parameters):
            for key in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
                known[f"optimizer.{number}.{index}.{key}"] = parameter.detach()
    return known


def _read(kept: Path, known: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the JSON of a state, with what every state has checked."""
    fault = ""
    try:
        # Several ranks wrote shards, which one rank can read too.
        alone = world().size == 1 and not any(kept.glob("shard-*"))
        tensors = load_file(kept / TENSORS) if alone else read_shards(kept, known)
        information = json.loads((kept / INFORMATION).read_text(encoding="utf-8"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        fault = shorten(" ".join(str(error).split()), 120)
        raise dirs.damaged(kept, fault) from error
    here = torch.get_rng_state()  # another torch may have another kind
    found = tensors.get("random", tensors.get("random.0", torch.zeros(0)))
    step = information.get("step") if isinstance(information, dict) else None
    if type(step) is not int or step < 0:
        fault = f"{INFORMATION} has no step"
    elif (found.shape, found.dtype) != (here.shape, here.dtype):
        fault = f"{TENSORS} has no random source of this torch"
    if fault:
        raise dirs.damaged(kept, fault)
    return tensors, information


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> bool:
    """Give an optimiser its moments back; false when they are not those of its parameters."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    muon = isinstance(optimizer, torch.optim.Muon)  # one moment, and no count of steps
    moments = {"momentum_buffer"} if muon else {"step", "exp_avg", "exp_avg_sq"}
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            return False
        if value.ndim and value.shape != parameters[int(index)].shape:
            return False
        entries.setdefault(int(index), {})[key] = value
    if any(set(held) != moments for held in entries.values()):
        return False
    optimizer.load_state_dict(
        # Rates and decays are those of this run's config, not of the state.
        {"state": entries, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    # Fused optimisers walk raw memory: a moment must lie in memory as its parameter does.
    for parameter, held in optimizer.state.items():
        for key, value in held.items():
            if value.shape == parameter.shape:
                held[key] = torch.empty_like(parameter).copy_(value)
    return True


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _alike(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[key].shape == wanted[key].shape for key in wanted
    )


def _kinds(optimizers: list[torch.optim.Optimizer]) -> list[str]:
    return [type(optimizer).__name__ for optimizer in optimizers]


def _foreign(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the state in {dirs.shown(folder)} belongs to another {what}; use the config it was made "
        "with"
    )
