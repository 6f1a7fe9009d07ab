"""Tiny collections on disk for tests, laid out as their Debian packages are."""

from pathlib import Path

from PIL import Image, ImageDraw

from tests.data.source_files import encoded, picture

STAMPS, CLIPART = "usr/share/tuxpaint/stamps", "usr/share/openclipart"
ABOUT = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:cc="http://web.resource.org/cc/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><rdf:RDF><cc:Work>
<dc:title>{title}</dc:title><dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
<dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata>{body}</svg>"""
PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" width="30pt" height="60pt">{}</svg>'
RED = '<rect width="30" height="60" fill="#f00"/>'


def cut_out(seed: int = 0, width: int = 60, height: int = 40) -> Image.Image:
    """Return a coloured ellipse, which touches no side, on nothing."""
    image = picture(seed, width, height).convert("RGBA")
    shape = Image.new("L", image.size, 0)
    ImageDraw.Draw(shape).ellipse((10, 5, width - 11, height - 6), fill=255)
    image.putalpha(shape)
    return image


def put(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def write_stamps(root: Path) -> Path:
    """Write seven stamps: two are good, and an SVG, and each of the others has something wrong."""
    folder = root / STAMPS
    badger = "A badger.\nde.utf8=Ein Dachs.\nzh_CN.utf8=獾。\nzh_TW.utf8=獾\nfr.utf8=\n"
    put(folder / "animals/badger.txt", badger)
    put(folder / "animals/badger.png", encoded(cut_out(1)))
    put(folder / "animals/badger.svg", DRAWING.format(RED))  # the same stamp once more
    put(folder / "animals/badger_mirror.png", encoded(cut_out(2)))  # no caption
    put(folder / "animals/Badger.txt", "Saturn!\nzh_CN.utf8=土星！\n")
    put(folder / "animals/Badger.png", encoded(picture(3)))
    put(folder / "food/onion.txt", "An onion.\nzh_CN.utf8=洋葱！\n")
    put(folder / "food/onion.png", encoded(cut_out(4))[:90])  # broken
    put(folder / "food/wide.txt", "A wide river.\n")
    put(folder / "food/wide.png", encoded(Image.new("RGB", (9000, 8), "blue")))  # oversized
    put(folder / "food/latin.txt", "Caf\xe9".encode("latin-1"))  # not UTF-8
    put(folder / "food/latin.png", encoded(cut_out(5)))
    put(folder / "food/lonely.txt", "A thing that has no picture.")
    put(folder / "town/tower.txt", "A round tower.\nde.utf8=Ein runder Turm.\n")
    put(folder / "town/tower.svg", DRAWING.format(RED))
    return folder


def about(
    title: str, *keywords: str, author: str = "", licence: str = PUBLIC_DOMAIN, body: str = ""
) -> str:
    """Return an SVG file with what it says of itself."""
    listed = "".join(f"<rdf:li>{each}</rdf:li>" for each in ("", *keywords))
    values = {"title": title, "author": author, "licence": licence, "body": body}
    return ABOUT.format(keywords=listed, **values)


def write_clipart(root: Path, titles: bool = True) -> Path:
    """Write clip art of which two are good; each of the others has something wrong."""
    folder = root / CLIPART
    files = {
        "animals/birds/owl_on_branch_ann_exam_01": about(
            "Owl on branch", "bird", "hash(0x85)", "animals_and_birds", author="Ann Example"
        ),
        "food/pear2": about("Pear2", "food"),
        "food/broken_01": about("Broken"),
        "food/wide_01": about("Wide"),
        "food/dot_01": about("Dot"),
        "food/owned_01": about("Owned", licence="http://creativecommons.org/licenses/GPL/2.0/"),
        "food/silent_01": about("Silent", licence=""),
        "food/linked_01": about("Linked", body='<image xlink:href="photo.png"/>'),
        "shapes/stars/star_59": about("Star"),
        "unsorted/gallo_01": about("Gallo", "unsorted", author="Francesco Rollandin"),
    }
    for seed, (name, text) in enumerate(files.items()):
        put(folder / "png" / f"{name}.png", encoded(cut_out(seed)))
        if titles:
            put(folder / "svg" / f"{name}.svg", text)
    put(folder / "png/food/broken_01.png", b"\x89PNG\r\n\x1a\nno more")
    put(folder / "png/food/wide_01.png", encoded(Image.new("RGB", (9000, 8), "blue")))
    put(folder / "png/food/dot_01.png", encoded(Image.new("RGB", (5, 5), "blue")))
    (folder / "png/food/again.png").symlink_to("pear2.png")
    return folder
