"""Contract of fsq in its variants: shapes, one answer, codes that decode, weights that return."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.codecs import create_codec
from limner.errors import ConfigError
from limner.nn import alike
from limner.nn.told import Told
from tests.codecs.tiny import without_encoder

SMALL: dict[str, list[dict[str, Any]]] = {
    "fsq": [
        {
            "size": 32,
            "levels": [4, 3, 3],
            "groups": groups,
            "encoder_channels": [8, 8, 16],
            "encoder_blocks": [0, 1, 0],
            "decoder_channels": [16, 8, 8],
            "decoder_blocks": [1, 0, 0],
        }
        for groups in (1, 2, 3)
    ]
}
CASES = [{"name": name, **values} for name, cases in SMALL.items() for values in cases]


@pytest.fixture(params=CASES, ids=lambda case: f"{case['name']}-{case['groups']}")
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def build(case: dict[str, Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return create_codec(case).eval()


def codes_of(case: dict[str, Any], cells: torch.Tensor) -> torch.Tensor:
    """Return codes (B, h, w), or (B, h, w, G) with the same value for each code of a cell."""
    groups: int = case["groups"]
    return cells[..., None].expand(*cells.shape, groups).clone() if groups > 1 else cells


def pictures(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 32, 32, generator=generator) * 2 - 1


LARGE: dict[str, Any] = CASES[1] | {"size": 128, "encode_size": 32}


@torch.no_grad()
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_picture_may_be_larger_than_what_the_encoder_sees(stages: int) -> None:
    codec = build(LARGE | {"fine_channels": [8] * stages, "fine_blocks": [1] * stages})
    images = pictures().repeat_interleave(4, 2).repeat_interleave(4, 3)
    codes = codec.encode(images)
    assert codec.config.factor == 4 and codec.grid == (4, 4)
    assert codes.shape == (2, 4, 4, 2) and codec.decode(codes).shape == (2, 3, 128, 128)
    assert torch.equal(codes, build(CASES[1]).encode(pictures()))
    assert torch.equal(without_encoder(codec).decode(codes), codec.decode(codes))


@torch.no_grad()
def test_shapes_and_ranges(case: dict[str, Any]) -> None:
    codec = build(case)
    codes, groups = codec.encode(pictures()), case["groups"]
    assert codec.grid == (4, 4) and codes.dtype == torch.int64
    assert codes.shape == ((2, 4, 4, groups) if groups > 1 else (2, 4, 4))
    assert ((codes >= 0) & (codes < codec.vocabulary)).all()
    assert codec.vocabulary == prod(codec.levels) == 36
    images = codec.decode(codes)
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert codec.embed(codes).shape == (2, 3 * groups, 4, 4)


@torch.no_grad()
def test_the_forward_pass_is_encode_then_decode(case: dict[str, Any]) -> None:
    codec = build(case)
    reconstruction, codes, loss = codec(pictures())
    assert torch.equal(codes, codec.encode(pictures()))
    torch.testing.assert_close(
        reconstruction.clamp(-1, 1), codec.decode(codes), atol=1e-5, rtol=1e-5
    )
    assert loss.shape == () and loss >= 0


@torch.no_grad()
def test_every_code_decodes(case: dict[str, Any]) -> None:
    codec = build(case)
    codes = torch.arange(codec.vocabulary + 16 - codec.vocabulary % 16) % codec.vocabulary
    assert codec.decode(codes_of(case, codes.view(-1, 4, 4))).isfinite().all()


@torch.no_grad()
def test_a_codec_without_its_encoder_decodes_alike(case: dict[str, Any]) -> None:
    codec = build(case)
    codes = codec.encode(pictures())
    alone = without_encoder(codec)
    assert codec.encodes and not alone.encodes
    assert torch.equal(alone.decode(codes), codec.decode(codes))
    assert not any(name.startswith("encoder") for name in alone.state_dict())
    assert torch.equal(alone.nearest(alone.embed(codes)), codes)
    with pytest.raises(ConfigError, match="this codec has no encoder"):
        alone.encode(pictures())


@torch.no_grad()
def test_each_code_of_a_cell_embeds_on_its_own(case: dict[str, Any]) -> None:
    codec = build(case)
    codes = codec.encode(pictures())
    parts = codes.view(2, 4, 4, -1).unbind(-1)
    assert len(parts) == case["groups"]
    embedded = codec.embed(codes)
    for part, vectors in zip(parts, embedded.chunk(len(parts), dim=1), strict=True):
        assert torch.equal(codec.quantizer.embed(part), vectors)


@torch.no_grad()
def test_a_picture_is_decoded_alike_in_company(case: dict[str, Any]) -> None:
    codec = build(case)
    codes = codec.encode(pictures(3))
    for row in range(3):
        torch.testing.assert_close(codec.decode(codes[row : row + 1])[0], codec.decode(codes)[row])
        alone = codec.decode(codes[row : row + 1])
        assert torch.equal(alone, codec.decode(codes[row : row + 1].clone()))


@torch.no_grad()
def test_the_same_weights_give_the_same_answer(case: dict[str, Any]) -> None:
    one, two = build(case), build(case)
    assert torch.equal(one.encode(pictures()), two.encode(pictures()))
    codes = one.encode(pictures())
    assert torch.equal(one.decode(codes), two.decode(codes))
    assert not torch.equal(one.decode(codes), build(case, seed=1).decode(codes))


@torch.no_grad()
def test_weights_come_back_from_safetensors(case: dict[str, Any], tmp_path: Path) -> None:
    codec, other = build(case), build(case, seed=1)
    save_file(codec.state_dict(), tmp_path / "codec.safetensors")
    other.load_state_dict(load_file(tmp_path / "codec.safetensors"))
    codes = codec.encode(pictures())
    assert torch.equal(other.encode(pictures()), codes)
    assert torch.equal(other.decode(codes), codec.decode(codes))


def test_a_codec_learns_one_batch(case: dict[str, Any]) -> None:
    codec, images = build(case).train(), pictures(1).roll(3) * 0.2 + 0.5
    optimizer = torch.optim.Adam(codec.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        reconstruction, _, auxiliary = codec(images)
        loss = (reconstruction - images).square().mean() + auxiliary
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    dead = [name for name, p in codec.named_parameters() if p.grad is None]
    assert not dead


@torch.no_grad()
def test_a_cell_of_codes_stands_for_its_place(case: dict[str, Any]) -> None:
    codec = build(case)
    codes = codes_of(case, torch.zeros(1, 4, 4, dtype=torch.int64))
    changed = codes.clone()
    changed[0, 0, 0] = codec.vocabulary - 1
    difference = (codec.decode(codes) - codec.decode(changed)).abs().sum(1)[0]
    assert difference[:8, :8].mean() > difference[-8:, -8:].mean()


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown codec 'fsk'; did you mean 'fsq'"):
        create_codec({"name": "fsk"})
    with pytest.raises(ConfigError, match="unknown codec None"):
        create_codec({})
    with pytest.raises(ConfigError, match="codec 'fsq' has no setting 'sise'"):
        create_codec({"name": "fsq", "sise": 64})


FINE = {"size": 64, "encode_size": 32, "fine_channels": [8], "fine_blocks": [0]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 20}, "size is 20; expected a multiple of 8, at least 16"),
        ({"size": 8}, "size is 8; expected a multiple of 8, at least 16"),
        ({"size": -32}, "size is -32; expected a multiple of 8"),
        ({"levels": []}, r"levels is \[\]; expected some, each at least 2"),
        ({"levels": [4, 1]}, r"levels is \[4, 1\]; expected some, each at least 2"),
        ({"levels": [4096, 4097]}, "their product, the vocabulary, may be at most 16777216"),
        ({"levels": 4}, "levels is 4; expected a list of int"),
        ({"groups": 0}, "groups is 0; expected at least 1"),
        ({"encoder_channels": [8, 8]}, r"encoder_channels is \[8, 8\]; expected 3 numbers"),
        ({"decoder_blocks": [1, 0, 0, 0]}, "decoder_blocks is .*; expected 3 numbers"),
        ({"decoder_channels": [16, 8, 0]}, "decoder_channels has 0; expected a multiple of 4"),
        ({"decoder_channels": [16, 8, 10]}, "decoder_channels has 10; expected a multiple of 4"),
        ({"encoder_channels": [8, 8, 132]}, "encoder_channels has 132; .*of 32 from 128 on"),
        ({"encoder_blocks": [0, -1, 0]}, r"encoder_blocks is \[0, -1, 0\]; expected .* at least 0"),
        ({"size": True}, "size is True, a bool; expected an int"),
        ({"encode_size": 32}, r"encode_size is 32 and fine_channels \[\]; .* needs both"),
        ({"fine_channels": [8]}, r"encode_size is 0 and fine_channels \[8\]; .* needs both"),
        (FINE | {"encode_size": 20}, "encode_size is 20; expected a multiple of 8, at least 16"),
        (FINE | {"encode_size": 8}, "encode_size is 8; expected a multiple of 8, at least 16"),
        (FINE | {"encode_size": 24}, "encode_size is 24; .*divides the size 64 and is less"),
        (FINE | {"encode_size": 64}, "encode_size is 64; .*divides the size 64 and is less"),
        (FINE | {"fine_channels": [6]}, "fine_channels has 6; expected a multiple of 4"),
        (FINE | {"fine_blocks": [1, 1]}, r"fine_blocks is \[1, 1\]; expected 1 numbers"),
        (
            FINE | {"fine_channels": [8] * 3, "fine_blocks": [0] * 3},
            r"fine_channels is \[8, 8, 8\]; .*3 of them do not lead from 32 to 64 pixels",
        ),
    ],
)
def test_wrong_settings_are_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"codec 'fsq': .*{words}"):
        create_codec(CASES[0] | changes)


@pytest.mark.parametrize("width", [4, 12, 124, 128, 160])
def test_every_width_that_is_allowed_can_be_built(width: int) -> None:
    widths = [width, width, width]
    changes = {"encoder_channels": widths, "decoder_channels": widths, "encoder_blocks": [1, 0, 0]}
    with torch.device("meta"):
        assert create_codec(CASES[0] | changes).grid == (4, 4)


THINGS = LARGE | {
    "things": [4, 3, 2], "backdrops": 2, "things_width": 64, "things_layers": 1,
    "things_channels": [16, 8], "namer_channels": [8, 8, 8], "ground_channels": [8] * 5,
}  # fmt: skip


@pytest.mark.parametrize("depends", [False, True])
def test_pictures_are_painted_together_where_that_changes_no_bit(
    depends: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    codec = build(THINGS).requires_grad_(False)
    codes = torch.randint(36, (3, 4, 4, 2), generator=torch.Generator().manual_seed(2))
    counts, decode = list[int](), codec.decode

    def watched(some: torch.Tensor, told: Sequence[Told] = ()) -> torch.Tensor:
        counts.append(len(some))
        found: torch.Tensor = decode(some, told)
        return found + 1e-7 * len(some) if depends else found  # a processor whose sums do

    monkeypatch.setattr(codec, "decode", watched)
    # Several threads share the sums of so small a network in another way for each company.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    with torch.inference_mode():
        alone = torch.cat([watched(each[None]) for each in codes])
        for told in ((), [Told(((1, 0),))] * 3):  # it is found out at first, and then it is known
            assert torch.equal(codec.decode_each(codes, told), alone)
    if alike.works():
        assert counts == [1, 1, 1, 1, 1, 1, 3, *([1, 1, 1] if depends else [3])]
    assert torch.equal(codec.decode_each(codes[:1]), alone[:1])


def test_a_codec_of_small_pictures_paints_them_one_after_the_other(case: dict[str, Any]) -> None:
    codec, cells = build(case), torch.randint(36, (3, 4, 4))
    codes = codes_of(case, cells)
    with torch.no_grad():
        alone = torch.cat([codec.decode(each[None]) for each in codes])
        assert torch.equal(codec.decode_each(codes), alone)
