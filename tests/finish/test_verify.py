"""What a picture's file and pixels say of its origin, each part by itself."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.errors import ImageError
from limner.finish.provenance.signing import make_certificate
from limner.finish.provenance.xmp import TRAINED
from limner.finish.verify import verify, verify_bytes
from limner.images import encode_png
from limner.types import Picture
from tests.finish.provenance.test_mark import scene

PICTURE = Picture(scene(), "a cat", 7, "tiny", {"guidance": 2.0})
NONE = {"metadata": False, "xmp": False, "mark": False}


def told(**saving: object) -> dict[str, object]:
    found = verify_bytes(PICTURE.to_bytes(**saving), "a").to_json()  # type: ignore[arg-type]
    return {
        "metadata": found["metadata"],
        "xmp": found["xmp"] and found["xmp"]["source"],
        "aigc": found["aigc"] and found["aigc"]["Label"],
        "c2pa": found["c2pa"]["state"],
        "mark": found["mark"]["found"],
        "generated": found["generated"],
    }


def test_a_saved_picture_tells_everything() -> None:
    about = {"prompt": "a cat", "seed": 7, "model": "tiny"}
    wanted = {"metadata": about, "xmp": TRAINED, "aigc": None, "c2pa": "absent", "mark": True}
    for kind in ("PNG", "JPEG", "WEBP"):
        assert told(kind=kind) == {**wanted, "generated": True}


@pytest.mark.parametrize(
    ("saving", "found"),
    [
        ({}, {}),
        ({"metadata": True}, {"metadata": {"prompt": "a cat", "seed": 7, "model": "tiny"}}),
        ({"xmp": True}, {"xmp": TRAINED}),
        ({"mark": True}, {"mark": True}),
        ({"label": "gb45438"}, {"aigc": "1"}),
    ],
)
def test_each_part_is_told_by_itself(saving: dict[str, object], found: dict[str, object]) -> None:
    nothing = {"metadata": None, "xmp": None, "aigc": None, "c2pa": "absent", "mark": False}
    assert told(**{**NONE, **saving}) == {**nothing, **found, "generated": bool(found)}


def test_pictures_of_others_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((80, 60), 60).save(path)
    found = verify(path)
    assert (found.width, found.height, found.generated) == (80, 60, False)
    small = verify_bytes(encode_png(Image.new("RGB", (16, 16))), "a")
    assert small.score is None and not small.marked


def test_damaged_metadata_are_told() -> None:
    found = verify_bytes(encode_png(scene(), {"limner": "{"}), "a")
    assert found.damaged and found.metadata is None and not found.generated


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff c2pa"])
def test_what_is_no_picture_is_told(data: bytes) -> None:
    with pytest.raises(ImageError):
        verify_bytes(data, "a")


def test_a_signature_is_told(tmp_path: Path) -> None:
    pytest.importorskip("c2pa", reason="needs the extra c2pa")
    found = told(**NONE, sign=make_certificate(tmp_path / "a.pem"))
    assert (found["c2pa"], found["generated"]) == ("valid", True)


def test_a_signature_is_not_passed_over_without_what_checks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = verify_bytes(PICTURE.to_png() + b"c2pa", "a")
    assert found.signature.state == "unchecked" and "limner[c2pa]" in found.signature.told
