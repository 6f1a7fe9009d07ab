"""The tables of a run's file that say how it trains."""

from dataclasses import dataclass

from limner.data.batches.augment import POLICIES
from limner.errors import ConfigError, UsageError, did_you_mean, quote
from limner.gan.losses import ADVERSARIAL, PENALTIES
from limner.train.config.fields import Checked, choice, number
from limner.types import check_device

PRETRAINED = ("efficientnet-lite0",)  # networks whose features a codec's loss may compare


@dataclass(frozen=True)
class LoopConfig(Checked):
    """How long and how a run trains. `steps` are optimiser steps of `batch` pictures.

    A batch is computed in `accumulate` parts, one after the other, in less memory; `checkpointing`
    computes activations twice in place of keeping them. `bf16` is where the device computes in it,
    else the run is in fp32. `fp16` takes the place of bf16, for GPUs that have no bf16. The run
    ends early after `patience` validations in a row without a better one; 0 is never. `nonfinite`
    "skip" leaves out a batch whose loss is NaN or infinite, and stops at the third in a row.
    `tensorboard` writes what the log holds for TensorBoard too.

    Several ranks share a batch; `parallel` is how they share the model, and `rank_timeout` how many
    seconds one waits for another.
    """

    steps: int = number(10_000, least=1)
    batch: int = number(64, least=1)
    learning_rate: float = number(1e-3, above=0)
    optimizer: str = choice("adamw", "adamw", "muon")
    schedule: str = choice("wsd", "wsd", "cosine", "constant")
    warmup: int = number(200, least=0)
    decay: float = number(0.2, above=0, most=1)
    weight_decay: float = number(0.02, least=0)
    clip: float = number(1.0, above=0)
    average: float = number(0.999, least=0, below=1)
    device: str = "auto"
    parallel: str = choice("ddp", "ddp", "fsdp")
    rank_timeout: int = number(600, least=1)
    bf16: bool = True
    fp16: bool = False
    accumulate: int = number(1, least=1)
    checkpointing: bool = False
    compile: bool = False
    seed: int = number(0, least=0)
    validate_every: int = number(500, least=1)
    sample_every: int = number(1000, least=1)
    save_every: int = number(500, least=1)
    patience: int = number(0, least=0)
    nonfinite: str = choice("stop", "stop", "skip")
    tensorboard: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_device(self.device)
        except UsageError as error:
            raise ConfigError(str(error), param="device") from None
        if self.batch % self.accumulate:
            raise ConfigError(
                f"accumulate is {self.accumulate} and batch {self.batch}; expected parts of equal "
                "size, so give a batch that accumulate divides",
                param="accumulate",
            )
        for name in ("fp16", "compile", "checkpointing"):
            if self.parallel == "fsdp" and getattr(self, name):
                raise ConfigError(
                    f"{name} and parallel = 'fsdp' are both given, and have not been made to work "
                    f"together; leave {name} out, or give 'ddp'",
                    param=name,
                )


@dataclass(frozen=True)
class CodecTraining(Checked):
    """Weights of the codec's losses, and the step at which the discriminator joins.

    With `adaptive`, `adversarial` is a share of the weight at which the discriminator's gradient is
    as large as the reconstruction's (arXiv 2012.09841, equation 7).

    The perceptual loss compares the features of the network whose file is `perceptual_weights`, or
    those of `features`, a pretrained one; of pictures shrunk to `perceptual_size`, 0 for as they
    are. `naming` weighs naming what stands in each cell of the grid, of emoji scenes
    (`limner.train.codec.naming`). `half` exports weights in fp16.
    """

    perceptual: float = number(0.0, least=0)
    perceptual_weights: str = ""
    features: str = choice("", "", *PRETRAINED)
    perceptual_size: int = number(0, least=0, most=4096)
    naming: float = number(0.0, least=0)
    adversarial: float = number(0.0, least=0)
    adversarial_from: int = number(0, least=0)
    adaptive: bool = False
    decoder_only: bool = False
    half: bool = False


@dataclass(frozen=True)
class PriorTraining(Checked):
    """How the prior learns: dropped captions, share of the run with annealed random order."""

    caption_dropout: float = number(0.1, least=0, most=1)
    random_order_until: float = number(0.0, least=0, most=1)


@dataclass(frozen=True)
class ClipTraining(Checked):
    """How CLIP learns: wrong captions beside each right one; `half` exports weights in fp16.

    `hard_negatives` are captions of a scene with one thing changed (`data.scenes.hard_negatives`);
    with `twins` half of a batch are such scenes, so that both directions of the loss meet them.
    `backgrounds` is how many a batch's scenes stand on, 0 for each its own: fewer tell fewer of
    them from one another. `naming` is the weight of naming what a picture shows among all
    objects or colours, anywhere or at one place (`train.clip.naming`). `softened` is the share of
    pictures that are seen as the codec of `codec_from` gives them back: that is how drawings look,
    which such a CLIP is to judge.
    """

    hard_negatives: int = number(1, least=0, most=8)
    backgrounds: int = number(4, least=0)
    naming: float = number(1.0, least=0)
    twins: bool = False
    softened: float = number(0.0, least=0, most=1)
    half: bool = True


