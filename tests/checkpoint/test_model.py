import hashlib
import json
import math
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.checkpoint.model import inspect_checkpoint, load_checkpoint, save_checkpoint
from limner.errors import CheckpointError, ResourceError
from limner.sampling.tokens import TokenSampling
from limner.text.tokenizer import Tokenizer
from limner.types import ModelInfo, Request
from tests.tiny_model import CODEC, SENTENCES, prior_config, save_tiny_model, tiny_pipeline

NAMES = ["README.md", "config.json", "manifest.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def seal(folder: Path) -> None:
    """Write a manifest that fits the files, as whoever changed them would."""
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    files = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    kept = {key: value for key, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept))
    seal(folder)


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    seal(folder)


def refused(folder: Path, fault: str) -> str:
    began = time.process_time()
    with pytest.raises(CheckpointError, match=fault) as caught:
        load_checkpoint(folder)
    assert time.process_time() - began < 1.0
    message = str(caught.value)
    assert len(message) <= 400
    assert "\n" not in message
    return message


def test_a_saved_model_comes_back_whole(folder: Path) -> None:
    pipeline = load_checkpoint(folder)
    original = tiny_pipeline()
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    for name, tensor in original.state_dict().items():
        assert torch.equal(pipeline.state_dict()[name], tensor), name
    assert pipeline.defaults == original.defaults
    assert (pipeline.size, pipeline.text_length) == (original.size, original.text_length)
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert pipeline.info == ModelInfo("tiny", "dalle", "Apache-2.0", 16, sha256)
    assert not pipeline.training
    assert not any(parameter.requires_grad for parameter in pipeline.parameters())


def test_a_loaded_model_draws_what_the_original_draws(folder: Path) -> None:
    request = Request("a red apple", n=2, seed=7)
    *_, before = tiny_pipeline().eval().stream(request)
    *_, after = load_checkpoint(folder).stream(request)
    assert before.images is not None
    assert after.images is not None
    assert torch.equal(before.images, after.images)


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = save_tiny_model(tmp_path / "again")
    for name in NAMES:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) & 0o400


def test_saving_over_a_model_replaces_it(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    pipeline = tiny_pipeline()
    pipeline.defaults = TokenSampling(temperature=0.5, guidance=2.0)
    save_checkpoint(
        folder, pipeline, name="other", licence="MIT", codec=CODEC,
        prior=prior_config(pipeline.tokenizer),
    )  # fmt: skip
    loaded = load_checkpoint(folder)
    assert loaded.info.name == "other"
    assert loaded.defaults == TokenSampling(temperature=0.5, guidance=2.0)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_disk_that_refuses_leaves_the_model_before(folder: Path) -> None:
    """Run in a process of its own, because the limit on file sizes holds for all its threads."""
    code = (
        "import resource, sys; from pathlib import Path; from tests.tiny_model import *\n"
        "pipeline = tiny_pipeline()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from limner.errors import ResourceError\n"
        "try: save_tiny_model(Path(sys.argv[1]))\n"
        "except ResourceError as error: print(error)\n"
    )
    before = {name: (folder / name).read_bytes() for name in NAMES}
    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN), cwd=Path.cwd(),
    )  # fmt: skip
    assert "cannot write" in answer.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_where_a_file_is_in_the_way_is_a_resource_error(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(ResourceError, match="cannot write"):
        save_tiny_model(tmp_path / "model")


def test_inspecting_needs_no_weights(folder: Path) -> None:
    inspection = inspect_checkpoint(folder)
    assert inspection.parameters == sum(v.numel() for v in tiny_pipeline().state_dict().values())
    assert inspection.bytes == (folder / "model.safetensors").stat().st_size
    assert inspection.info == load_checkpoint(folder).info
    assert inspection.card == "# Tiny\n\nDraws nothing.\n"


# Rows 52 to 61: the weights file. tests/test_safetensors_check.py has every shape of damage.


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: b"", "it was cut"),
        (lambda data: data[:7], "it was cut"),
        (lambda data: data[:-10], "not fully covered"),
        (lambda data: data + bytes(10), "not fully covered"),
        (lambda data: (2**63).to_bytes(8, "little") + data[8:], "states a header"),
        (lambda data: pickle.dumps({"a": 1}), "this is a pickle; use limner import"),
        (lambda data: b"PK\x03\x04" + data, "use limner import"),
    ],
)
def test_damaged_weights_are_refused(
    folder: Path, change: Callable[[bytes], bytes], fault: str
) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    seal(folder)
    assert str(folder)[-50:] in refused(folder, fault)


def test_a_pickle_runs_nothing(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Attack:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (os.system, (f"touch {marker}",))

    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        spoilt = save_tiny_model(tmp_path / name.replace(".", "-"))
        (spoilt / name).write_bytes(pickle.dumps(Attack()))
        seal(spoilt)
        refused(spoilt, "this is a pickle; use limner import")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Attack()))
    load_checkpoint(folder)
    assert not marker.exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(
    folder: Path, value: float, dtype: torch.dtype
) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["prior.text.weight"] = tensors["prior.text.weight"].to(dtype)
        tensors["prior.text.weight"][3, :2] = value

    change_tensors(folder, spoil)
    message = refused(folder, "NaN or infinite")
    assert "'prior.text.weight' holds 2 NaN or infinite values of" in message
    assert load_checkpoint(folder, allow_nonfinite=True).info.name == "tiny"


