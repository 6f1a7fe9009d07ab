"""What a source does with bad, damaged and hostile files: rows 81 to 93 of the bad inputs."""

import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from limner.data.sources import shards
from limner.data.sources.base import Losses, Sample, Source, read_pictures
from limner.data.sources.opening import open_source
from limner.errors import DataError, ImageError
from tests.data.source_files import (
    encoded,
    picture,
    shard_members,
    write_image_folder,
    write_pairs,
    write_pictures,
    write_tar,
)

MANY = 200  # so that one or two bad samples are at most 1 %


def reasons(source: Source) -> str:
    return "\n".join(each.reason for each in source.losses.samples)


def test_one_in_a_hundred_may_be_lost_and_no_more(tmp_path: Path) -> None:
    write_pairs(tmp_path, 100)
    (tmp_path / "050.txt").unlink()
    source = open_source(tmp_path)
    assert (source.total, source.losses.counts()) == (99, {"no_caption": 1})
    assert "'050.png' has no 050.txt beside it" in reasons(source)
    (tmp_path / "060.png").unlink()
    with pytest.raises(DataError, match="2 of 100 samples are bad, more than 1 %") as caught:
        open_source(tmp_path)
    assert caught.value.exit_code == 3
    found = open_source(tmp_path, strict=False)
    assert found.losses.counts() == {"no_caption": 1, "no_picture": 1}


def test_two_pictures_of_one_stem_are_never_chosen_between(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    write_pictures(tmp_path, ["001.jpg"])
    with pytest.raises(DataError, match=r"share a stem.*'001\.jpg', '001\.png'"):
        open_source(tmp_path, strict=False)
    write_tar(tmp_path / "x.tar", {"a.png": b"x", "a.jpg": b"y", "a.txt": b"z"})
    with pytest.raises(DataError, match=r"several pictures under one key.*'a\.png', 'a\.jpg'"):
        open_source(tmp_path / "x.tar", strict=False)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"caf\xe9", "not UTF-8 at byte offset 3"),
        (b"\xef\xbb\xbfcaf\xe9", "not UTF-8 at byte offset 6"),
        ("苹果".encode("utf-16"), "not UTF-8 at byte offset 0"),
        (b"a\0b", "a NUL at byte offset 1"),
        (b"x" * 10_000_000, "larger than 1 MiB"),
        (b"x" * 70_000, "has 70000 bytes; at most 64 KiB"),
        (b" \n\t\n", "the caption is empty"),
        (b"", "the caption is empty"),
        (b"\n".join(b"%d" % number for number in range(65)), "65 captions; at most 64"),
    ],
)
def test_captions_that_are_no_text_are_skipped(tmp_path: Path, data: bytes, reason: str) -> None:
    write_pairs(tmp_path / "pairs", 2)
    (tmp_path / "pairs" / "000.txt").write_bytes(data)
    members = shard_members(2) | {"000000000.txt": data}
    write_tar(tmp_path / "x.tar", members)
    for place in (tmp_path / "pairs", tmp_path / "x.tar"):
        source = open_source(place, strict=False)
        assert source.total == 1
        assert reason in reasons(source)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"file_name": "000.png", "text": "caf\xe9"}', "not UTF-8 at byte offset"),
        (b'{"file_name": "000.png", "text": "a\\u0000b"}', "NUL at character 1"),
        (b'{"file_name": "000.png", "text": "\\ud800"}', "not valid Unicode"),
        (b'{"file_name": "000.png", "text": 5}', "is int, not text"),
        (b'{"file_name": "000.png", "text": ""}', "the caption is empty"),
        (b'{"file_name": "000.png"}', "the caption is empty"),
        (b'{"file_name": 7, "text": "x"}', "names no picture"),
        (b'{"file_name": "gone.png", "text": "x"}', "No such file"),
        (b"not json", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b"[]", "no JSON object"),
    ],
)
def test_bad_rows_are_skipped_with_their_line(tmp_path: Path, row: bytes, reason: str) -> None:
    write_image_folder(tmp_path, 2)
    table = tmp_path / "metadata.jsonl"
    table.write_bytes(row + b"\n" + table.read_bytes().splitlines(keepends=True)[1])
    source = open_source(tmp_path, strict=False)
    assert source.total == 1
    assert reason in reasons(source)
    assert "line 1" in reasons(source)


def test_the_byte_offset_of_a_row_counts_from_the_beginning(tmp_path: Path) -> None:
    write_image_folder(tmp_path, 2)
    table = tmp_path / "metadata.jsonl"
    good = table.read_bytes()
    table.write_bytes(good + b'{"text": "\xff"}\n')
    assert f"byte offset {len(good) + 10}" in reasons(open_source(tmp_path, strict=False))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"file_name,text\n000.png,caf\xe9\n001.png,x\n", "not valid Unicode"),
        (b"file_name,text\n000.png\n001.png,x\n", "1 cells under 2 columns"),
        (b'file_name,text\n000.png,"a"b\n001.png,x\n', "line 2"),
    ],
)
def test_bad_rows_of_a_csv_are_skipped(tmp_path: Path, table: bytes, reason: str) -> None:
    write_pictures(tmp_path, ["000.png", "001.png"])
    (tmp_path / "metadata.csv").write_bytes(table)
    source = open_source(tmp_path, strict=False)
    assert [each.key for each in source] == ["001.png"]
    assert reason in reasons(source)


