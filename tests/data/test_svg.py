"""What SVG files say of themselves."""

from pathlib import Path

import pytest

from limner.data.collections.svg import links_to_a_picture, read_about
from limner.errors import ImageError
from tests.data.collection_files import PUBLIC_DOMAIN, about


def test_metadata_are_read_and_nothing_after_them(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    text = about("An  owl", "bird", "night", author="Ann Example")
    path.write_text(text.replace("</metadata>", "</metadata><broken"), encoding="utf-8")
    found = read_about(path)
    assert (found.title, found.author) == ("An owl", "Ann Example")
    assert found.keywords == ["bird", "night"] and found.licences == [PUBLIC_DOMAIN]


@pytest.mark.parametrize("data", [b"", b"<svg", b"\x00\xff", b"<svg>&bomb;</svg>"])
def test_what_is_no_xml_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_bytes(data)
    with pytest.raises(ImageError, match="cannot read the metadata of"):
        read_about(tmp_path / "a.svg")


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ('<image width="3" xlink:href="photo.png"/>', True),
        ("<svg:image\n href = 'C:/photo.png'/>", True),
        ('<image xlink:href="data:image/png;base64,AAAA"/>', False),
        ('<use xlink:href="#a"/>', False),
        ("", False),
    ],
)
def test_pictures_of_other_files_are_noticed(body: str, links: bool, tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text(about("x", body=body), encoding="utf-8")
    assert links_to_a_picture(tmp_path / "a.svg") is links
