"""A run's TOML file is read strictly, and a mistake is told by its key."""

import json
from pathlib import Path

import pytest

from limner.errors import ConfigError
from limner.train.codec.settings import CodecTraining
from limner.train.config.run import TrainConfig
from limner.train.config.shared import LoopConfig
from limner.train.reading import find_line, read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
task = "codec"
out = "runs/x"
[codec]
name = "fsq"
levels = [4, 4]
[data]
level = 2
[loop]
steps = 7
learning_rate = 1e-4
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_read_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert (config.task, config.out, config.data.level) == ("codec", "runs/x", 2)
    assert (config.loop.steps, config.loop.learning_rate) == (7, 1e-4)
    assert config.part("codec") == {"name": "fsq", "levels": [4, 4]}
    assert config.loop.batch == TrainConfig("codec", "x").loop.batch
    assert config.settings(CodecTraining) == CodecTraining()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_the_configs_of_the_repository_are_valid(path: Path) -> None:
    config = read_config(path)
    assert config.task == path.stem.partition("-")[0]
    json.dumps(config.to_json())


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("loop.steps", "100", 100),
        ("loop.learning_rate", "2", 2.0),
        ("loop.bf16", "false", False),
        ("out", "runs/other", "runs/other"),
        ("out", '"a b"', "a b"),
        ("data.seed", "9", 9),
    ],
)
def test_overrides_win_over_the_file(tmp_path: Path, key: str, text: str, found: object) -> None:
    tree = read_config(written(tmp_path, GOOD), {key: text}).to_json()
    for part in key.split("."):
        tree = tree[part]
    assert tree == found
    assert type(tree) is type(found)


