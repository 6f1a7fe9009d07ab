"""`limner info` and `limner again`: what pictures say, and that they are drawn again from it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner import registry
from limner.cli import main
from limner.cli.again import open_origin
from limner.images import encode_png, read_png_texts
from limner.masks import things_of
from tests.data.source_files import write_image_folder
from tests.tiny_clip import save_tiny_clip
from tests.tiny_gan import save_tiny_gan
from tests.tiny_model import save_tiny_model
from tests.tiny_unclip import save_tiny_unclip

Run = Callable[..., tuple[int, str, str]]
SAMPLING = {
    "default": ["--temperature", "0.7", "--top-k", "5", "--guidance", "2", "--precision", "bf16"],
    "unclip": ["--steps", "3", "--sampler", "euler", "--guidance", "2"],
    "gan": ["--temperature", "0.5"],
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run limner in a folder with tiny models in place of the embedded ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.PRESETS, "default", save_tiny_model(tmp_path / "m" / "dalle"))
    monkeypatch.setitem(registry.PRESETS, "unclip", save_tiny_unclip(tmp_path / "m" / "unclip"))
    monkeypatch.setitem(registry.PRESETS, "gan", save_tiny_gan(tmp_path / "m" / "gan"))
    monkeypatch.setitem(registry.PRESETS, "clip", save_tiny_clip(tmp_path / "m" / "clip"))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        printed = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, printed.out, printed.err

    return call


def pixels(path: str) -> bytes:
    with Image.open(path) as opened:
        return opened.tobytes()


@pytest.mark.parametrize("model", SAMPLING)
def test_a_renamed_picture_is_drawn_again_in_the_same_pixels(run: Run, model: str) -> None:
    drawn = ("draw", "a red apple", "-n", "2", "--seed", "7", "--out", "o", "--model", model)
    assert run(*drawn, *SAMPLING[model])[0] == 0
    Path("o/a-red-apple-8.png").rename("renamed.png")
    code, out, err = run("again", "renamed.png", "--out", "again")
    assert code == 0 and "the same pixels as 'renamed.png'" in err
    assert pixels(out.strip()) == pixels("renamed.png") != pixels("o/a-red-apple-7.png")
    said, again = (json.loads(read_png_texts(each)["limner"]) for each in ("renamed.png", out[:-1]))
    assert said == again


def test_a_kept_one_of_many_is_drawn_again_alone(run: Run) -> None:
    code, out, _ = run("draw", "a red apple", "--best-of", "3", "--seed", "1", "--out", "best.png")
    assert code == 0
    assert json.loads(read_png_texts("best.png")["limner"])["best_of"] == 3
    code, out, _ = run("again", "best.png", "--out", "again.png", "--json")
    assert code == 0
    assert json.loads(out)["again"] == {"of": "best.png", "same": True, "differs": []}
    assert pixels("again.png") == pixels("best.png")


def test_a_finished_tile_is_drawn_and_finished_again(run: Run) -> None:
    words = ("draw", "a red apple", "--seed", "7", "--tile", "--upscale", "2", "--out", "a.png")
    assert run(*words, "--palette", "#000,#999,#fff", "--dither", "--cut-out")[0] == 0
    said = json.loads(read_png_texts("a.png")["limner"])
    assert said["tile"] and said["finish"]["palette"] == ["#000000", "#999999", "#ffffff"]
    code, out, _ = run("again", "a.png", "--out", "again.png", "--json")
    assert code == 0 and json.loads(out)["again"]["same"] is True
    assert pixels("again.png") == pixels("a.png")


def test_other_seeds_and_more_pictures(run: Run) -> None:
    run("draw", "a red apple", "--seed", "7", "--out", "a.png")
    run("draw", "a red apple", "--seed", "8", "--out", "b.png")
    code, out, err = run("again", "a.png", "-n", "2", "--out", "two")
    assert code == 0 and "the same pixels as 'a.png'" in err
    assert pixels("two/a-red-apple-8.png") == pixels("b.png")
    code, _, err = run("again", "a.png", "--seed", "8", "--out", "c.png")
    assert code == 0 and "other seeds than that of 'a.png'" in err
    assert pixels("c.png") == pixels("b.png")
    told = err.split("the same again: limner ")[1].splitlines()[0].split()
    code, out, _ = run(*told)
    assert code == 0 and pixels(out.strip()) == pixels("c.png")


def test_a_variation_needs_what_it_varies(run: Run) -> None:
    Image.new("RGB", (20, 16), "red").save("red.png")
    Image.new("RGB", (20, 16), "blue").save("blue.png")
    assert run("vary", "red.png", "--seed", "3", "--out", "v.png", "--steps", "2")[0] == 0
    code, out, err = run("again", "v.png")
    assert (code, out) == (2, "")
    assert "'v.png' was made from another picture; give that one with --image" in err
    code, _, err = run("again", "v.png", "--image", "red.png", "--out", "w.png")
    assert code == 0 and "the same pixels as 'v.png'" in err
    code, _, err = run("again", "v.png", "--image", "blue.png", "--out", "x.png")
    assert (
        code == 0 and "not the same pixels as 'v.png'; the picture that it was made from: " in err
    )
    run("draw", "a red apple", "--out", "a.png")
    code, _, err = run("again", "a.png", "--image", "red.png")
    assert code == 2 and "was made from no other picture; leave --image out" in err


MADE = {
    "box": ("edit", "a red apple", "--mask", "2,3,8,8", "--candidates", "2"),
    "words": ("edit", "a red apple", "--from", "a blue apple"),
    "strength": ("edit", "a red apple", "--strength", "0"),
    "object": ("edit", "a red apple", "--mask", "object:apple"),
    "sides": ("outpaint", "a red apple", "--left", "8", "--bottom", "3"),
    "vary": ("vary", "--strength", "0.4", "--steps", "2"),
    "colour": ("colourise", "a red apple", "--steps", "2"),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_was_made_from_a_picture_is_made_from_it_again(run: Run, kind: str) -> None:
    Image.effect_noise((24, 20), 60).convert("RGB").save("photo.png")
    Image.effect_noise((24, 20), 60).convert("RGB").save("other.png")
    command, *words = MADE[kind]
    code, _, err = run(command, "photo.png", *words, "-n", "2", "--seed", "3", "--out", "o")
    assert code == 0, err
    (made,) = Path("o").glob("*-4.png")  # the second of two, alone
    code, out, err = run("again", str(made))
    assert (code, out) == (2, "") and "was made from another picture; give that one" in err
    code, _, err = run("again", str(made), "--image", "photo.png", "--out", "a.png")
    assert code == 0 and "\nthe same pixels as " in f"\n{err}", err
    assert pixels("a.png") == pixels(str(made))
    assert read_png_texts("a.png")["limner"] == read_png_texts(str(made))["limner"]
    code, _, err = run("again", str(made), "--image", "other.png", "--out", "b.png")
    assert code == 0 and "; the picture that it was made from: " in err


def test_a_mask_that_is_no_box_is_asked_for(run: Run) -> None:
    Image.effect_noise((24, 20), 60).convert("RGB").save("photo.png")
    mask = Image.new("L", (24, 20), 0)
    mask.paste(255, (2, 2, 10, 10))
    mask.putpixel((12, 12), 128)
    mask.save("mask.png")
    words = ("photo.png", "a red apple", "--mask", "mask.png", "--seed", "3", "--out", "e.png")
    assert run("edit", *words)[0] == 0
    code, _, err = run("again", "e.png", "--image", "photo.png")
    assert code == 2 and "'e.png' was edited by a mask that is no box; give it with --mask" in err
    given = ("again", "e.png", "--image", "photo.png", "--mask")
    code, _, err = run(*given, "mask.png", "--out", "f.png")
    assert code == 0 and "the same pixels as 'e.png'" in err
    assert pixels("f.png") == pixels("e.png")
    code, _, err = run(*given, "2,2,8,8", "--out", "g.png")
    assert code == 0 and "; the mask: " in err
    run("draw", "a red apple", "--seed", "7", "--out", "d.png")
    code, _, err = run("again", "d.png", "--mask", "mask.png")
    assert code == 2 and "'d.png' was made by no mask; leave --mask out" in err


@pytest.mark.parametrize(("things", "known"), [(3, 3), ("three", 1), (None, 1)])
def test_how_many_things_a_mask_covered_is_known_again(
    run: Run, things: object, known: int
) -> None:
    Image.effect_noise((24, 20), 60).convert("RGB").save("photo.png")
    words = ("photo.png", "a red apple", "--mask", "2,3,8,8", "--seed", "3", "--out", "e.png")
    assert run("edit", *words)[0] == 0
    said = json.loads(read_png_texts("e.png")["limner"])
    own = json.dumps(said | {"edit": said["edit"] | {"things": things}})
    Path("n.png").write_bytes(encode_png(Image.new("RGB", (24, 20)), {"limner": own}))
    assert things_of(open_origin(Path("n.png"), Path("photo.png"), None).mask) == known


def test_an_edit_that_says_nonsense_is_one_sentence(run: Run) -> None:
    Image.effect_noise((24, 20), 60).convert("RGB").save("photo.png")
    words = ("photo.png", "a red apple", "--mask", "2,3,8,8", "--seed", "3", "--out", "e.png")
    assert run("edit", *words)[0] == 0
    said = json.loads(read_png_texts("e.png")["limner"])
    for change, told in (
        ({"redrawn": [20, 0, 8, 8]}, "expected x,y,w,h inside of 24 x 20 pixels"),
        ({"redrawn": "2,3,8,8"}, "was edited by a mask that is no box"),
        ({"redrawn": [2, 3, 8, True]}, "was edited by a mask that is no box"),
        ({"redrawn": None, "around": [-1, 0, 0, 0]}, "the box of the mask is -1,0,25,20"),
        ({"strength": 7}, "strength is 7"),
    ):
        own = json.dumps(said | {"edit": said["edit"] | change})
        Path("n.png").write_bytes(encode_png(Image.new("RGB", (24, 20)), {"limner": own}))
        code, _, err = run("again", "n.png", "--image", "photo.png", "--out", "o.png")
        assert code == 2 and told in err, err


def test_an_adapter_is_asked_for_and_gets_the_weight_it_had(run: Run) -> None:
    write_image_folder(Path("photos"), 6)
    words = ("--on", "photos", "--steps", "2", "--learning-rate", "0.5", "--out")
    assert run("adapt", "default", *words, "dog.safetensors", "--word", "my dog")[0] == 0
    assert run("adapt", "default", *words, "other.safetensors", "--seed", "5")[0] == 0
    drawn = ("draw", "my dog", "--seed", "1", "--adapter", "dog:0.8", "--out", "d.png")
    assert run(*drawn)[0] == 0
    code, _, err = run("again", "d.png")
    assert code == 2 and "was drawn with the adapter 'dog'; give its file with --adapter" in err
    Path("dog.safetensors").rename("renamed.safetensors")
    code, _, err = run("again", "d.png", "--adapter", "renamed.safetensors", "--out", "e.png")
    assert code == 0 and "the same pixels as 'd.png'" in err
    both = ("--adapter", "renamed.safetensors", "--adapter", "other.safetensors")
    code, _, err = run("again", "d.png", *both)
    assert code == 2 and "was not drawn with the adapter 'other.safetensors'" in err
    code, _, err = run("again", "d.png", "--adapter", "renamed:0.5")
    assert code == 2 and "with the weight 0.8 of the adapter 'dog'" in err


def test_another_model_is_found_by_its_weights_or_told(run: Run, tmp_path: Path) -> None:
    run("draw", "a red apple", "--seed", "7", "--model", "m/dalle", "--out", "a.png")
    said = json.loads(read_png_texts("a.png")["limner"])
    assert run("again", "a.png", "--out", "b.png")[0] == 0  # by its hash: its name is "tiny"
    for name, model in (("tiny", "'tiny', which is none of limner's own"), ("default", "")):
        own = json.dumps(said | {"model": name, "model_hash": "0" * 64, "torch": "1.0"})
        Path("c.png").write_bytes(encode_png(Image.new("RGB", (16, 16)), {"limner": own}))
        code, _, err = run("again", "c.png", "--out", "d.png")
        if model:
            assert code == 2 and model in err and "give its folder with --model" in err
            continue
        assert code == 0 and "not the same pixels as 'c.png'; the model's weights: " in err
        assert "torch: '1.0' then, " in err
    code, _, err = run("again", "c.png", "--model", "nosuch")
    assert code == 2 and "unknown model 'nosuch'" in err


def test_what_was_drawn_on_a_gpu_is_drawn_where_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run("draw", "a red apple", "--seed", "7", "--out", "a.png")
    own = json.loads(read_png_texts("a.png")["limner"]) | {"device": "cuda"}
    Path("b.png").write_bytes(encode_png(Image.new("RGB", (16, 16)), {"limner": json.dumps(own)}))
    code, _, err = run("again", "b.png", "--out", "c.png")
    assert code == 0 and "device: 'cuda' then, 'cpu' now" in err


def test_a_picture_that_says_nothing_cannot_be_drawn_again(run: Run) -> None:
    Image.new("RGB", (4, 4)).save("photo.jpg")
    code, out, err = run("again", "photo.jpg")
    assert (code, out) == (3, "") and err.count("\n") == 1
    assert "'photo.jpg' says nothing of how it was drawn" in err


def test_an_edited_picture_is_not_called_the_same(run: Run) -> None:
    run("draw", "a red apple", "--seed", "7", "--out", "a.png")
    texts = read_png_texts("a.png")
    with Image.open("a.png") as opened:
        Path("b.png").write_bytes(encode_png(opened.resize((32, 32)), texts))
    code, _, err = run("again", "b.png", "--out", "c.png")
    assert code == 0 and "another processor drew it, or it was edited" in err


def test_info_tells_what_a_picture_says(run: Run) -> None:
    run("draw", "a red zebra", "--seed", "7", "--guidance", "2", "--out", "a.png")
    Path("a.png").rename("renamed.png")
    code, out, err = run("info", "renamed.png")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "renamed.png"
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:]}
    assert (rows["prompt"], rows["seed"], rows["size"]) == ("a red zebra", "7", "16 x 16")
    assert rows["model"].startswith("tiny (dalle, ") and "guidance 2.0" in rows["settings"]
    assert rows["note"] == "the model has never seen: zebra"
    code, out, _ = run("info", "renamed.png", "renamed.png", "--json")
    (answer, _) = json.loads(out)["pictures"]
    assert (answer["drawn"], answer["prompt"], answer["seed"]) == (True, "a red zebra", 7)
    assert answer["notes"] == ["the model has never seen: zebra"]
    assert answer["settings"]["precision"] == "fp32" and answer["settings"]["device"] == "cpu"
    assert len(answer["model_hash"]) == 64


def test_info_of_pictures_of_others_is_one_sentence(run: Run) -> None:
    Image.new("RGB", (4, 4)).save("photo.jpg")
    code, out, err = run("info", "photo.jpg")
    assert (code, out, err) == (0, "photo.jpg: it says nothing of how it was drawn\n", "")
    other = encode_png(Image.new("RGB", (4, 4)), {"parameters": "a dog\x1b[2J\nSteps: 20"})
    Path("other.png").write_bytes(other)
    code, out, _ = run("info", "other.png")
    assert code == 0 and "a dog\\x1b[2J\\nSteps: 20" in out and "\x1b" not in out
    code, out, err = run("info", "photo.jpg", "absent.png")
    assert (code, out) == (3, "") and "cannot read the picture 'absent.png'" in err
