"""What was made is kept, the last asked for, within so many bytes."""

import numpy as np

from limner.data.scenes.kept import Pixels, kept_within


def test_the_last_asked_for_are_kept_within_so_many_bytes() -> None:
    made: list[int] = []

    @kept_within(250)
    def picture(value: int, *, side: int = 10) -> Pixels:
        made.append(value)
        return np.full((side, side), value, np.uint8)

    assert picture(1) is picture(1) and picture(2)[0, 0] == 2 and made == [1, 2]
    picture(1)
    picture(3)  # of three only two fit: 2 was asked for longest ago
    picture(1)
    assert made == [1, 2, 3]
    picture(2)
    assert made == [1, 2, 3, 2]
    large = picture(4, side=20)  # too large for all, and kept alone
    assert picture(4, side=20) is large and made[-1] == 4
    picture(4, side=10)
    assert made[-2:] == [4, 4] and picture.__name__ == "picture"