def test_an_override_reaches_into_the_parts(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD), {"codec.levels": "[8, 8]", "prior.width": "64"})
    assert config.part("codec") == {"name": "fsq", "levels": [8, 8]}
    assert config.part("prior") == {"width": 64}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loop]\nlearing_rate = 1e-3", r"unknown key loop\.learing_rate.*learning_rate"),
        ("[lop]\nsteps = 3", r"unknown key lop.*loop"),
        ("trust_remote_code = true", "unknown key trust_remote_code"),
        ('_target_ = "os.system"', "unknown key _target_"),
        ('[loop]\nlearning_rate = "1e-4"', r"loop\.learning_rate is '1e-4', a str; .*float"),
        ("[loop]\nsteps = true", r"loop\.steps is True, a bool; .*int"),
        ("[loop]\nsteps = 3.0", r"loop\.steps is 3\.0, a float; .*int"),
        ("[loop]\nbf16 = 1", r"loop\.bf16 is 1, an int; .*bool"),
        ("[loop]\nsteps = -1", r"loop\.steps is -1"),
        ("[loop]\nlearning_rate = nan", r"loop\.learning_rate is nan"),
        ("[loop]\nlearning_rate = inf", r"loop\.learning_rate is inf"),
        ("[loop]\nlearning_rate = 1e400", r"loop\.learning_rate is inf"),
        ("[loop]\nlearning_rate = -0.1", r"loop\.learning_rate is -0\.1"),
        ("[data]\nlevel = [1]", r"data\.level is \[1\], a list; .*int"),
        ("codec = 3\n", r"codec is 3, an int; .*table"),
        ("[loop]\nsteps = 1\nsteps = 2", "not valid TOML"),
        ("[loop\n", "not valid TOML"),
    ],
)
def test_mistakes_are_told_by_their_key(tmp_path: Path, text: str, words: str) -> None:
    head = 'task = "codec"\nout = "x"\n'
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(written(tmp_path, head + text))
    assert caught.value.exit_code == 2
    assert "run.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loop]\nlearning_rate = 0", r"learning_rate is 0\.0; expected a float above 0"),
        ("[loop]\nlearning_rate = -1", r"learning_rate is -1\.0; expected a float above 0"),
        ("[loop]\nweight_decay = -0.1", r"weight_decay is -0\.1; expected a float at least 0"),
        ("[loop]\nsteps = 0", "steps is 0; expected an int at least 1"),
        ("[loop]\nsteps = 99999999999", "steps is 99999999999; expected at most 1000000000"),
        ("[loop]\nbatch = 0", "batch is 0; expected an int at least 1"),
        ("[loop]\nsave_every = 0", "save_every is 0; expected an int at least 1"),
        ("[loop]\nsample_every = 0", "sample_every is 0; expected an int at least 1"),
        ("[loop]\nvalidate_every = 0", "validate_every is 0; expected an int at least 1"),
        ("[loop]\nwarmup = -1", "warmup is -1; expected an int at least 0"),
        ("[loop]\ndecay = 0", r"decay is 0\.0; expected a float above 0 and at most 1"),
        ("[loop]\ndecay = 1.1", r"decay is 1\.1; expected a float above 0 and at most 1"),
        ("[loop]\naverage = 1", r"average is 1\.0; expected a float at least 0 and below 1"),
        ("[loop]\nclip = 0.0", r"clip is 0\.0; expected a float above 0"),
        ("[loop]\noptimizer = 'adam'", r"'adam'; expected one of adamw, muon; did you mean 'ada"),
        ("[loop]\nschedule = 'cosin'", r"'cosin'; expected one of wsd, cosine, constant; did yo"),
        ("[data]\nlevel = 0", "level is 0; expected an int at least 1 and at most 8"),
        ("[data]\nlevel = 9", "level is 9; expected an int at least 1 and at most 8"),
        ("[data]\ncaptions = 1", "captions is 1; expected an int at least 2"),
        ("[data]\nheld_for_validation = 0", "held_for_validation is 0; expected an int at lea"),
        ("[data]\njitter = -1", "jitter is -1; expected an int at least 0"),
        ("[prior_training]\ncaption_dropout = 1.5", r"caption_dropout is 1\.5; .*at most 1"),
        ("[prior_training]\nrandom_order_until = -1", "random_order_until is .*at least 0"),
        ("[codec_training]\nperceptual = 0.5", "perceptual is 0.5, but .*perceptual_weights"),
        (
            "[codec_training]\ndecoder_only = true",
            "decoder_only is given, but start_from, the codec",
        ),
        (
            "[codec_training]\nfeatures = 'lite0'",
            "features is 'lite0'; expected one of .*net-lite0",
        ),
        (
            "[codec_training]\nfeatures = 'efficientnet-lite0'\nperceptual_weights = 'x'",
            "features and codec_training.perceptual_weights are both given",
        ),
        (
            "[codec_training]\nnaming = 0.1\n[data]\nsource = 'pictures'",
            "naming and data.source are both given",
        ),
        (
            "start_from = 'runs/codec'\n[codec_training]\nnaming = 0.1\ndecoder_only = true",
            "naming and codec_training.decoder_only are both given",
        ),
        ("[codec]\nname = 'fsq'\nthings = [2]", "codec.things is given, but a codec is trained"),
        ("text_length = 3", "text_length is 3; expected an int at least 4 and at most 1024"),
        ("text_length = 1025", "text_length is 1025; expected"),
        ("loop = 3", "loop is 3, an int; expected a table, as \\[loop\\]"),
        ("out.name = 'x'", "valid TOML|out is .*a table; expected a str"),
        ("start_from = {a = 1}", "start_from is .*a table; expected a str"),
        ("[loop]\nsteps = {a = 1}", "loop.steps is .*a table; expected an int"),
        ("[codec]\nname = 'fsq'\nsize = 20", "codec 'fsq': size is 20; expected a multiple of 8"),
        ("[codec]\nname = 'vq'", "unknown codec 'vq'; did you mean 'vqvae'"),
        ("[loop]\nsteps = 5", "unknown codec None"),
        ("x = " + "[" * 9000, "not valid TOML"),
        ("x = " + "9" * 9000, "not valid TOML"),
        ("[loop]\nsteps = 2\n[loop]\nbatch = 3", "not valid TOML"),
    ],
)
def test_ranges_choices_and_shapes(tmp_path: Path, text: str, words: str) -> None:
    head = 'task = "codec"\nout = "x"\n'
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(written(tmp_path, head + text))
    message = str(caught.value)
    assert "run.toml" in message and len(message) <= 400 and "\n" not in message


