"""The tokenizer of T5: SentencePiece, and </s> behind every text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from limner.convert.siglip_tokenizer import lowered, pieces_json
from limner.errors import CheckpointError
from limner.files.folder import shown_path

if TYPE_CHECKING:
    from limner.convert.files import Files

END = "</s>"


def t5_tokenizer(files: Files, folder: Path, *, lower: bool = True) -> tuple[str, int]:
    """Return limner's tokenizer.json of the one in T5's folder, and how many ids it has.

    Where `lower`, texts are made lower case before it reads them.
    """
    from limner.text.pretrained_tokenizer import PretrainedTokenizer

    whole, pieces = folder / "tokenizer.json", folder / "spiece.model"
    if whole.is_file():
        path, text = whole, files.text(whole)
    elif pieces.is_file():
        path, text = pieces, pieces_json(files.bytes(pieces), shown_path(pieces), clean=False)
    else:
        raise CheckpointError(
            f"{shown_path(folder)} has no tokenizer.json and no spiece.model; get T5 with one"
        )
    made = PretrainedTokenizer.convert(text, source=shown_path(path))
    parts = json.loads(made.to_json())
    names = [each[0].lstrip("\0") for each in parts["model"]["vocab"]]
    if END not in names:
        raise CheckpointError(f"{shown_path(path)} has no token {END}; get the tokenizer anew")
    parts["limner"] |= {"begin": [], "end": [names.index(END) + 1]}
    parts = lowered(parts) if lower else parts
    return json.dumps(parts, ensure_ascii=False), len(names) + 1
