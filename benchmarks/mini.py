"""A step of drawing in min-dalle's shapes: its own decoder's, and limner's by the same weights."""

from collections.abc import Iterator
from typing import Any

import torch
from roofline import Shape
from torch import Tensor

TOKENS, CELLS, TEXT = 16384, 256, 64
TOLD = 17  # text positions of the prompt that are not padding; of the empty prompt, two
SCALE, TOP_K = 16.0, 256  # min-dalle's own defaults


def make_peer(shape: Shape, device: torch.device | str = "cpu") -> Any:
    """Return min-dalle's decoder with random weights of a sensible size."""
    from min_dalle.models import DalleBartDecoder

    torch.manual_seed(0)
    sizes = (TOKENS, shape.width, shape.heads, shape.hidden, shape.layers)
    with torch.device(device):
        decoder = DalleBartDecoder(*sizes, str(device)).eval()
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name or ".ln" in name or name.startswith("final_ln"):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return decoder


def layers_of_peer(peer: Any) -> Iterator[dict[str, Tensor]]:
    """Yield the weights of every layer by the names of limner.nn.engine."""
    for layer in peer.layers:
        own, cross, glu = layer.self_attn, layer.encoder_attn, layer.glu
        norms = {
            "attention_norm": layer.pre_self_attn_layer_norm,
            "out_norm": layer.self_attn_layer_norm,
            "cross_norm": layer.pre_encoder_attn_layer_norm,
            "cross_out_norm": layer.encoder_attn_layer_norm,
            "feed_forward_norm": glu.ln0,
            "middle_norm": glu.ln1,
        }
        weights = {name: norm.weight for name, norm in norms.items()}
        weights |= {f"{name}_bias": norm.bias for name, norm in norms.items()}
        yield weights | {
            "qkv": torch.cat([own.q_proj.weight, own.k_proj.weight, own.v_proj.weight]),
            "out": own.out_proj.weight,
            "cross_query": cross.q_proj.weight,
            "cross_key_value": torch.cat([cross.k_proj.weight, cross.v_proj.weight]),
            "cross_out": cross.out_proj.weight,
            "into": torch.cat([glu.fc0.weight, glu.fc1.weight]),
            "down": glu.fc2.weight,
        }


def head_of_peer(peer: Any) -> dict[str, Tensor]:
    """Return the weights of the head by the names of limner.nn.engine."""
    return {
        "head": peer.lm_head.weight[:TOKENS],
        "attention_norm": peer.final_ln.weight,
        "attention_norm_bias": peer.final_ln.bias,
    }


class PeerStep:
    """min-dalle's loop body, as in MinDalle.generate_raw_image_stream, in its dtype."""

    def __init__(
        self, peer: Any, pictures: int, memory: Tensor, dtype: torch.dtype = torch.float32
    ) -> None:
        self.peer, self.dtype, device = peer, dtype, memory.device
        rows = [0] * pictures + [1] * pictures
        told = torch.arange(TEXT) < torch.tensor([[2], [TOLD]])
        self.mask = told[rows][:, None, None, :].to(device)
        self.memory = memory[rows].to(dtype)
        layers, width = peer.layer_count, peer.embed_count
        self.state = torch.zeros(layers, pictures * 4, CELLS, width, device=device)
        self.settings = torch.tensor([1.0, TOP_K, SCALE], device=device)
        self.places = torch.arange(CELLS, device=device)

    def told(self, tokens: Tensor, place: int) -> dict[str, Any]:
        """Return what both of the decoder's methods take."""
        return {
            "attention_mask": self.mask,
            "encoder_state": self.memory,
            "attention_state": self.state,
            "prev_tokens": tokens[:, None],
            "token_index": self.places[[place]],
        }

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        found, self.state = self.peer.forward(**self.told(tokens, place))
        return found[:, -1, :TOKENS]

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        half = self.dtype != torch.float32
        with torch.autocast(self.mask.device.type, self.dtype, enabled=half):
            chosen, self.state = self.peer.sample_tokens(
                settings=self.settings, **self.told(tokens, place)
            )
        return chosen


class LimnerStep:
    """The same step by a prepared decoder: plain, or as one graph."""

    def __init__(
        self, stack: Any, peer: Any, pictures: int, memory: Tensor, graph: bool = False
    ) -> None:
        from limner.nn.graphs import Graphed
        from limner.sampling.tokens import TokenSampling

        self.peer, self.pictures = peer, pictures
        lengths = [2] * pictures + [TOLD] * pictures
        rows = [0] * pictures + [1] * pictures
        self.run = stack.begin([0] * (2 * pictures), CELLS, None, memory[rows], lengths)
        self.sampling = TokenSampling(top_k=TOP_K)
        self.places = torch.arange(CELLS, device=memory.device)
        self.noise = torch.rand(CELLS, pictures, dtype=torch.float64, device=memory.device)
        examples = self.places[:pictures], self.places[:1], self.noise[0]
        self.graph = Graphed(self.step, *examples) if graph else None

    def features(self, tokens: Tensor, place: Tensor, at: int | None = None) -> Tensor:
        """Return features (2B, D), at a place told by a tensor, or also by a number."""
        x = self.peer.embed_tokens(tokens) + self.peer.embed_positions(place)
        x = self.peer.layernorm_embedding(x).repeat(2, 1)[:, None]
        found = self.run.extend_at(x, place) if at is None else self.run.extend(x, at)
        return found[:, 0]

    def step(self, tokens: Tensor, place: Tensor, noise: Tensor, at: int | None = None) -> Tensor:
        """Return the next tokens."""
        from limner.sampling.tokens import choose, guide

        without_text, with_text = self.run.logits(self.features(tokens, place, at)).chunk(2)
        return choose(guide(with_text, without_text, SCALE - 1), self.sampling, noise)

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        at = None if self.graph else place
        return self.run.logits(self.features(tokens, self.places[place : place + 1], at))

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        where, noise = self.places[place : place + 1], self.noise[place]
        if self.graph is not None:
            return self.graph(tokens, where, noise)
        return self.step(tokens, where, noise, place)


def parity(theirs: PeerStep, ours: LimnerStep, steps: int) -> tuple[float, float]:
    """Draw some steps greedily; return how far the logits are apart at most, and their spread."""
    tokens = torch.full((ours.pictures,), TOKENS - 1, device=theirs.mask.device)
    worst = spread = 0.0
    for place in range(steps):
        wanted, found = theirs.logits(tokens, place), ours.logits(tokens, place)
        worst = max(worst, float((wanted - found).abs().max()))
        spread = float(wanted.std())
        tokens = wanted[ours.pictures :].argmax(-1)
    return worst, spread
