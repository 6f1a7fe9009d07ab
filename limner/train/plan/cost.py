"""What one training step costs, counted without memory: parameters, FLOPs, saved activations.

Modules are built of tensors without values, and torch's own counter sees every product of the
forward and the backward pass. Shapes: B pictures of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limner.codecs import create_autoencoder
from limner.codecs.discriminator import PatchDiscriminator
from limner.codecs.features import FeatureNetwork
from limner.errors import ConfigError
from limner.gan.losses import HINGE, discriminator_loss
from limner.nn.efficientnet import EfficientNetLite
from limner.priors import create_prior
from limner.train.codec.naming import CellNames, keep_inputs
from limner.train.config.run import TrainConfig
from limner.train.losses import RECONSTRUCTION, perceptual_loss, shrunk
from limner.train.optimizer import create_optimizers

PAIR = (2, 4)  # batches whose difference is the cost of two more pictures
NEWTON_STEPS = 5  # of Muon


@dataclass(frozen=True)
class Cost:
    """A step's cost: parameters by part, bytes of optimiser state, FLOPs and saved bytes.

    `per_picture` FLOPs of forward and backward pass, `per_step` those of the optimiser;
    `activations` are bytes kept for the backward pass for each picture. `trained` of the parameters
    are learnt; `frozen` ones are only there.
    """

    parts: dict[str, int]
    trained: int
    frozen: int
    optimizer: int
    per_picture: int
    per_step: int
    activations: int


def cost_of_prior(config: TrainConfig, codec: Any, text_vocabulary: int) -> Cost:
    """Return the cost of a prior's step over a codec, for captions as long as they may be."""
    values = {
        **config.prior,
        "text_vocabulary": text_vocabulary,
        "vocabulary": codec.vocabulary,
        "grid": list(codec.grid),
        "groups": codec.groups,
        "levels": list(codec.levels),
        "maps": [list(each) for each in codec.maps],
    }

    def loss(prior: Any, batch: int) -> Tensor:
        text = torch.ones(batch, config.text_length, dtype=torch.long)
        shape = (prior.length, codec.groups) if codec.groups > 1 else (prior.length,)
        found: Tensor = prior.loss(text, torch.zeros(batch, *shape, dtype=torch.long))
        return found

    held = sum(each.numel() for each in codec.parameters())
    return _cost(config, lambda: create_prior(values), loss, frozen=held)


def cost_of_codec(config: TrainConfig) -> Cost:
    """Return the cost of a codec's step once the discriminator, where there is one, has joined.

    Raises ConfigError for a codec that starts from another, whose config is not in the file.
    """
    weights, values = config.codec_training, dict(config.codec)
    if not values:
        raise ConfigError(
            "a run with start_from has no [codec] to plan; give the config that the codec was "
            "first trained with"
        )

    def build() -> nn.Module:
        parts: dict[str, Any] = {"codec": create_autoencoder(values)}
        if weights.adversarial:
            parts["discriminator"] = PatchDiscriminator()
        if weights.perceptual:
            network = EfficientNetLite() if weights.features else FeatureNetwork(2, 2)
            parts["features"] = network.requires_grad_(False)
        if weights.naming:
            parts["names"] = CellNames(parts["codec"].decoder.dimensions)
        return nn.ModuleDict(parts)

    def loss(parts: Any, batch: int) -> Tensor:
        codec, given = parts["codec"], list[Tensor]()
        kept = codec.decoder.register_forward_pre_hook(keep_inputs(given))
        images = torch.zeros(batch, 3, codec.config.size, codec.config.size)
        output, _, auxiliary = codec(images)
        kept.remove()
        drawn = codec.picture(output)
        total = RECONSTRUCTION[codec.likelihood](output.float(), images) + auxiliary
        if weights.perceptual:
            side = weights.perceptual_size
            with torch.no_grad():
                targets = parts["features"](shrunk(images, side))
            total = total + perceptual_loss(parts["features"](shrunk(drawn, side)), targets)
        if weights.naming:
            total = total + sum(each.float().mean() for each in parts["names"](given[0]))
        if weights.adversarial:
            judge = parts["discriminator"].requires_grad_(False)
            total = total - judge(drawn).mean()
            judge.requires_grad_(True)
            seen = drawn.detach()
            total = total + discriminator_loss(HINGE, judge(images).float(), judge(seen).float())
        return total

    return _cost(config, build, loss)


def _cost(
    config: TrainConfig,
    build: Callable[[], nn.Module],
    loss: Callable[[nn.Module, int], Tensor],
    frozen: int = 0,
) -> Cost:
    """Count a step of what `build` makes in tensors without values, or with them where it asks."""
    try:
        with FakeTensorMode():
            return _counted(config, build(), loss, frozen)
    except (RuntimeError, NotImplementedError, TypeError):
        with torch.random.fork_rng(devices=[]):  # learns from its values, as a codebook does
            return _counted(config, build(), loss, frozen)


def _counted(
    config: TrainConfig,
    module: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    frozen: int,
) -> Cost:
    every = list(module.parameters())
    learnt = [each for each in every if each.requires_grad]
    optimizers = create_optimizers(module, config.loop.optimizer, 1e-3, 0.0)
    few, more = (_flops(config, module, loss, batch) for batch in PAIR)
    kept = [_saved(config, module, loss, batch) for batch in PAIR]
    span = PAIR[1] - PAIR[0]
    return Cost(
        _parts(module),
        sum(each.numel() for each in learnt),
        frozen + sum(each.numel() for each in every if not each.requires_grad),
        sum(_state(optimizer) for optimizer in optimizers),
        (more - few) // span,
        sum(_newton(optimizer) for optimizer in optimizers),
        (kept[1] - kept[0]) // span,
    )


def _parts(module: nn.Module) -> dict[str, int]:
    """Return how many parameters each part of a module has, and how many are its own."""
    found: dict[str, int] = {}
    for name, child in module.named_children():
        if isinstance(module, nn.ModuleDict):
            found |= {f"{name}.{part}": count for part, count in _parts(child).items()}
        else:
            found[name] = sum(each.numel() for each in child.parameters())
    found["others"] = sum(each.numel() for each in module.parameters()) - sum(found.values())
    return {name: count for name, count in found.items() if count}


def _flops(
    config: TrainConfig,
    module: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    batch: int,
) -> int:
    module.zero_grad(set_to_none=True)
    # Attention in plain products, which the counter knows on every machine.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.loop.bf16):
            found = loss(module, batch)
        found.backward()
    return int(counter.get_total_flops())


def _saved(
    config: TrainConfig,
    module: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    batch: int,
) -> int:
    """Return the bytes that the forward pass keeps for the backward pass."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=config.loop.bf16),
    ):
        found = loss(module, batch)
    del found
    return sum(each.untyped_storage().nbytes() for each in kept.values())


def _state(optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of an optimiser's state: one moment for Muon, two for AdamW."""
    moments = 1 if isinstance(optimizer, torch.optim.Muon) else 2
    return sum(4 * moments * each.numel() for each in _of(optimizer))


def _newton(optimizer: torch.optim.Optimizer) -> int:
    """Return the FLOPs of Muon's orthogonalisation: three products in each of five steps."""
    if not isinstance(optimizer, torch.optim.Muon):
        return 0
    total = 0
    for each in _of(optimizer):
        short, long = sorted(each.shape)
        total += NEWTON_STEPS * 2 * (2 * short * short * long + short**3)
    return total


def _of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [each for group in optimizer.param_groups for each in group["params"]]
