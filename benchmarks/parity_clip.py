"""CLIP and SigLIP beside transformers and open_clip, at real shapes, for benchmarks/parity.py."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parity_rows import Row, imported, liven, row


def clip(folder: Path) -> Iterator[Row]:
    """CLIPModel of transformers in the shape of ViT-B/32, 49408 ids, 77 tokens."""
    import transformers

    from limner.registry import load_clip

    theirs = transformers.CLIPModel(transformers.CLIPConfig()).eval()  # its defaults are B/32
    yield from _of_clip(theirs, folder, load_clip, "clip ViT-B/32", "CLIP")


def siglip(folder: Path) -> Iterator[Row]:
    """SiglipModel of transformers in the shape of base, patches of 16, 32000 ids, 64 tokens."""
    import transformers

    from limner.registry import load_clip

    theirs = transformers.SiglipModel(transformers.SiglipConfig()).eval()  # its defaults are B/16
    yield from _of_clip(theirs, folder, load_clip, "siglip B/16", "SigLIP")


def _of_clip(theirs: Any, folder: Path, load: Any, name: str, kind: str) -> Iterator[Row]:
    import torch
    from torch.nn import functional as F

    from tests.convert import clips

    torch.manual_seed(0)
    liven(theirs)
    theirs.save_pretrained(folder / "in")
    if kind == "CLIP":
        clips.write_words(folder / "in")
    else:
        clips.write_pieces(folder / "in")
    model = load(imported(folder / "in", folder / "out"))
    images = torch.rand(4, 3, 224, 224)
    image = model.clip.config.image_encoder
    colours = (torch.tensor(image[each])[:, None, None] for each in ("mean", "std"))
    mean, std = colours
    seen = F.normalize(theirs.get_image_features((images - mean) / std).pooler_output, dim=-1)
    ours = model.encode_images(images * 2 - 1)
    yield row(f"{name} image vectors", ours, seen)
    texts = ["a red apple", "cat!", "a"]
    ids = model.read(texts)  # (3, T), left-padded, one above theirs
    padding = model.clip.config.text_encoder.get("padding") or 1
    rows = [[each - 1 for each in one if each] for one in ids.tolist()]
    length = ids.shape[1] if kind == "SigLIP" else max(map(len, rows))
    padded = torch.tensor([[*one, *[padding - 1] * (length - len(one))] for one in rows])
    if kind == "CLIP":
        theirs.text_model.eos_token_id = rows[0][-1]  # of the small vocabulary that stands in
    told = F.normalize(theirs.get_text_features(padded).pooler_output, dim=-1)
    words = model.encode_texts(texts)
    yield row(f"{name} text vectors", words, told)
    scale = theirs.logit_scale.exp()
    yield row(f"{name} logits", model.clip.scale * ours @ words.T, scale * seen @ told.T)


def open_clip(folder: Path) -> Iterator[Row]:
    """ViT-B-32 of PyPI open_clip_torch: its pictures and its texts, tokenizer included."""
    import open_clip as peer
    import torch
    from safetensors.torch import save_file

    from limner.registry import load_clip

    torch.manual_seed(0)
    theirs = peer.create_model("ViT-B-32", pretrained=None).eval()
    liven(theirs)
    (folder / "in").mkdir()
    state = {name: each.contiguous() for name, each in theirs.state_dict().items()}
    save_file(state, folder / "in" / "open_clip_model.safetensors")
    config = {"model_cfg": peer.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "in" / "open_clip_config.json").write_text(json.dumps(config))
    words = Path(peer.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    (folder / "in" / words.name).write_bytes(words.read_bytes())
    model = load_clip(imported(folder / "in", folder / "out"))
    texts = ["a photo of a cat", "An  armchair, like an AVOCADO!", "it's 12 o'clock; caf\u00e9"]
    ids = peer.tokenize(texts)
    ours = [[each - 1 for each in one if each] for one in model.read(texts).tolist()]
    theirs_ids = [[each for each in one if each] for one in ids.tolist()]
    yield Row("open_clip ids", list(ids.shape), float(ours != theirs_ids))
    told = torch.nn.functional.normalize(theirs.encode_text(ids), dim=-1)
    yield row("open_clip ViT-B-32 text vectors", model.encode_texts(texts), told)
    images = torch.rand(4, 3, 224, 224)
    mean, std = (torch.tensor(each)[:, None, None]
                 for each in (peer.OPENAI_DATASET_MEAN, peer.OPENAI_DATASET_STD))  # fmt: skip
    seen = torch.nn.functional.normalize(theirs.encode_image((images - mean) / std), dim=-1)
    yield row("open_clip ViT-B-32 image vectors", model.encode_images(images * 2 - 1), seen)
