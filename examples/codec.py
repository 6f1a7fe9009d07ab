"""A codec of your own in one file: it draws in grey, with the weights that `default` has.

python examples/codec.py [OUT.png]; a training config calls it codec.name = "codec:GreyCodec"
"""

import sys

import limner
from limner.codecs import create_codec
from limner.codecs.fsq import FSQCodec


class GreyCodec(FSQCodec):
    """Pictures to codes as fsq has them, and back without colour."""

    def decode(self, codes, told=()):  # what words say of each picture, for a decoder that hears
        images = super().decode(codes, told)  # (B, 3, H, W) in [-1, 1]
        return images.mean(dim=1, keepdim=True).expand_as(images)


if __name__ == "__main__":
    model = limner.load("default")
    grey = create_codec({**model.config.codec, "name": "__main__:GreyCodec"})
    grey.load_state_dict(model.codec.state_dict())
    model.codec = grey.eval()  # the prior knows only how many codes there are, and goes on
    (picture,) = model.draw("a red apple on a blue background", seed=0)
    picture.save(sys.argv[1] if len(sys.argv) > 1 else "grey.png")
