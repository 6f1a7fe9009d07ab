"""The list of `limner data clean` decides what training sees."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.cleaning.clean import CleanConfig, clean
from limner.data.sources.base import Losses, Sample, Source
from limner.data.sources.keep import keep_lines, keep_only, place_of, split
from limner.data.sources.opening import open_source
from limner.errors import DataError
from limner.train.config.run import TrainConfig
from limner.train.config.shared import DataConfig, LoopConfig
from limner.train.inputs.own import OwnData
from tests.data.source_files import encoded, picture, write_image_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight pictures, of which one is damaged and one is a copy of another."""
    folder = tmp_path / "photos"
    write_image_folder(folder, 8)
    (folder / "003.png").write_bytes(b"no picture")
    (folder / "005.png").write_bytes((folder / "004.png").read_bytes())
    list(clean(open_source(str(folder), strict=False), tmp_path / "cleaned", CleanConfig()))
    return folder


def config_of(photos: Path, keep: str = "") -> TrainConfig:
    data = DataConfig(source=str(photos), keep=keep)
    return TrainConfig("codec", "run", data=data, loop=LoopConfig(batch=2))


def test_what_clean_keeps_is_what_training_sees(photos: Path) -> None:
    keep = photos.parent / "cleaned" / "keep.txt"
    data = OwnData(config_of(photos, keep=str(keep)))
    (source,) = data.sources
    assert source is not None and source.total == 6
    assert [sample.key for sample in source] == keep.read_text().splitlines()
    assert {"003.png", "005.png"}.isdisjoint(sample.key for sample in source)
    assert source.kind == "imagefolder" and len(source.losses) == 0
    whole = OwnData(config_of(photos))
    assert data.fingerprint != whole.fingerprint


def test_a_list_of_other_data_is_refused(photos: Path, tmp_path: Path) -> None:
    keep = tmp_path / "keep.txt"
    keep.write_text("000.png\n900.png\r\n901.png\n")
    with pytest.raises(DataError, match=r"keeps 2 of 3 samples that .* as '900.png', '901.png'"):
        keep_only(open_source(str(photos), strict=False), keep)
    keep.write_text("\n")
    with pytest.raises(DataError, match="keeps no sample"):
        keep_only(open_source(str(photos), strict=False), keep)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            keep_only(open_source(str(photos), strict=False), path)


ODD = ["a\nb.png", " c .png", "d\r.png", '"e".png', "f\udce9.png", "g\\n.png", "猫.png", "\t.png"]


def test_any_name_that_clean_writes_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate([*ODD, "ok.png"]):
        (folder / name).write_bytes(encoded(picture(seed)))
        (folder / name).with_suffix(".txt").write_text(f"thing {seed}")
    (folder / "bad\n.png").write_bytes(b"no picture")
    (folder / "bad\n.txt").write_text("nothing")
    config = CleanConfig(write=True)
    list(clean(open_source(folder, strict=False), tmp_path / "cleaned", config))
    data = OwnData(config_of(folder, keep=str(tmp_path / "cleaned" / "keep.txt")))
    (source,) = data.sources
    assert source is not None and {each.key for each in source} == {*ODD, "ok.png"}
    assert open_source(tmp_path / "cleaned" / "pictures").total == len(ODD) + 1


def test_a_list_holds_a_key_a_line() -> None:
    assert keep_lines(["000.png", "x.tar/猫 1.png"]) == "000.png\nx.tar/猫 1.png\n".encode()
    assert keep_lines(ODD).count(b"\n") == len(ODD)


def test_a_stream_is_kept_as_it_comes(tmp_path: Path) -> None:
    class Numbers(Source):
        kind = "numbers"

        def __iter__(self):  # type: ignore[no-untyped-def]
            return (Sample(f"{n}", ("x",), f"{n}", bytes) for n in range(5))

    (tmp_path / "keep.txt").write_text("1\n3\n")
    source = keep_only(Numbers("here", Losses(), "f", None), tmp_path / "keep.txt")
    assert [sample.key for sample in source] == ["1", "3"]
    assert source.fingerprint != "f" and source.describe()["kind"] == "numbers"


KEYS = [f"{index:05d}.png" for index in range(4000)]


def test_about_the_share_is_held_out() -> None:
    train, held = split(KEYS, 0.05)
    assert sorted(train + held) == list(range(4000))
    assert 150 < len(held) < 250


@given(st.lists(st.text(), unique=True, max_size=30), st.floats(0.01, 0.5))
def test_every_row_is_in_one_part_and_more_pictures_move_none(
    keys: list[str], share: float
) -> None:
    train, held = split(keys, share)
    assert sorted(train + held) == list(range(len(keys)))
    assert len(held) >= min(len(keys), 1)
    more = [*keys, *(key for key in KEYS if key not in keys)]
    by_hash = {keys[row] for row in held if place_of(keys[row]) < share}
    later = {more[row] for row in split(more, share)[1]}
    assert by_hash == later & set(keys)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.floats(0.01, 0.5))
def test_copies_are_on_one_side(contents: list[int], share: float) -> None:
    keys = KEYS[: len(contents)]
    train, held = split(keys, share, contents)
    assert sorted(train + held) == list(range(len(keys))) and held
    assert {contents[row] for row in train}.isdisjoint(contents[row] for row in held)
    assert split(keys, share, range(len(keys))) == split(keys, share)


def test_copies_go_where_the_first_of_them_goes() -> None:
    first_trained = [place_of(key) >= 0.05 for key in KEYS]
    contents = [row // 2 for row in range(len(KEYS))]
    train, held = split(KEYS, 0.05, contents)
    assert all(first_trained[row - row % 2] for row in train)
    assert not any(first_trained[row - row % 2] for row in held)
    assert 100 < len(held) < 300


def test_a_place_is_the_same_for_ever() -> None:
    assert place_of("a.png") == 0.49620164686382306
    assert 0 <= place_of("\udc80") < 1  # a file name that is no UTF-8
