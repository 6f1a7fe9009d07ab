"""Put pictures in order by how well they fit a sentence, as the embedded CLIP sees them.

python examples/rank.py
"""

import limner

SENTENCES = ["a cat on the beach", "a dog in the snow", "a red apple"]

pictures = limner.draw(SENTENCES, seed=3)
clip = limner.load("clip")
cosines = clip(pictures, SENTENCES)  # (pictures, sentences), each in [-1, 1]
for sentence, column in zip(SENTENCES, cosines.T, strict=True):
    order = column.argsort(descending=True).tolist()
    best = pictures[order[0]]
    print(f"{sentence!r} fits best: {best.prompt!r}, cosine {column[order[0]]:.2f}")

# The same in one call: draw four, keep the one that fits best.
(best,) = limner.draw("a green frog left of a yellow star", best_of=4, seed=0)
print(f"of four drawings the one of seed {best.seed} fits best")
