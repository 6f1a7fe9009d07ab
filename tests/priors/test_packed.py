"""A prior's weights as drawing wants them: precisions, changes, copies."""

import copy
import io

import pytest
import torch

from limner.priors.gpt2 import GPT2, GPT2Config
from limner.priors.packed import PackedDecoder
from tests.priors.tiny import FREE, drawn, lively_gpt, texts


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.usefixtures("path")
def test_a_lower_precision_is_used_and_near(precision: str) -> None:
    prior, seen = lively_gpt("groups"), []
    for each in ("fp32", precision):
        prior.packed.precision = each
        stack, _ = prior.packed.parts(prior)
        run = stack.begin([0], 3)
        seen.append(run.logits(run.extend(torch.ones(1, 1, 32), 0)[:, 0]))
    assert not torch.equal(*seen)
    torch.testing.assert_close(*seen, atol=0.1, rtol=0.1)


@pytest.mark.usefixtures("path")
def test_changed_weights_are_drawn_with() -> None:
    prior, other, text = lively_gpt("groups"), lively_gpt("groups"), texts(2)
    before = drawn(prior, text, FREE, [1, 2])
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    wanted = drawn(other, text, FREE, [1, 2])
    assert not torch.equal(wanted, before)
    prior.load_state_dict(other.state_dict())
    assert torch.equal(drawn(prior, text, FREE, [1, 2]), wanted)


def test_weights_are_prepared_once() -> None:
    prior = lively_gpt("groups")
    first = prior.packed.parts(prior)
    assert prior.packed.parts(prior) is first
    prior.packed.precision = "bf16"
    assert prior.packed.parts(prior) is not first


def test_copies_and_files_start_without_it() -> None:
    prior, text = lively_gpt("groups"), texts(1)
    codes = drawn(prior, text, FREE, [3])
    twin = copy.deepcopy(prior)
    assert isinstance(twin.packed, PackedDecoder) and twin.packed is not prior.packed
    assert torch.equal(drawn(twin, text, FREE, [3]), codes)
    file = io.BytesIO()
    torch.save(prior, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(drawn(again, text, FREE, [3]), codes)


@pytest.mark.parametrize(
    ("sizes", "wanted"), [((42, 1536, 16), 8), ((12, 1024, 16), 16), ((24, 2048, 32), 4)]
)
def test_so_many_are_drawn_at_once_as_have_room(
    sizes: tuple[int, int, int], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, width, side = sizes
    prior = GPT2(GPT2Config(50, vocabulary=16, grid=(side, side), layers=1, width=16, heads=2))
    for name, value in (("layers", layers), ("width", width)):
        object.__setattr__(prior.config, name, value)
    monkeypatch.setattr("limner.priors.packed.is_native", lambda device: True)
    assert prior.batch_rows == wanted
    monkeypatch.setattr("limner.priors.packed.is_native", lambda device: False)
    assert prior.batch_rows == 4
