"""Codecs and priors train on every kind of source, resume exactly, and tell what is wrong."""

import dataclasses
import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from limner.checkpoint.model import inspect_checkpoint
from limner.codecs import create_codec
from limner.data.batches.encode import EncodeConfig, encode
from limner.data.sources.opening import open_source
from limner.errors import CheckpointError, ConfigError, DataError
from limner.train.config.run import TrainConfig
from limner.train.config.shared import AugmentTable, DataConfig, LoopConfig
from limner.train.inputs import caches
from limner.train.inputs import pictures as codec_data
from limner.train.inputs.caches import digest_of
from limner.train.inputs.own import OwnData
from limner.train.loop import Progress, train
from limner.train.parts import save_codec
from limner.train.reading import read_config
from limner.train.steps import create_step
from tests.data.source_files import (
    encoded,
    picture,
    shard_members,
    write_image_folder,
    write_pairs,
    write_pictures,
    write_tar,
)
from tests.tiny_model import CODEC

COUNT = 24
LOOP = LoopConfig(
    steps=9, batch=4, warmup=2, bf16=False, validate_every=99, sample_every=99, save_every=5
)
PRIOR = {"name": "gpt", "width": 16, "layers": 1, "heads": 2, "hidden": 16}
ALTERED = AugmentTable(crop=0.3, flip=0.5, colour=0.2)


@pytest.fixture(autouse=True)
def without_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """One's own pictures need no emoji."""
    monkeypatch.setenv("LIMNER_FONT", "/nowhere/at/all.ttf")
    monkeypatch.setattr(caches, "TOKENIZER_VOCABULARY", 300)


def write_source(kind: str, folder: Path) -> str:
    """Write a source of 24 pictures; return its place."""
    if kind == "imagefolder":
        write_image_folder(folder, COUNT)
    elif kind == "pairs":
        write_pairs(folder, COUNT)
    elif kind == "classes":
        write_pictures(folder, [f"{index % 3}_things/{index}.png" for index in range(COUNT)])
    elif kind == "table":
        write_image_folder(folder, COUNT)
        (folder / "metadata.jsonl").rename(folder / "list.jsonl")
        return str(folder / "list.jsonl")
    elif kind == "webdataset":
        write_tar(folder / "0.tar", shard_members(COUNT))
    else:
        datasets = pytest.importorskip("datasets")
        rows = [
            {"image": {"bytes": encoded(picture(n)), "path": None}, "text": f"thing {n}"}
            for n in range(COUNT)
        ]
        features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
        datasets.Dataset.from_list(rows, features=features).save_to_disk(str(folder))
    return str(folder)


def codec_run(out: Path, place: str, **data: Any) -> TrainConfig:
    return TrainConfig(
        "codec",
        str(out),
        loop=LOOP,
        augment=ALTERED,
        data=DataConfig(source=place, **data),
        tables={"codec": CODEC},
    )


def prior_run(folder: Path, place: str, **data: Any) -> TrainConfig:
    """Return a prior's run over a codec that is first written to `folder`."""
    torch.manual_seed(0)
    save_codec(create_codec(CODEC), CODEC, folder / "codec.safetensors")
    return TrainConfig(
        "prior",
        str(folder / "run"),
        codec_from=str(folder),
        text_length=12,
        loop=LOOP,
        data=DataConfig(source=place, **data),
        tables={"prior": PRIOR},
    )


def run(config: TrainConfig, *, resume: bool = False, steps: int | None = None) -> list[Progress]:
    going = train(config, resume=resume)
    found = list(itertools.islice(going, steps))
    going.close()  # type: ignore[attr-defined]
    return found


def weights(out: Path) -> dict[str, str]:
    tensors = load_file(out / "state" / "tensors.safetensors")
    return {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in tensors.items()
        if name != "random"
    }


