"""Hugging Face datasets, saved and streamed, from real files; nothing here uses the network."""

import sys
from pathlib import Path
from typing import Any

import pytest

from limner.data.sources.base import read_pictures
from limner.data.sources.hub import DatasetsSource, open_hub
from limner.data.sources.opening import open_source
from limner.errors import DataError, MissingExtraError
from tests.data.source_files import encoded, picture

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyarrow and pandas


def made(rows: list[dict[str, Any]]) -> Any:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    return datasets.Dataset.from_list(rows, features=features)


def row(index: int, text: str | None = "a thing") -> dict[str, Any]:
    return {"image": {"bytes": encoded(picture(index)), "path": None}, "text": text}


def test_a_dataset_is_streamed_as_the_hub_gives_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    made([row(index) for index in range(3)]).to_parquet(str(tmp_path / "set" / "train.parquet"))
    source = open_hub(str(tmp_path / "set"), "hub:someone/set", "")
    assert (source.kind, source.total) == ("datasets", None)
    for _ in range(2):
        found = [image.tobytes() for _, image in read_pictures(source)]
        assert found == [picture(index).tobytes() for index in range(3)]
    again = open_hub(str(tmp_path / "set"), "hub:someone/set", "")
    assert again.fingerprint == source.fingerprint
    with pytest.raises(DataError, match="cannot open the dataset"):
        open_hub(str(tmp_path / "set"), "hub:someone/set", "nosuch")


def test_a_split_is_chosen_by_its_name(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {"train": made([row(0)]), "validation": made([row(1), row(2)])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "set"))
    assert open_source(tmp_path / "set").total == 1
    assert open_source(f"datasets:{tmp_path / 'set'}#validation").total == 2
    with pytest.raises(DataError, match="has the splits 'train', 'validation'"):
        open_source(f"datasets:{tmp_path / 'set'}#test")


def test_rows_without_a_picture_or_a_caption_are_noted(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(9)))
    rows = [row(0), row(1, None), row(2, "a\0b"), {"image": None, "text": "x"}]
    rows.append({"image": {"bytes": None, "path": str(secret)}, "text": "elsewhere"})
    source = DatasetsSource(made(rows), "rows")
    assert [sample.key for sample in source] == ["000000000"]
    assert source.losses.counts() == {"no_caption": 1, "no_picture": 2, "bad_caption": 1}
    with pytest.raises(DataError, match="samples are bad, more than 1 %"):
        list(read_pictures(source))


def test_a_dataset_without_the_columns_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list([{"a": 1}]).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(DataError, match="has the columns 'a'; one with pictures"):
        open_source(tmp_path / "set")


def test_a_damaged_dataset_is_refused(tmp_path: Path) -> None:
    made([row(0)]).save_to_disk(str(tmp_path / "set"))
    (tmp_path / "set" / "state.json").write_text("{")
    with pytest.raises(DataError, match="is no saved dataset"):
        open_source(tmp_path / "set")


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limner\[hub\]'"):
        open_source("hub:someone/pictures")


def test_columns_that_only_look_like_captions_are_told() -> None:
    datasets = pytest.importorskip("datasets")
    kinds = {"caption_id": datasets.Value("int32"), "text_zh": datasets.Value("int32")}
    features = {"image": datasets.Image(), "text": datasets.Value("string"), **kinds}
    rows = [{**row(0), "caption_id": 48000, "text_zh": 3}]
    made = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    source = DatasetsSource(made, "rows")
    assert [each.captions for each in source] == [("a thing",)]
    assert [list(names) for names in source.losses.unused.values()] == [["caption_id"], ["text_zh"]]
    assert len(source.losses) == 0
