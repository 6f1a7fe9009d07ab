"""Change how codes are chosen by a function of your own, a logits processor.

python examples/processor.py [OUT.png]
"""

import sys

import limner
from limner.images import grid


def narrow(codes, logits):
    """Keep the five likeliest values of each code."""  # codes (B, K) int64, logits (B, V)
    least = logits.topk(5, dim=1).values[:, -1:]
    return logits.masked_fill(logits < least, float("-inf"))


prompt = "a blue car in the desert"
(plain,) = limner.draw(prompt, seed=7, temperature=3.0)
(narrowed,) = limner.draw(prompt, seed=7, temperature=3.0, logits_processors=[narrow])
assert narrowed.settings["logits_processors"] == ["narrow"]  # the PNG would say so too
out = sys.argv[1] if len(sys.argv) > 1 else "processor.png"
grid([plain.image, narrowed.image], columns=2).save(out)
print(f"at temperature 3, without and with the processor: {out}")