@pytest.mark.parametrize("table", [b"", b"a,b\n1,2\n", "file_name,text\n".encode("utf-16")])
def test_a_csv_without_the_column_is_refused(tmp_path: Path, table: bytes) -> None:
    write_pictures(tmp_path, ["000.png"])
    (tmp_path / "metadata.csv").write_bytes(table)
    with pytest.raises(DataError, match="has no column file_name"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "C:\\x.png", "a\\..\\..\\b"])
def test_names_that_lead_out_are_never_opened(tmp_path: Path, name: str) -> None:
    write_pictures(tmp_path, ["secret.png", "in/000.png"])
    row = json.dumps({"file_name": name, "text": "x"}) + "\n"
    (tmp_path / "in" / "rows.jsonl").write_text(row + '{"file_name": "000.png", "text": "x"}')
    source = open_source(tmp_path / "in" / "rows.jsonl", strict=False)
    assert (source.total, source.losses.counts()) == (1, {"unsafe": 1})
    members = {name: encoded(picture(0)), f"{name[:-4]}.txt": b"x", **shard_members(1)}
    write_tar(tmp_path / "x.tar", members)
    before = sorted(tmp_path.rglob("*"))
    shard = open_source(tmp_path / "x.tar", strict=False)
    assert shard.total == 1
    assert set(shard.losses.counts()) == {"unsafe"}
    assert sorted(tmp_path.rglob("*")) == before


def test_links_devices_and_pipes_are_not_followed(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data", 3)
    write_pairs(tmp_path / "other", 3)
    data = tmp_path / "data"
    (data / "out.png").symlink_to(tmp_path / "other" / "000.png")
    (data / "folder").symlink_to(tmp_path / "other")
    (data / "in.png").symlink_to(data / "000.png")
    (data / "in.txt").write_text("linked within")
    (data / "loop.png").symlink_to(data / "loop.png")
    os.mkfifo(data / "pipe.png")
    source = open_source(data, strict=False)
    assert [each.key for each in source] == ["000.png", "001.png", "002.png", "in.png"]
    assert source.losses.counts() == {"unsafe": 4}
    (tmp_path / "rows.jsonl").write_text('{"file_name": "data/out.png", "text": "x"}\n')
    os.mkdir(tmp_path / "deep")
    (tmp_path / "deep" / "out.png").symlink_to("/etc/hostname")
    (tmp_path / "rows.jsonl").write_text('{"file_name": "deep/out.png", "text": "x"}\n')
    assert open_source(tmp_path / "rows.jsonl", strict=False).losses.counts() == {"unsafe": 1}


def test_links_and_devices_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", shard_members(2))
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"k{kind.decode()}.png")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    source = open_source(tmp_path / "x.tar", strict=False)
    assert (source.total, source.losses.counts()) == (2, {"unsafe": 4})


def test_a_cut_picture_in_a_shard_is_listed_with_shard_key_and_reason(tmp_path: Path) -> None:
    for number in range(4):
        members = shard_members(50)
        if number == 3:
            members["000000017.png"] = members["000000017.png"][:100]
        write_tar(tmp_path / f"{number:05d}.tar", members)
    source = open_source(tmp_path)
    assert len(list(read_pictures(source))) == 199
    source.losses.write(tmp_path / "bad_samples.jsonl")
    (line,) = (tmp_path / "bad_samples.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["key"] == "00003.tar/000000017.png"
    assert (row["code"], "truncated" in row["reason"]) == ("bad_picture", True)


def test_reading_ends_as_soon_as_too_much_is_lost(tmp_path: Path) -> None:
    write_pairs(tmp_path, 100)
    for name in ("001", "002", "099"):
        (tmp_path / f"{name}.png").write_bytes(b"no picture")
    seen: list[Sample] = []
    with pytest.raises(DataError, match="2 of 100 samples are bad"):
        seen.extend(sample for sample, _ in read_pictures(open_source(tmp_path)))
    relaxed = open_source(tmp_path)
    assert len(list(read_pictures(relaxed, strict=False))) == 97
    assert relaxed.losses.counts() == {"bad_picture": 3}


def damaged(data: bytes, how: str) -> bytes:
    if how == "cut in a member":
        return data[:2500]
    if how == "header checksum":  # of the third member
        at = 512 * 5
        return data[: at + 148] + b"0000001" + data[at + 155 :]
    return {"empty": b"", "no tar": b"no tar at all" * 99, "gzip": b"\x1f\x8b\x08" + data}[how]


@pytest.mark.parametrize("how", ["cut in a member", "header checksum", "empty", "no tar", "gzip"])
def test_a_damaged_shard_is_refused_and_the_others_go_on(tmp_path: Path, how: str) -> None:
    small = {f"{index}.png": encoded(picture(index, 16, 16)) for index in range(4)}
    members: dict[str, bytes] = {}
    for index in range(4):
        members |= {f"{index}.png": small[f"{index}.png"][:900], f"{index}.txt": b"x"}
    write_tar(tmp_path / "0.tar", members)
    write_tar(tmp_path / "1.tar", members)
    (tmp_path / "0.tar").write_bytes(damaged((tmp_path / "0.tar").read_bytes(), how))
    source = open_source(tmp_path, strict=False)
    assert source.losses.counts() == {"bad_archive": 1}
    first = sum("0.tar" in each.where for each in source)
    assert first < 4
    assert source.total == 4 + first
    assert len(source.losses) == max(4 - first, 1)  # what nobody can name is counted too
    with pytest.raises(DataError, match=r"samples are bad.*0\.tar"):
        open_source(tmp_path)


def test_a_shard_alone_that_is_no_tar_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"junk" * 1000)
    with pytest.raises(DataError, match=r"has no captioned picture.*x\.tar"):
        open_source(tmp_path / "x.tar")
    with pytest.raises(DataError, match=r"has no captioned picture.*no such file"):
        open_source(tmp_path / "gone.tar")


