"""Files as Flax writes them: msgpack of nested tables whose leaves are arrays, without JAX."""

import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


def pack(value: Any) -> bytes:
    """Return msgpack of tables, texts, numbers and tensors, as flax.serialization has it."""
    if isinstance(value, dict):
        parts = b"".join(pack(key) + pack(each) for key, each in value.items())
        return struct.pack(">BH", 0xDE, len(value)) + parts
    if isinstance(value, str):
        data = value.encode()
        return bytes([0xA0 | len(data)]) + data if len(data) < 32 else b"\xd9" + _short(data)
    if isinstance(value, tuple):
        return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
    if isinstance(value, int):
        return struct.pack(">BI", 0xCE, value)
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    dtype = str(value.dtype).removeprefix("torch.")
    numbers = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    inner = pack((tuple(value.shape), dtype, numbers))
    return struct.pack(">BIb", 0xC9, len(inner), 1) + inner


def _short(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def tree_of(state: State) -> dict[str, Any]:
    """Return nested tables of names with "/" between."""
    tree: dict[str, Any] = {}
    for name, tensor in state.items():
        *path, last = name.split("/")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = tensor
    return tree


_PLACES = {
    "pre_self_attn_layer_norm": "LayerNorm_0", "self_attn_layer_norm": "LayerNorm_1",
    "pre_encoder_attn_layer_norm": "LayerNorm_2", "encoder_attn_layer_norm": "LayerNorm_3",
    "self_attn": "FlaxBartAttention_0", "encoder_attn": "FlaxBartAttention_1", "glu": "GLU_0",
    "ln0": "LayerNorm_0", "ln1": "LayerNorm_1", "fc0": "Dense_0", "fc1": "Dense_1",
    "fc2": "Dense_2",
}  # fmt: skip


def bart(encoder: State, decoder: State, *, scanned: bool) -> dict[str, Any]:
    """Return dalle-mini's tree of the states of min-dalle's encoder and decoder."""
    flat: State = {}
    for part, state in (("Encoder", encoder), ("Decoder", decoder)):
        layers: dict[str, list[Tensor]] = {}
        for name, tensor in state.items():
            *path, last = name.split(".")
            linear = path[-1].endswith("_proj") or path[-1] in ("fc0", "fc1", "fc2", "lm_head")
            table = path[-1].startswith("embed_")
            leaf = "bias" if last == "bias" else "embedding" if table else "scale"
            leaf, tensor = ("kernel", tensor.T) if linear else (leaf, tensor)
            if path[0] == "layers":
                inner = [_PLACES.get(each, each) for each in path[2:]]
                layers.setdefault("/".join([*inner, leaf]), []).append(tensor)
            else:
                home = "" if path[0] == "lm_head" else f"model/{part.lower()}/"
                flat[f"{home}{'/'.join(path)}/{leaf}"] = tensor
        for rest, rows in layers.items():
            at = f"model/{part.lower()}/layers/FlaxBart{part}Layer"
            if scanned:
                flat[f"{at}s/{rest}"] = torch.stack(rows)
            else:
                flat |= {f"{at}_{number}/{rest}": row for number, row in enumerate(rows)}
    return tree_of(flat)


def vqgan(state: State) -> dict[str, Any]:
    """Return vqgan-jax's tree of a state of taming's names, or of min-dalle's detokenizer."""
    flat: State = {}
    for name, tensor in state.items():
        if name in ("embedding.weight", "quantize.embedding.weight"):
            flat["quantize/embedding/embedding"] = tensor
            continue
        *path, last = name.split(".")
        spelt: list[str] = []
        for part in path:  # a number belongs to the name before it
            spelt = [*spelt[:-1], f"{spelt[-1]}_{part}"] if part.isdigit() else [*spelt, part]
        convolution = tensor.ndim == 4
        leaf = "kernel" if convolution else {"weight": "scale", "bias": "bias"}[last]
        flat["/".join([*spelt, leaf])] = tensor.permute(2, 3, 1, 0) if convolution else tensor
    return tree_of(flat)


def write(path: Path, tree: dict[str, Any]) -> None:
    """Write a file of Flax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(tree))
