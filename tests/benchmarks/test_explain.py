"""A long run of explanations in pieces is the same as one run."""

from benchmarks.explain import joined


def test_pieces_are_joined() -> None:
    one = {"asked": 2, "objects": 2, "ways": {"likelihood": [{"peak": 1.0}]}}
    other = {"asked": 4, "objects": 3, "ways": {"likelihood": [{"peak": 0.0}, {"peak": 1.0}]}}
    found = joined([one, other])
    assert (found["asked"], found["objects"]) == (6, 5)
    assert [each["peak"] for each in found["ways"]["likelihood"]] == [1.0, 0.0, 1.0]