PRIOR = """
task = "prior"
out = "x"
codec_from = "y"
[prior]
name = "gpt"
width = 64
heads = 4
[data]
cached = 100
[sampling]
temperature = 0.9
"""


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"codec_from": '""'}, "a prior needs a trained codec: give codec_from"),
        ({"data.cached": "15"}, r"data\.cached is 15; a prior needs at least 16 scenes"),
        ({"prior.width": "60"}, "width is 60 for 4 heads; expected a multiple of 4 x heads, as 64"),
        ({"prior.heads": "3"}, "width is 64 for 3 heads"),
        ({"prior.layers": "0"}, "layers is 0; expected at least 1"),
        ({"prior.depth": "2"}, "prior 'gpt' has no setting 'depth'"),
        ({"prior.grid": "[8, 8]"}, r"prior\.grid is decided by the codec and the tok"),
        ({"prior.name": "lstm"}, "unknown prior 'lstm'"),
        ({"sampling.temprature": "1"}, r"unknown key sampling\.temprature; did you mean 'temper"),
        ({"sampling.temperature": "0"}, r"sampling\.temperature is 0; expected .*\[0\.01, 10\]"),
        ({"sampling.guidance": "-1"}, r"sampling\.guidance is -1; expected"),
        ({"sampling.top_k": "true"}, r"sampling\.top_k is True; expected a whole number"),
        ({"loop.steps.x": "3"}, r"loop\.steps is .*a table; expected an int"),
        ({"task.x": "3"}, "--set 'task.x': task is a str, and has no keys"),
    ],
)
def test_a_prior_is_checked_before_its_codes_are_made(
    tmp_path: Path, overrides: dict[str, str], words: str
) -> None:
    path = written(tmp_path, PRIOR)
    assert read_config(path).part("prior")["width"] == 64
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path, overrides)
    if "no keys" not in words:
        assert f"run.toml with --set '{next(iter(overrides))}'" in str(caught.value)


def test_values_made_in_python_are_checked_too() -> None:
    assert LoopConfig(learning_rate=1).learning_rate == 1.0
    with pytest.raises(ConfigError, match="learning_rate is True, a bool; expected a float"):
        LoopConfig(learning_rate=True)
    with pytest.raises(ConfigError, match="steps is '9', a str; expected an int"):
        LoopConfig(steps="9")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"unknown task .codecs.; did you mean .codec."):
        TrainConfig("codecs", "x")
    with pytest.raises(ConfigError, match="out is ''; expected a folder"):
        TrainConfig("codec", "")


@pytest.mark.parametrize(
    ("dotted", "line"),
    [
        ("task", 2),
        ("loop.steps", 10),
        ("loop.learning_rate", 11),
        ("loop", 9),
        ("codec.levels", 6),
        ("loop.levels", None),
        ("steps", None),
    ],
)
def test_lines_of_keys_are_found(dotted: str, line: int | None) -> None:
    assert find_line(GOOD, dotted) == line


def test_dotted_and_quoted_keys_are_found() -> None:
    text = 'loop.steps = 3\n"out" = "x"\n[ a . b ]\n\'c\' = 1  # d = 2\n'
    assert find_line(text, "loop.steps") == 1
    assert find_line(text, "out") == 2
    assert find_line(text, "a.b") == 3
    assert find_line(text, "a.b.c") == 4
    assert find_line(text, "a.b.d") is None


def test_an_unknown_key_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml:12: unknown key loop\.learing_rate; did you"):
        read_config(written(tmp_path, GOOD + "learing_rate = 2\n"))
    with pytest.raises(ConfigError, match=r"run\.toml:12: unknown key loop\.lop"):
        read_config(written(tmp_path, GOOD + "lop = { steps = 2 }\n"))
    with pytest.raises(ConfigError, match=r"run\.toml:7: codec 'fsq' has no setting 'sise'"):
        read_config(written(tmp_path, GOOD.replace("[data]", "sise = 64\n[data]")))


def test_mistakes_in_overrides_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key loop\.stpes.*steps"):
        read_config(written(tmp_path, GOOD), {"loop.stpes": "3"})
    with pytest.raises(ConfigError, match=r"loop\.steps is 'many', a str"):
        read_config(written(tmp_path, GOOD), {"loop.steps": "many"})


