"""The sheet of heat: where a panel is hot, how it is labelled, and that nothing is too small."""

import torch
from PIL import Image

from limner.finish.heat import GAP, LABEL, PANEL, heat_sheet, overlay
from limner.images import to_tensor


def test_the_hot_corner_is_coloured_and_the_rest_is_grey() -> None:
    heat = torch.zeros(4, 4)
    heat[0, 3] = 1
    pixels = to_tensor([overlay(Image.new("RGB", (64, 64), "blue"), heat)])[0]
    red, green, blue = pixels[:, 4, 60].tolist()
    assert red > 0.8 and green > 0.6 and blue < 0.5
    assert len(set(pixels[:, 60, 4].tolist())) == 1
    assert overlay(Image.new("RGB", (8, 8)), torch.ones(2, 2)).size == (8, 8)


def test_a_sheet_has_a_panel_for_the_picture_and_for_each_map() -> None:
    heat = torch.rand(2, 2, generator=torch.Generator().manual_seed(0))
    maps = [("cat", 1.0, heat), ("狗", 2.0, heat - 0.5), ("on the beach", 0.0, heat * 0.05)]
    small = Image.new("RGB", (16, 16), "green")
    sheet = heat_sheet(small, [*maps, ("a", 0.0, heat * 1e-3), ("the", -1.0, -heat)])
    side = PANEL + GAP
    assert sheet.size == (4 * side - GAP, PANEL + LABEL), "what cannot be seen has no panel"
    assert sheet.getpixel((10, LABEL + 10)) == (0, 128, 0)
    strong, half, weak = (
        to_tensor([sheet.crop((at * side, LABEL, at * side + PANEL, LABEL + PANEL))])
        for at in range(1, 4)
    )
    assert float((strong[0, 0] - strong[0, 2]).max()) > 0.5
    assert float((half[0, 0] - half[0, 2]).min()) == 0, "what is below 0 is not shown"
    assert float(weak[0, 0].max()) < float(strong[0, 0].max()), "weak heat does not look strong"
    assert heat_sheet(Image.new("RGB", (500, 500)), maps * 2).size == (
        4 * 500 + 3 * GAP,
        2 * (500 + LABEL) + GAP,
    )
    assert heat_sheet(small, []).size == (PANEL, PANEL + LABEL)
