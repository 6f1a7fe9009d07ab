"""A step of drawing in the shape of DALL-E mini: min-dalle's own decoder against limner's.

    python benchmarks/gen_vs_min_dalle.py [--rounds 24] [--json FILE]

Both have the same random weights (12 layers of 1024 with cross-attention to 64 text positions,
16384 image tokens) and are first shown to give the same logits. A step is a pass of the decoder
with guidance and the choice of a token; its place in the picture jumps about all 256 from round to
round. The peer and every variant of limner take turns.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peers import MIN_DALLE, MIN_DALLE_DEPS, peer_python, rerun_in
from ratios import Ratio, from_seconds, report
from torch import Tensor

WIDTH, LAYERS, HEADS, HIDDEN = 1024, 12, 16, 2730
TOKENS, CELLS, TEXT = 16384, 256, 64
TOLD = 17  # text positions of the prompt that are not padding; of the empty prompt, two
SCALE, TOP_K = 16.0, 256  # min-dalle's own defaults
TARGETS = {("fp32", 1): 4.0, ("bf16", 1): 6.0, ("fp32", 4): 6.0, ("bf16", 4): 8.0}


def make_peer() -> Any:
    """Return min-dalle's decoder with random weights of a sensible size."""
    from min_dalle.models import DalleBartDecoder

    torch.manual_seed(0)
    decoder = DalleBartDecoder(TOKENS, WIDTH, HEADS, HIDDEN, LAYERS, "cpu").eval()
    for name, parameter in decoder.named_parameters():
        parameter.requires_grad_(False)
        if "norm" in name or ".ln" in name or name.startswith("final_ln"):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return decoder


def layers_of_peer(peer: Any) -> Iterator[dict[str, Tensor]]:
    """Yield the weights of every layer by the names of limner.nn.stack."""
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


class PeerStep:
    """min-dalle's loop body, as in MinDalle.generate_raw_image_stream."""

    def __init__(self, decoder: Any, pictures: int, memory: Tensor) -> None:
        self.decoder, self.pictures = decoder, pictures
        rows = [0] * pictures + [1] * pictures
        told = torch.arange(TEXT) < torch.tensor([[2], [TOLD]])
        self.mask = told[rows][:, None, None, :]
        self.memory = memory[rows]
        self.state = torch.zeros(LAYERS, pictures * 4, CELLS, WIDTH)
        self.settings = torch.tensor([1.0, TOP_K, SCALE])

    def arguments(self, tokens: Tensor, place: int) -> dict[str, Any]:
        """Return what both of the decoder's methods take."""
        return {
            "attention_mask": self.mask,
            "encoder_state": self.memory,
            "attention_state": self.state,
            "prev_tokens": tokens[:, None],
            "token_index": torch.tensor([place]),
        }

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        logits, self.state = self.decoder.forward(**self.arguments(tokens, place))
        return logits[:, -1, :TOKENS]

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        chosen, self.state = self.decoder.sample_tokens(
            settings=self.settings, **self.arguments(tokens, place)
        )
        return chosen


class LimnerStep:
    """The same step by a prepared decoder."""

    def __init__(self, stack: Any, peer: Any, pictures: int, memory: Tensor) -> None:
        from limner.sampling.tokens import TokenSampling

        self.peer, self.pictures = peer, pictures
        lengths = [2] * pictures + [TOLD] * pictures
        rows = [0] * pictures + [1] * pictures
        self.run = stack.begin([0] * (2 * pictures), CELLS, None, memory[rows], lengths)
        self.sampling = TokenSampling(top_k=TOP_K)

    def logits(self, tokens: Tensor, place: int) -> Tensor:
        """Return the logits (2B, V), those of the empty prompt first."""
        x = self.peer.embed_tokens(tokens) + self.peer.embed_positions.weight[place]
        x = self.peer.layernorm_embedding(x).repeat(2, 1)
        return self.run.logits(self.run.extend(x[:, None], place)[:, 0])

    def __call__(self, tokens: Tensor, place: int) -> Tensor:
        """Return the next tokens."""
        from limner.sampling.tokens import choose, guide

        without_text, with_text = self.logits(tokens, place).chunk(2)
        guided = guide(with_text, without_text, SCALE - 1)
        return choose(guided, self.sampling, torch.rand(self.pictures, dtype=torch.float64))


def show_parity(peer: Any, stack: Any, memory: Tensor, name: str) -> None:
    """Draw a few steps with both and print how far their logits are apart; fp32 must agree."""
    theirs, ours = PeerStep(peer, 1, memory), LimnerStep(stack, peer, 1, memory)
    tokens, worst, spread = torch.tensor([TOKENS - 1]), 0.0, 0.0
    for place in range(12):
        wanted, found = theirs.logits(tokens, place), ours.logits(tokens, place)
        worst = max(worst, (wanted - found).abs().max().item())
        spread = wanted.std().item()
        tokens = wanted[1:].argmax(-1)
    print(f"{name}: logits differ by at most {worst:.1e} (their spread is {spread:.2f})")
    if "fp32" in name and worst > 1e-4 * max(1.0, spread):
        sys.exit("the peer and limner do not compute the same")


def in_turns(works: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each work in every round, at a place in the picture of the round."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        place = (number * 97) % CELLS
        for name, work in works.items():
            began = time.perf_counter()
            work(place)
            taken[name].append(time.perf_counter() - began)
    return {name: seconds[1:] for name, seconds in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rerun_in(peer_python("min-dalle", MIN_DALLE, MIN_DALLE_DEPS))
    from limner.nn.fast import TorchStack
    from limner.nn.native import NativeStack, find_library
    from limner.nn.stack import PRECISIONS, StackShape

    library, why = find_library()
    threads = torch.get_num_threads()
    peer = make_peer()  # min-dalle sets the number of threads when it is imported
    torch.set_num_threads(threads)
    print(f"torch {torch.__version__}, {threads} threads; native kernel: {why}")
    shape = StackShape(WIDTH, LAYERS, HEADS, HIDDEN, layer_norm=True, gelu=True)
    head = {
        "head": peer.lm_head.weight[:TOKENS],
        "attention_norm": peer.final_ln.weight,
        "attention_norm_bias": peer.final_ln.bias,
    }
    variants: dict[str, tuple[str, Any]] = {}
    for precision in PRECISIONS:
        if library is not None:
            stack: Any = NativeStack(library, shape, layers_of_peer(peer), [head], precision)
            variants[f"native {precision}"] = precision, stack
        if precision != "int8":
            stack = TorchStack(shape, layers_of_peer(peer), [head], precision)
            variants[f"stock torch {precision}"] = precision, stack
    rows: list[Ratio] = []
    with torch.inference_mode():
        memory = torch.randn(2, TEXT, WIDTH)
        for name, (_, stack) in variants.items():
            show_parity(peer, stack, memory, name)
        for pictures in (1, 4):
            tokens = torch.randint(TOKENS, (pictures,))
            steps: dict[str, Any] = {"peer": PeerStep(peer, pictures, memory)}
            for name, (_, stack) in variants.items():
                steps[name] = LimnerStep(stack, peer, pictures, memory)
            taken = in_turns(
                {
                    name: lambda place, step=step, tokens=tokens: step(tokens, place)
                    for name, step in steps.items()
                },
                options.rounds,
            )
            for name, (precision, _) in variants.items():
                what = f"min-dalle's shape, {pictures} at once, {name}"
                first = "native" in name or library is None
                target = TARGETS.get((precision, pictures)) if first else None
                rows.append(from_seconds(what, taken["peer"], taken[name], target))
    report(rows, options.json)


if __name__ == "__main__":
    main()