def test_a_missing_key_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml lacks out$"):
        read_config(written(tmp_path, 'task = "codec"'))
    with pytest.raises(ConfigError, match="lacks task, out"):
        read_config(written(tmp_path, ""))
    with pytest.raises(ConfigError, match=r"no config file at .*nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match=r"cannot read the config .*[Dd]irectory"):
        read_config(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot read the config .*null"):
        read_config("a\0b")
    with pytest.raises(ConfigError, match=r"cannot read the config .*too long"):
        read_config("a" * 5000)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config(binary)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_config_that_comes_along_can_be_read(path: Path) -> None:
    config = read_config(path)
    assert f"limner train {path.relative_to(CONFIGS.parent)}" in path.read_text()
    assert Path(config.out).parts[0] == "runs"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[data]\nsource = "p"\nlevel = 4', r"run\.toml:5: data\.level and source are both given"),
        ('[data]\nsource = "p"\ncached = 3', "data.cached and source are both given, and cached"),
        (
            "[data]\nvalidation_share = 0.1",
            "data.validation_share is of pictures of one's own, but",
        ),
        ('[data]\nvalidation_source = "p"', "data.validation_source is of pictures of one's own"),
        (
            '[data]\nsource = "p"\nvalidation_source = "q"\nvalidation_share = 0.05',
            "data.validation_share and validation_source are both given",
        ),
        ('[data]\nsource = "p"\nvalidation_source = "p"', "validation_source is source itself"),
        ('[data]\nsource = "p"\nvalidation_share = 0', "above 0 and at most 0.5"),
        ('[data]\nsource = "p"\ncrops = 2', "data.crops is of a prior, which reads codes"),
        ("[augment]\nflip = 0.5", r"run\.toml:3: augment is given, but data\.source, "),
        ("[augment]\nflip = 2", r"run\.toml:4: augment\.flip is 2\.0; give 0 to 1"),
        ('[augment]\ncrop = "a"', r"augment\.crop is 'a', a str; expected a float"),
        ("[augment]\nflipp = 1", r"unknown key augment\.flipp; did you mean 'flip'"),
        ('[data]\nsource = "a\\u0000b"', r"data\.source has a NUL in it"),
    ],
)
def test_contradictions_of_data_are_told(tmp_path: Path, text: str, told: str) -> None:
    head = 'task = "codec"\nout = "x"\n'
    with pytest.raises(ConfigError, match=told) as caught:
        read_config(written(tmp_path, f'{head}{text}\n[codec]\nname = "fsq"\nlevels = [4, 4]\n'))
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_own_pictures_and_other_tasks(tmp_path: Path) -> None:
    own = '[data]\nsource = "p"\n'
    features = 'task = "features"\nout = "x"\n'
    with pytest.raises(ConfigError, match="that is learnt from emoji scenes"):
        read_config(written(tmp_path, features + own))
    prior = 'task = "prior"\nout = "x"\ncodec_from = "y"\n[prior]\nname = "gpt"\n'
    config = read_config(written(tmp_path, prior + own))
    assert config.model_licence == "unknown" and config.data.source == "p"
    with pytest.raises(ConfigError, match=r"\[augment\] is given, but data\.crops is 1"):
        read_config(written(tmp_path, f"{prior}{own}[augment]\nflip = 0.5"))
    found = read_config(written(tmp_path, f"{prior}{own}crops = 4\n[augment]\nflip = 0.5"))
    assert found.augment.flip == 0.5 and found.augment.crop == 0.1
    with pytest.raises(ConfigError, match=r"or pictures of your own in data\.source"):
        read_config(written(tmp_path, prior))
    scenes = read_config(written(tmp_path, f"{prior}[data]\ncached = 99"))
    with pytest.raises(ConfigError, match=r"data.cached is 99 scenes, fewer than one batch, 100"):
        read_config(written(tmp_path, f"{prior}[data]\ncached = 99\n[loop]\nbatch = 100"))
    assert scenes.model_licence == "Apache-2.0"
