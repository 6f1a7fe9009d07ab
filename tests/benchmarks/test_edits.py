"""How edits are judged: holes over one object, marks of what is there, and seams."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.edits import (
    ANEW,
    EDITED,
    PASTED,
    TRUTH,
    WHOLE,
    Case,
    Found,
    Marks,
    box_mask,
    gain,
    judge,
    make_cases,
    seam_of,
    table,
)  # fmt: skip
from limner.data.scenes.graph import Graph, Thing
from limner.data.scenes.scene import Box
from limner.evaluate.scenes.detection import Detections
from limner.evaluate.scenes.prompts import Prompt

CAT, DOG = Thing("cat", "red"), Thing("dog", None)


def case_of(graph: Graph, thing: int = 0) -> Case:
    blank = Image.new("L", (64, 64))
    return Case(Prompt(graph, "", ""), blank.convert("RGB"), blank, thing, "box")


def test_holes_lie_over_one_object(emoji_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FONT", str(emoji_font))
    cases = make_cases(12, 0, 64, ("box", "free"))
    assert [case.kind for case in cases] == ["box", "free"] * 6
    for case in cases:
        share = (np.asarray(case.mask) > 0).mean()
        assert 0.02 < share < 0.9
        assert case.thing < len(case.prompt.graph.things)
    again = make_cases(12, 0, 64, ("box", "free"))
    assert all(one.mask == other.mask for one, other in zip(cases, again, strict=True))
    piece = make_cases(4, 0, 64, ("box", "free"), first=8)
    assert [each.mask for each in piece] == [each.mask for each in cases[8:]]


def test_the_object_and_the_rest_are_judged_apart() -> None:
    pair = case_of(Graph((CAT, DOG), "sky", "left"), 1)
    right = judge(pair, Detections("sky", (CAT, DOG), "left"))
    assert (right.object, right.rest, right.colour) == (True, True, None)
    other = judge(pair, Detections("sky", (CAT,)))
    assert (other.object, other.rest) == (False, True)
    lost = judge(pair, Detections("beach", (DOG,)))
    assert (lost.object, lost.rest) == (True, False)
    three = Thing("cat", "red", count=3)
    group = case_of(Graph((three,), "sky"))
    assert judge(group, Detections("sky", (three,))).object
    assert not judge(group, Detections("sky", (Thing("cat", "red", count=2),))).object
    assert judge(group, Detections("sky", (Thing("cat", "blue", count=3),))).colour is False


def test_a_seam_is_a_step_across_the_edge() -> None:
    mask = box_mask(Box(0, 8, 8, 16), 32)
    flat = np.tile(np.arange(32, dtype=np.uint8)[:, None, None], (1, 32, 3))
    assert seam_of(flat, mask) == pytest.approx(1.0, abs=0.01)
    stepped = flat.copy()
    stepped[mask] += 50
    assert seam_of(stepped, mask) > 20


def test_kept_scenes_give_the_table_again() -> None:
    wrong, right = Marks(False, True, seam=1.0), Marks(True, True, seam=0.5, equal=True)
    ways = {TRUTH: right, WHOLE: wrong, EDITED: right, ANEW: wrong, PASTED: right}
    rows = [Found(case_of(Graph((CAT,), "sky")), ways).row()] * 12
    found = table(json.loads(json.dumps(rows)))
    assert found[EDITED]["object"].value == 1 and found[ANEW]["both"].value == 0
    assert found[EDITED]["seam"].value == 0.5
    assert gain(rows, ANEW).value == 1 and gain(rows, PASTED).value == 0