def test_members_are_limited_in_number_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tar(tmp_path / "x.tar", shard_members(6))
    monkeypatch.setattr(shards, "MEMBERS_LIMIT", 8)
    source = open_source(tmp_path / "x.tar", strict=False)
    assert "more than 8 members" in reasons(source)
    monkeypatch.setattr(shards, "MEMBERS_LIMIT", 100)
    monkeypatch.setattr(shards, "MEMBER_LIMIT", 20)
    source = open_source(tmp_path / "x.tar", strict=False)
    assert source.total == 0
    assert "bytes; at most 0 MiB" in reasons(source)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header("a.png", 2**40), "unexpected end of data"),
        (header("a.png", 2**40, tarfile.GNUTYPE_SPARSE), "bad_archive"),
        (header("x", 2**33, tarfile.GNUTYPE_LONGNAME), "claims 8589934592 bytes"),
        (header("x", 2**33, tarfile.XHDTYPE), "claims 8589934592 bytes"),
        (header("x", 0, tarfile.XHDTYPE) * 20_000, "bad_archive"),
    ],
)
def test_huge_claims_cost_nothing(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(data + bytes(1024))
    source = open_source(tmp_path / "x.tar", strict=False)
    assert source.total == 0
    assert reason in reasons(source) + " ".join(source.losses.counts())


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pwned",)


def test_pickles_in_a_shard_are_never_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(Hostile())
    ends = ("pyd", "pkl", "pickle", "pth", "npy", "npz", "cls")
    members = shard_members(1) | {f"000000000.{end}": payload for end in ends}
    members["000000001.png"] = payload
    members["000000001.txt"] = b"a picture that is a pickle"
    write_tar(tmp_path / "x.tar", members)
    source = open_source(tmp_path / "x.tar")
    assert len(list(read_pictures(source, strict=False))) == 1
    assert not (tmp_path / "pwned").exists()


def test_what_vanishes_or_changes_after_the_scan_is_skipped(tmp_path: Path) -> None:
    write_pairs(tmp_path, MANY)
    source = open_source(tmp_path)
    (tmp_path / "003.png").unlink()
    (tmp_path / "004.png").write_bytes(encoded(picture(999, 64, 64)))
    assert len(list(read_pictures(source))) == MANY - 2
    assert "003.png': No such file" in reasons(source)
    assert "the data changed meanwhile" in reasons(source)


@pytest.mark.parametrize("size", [(1, 1), (8, 200), (200, 15)])
def test_pictures_below_sixteen_pixels_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    write_pairs(tmp_path, 1)
    (tmp_path / "000.png").write_bytes(encoded(picture(0, *size)))
    (sample,) = open_source(tmp_path)
    with pytest.raises(ImageError, match="at least 16 a side"):
        _ = sample.image


def test_other_formats_are_named_not_passed_over(tmp_path: Path) -> None:
    write_pairs(tmp_path, MANY)
    buffer = io.BytesIO()
    picture(0).save(buffer, "GIF")
    (tmp_path / "x.gif").write_bytes(buffer.getvalue())
    (tmp_path / "x.txt").write_text("moves")
    source = open_source(tmp_path)
    assert source.losses.counts() == {"no_picture": 1, "bad_picture": 1}


def test_losses_write_any_text(tmp_path: Path) -> None:
    losses = Losses()
    losses.add("a\ud800", "x\n", "unsafe", "odd 名")
    losses.write(tmp_path / "b.jsonl")
    assert "odd 名" in (tmp_path / "b.jsonl").read_text("utf-8")
