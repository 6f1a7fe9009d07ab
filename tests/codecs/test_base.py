"""What every codec shares: codes of one map are a grid, of several a row."""

from limner.codecs.base import CodecBase


class Maps(CodecBase):
    """A codec of given maps alone."""

    def __init__(self, *maps: tuple[int, int]) -> None:
        super().__init__()
        self.given = maps

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        return self.given


def test_one_map_is_laid_out_as_a_grid() -> None:
    codec = Maps((8, 4))
    assert (codec.grid, codec.layout, codec.groups) == ((8, 4), (8, 4), 1)
    assert codec.levels == ()


def test_several_maps_are_laid_out_in_a_row() -> None:
    codec = Maps((1, 1), (2, 3), (4, 4))
    assert (codec.grid, codec.layout) == ((4, 4), (1 + 6 + 16,))
