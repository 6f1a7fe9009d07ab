from pathlib import Path

import numpy as np

from benchmarks.shapes import (
    SHAPES,
    TEXTURES,
    TRAINED,
    VOCABULARY,
    Drawing,
    draw,
    every_drawing,
    same_pictures,
    split,
    write_folder,
)
from limner.data.sources.opening import open_source


def test_captions_name_every_drawing_once_in_known_words() -> None:
    captions = [each.caption for each in every_drawing()]
    assert len(set(captions)) == len(captions) == 9216
    assert captions == sorted(captions)
    words = [caption.split() for caption in captions]
    assert max(map(len, words)) == 7
    assert {word for each in words for word in each} == set(VOCABULARY)


def test_the_published_split_is_a_partition() -> None:
    trained, held_out = split()
    assert len(trained) == TRAINED
    assert sorted(trained + held_out) == list(range(9216))


def test_only_rotations_of_circles_and_squares_look_the_same() -> None:
    """On one scale and colour; the whole set is what benchmarks/rainbow.py works with."""
    drawings = [each for each in every_drawing() if (each.scale, each.colour) == (0, 9)]
    same = same_pictures(np.stack([draw(each) for each in drawings]))
    for position, first in enumerate(same):
        mine, theirs = drawings[position], drawings[first]
        assert mine.values[:5] == theirs.values[:5]
        round_shape = SHAPES[mine.shape] in ("circle", "square")
        assert (first == position) == (not round_shape or mine.rotation == theirs.rotation)


def test_a_picture_shows_what_its_caption_says() -> None:
    red, rainbow = 0, 11
    filled, hollow = (draw(Drawing(3, fill, 0, red, 0, 0)) for fill in (0, 1))
    assert (filled[16, 16] == (255, 0, 0)).all()
    assert (hollow[16, 16] == 255).all()
    assert (filled[0, 0] == 255).all()
    halftone = draw(Drawing(3, 0, TEXTURES.index("halftone"), red, 0, 0))
    assert 0.45 < (halftone != 255).any(-1).sum() / (filled != 255).any(-1).sum() < 0.55
    assert len(np.unique(draw(Drawing(3, 0, 0, rainbow, 0, 0)).reshape(-1, 3), axis=0)) == 8
    arrow, turned = (draw(Drawing(2, 0, 0, red, SHAPES.index("arrow"), turn)) for turn in (0, 1))
    assert (np.rot90(arrow, -1) == turned).all()
    assert (arrow != turned).any()


def test_a_folder_is_a_source_with_the_same_pixels(tmp_path: Path) -> None:
    write_folder(tmp_path / "trained", [5, 9000])
    found = {sample.captions: sample.image for sample in open_source(str(tmp_path / "trained"))}
    for position in (5, 9000):
        drawing = every_drawing()[position]
        assert np.array_equal(np.array(found[(drawing.caption,)]), draw(drawing))
