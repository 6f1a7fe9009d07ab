"""Residual maps: which phi is a map's."""

import numpy as np
import pytest

from limner.nn.maps import phi_of_map


@pytest.mark.parametrize("phis", range(1, 8))
@pytest.mark.parametrize("maps", [1, 2, 4, 10, 14])
def test_a_map_takes_the_phi_that_numpy_finds_nearest(maps: int, phis: int) -> None:
    end = (1 / 3 if phis == 4 else 1 / 2) / phis
    ticks = np.linspace(end, 1 - end, phis)
    places = [which / max(1, maps - 1) for which in range(maps)]
    wanted = [int(np.argmin(np.abs(ticks - place))) for place in places]
    assert [phi_of_map(which, maps, phis) for which in range(maps)] == wanted


def test_the_ten_published_maps_share_four() -> None:
    assert [phi_of_map(which, 10, 4) for which in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
