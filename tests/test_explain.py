"""limner.explain: a prompt or a drawn picture in, the heat of its words out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner import registry
from limner.errors import DataError, UsageError
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import SIZE, save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

PROMPT = "three red apples"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.PRESETS, "default", save_tiny_model(tmp_path / "m" / "default"))
    monkeypatch.setitem(registry.PRESETS, "gan", save_tiny_gan(tmp_path / "m" / "gan"))
    monkeypatch.setitem(registry.PRESETS, "unclip", save_tiny_unclip(tmp_path / "m" / "unclip"))


def test_the_picture_that_is_explained_is_the_one_that_is_drawn() -> None:
    found = limner.explain(PROMPT, seed=7, guidance=1.0)
    (drawn,) = limner.draw(PROMPT, seed=7, guidance=1.0)
    assert found.picture.image == drawn.image and found.picture.settings == drawn.settings
    assert [each.text for each in found.words] == PROMPT.split()
    assert found.surprise is not None and found.seconds > 0
    found.save("sheet.png")
    with Image.open("sheet.png") as sheet:
        assert sheet.size == found.sheet().size and sheet.width > 3 * SIZE
    assert "three" in repr(found) and "nats" in repr(found)
    told = json.loads(json.dumps(found.to_json()))
    assert told["words"][1]["heat"] == [
        [pytest.approx(value, abs=1e-4) for value in row] for row in found.words[1].heat.tolist()
    ]


@pytest.mark.parametrize("model", ["default", "gan", "unclip"])
def test_a_drawn_picture_is_explained_as_its_prompt_was(model: str) -> None:
    (drawn,) = limner.draw(PROMPT, model=model, seed=7)
    drawn.save("drawn.png")
    wanted = limner.explain(PROMPT, model=model, seed=7).to_json() | {"seconds": 0}
    for given in (drawn, "drawn.png", Path("drawn.png")):
        assert limner.explain(given).to_json() | {"seconds": 0} == wanted
    assert limner.load(model).explain(drawn).to_json() | {"seconds": 0} == wanted


def test_a_picture_that_is_another_now_is_told() -> None:
    (drawn,) = limner.draw(PROMPT, seed=7)
    other = replace(drawn, image=Image.new("RGB", (SIZE, SIZE)))
    (note,) = limner.explain(other).picture.notes
    assert note.code == "redrawn" and "other pixels" in str(note)


def test_mistakes_are_told(tmp_path: Path) -> None:
    (drawn,) = limner.draw(PROMPT, seed=7)
    Image.new("RGB", (16, 16)).save("plain.png")
    with pytest.raises(DataError, match="says nothing of how it was drawn"):
        limner.explain("plain.png")
    with pytest.raises(UsageError, match="seed is 3, but the picture itself says"):
        limner.explain(drawn, seed=3)
    with pytest.raises(UsageError, match=r"temperature is 0\.5, but the picture itself says"):
        limner.explain(drawn, temperature=0.5)
    stranger = {"model_hash": "0" * 64}
    with pytest.raises(UsageError, match="drawn by 'mine', which is none of limner's own"):
        limner.explain(replace(drawn, model="mine", settings={**drawn.settings, **stranger}))
    (varied,) = limner.vary("plain.png", seed=1)
    with pytest.raises(UsageError, match="varies another picture"):
        limner.explain(varied)
    merged = {"adapters": [{"name": "dog", "sha256": "1" * 64, "weight": 1.0}]}
    with pytest.raises(UsageError, match="drawn with the adapter 'dog'"):
        limner.explain(replace(drawn, settings={**drawn.settings, **merged}))
    with pytest.raises(UsageError, match="the prompt is empty"):
        limner.explain(" ")
