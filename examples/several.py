"""Draw several prompts with one loaded model, and lay the pictures side by side.

python examples/several.py [OUT.png]
"""

import sys

import limner
from limner.images import grid

PROMPTS = ["three red apples under the night sky", "a cat on the beach", "沙滩上的一只狗"]

model = limner.load("default")  # once; the drawings below share it
pictures = model.draw(PROMPTS, n=2, seed=7)  # two of each, with the seeds 7 and 8
for picture in pictures:
    print(picture.prompt, picture.seed)
out = sys.argv[1] if len(sys.argv) > 1 else "several.png"
grid([picture.image for picture in pictures], columns=2).save(out)
print(out)
