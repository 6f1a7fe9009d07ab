"""Every kind of source yields the same samples; each is opened as itself and by force."""

import csv
import functools
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.data.sources.base import IndexedSource, Losses, fingerprint, read_pictures
from limner.data.sources.opening import KINDS, open_source
from limner.errors import DataError, UsageError
from tests.data.source_files import (
    encoded,
    picture,
    shard_members,
    write_image_folder,
    write_pairs,
    write_pictures,
    write_tar,
)

CAPTIONS = [(f"thing {index}", f"第{index}个东西") for index in range(5)]


def make_pairs(folder: Path) -> str:
    write_pairs(folder, 5)
    return str(folder)


def make_image_folder(folder: Path) -> str:
    write_image_folder(folder, 5)
    return str(folder)


def make_csv_folder(folder: Path) -> str:
    write_pictures(folder, [f"{index:03d}.png" for index in range(5)])
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "text", "text_zh", "licence"])
        for index, texts in enumerate(CAPTIONS):
            writer.writerow([f"{index:03d}.png", *texts, "none"])
    return str(folder)


def make_table(folder: Path) -> str:
    write_pictures(folder, [f"deep/{index}.png" for index in range(5)])
    rows = [{"image": f"./deep/{index}.png", "caption": CAPTIONS[index]} for index in range(5)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return str(folder / "rows.jsonl")


def make_shards(folder: Path) -> str:
    members = list(shard_members(5).items())
    write_tar(folder / "00000.tar", dict(members[:6]))
    write_tar(folder / "00001.tar", dict(members[6:]))
    return str(folder)


def make_pattern(folder: Path) -> str:
    make_shards(folder)
    return str(folder / "{00000..00001}.tar")


def make_saved(folder: Path) -> str:
    datasets = pytest.importorskip("datasets")
    rows = [{"image": encoded_row(index), "text": list(CAPTIONS[index])} for index in range(5)]
    features = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Sequence(datasets.Value("string"))}
    )
    made = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict({"train": made}).save_to_disk(str(folder))
    return str(folder)


def encoded_row(index: int) -> dict[str, Any]:
    return {"bytes": encoded(picture(index)), "path": None}


