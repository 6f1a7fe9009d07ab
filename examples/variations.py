"""Draw a picture, then others that show what it shows (DALL-E 2's way).

python examples/variations.py [OUT.png]
"""

import sys

import limner
from limner.images import grid

(apple,) = limner.draw("a red apple on a blue background", seed=0)
model = limner.load("unclip")
alike = model.vary(apple, n=3, seed=1, steps=10)  # a path or an image of PIL will do too
# The same picture, and a text that pulls it elsewhere.
(changed,) = model.vary(apple, "a red apple in the snow", seed=1, steps=10)
side = (model.size, model.size)  # unclip draws smaller pictures than default
images = [picture.image.resize(side) for picture in [apple, *alike, changed]]
out = sys.argv[1] if len(sys.argv) > 1 else "variations.png"
grid(images, columns=len(images)).save(out)
print(f"the picture, three variations, one in the snow: {out}")
