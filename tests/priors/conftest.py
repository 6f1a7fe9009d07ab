"""What several tests of priors share."""

from collections.abc import Iterator

import pytest

from limner.nn import native


@pytest.fixture(params=["0", "1"], ids=["stock", "native"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Draw by one of the two paths."""
    monkeypatch.setenv("LIMNER_NATIVE", request.param)
    native.find_library.cache_clear()
    library, why = native.find_library()
    if request.param == "1" and library is None:
        pytest.skip(why)
    yield request.param
    native.find_library.cache_clear()