def test_weights_in_half_precision_are_read(folder: Path) -> None:
    wanted = load_file(folder / "model.safetensors")["prior.text.weight"]

    def halve(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            tensors[name] = tensor.to(torch.bfloat16)

    change_tensors(folder, halve)
    found = load_checkpoint(folder).prior.text.weight
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted.bfloat16().float())


def test_whole_numbers_for_real_ones_are_refused(folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["prior.text.weight"] = tensors["prior.text.weight"].to(torch.int32)

    change_tensors(folder, spoil)
    refused(folder, "prior.text.weight.* I32")


# Row 65: tensors that do not fit the config.


def test_missing_tensors_are_counted_and_five_named(folder: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in sorted(name for name in tensors if name.startswith("codec.decoder"))[:7]:
            del tensors[name]

    change_tensors(folder, drop)
    message = refused(folder, "7 tensors missing, 0 too many, 0 of another shape")
    assert message.count("codec.decoder") == 5


def test_extra_tensors_are_refused(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update(surprise=torch.zeros(1)))
    assert "surprise" in refused(folder, "0 tensors missing, 1 too many")


def test_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    change_tensors(folder, lambda t: t.update({"prior.begin": torch.zeros(33)}))
    assert "prior.begin F32 (33,) for (32,)" in refused(folder, "1 of another shape")


# Rows 66 and 67: the config.


def test_a_missing_empty_or_broken_config_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    faults = {
        b"": "is empty", b"{": "not JSON", b"[]": "holds a list", b'{"a": NaN}': "holds NaN",
        b"\xff\xfe{}": "not UTF-8 at byte 0", b'{"a": 1, "a": 2}': "'a' twice",
        b"[" * 200_000: "nested too deeply",
    }  # fmt: skip
    for data, fault in faults.items():
        path.write_bytes(data)
        assert str(folder)[-50:] in refused(folder, fault)
    path.unlink()
    assert str(folder)[-50:] in refused(folder, r"has no config\.json")


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        (99, r"made by a newer limner \(99 > 2\)"),
        (..., "limner_format None"),
        ("1", "limner_format '1'"),
        (True, "limner_format True"),
        (1.0, "limner_format 1.0"),
        (0, "formats start at 1"),
    ],
)
def test_other_format_versions_are_refused(folder: Path, version: Any, fault: str) -> None:
    change_config(folder, limner_format=version, unheard_of=1)
    refused(folder, fault)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"familly": "dalle"}, "unknown key 'familly'; did you mean 'family'"),
        ({"auto_map": {"AutoModel": "x.Y"}}, "unknown key 'auto_map'"),
        ({"trust_remote_code": True}, "unknown key 'trust_remote_code'"),
        ({"codec": ...}, "lacks codec"),
        ({"size": "16"}, "size is '16'; expected int, not str"),
        ({"size": True}, "size is True"),
        ({"size": 2**40}, "the number 1099511627776"),
        ({"text_length": -1}, "the number -1"),
        ({"family": "flow"}, "family 'flow'; expected dalle"),
        ({"prior": []}, "prior is \\[\\]"),
        ({"codec": CODEC | {"name": "jpeg"}}, "unknown codec 'jpeg'"),
        ({"codec": CODEC | {"sise": 16}}, "has no setting 'sise'"),
        ({"codec": CODEC | {"levels": "abc"}}, "describes no model"),
        ({"codec": CODEC | {"encoder_channels": [2**50] * 3}}, "the number"),
        ({"codec": CODEC | {"levels": [4, 5]}}, "20 codes"),
        ({"sampling": {}}, "sampling has the keys"),
    ],
)
def test_a_config_of_something_else_is_refused(
    folder: Path, values: dict[str, Any], fault: str
) -> None:
    change_config(folder, **values)
    refused(folder, fault)


@pytest.mark.parametrize("key", ["temperature", "top_p", "guidance", "guidance_schedule"])
def test_sampling_defaults_out_of_range_are_refused(folder: Path, key: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    for value in (None, -1, "none"):
        change_config(folder, sampling=config["sampling"] | {key: value})
        refused(folder, "describes no model that can be built")


def test_a_grid_that_does_not_fit_the_codec_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_config(folder, codec=CODEC | {"size": 32}, prior=config["prior"])
    fault = (
        "16 codes on a map of 4x4, 1 a cell, but the prior was made for 16 codes on a map of 2x2"
    )
    refused(folder, fault)


def test_maps_that_do_not_fit_the_codec_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_config(folder, prior=config["prior"] | {"maps": [[1, 1], [2, 2]]})
    refused(folder, "on a map of 2x2, 1 a cell, but the prior was made for 16 codes on maps of 1x1")


# Rows 68 and 69: the manifest and the tokenizer. tests/test_folder_check.py has the folder.


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_refused_and_never_repaired(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    data = data[:-1] + (b" " if name.endswith("json") else bytes([data[-1] ^ 1]))
    (folder / name).write_bytes(data)
    assert name in refused(folder, "sha256")
    assert (folder / name).read_bytes() == data


def test_a_tokenizer_of_another_size_is_refused_with_both_sizes(folder: Path) -> None:
    mine = load_checkpoint(folder).tokenizer.vocabulary
    other = Tokenizer.train([*SENTENCES, "many more words than before"], 2000)
    other.save(folder / "tokenizer.json")
    seal(folder)
    refused(folder, f"has {other.vocabulary} ids, but the prior was made for {mine};")