KINDS = ("imagefolder", "pairs", "classes", "table", "webdataset", "datasets")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyarrow and pandas
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_source_trains_a_codec_and_a_prior(kind: str, tmp_path: Path) -> None:
    place = write_source(kind, tmp_path / "data")
    one = dataclasses.replace(LOOP, steps=1)
    config = dataclasses.replace(codec_run(tmp_path / "codec", place, workers=0), loop=one)
    (found,) = run(config)
    assert found.numbers["loss"] > 0 and found.validation["psnr"] > 0
    record = json.loads((tmp_path / "codec" / "data.json").read_text())
    assert record["sources"][0]["kind"] == ("table" if kind == "table" else kind)
    assert record["train"] + record["held_out"] == COUNT and record["held_out"] >= 1
    assert (tmp_path / "codec" / "bad_samples.jsonl").read_bytes() == b""
    config = dataclasses.replace(prior_run(tmp_path, place, workers=0), loop=one)
    (found,) = run(config)
    assert set(found.validation) == {"validation", "uncaptioned"}
    assert (tmp_path / "run" / "samples-000001.png").is_file()
    assert json.loads((tmp_path / "run" / "codes" / "codes.json").read_text())["pictures"] == COUNT


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("limit", [0, 2**30], ids=["read", "held"])
def test_a_resumed_codec_is_the_unbroken_one(
    tmp_path: Path, workers: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_source("pairs", tmp_path / "data")
    unbroken = run(codec_run(tmp_path / "whole", place, workers=0))
    monkeypatch.setattr(codec_data, "MEMORY_LIMIT", limit)
    config = codec_run(tmp_path / "parts", place, workers=workers)
    both = run(config, steps=7)  # in the second epoch
    both += run(config, resume=True)
    assert [p.numbers for p in both] == [p.numbers for p in unbroken]
    assert both[-1].validation == unbroken[-1].validation
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_prior_is_the_unbroken_one(tmp_path: Path, workers: int) -> None:
    place = write_source("pairs", tmp_path / "data")
    configs = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        config = prior_run(tmp_path / name, place, crops=3, workers=workers)
        configs.append(dataclasses.replace(config, augment=ALTERED))
    unbroken = run(configs[0])
    both = run(configs[1], steps=7)
    both += run(configs[1], resume=True)
    assert [p.numbers for p in both] == [p.numbers for p in unbroken]
    assert both[-1].notes == () and both[7].notes == ()
    assert weights(tmp_path / "whole" / "run") == weights(tmp_path / "parts" / "run")


@pytest.mark.parametrize("task", ["codec", "prior"])
def test_changed_data_is_told_before_anything_is_made_anew(task: str, tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    config = codec_run(tmp_path / "run", place) if task == "codec" else prior_run(tmp_path, place)
    run(config, steps=2)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    (tmp_path / "data" / "099.png").write_bytes(encoded(picture(99)))
    (tmp_path / "data" / "099.txt").write_text("one more")
    with pytest.raises(CheckpointError, match=r"the data changed: .* put the old data back"):
        run(config, resume=True)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    (tmp_path / "data" / "099.png").unlink()
    (tmp_path / "data" / "099.txt").unlink()
    other = dataclasses.replace(config.data, validation_share=0.2)
    with pytest.raises(CheckpointError, match="or which part of it is held out"):
        run(dataclasses.replace(config, data=other), resume=True)
    (tmp_path / "run" / "data.json").unlink()  # the state says it too
    with pytest.raises(CheckpointError, match="was trained on another data"):
        run(dataclasses.replace(config, data=other), resume=True)
    assert run(config, resume=True)[-1].step == LOOP.steps


@pytest.mark.parametrize("held", [True, False])
def test_bad_pictures_are_listed_and_too_many_end_the_run(
    tmp_path: Path, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_data, "MEMORY_LIMIT", 2**30 if held else 0)
    write_pairs(tmp_path / "data", 130)
    config = codec_run(tmp_path / "run", str(tmp_path / "data"), workers=0)
    config = dataclasses.replace(config, loop=dataclasses.replace(LOOP, steps=40))
    step = create_step(config)
    used = [int(each.key[:3]) for each in step.pictures.train.samples]  # type: ignore[attr-defined]

    def spoil(number: int) -> None:
        path = tmp_path / "data" / f"{number:03d}.png"
        path.write_bytes(b"x" * path.stat().st_size)

    spoil(used[0])
    run(config, steps=35)
    lines = (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [f"{used[0]:03d}.png"]
    spoil(used[1])
    with pytest.raises(DataError, match="2 of 130 samples are bad, more than 1 %"):
        run(config, resume=held) if held else run(config, resume=False)
    assert len((tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()) == 2


def test_bad_pictures_of_codes_made_before_are_still_told(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 130)
    path = tmp_path / "data" / "077.png"
    path.write_bytes(b"x" * path.stat().st_size)
    config = prior_run(tmp_path, str(tmp_path / "data"))
    for _ in range(2):
        assert run(config, steps=1)[0].notes == ()
        (line,) = (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()
        assert json.loads(line)["key"] == "077.png"


def test_what_is_too_little_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no captioned picture"):
        run(codec_run(tmp_path / "run", str(tmp_path / "empty")))
    write_pairs(tmp_path / "few", 4)
    with pytest.raises(
        DataError, match=r"3 pictures to train on and 1 held out, and loop\.batch is"
    ):
        run(codec_run(tmp_path / "run", str(tmp_path / "few")))
    with pytest.raises(
        DataError, match=r"3 pictures to train on and 1 held out, and loop\.batch is"
    ):
        run(prior_run(tmp_path, str(tmp_path / "few")))
    write_pairs(tmp_path / "enough", 6)
    assert run(prior_run(tmp_path, str(tmp_path / "enough")))[-1].step == LOOP.steps
    write_pairs(tmp_path / "bad", 30)
    (tmp_path / "bad" / "000.txt").unlink()
    with pytest.raises(DataError, match="1 of 30 samples are bad, more than 1 %"):
        run(codec_run(tmp_path / "run", str(tmp_path / "bad")))


@pytest.mark.parametrize("limit", [0, 2**30], ids=["read", "held"])
def test_copies_are_trained_on_or_held_out_together(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_data, "MEMORY_LIMIT", limit)
    place = tmp_path / "data"
    write_pairs(place, COUNT)
    for name in range(COUNT):
        for kind in ("png", "txt"):
            shutil.copy(place / f"{name:03d}.{kind}", place / f"again-{name}.{kind}")
    config = codec_run(tmp_path / "codec", str(place), validation_share=0.3, workers=0)
    (first, *_) = run(config, steps=1)
    assert f"{COUNT} of {2 * COUNT} pictures repeat another one" in first.notes[0]
    assert json.loads((tmp_path / "codec" / "data.json").read_text())["copies"] == COUNT
    pictures = create_step(config).pictures  # type: ignore[attr-defined]
    train, held = (
        {hashlib.sha256(store.at(row).numpy().tobytes()).digest() for row in range(len(store))}
        for store in (pictures.train, pictures.held)
    )
    assert len(held) > 1 and train.isdisjoint(held) and len(train | held) == COUNT
    prior = create_step(prior_run(tmp_path, str(place), validation_share=0.3, workers=0))
    codes, keys = prior.codes, prior.codes.encoded[0].keys  # type: ignore[attr-defined]
    trained = {keys[row].removeprefix("again-").lstrip("0") for row in codes.rows}
    assert len(codes.held) > 1
    assert trained.isdisjoint(keys[row].removeprefix("again-").lstrip("0") for row in codes.held)


def test_validation_pictures_that_are_trained_on_are_told(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    write_image_folder(tmp_path / "held", 3)  # the same pictures in other files
    write_pictures(tmp_path / "held", ["other.png"])
    (tmp_path / "held" / "other.png").write_bytes(encoded(picture(99)))
    with (tmp_path / "held" / "metadata.jsonl").open("a") as table:
        table.write(json.dumps({"file_name": "other.png", "text": "a thing"}) + "\n")
    config = codec_run(tmp_path / "codec", place, validation_source=str(tmp_path / "held"))
    (first, *_) = run(config, steps=1)
    assert any("3 of 4 validation pictures are trained on too" in note for note in first.notes)


def test_a_run_goes_on_only_with_the_split_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data"
    write_pairs(place, COUNT)
    shutil.copy(place / "000.png", place / "z.png")
    shutil.copy(place / "000.txt", place / "z.txt")
    config = codec_run(tmp_path / "codec", str(place), workers=0)
    run(config, steps=5)
    assert run(config, resume=True)[-1].step == LOOP.steps
    with monkeypatch.context() as before:  # as it was when copies were not kept together
        before.setattr(OwnData, "made_of", property(lambda data: {"data": data.fingerprint}))
        run(dataclasses.replace(config, out=str(tmp_path / "older")), steps=5)
    config = dataclasses.replace(config, out=str(tmp_path / "older"))
    with pytest.raises(CheckpointError, match="trained on another split"):
        run(config, resume=True)


def test_other_pictures_can_be_held_out(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    write_image_folder(tmp_path / "held", 3)
    other = str(tmp_path / "held")
    config = codec_run(tmp_path / "codec", place, validation_source=other)
    step = create_step(config)
    step.start(0)
    record = json.loads((tmp_path / "codec" / "data.json").read_text())
    assert (record["train"], record["held_out"]) == (COUNT, 3)
    assert step.samples().shape == (32, 3, 16, 16)
    assert bool((step.samples()[3:16] == 1).all()) and not bool((step.samples()[16:19] == 1).all())
    prior = create_step(prior_run(tmp_path, place, validation_source=other))
    assert len(prior.codes.validation["validation"]) == 3  # type: ignore[attr-defined]
    assert sorted(prior.codes.prompts()) == sorted(  # type: ignore[attr-defined]
        text for n in range(3) for text in (f"thing {n}", f"第{n}个东西")
    )


def test_a_prior_reads_codes_that_were_made_before(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    config = prior_run(tmp_path, place)
    once = run(config)
    (tmp_path / "again").mkdir()
    shutil.copytree(tmp_path / "run" / "codes", tmp_path / "codes")
    shutil.rmtree(place)
    codes = str(tmp_path / "codes")
    found = run(prior_run(tmp_path / "again", codes))
    assert [p.numbers for p in found] == [p.numbers for p in once]
    with pytest.raises(ConfigError, match="holds codes, and a codec is trained on pictures"):
        run(codec_run(tmp_path / "c", codes))
    changed = create_codec(CODEC | {"levels": [5, 5]})
    save_codec(changed, CODEC | {"levels": [5, 5]}, tmp_path / "codec.safetensors")
    foreign = dataclasses.replace(config, out=str(tmp_path / "other"))
    foreign = dataclasses.replace(foreign, data=DataConfig(source=codes))
    with pytest.raises(DataError, match="were made by another codec; encode the pictures again"):
        run(foreign)


def test_codes_in_the_folder_are_made_anew_only_when_they_must(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    config = prior_run(tmp_path, place)
    (tmp_path / "run" / "codes.partial").mkdir(parents=True)  # of a run that was killed
    assert run(config, steps=1)[0].notes == ()
    manifest = tmp_path / "run" / "codes" / "codes.json"
    written = manifest.stat().st_mtime_ns
    assert run(config, steps=1)[0].notes == () and manifest.stat().st_mtime_ns == written
    data = dataclasses.replace(config.data, crops=2)
    (note,) = run(dataclasses.replace(config, data=data), steps=1)[0].notes
    assert note == f"{manifest.parent} is made anew: it was made of another crops"
    manifest.write_text("{}")
    (note,) = run(config, steps=1)[0].notes
    assert note.endswith("it was made of what it does not say")


def test_held_out_pictures_are_never_trained_on(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    step = create_step(codec_run(tmp_path / "run", place, validation_share=0.4))
    pictures: Any = step.pictures  # type: ignore[attr-defined]
    train_keys, held_keys = (
        {each.key for each in part.samples} for part in (pictures.train, pictures.held)
    )
    assert len(train_keys) + len(held_keys) == COUNT and not train_keys & held_keys
    prior: Any = create_step(prior_run(tmp_path, place, validation_share=0.4))
    keys = prior.codes.encoded[0].keys
    assert {keys[row] for row in prior.codes.rows} == train_keys
    assert {keys[row] for row in prior.codes.held} == held_keys


def test_the_model_says_what_it_was_made_of(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    config = prior_run(tmp_path, place)
    run(config, steps=1)
    inspected = inspect_checkpoint(tmp_path / "run" / "model")
    assert inspected.config.licence == "unknown"
    card = inspected.card
    assert open_source(place).fingerprint in card and "| data | pairs | 24 | 0 |" in card
    assert "Trained on 23 pictures; 1 were held out. Licence: unknown." in card
    assert str(tmp_path) not in card
    (toml,) = [part.split("```")[0] for part in card.split("```toml\n")[1:]]
    (tmp_path / "again.toml").write_text(toml)
    again = read_config(tmp_path / "again.toml")
    again = dataclasses.replace(
        again, out=config.out, codec_from=config.codec_from, data=config.data
    )
    assert again == config
    own = dataclasses.replace(config, out=str(tmp_path / "own"), licence="CC0-1.0")
    run(own, steps=1)
    inspected = inspect_checkpoint(tmp_path / "own" / "model")
    assert inspected.config.licence == "CC0-1.0" and 'license: "CC0-1.0"' in inspected.card


def test_the_command_and_the_run_make_the_same_codes(tmp_path: Path) -> None:
    place = write_source("pairs", tmp_path / "data")
    config = prior_run(tmp_path, place)
    step: Any = create_step(config)
    out = tmp_path / "codes"
    settings = EncodeConfig()
    *_, manifest = encode(open_source(place), step.codec, digest_of(step.codec), out, settings)
    assert manifest == step.codes.encoded[0].manifest
