"""A small arena of plain pictures, served from a thread."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from limner.evaluate.arena.votes import Setup, Votes
from limner.images import encode_png
from limner.server.arena import ArenaServer
from tests.waiting import PATIENCE

PROMPTS = ("a red apple", "夜空下的两只猫", "<b>bold</b> & fish")
COLOURS = ((200, 30, 30), (30, 30, 200))  # of the first model and of the second


def make_arena(folder: Path) -> Votes:
    """Return an arena in which each model draws its own colour, the second one larger."""
    votes = Votes(folder / "arena.db")
    votes.create(Setup(("reds", "blues"), PROMPTS), random.Random(5))
    for model, colour in enumerate(COLOURS):
        png = encode_png(Image.new("RGB", (32 + 32 * model,) * 2, colour))
        votes.add_pictures(model, [(prompt, png) for prompt in range(len(PROMPTS))])
    return votes


@contextmanager
def serving(votes: Votes) -> Iterator[ArenaServer]:
    """Serve an arena while the block runs; it may end sooner by itself."""
    with ArenaServer(votes, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(timeout=PATIENCE)
            assert not thread.is_alive()