@dataclass(frozen=True)
class TextConfig(Checked):
    """How a prior or CLIP reads text: with a pretrained `encoder`, or its own.

    `encoder` is a folder or hf:owner/name; `trainable` trains the pretrained encoder too;
    `keywords` drops stop words first.
    """

    encoder: str = ""
    trainable: bool = False
    keywords: bool = False


@dataclass(frozen=True)
class VisionConfig(Checked):
    """How a CLIP sees pictures: with a pretrained `encoder`, or by `[clip.image_encoder]`.

    `encoder` is a folder or hf:owner/name; `trainable` trains it too; `size` are the pixels a side
    it is given, 0 for as many as it was trained with.
    """

    encoder: str = ""
    trainable: bool = False
    size: int = number(0, least=0, most=4096)


@dataclass(frozen=True)
class AdaptTraining(Checked):
    """How a model is adapted: low-rank changes (arXiv 2106.09685), and what keeps the rest.

    `word` is put before captions that lack it, to call the new thing by. `preserve` is the share of
    each batch that the model itself drew before, of `drawn` such pictures. `decoder` adapts the
    codec's decoder too.
    """

    rank: int = number(8, least=1, most=256)
    alpha: float = number(8.0, above=0)
    word: str = ""
    preserve: float = number(0.25, least=0, below=1)
    drawn: int = number(32, least=1, most=4096)
    decoder: bool = False


@dataclass(frozen=True)
class UnClipTraining(Checked):
    """What unCLIP's decoder is `told`, and how often embedding and text are dropped.

    The shares are those of arXiv 2204.06125, section 2.1; `text_dropout` is the prior's too, whose
    own is 0.1 there. The decoder is told embeddings with noise of length 0 to `embedding_noise`
    added, so that it bears what a prior gets wrong. `half` exports weights in fp16.
    """

    told: str = choice("both", "both", "embedding", "text")
    embedding_dropout: float = number(0.1, least=0, most=1)
    text_dropout: float = number(0.5, least=0, most=1)
    embedding_noise: float = number(0.0, least=0, most=4)
    half: bool = True


@dataclass(frozen=True)
class GanTraining(Checked):
    """How generator and discriminator learn against each other.

    `discriminator_rate` is its learning rate, 0 for the loop's; it has `n_critic` updates for one
    of the generator's. `momentum` is Adam's first beta for both. The penalty is R1's gamma or
    WGAN-GP's lambda times its formula, computed every so many steps and weighed up for it. Wrong
    captions are those of the next picture (`mismatched`), and of scenes also `hard_negatives`, with
    one thing changed (`data.scenes.hard_negatives`). `augment` are policies of DiffAugment with
    commas between, or "". `kl` weighs the condition's distance from N(0, 1) in nats.

    With `reconstruction` half a batch is drawn from the noise that an encoder saw in the true
    picture (VAE-GAN, arXiv 1512.09300), `picture_kl` weighing that noise's distance from N(0, 1)
    and `adversarial` the discriminator's word. `guidance` weighs CLIP's loss on drawn pictures.

    From the step `watch_from` on, a collapse is told at the next validation; `on_collapse` may
    also stop, or restore the weights of the last sound one. `half` exports weights in fp16.
    """

    loss: str = choice("hinge", *ADVERSARIAL)
    penalty: str = choice("r1", *PENALTIES)
    penalty_weight: float = number(1.0, above=0)
    penalty_every: int = number(16, least=1)
    discriminator_rate: float = number(0.0, least=0)
    n_critic: int = number(1, least=1, most=100)
    momentum: float = number(0.0, least=0, below=1)
    mismatched: bool = True
    hard_negatives: int = number(1, least=0, most=8)
    augment: str = "translation"
    kl: float = number(0.01, least=0)
    adversarial: float = number(1.0, above=0)
    reconstruction: float = number(0.0, least=0)
    picture_kl: float = number(0.01, least=0)
    guidance: float = number(0.0, least=0)
    on_collapse: str = choice("tell", "tell", "stop", "restore")
    watch_from: int = number(1000, least=0)
    half: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for policy in self.policies:
            if policy not in POLICIES:
                hint = did_you_mean(policy, POLICIES)
                raise ConfigError(
                    f"augment has the policy {quote(policy)}; expected some of "
                    f"{', '.join(POLICIES)}{hint}",
                    param="augment",
                )

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies of DiffAugment, in their order."""
        return tuple(each.strip() for each in self.augment.split(",") if each.strip())
