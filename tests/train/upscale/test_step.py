"""Training the network that enlarges: it learns, resumes, exports; what a run may not be told."""

from pathlib import Path
from typing import Any

import pytest
import torch

from limner.errors import ConfigError
from limner.finish.upscale import UPSCALER_FILE, load_upscaler
from limner.train.config.run import TrainConfig
from limner.train.loop import train
from limner.train.reading import read_config
from limner.train.upscale.step import UpscaleStep, shrink
from tests.data.source_files import write_pictures
from tests.tiny_model import save_tiny_model

CONFIG = """
task = "upscale"
out = "{out}"
codec_from = "{codec}"
[upscaler]
width = 8
blocks = 1
[upscale_training]
size = 64
coded = 0.5
windows = 2
window = 8
[data]
source = "{source}"
held_for_validation = 2
workers = 0
[loop]
steps = 4
batch = 3
learning_rate = 1e-2
validate_every = 2
sample_every = 4
save_every = 2
"""


def config_in(folder: Path, **changes: Any) -> TrainConfig:
    if not (folder / "photos").exists():
        write_pictures(
            folder / "photos" / "red_apple", [f"{number:02d}.png" for number in range(40)]
        )
        save_tiny_model(folder / "tiny")
    text = CONFIG.format(out=folder / "run", codec=folder / "tiny", source=folder / "photos")
    for before, after in changes.items():
        text = text.replace(before, after)
    (folder / "run.toml").write_text(text)
    return read_config(folder / "run.toml")


def test_a_run_writes_a_network_that_enlarges(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    assert [each.step for each in train(config)][-1] == 4
    network = load_upscaler(tmp_path / "run")
    assert network.factor == 4 and (tmp_path / "run" / UPSCALER_FILE).is_file()
    images = torch.rand(1, 3, 8, 8) * 2 - 1
    assert network(images).shape == (1, 3, 32, 32)


def test_small_and_large_parts_show_the_same(tmp_path: Path) -> None:
    step = UpscaleStep(config_in(tmp_path))
    large = torch.rand(3, 3, 64, 64) * 2 - 1
    small, wanted = step._windows(
        shrink(large, 16, "area"), large, torch.Generator().manual_seed(0)
    )
    assert small.shape == (6, 3, 8, 8) and wanted.shape == (6, 3, 32, 32)
    torch.testing.assert_close(shrink(wanted, 8, "area"), small)
    numbers = step.validate()
    assert numbers["psnr"] == pytest.approx(numbers["psnr_bicubic"], abs=1e-3), "not trained yet"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("size = 64", "size = 62", "expected a multiple of the factor 4"),
        ("window = 8", "window = 32", "a window within the small picture"),
        ("coded = 0.5", "coded = 0.0", "give both or neither"),
        ("width = 8", "width = 0", "width is 0"),
        ("width = 8", "width = true", "width is True"),
        ("size = 64", "size = 32", "holds a codec of 16 pixels, but small pictures are 8"),
    ],
)
def test_what_does_not_go_together_is_told(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        config = config_in(tmp_path, **{before: after})
        config.check_parts()
        UpscaleStep(config)