MAKERS = {
    "pairs": make_pairs,
    "imagefolder": make_image_folder,
    "imagefolder (csv)": make_csv_folder,
    "table": make_table,
    "webdataset": make_shards,
    "webdataset (pattern)": make_pattern,
    "datasets": make_saved,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pyarrow and pandas
@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_yields_the_same_pictures_and_captions(tmp_path: Path, name: str) -> None:
    place = MAKERS[name](tmp_path / "data")
    kind = name.split()[0]
    source = open_source(place)
    assert (source.kind, source.total, len(source.losses)) == (kind, 5, 0)
    samples = list(source)
    assert [each.captions for each in samples] == CAPTIONS
    for index, each in enumerate(pickle.loads(pickle.dumps(samples))):
        assert each.image.tobytes() == picture(index).tobytes()
    assert len({each.key for each in samples}) == 5
    assert [each.key for each in source] == [each.key for each in samples]
    forced = open_source(f"{kind}:{place}")
    assert forced.fingerprint == source.fingerprint
    assert source.describe() == {
        "kind": kind,
        "place": place,
        "total": 5,
        "bad": 0,
        "fingerprint": source.fingerprint,
    }
    if isinstance(source, IndexedSource):
        assert source[3].image.tobytes() == picture(3).tobytes()
        assert fingerprint(samples) == source.fingerprint


def test_the_scenes_of_limner_are_a_source(tmp_path: Path, emoji_font: Path) -> None:
    from limner.data.scenes.make import SceneFolder, make_scenes

    for _ in make_scenes(SceneFolder(count=3, size=32, font=str(emoji_font)), tmp_path / "s"):
        pass
    samples = list(open_source(tmp_path / "s"))
    assert all(len(each.captions) == 2 and each.captions[0].isascii() for each in samples)
    assert not any(each.captions[1].isascii() for each in samples)


def test_the_name_of_a_class_is_the_caption(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["red_apple/a.png", "red_apple/small/b.jpg", "猫/a.webp"])
    source = open_source(tmp_path)
    assert source.kind == "classes"
    assert [each.captions for each in source] == [("red apple",), ("small",), ("猫",)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_shards_are_streamed_over_http(tmp_path: Path, server: str) -> None:
    make_shards(tmp_path)
    source = open_source(f"{server}/{{00000..00001}}.tar")
    assert (source.kind, source.total) == ("webdataset", None)
    for _ in range(2):
        found = list(read_pictures(source))
        assert [sample.captions for sample, _ in found] == CAPTIONS
        assert [image.tobytes() for _, image in found] == [picture(i).tobytes() for i in range(5)]
    broken = open_source(f"{server}/{{00000..00002}}.tar")
    with pytest.raises(DataError, match="2 of 7 samples are bad"):
        list(read_pictures(broken))


def test_json_in_a_shard_gives_captions_where_no_text_is(tmp_path: Path) -> None:
    row = {"caption": "a cat", "status": "success", "url": "http://x", "width": 40}
    members = {"a.png": encoded(picture(0)), "a.json": json.dumps(row).encode()}
    write_tar(tmp_path / "x.tar", members)
    (sample,) = open_source(tmp_path / "x.tar")
    assert sample.captions == ("a cat",)


def test_a_picture_named_in_two_rows_has_the_captions_of_both(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    rows = [{"file_name": "a.png", "text": text} for text in ("one", "two", "one")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (sample,) = open_source(tmp_path)
    assert sample.captions == ("one", "two")


def test_csv_cells_are_text_whatever_they_hold(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png", "b.png"])
    table = 'file_name,text\r\na.png,"a ""red""\n apple,\tgreen"\r\nb.png,=cmd()\r\n'
    (tmp_path / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    captions = [each.captions for each in open_source(tmp_path)]
    assert captions == [('a "red"\n apple,\tgreen',), ("=cmd()",)]


def test_a_changed_source_is_told_from_the_old(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    before = open_source(tmp_path)
    before.check_unchanged(open_source(tmp_path).fingerprint)
    (tmp_path / "001.txt").write_text("another thing")
    with pytest.raises(DataError, match="the data changed"):
        open_source(tmp_path).check_unchanged(before.fingerprint)


def test_moved_data_has_the_same_fingerprint(tmp_path: Path) -> None:
    for name in ("here", "there"):
        make_shards(tmp_path / name)
    first, second = (open_source(tmp_path / name) for name in ("here", "there"))
    assert first.fingerprint == second.fingerprint


def test_too_few_samples_for_a_batch_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    assert open_source(tmp_path, least=3).total == 3
    with pytest.raises(DataError, match="has 3 samples and 4 are needed"):
        open_source(tmp_path, least=4)


def test_an_unknown_kind_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'pair' is no kind of source; did you mean 'pairs'"):
        open_source(f"pair:{tmp_path}")
    assert set(KINDS) >= {name.split()[0] for name in MAKERS}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "has no captioned picture"),
        (["a.png"], "pictures and no captions"),
        (["readme.md"], "has no captioned picture"),
        (["a.HEIC", "a.gif"], r"has 2 pictures in formats that limner does not read, as 'a\.HEIC'"),
    ],
)
def test_a_folder_without_captioned_pictures_is_refused(
    tmp_path: Path, files: list[str], reason: str
) -> None:
    write_pictures(tmp_path, files)
    with pytest.raises(DataError, match=reason):
        open_source(tmp_path)


def test_what_is_not_there_is_refused_with_the_way_to_the_hub(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not there.*for the hub write hub:someone/pictures"):
        open_source("someone/pictures")
    with pytest.raises(DataError, match="is no folder"):
        open_source(f"pairs:{tmp_path / 'x'}")


def test_metadata_deeper_down_is_pointed_out(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", 2)
    with pytest.raises(DataError, match="give the folder that it is in"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{odd}.tar", ["{odd}.tar"]),
    ],
)
def test_brace_patterns(pattern: str, names: list[str]) -> None:
    from limner.data.sources.shards import expand

    assert expand(pattern) == names


def test_a_pattern_of_a_million_shards_is_refused() -> None:
    with pytest.raises(DataError, match="more than 100000 shards"):
        open_source("{0..999999}.tar")


def test_a_bad_sample_is_counted_once_however_often_it_is_met() -> None:
    losses = Losses()
    for _ in range(2):
        losses.add("a", "x/a", "bad_picture", "it is bad")
    assert (len(losses), losses.counts()) == (1, {"bad_picture": 1})
