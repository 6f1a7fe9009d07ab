"""From a drawn picture to the file that is sent; what belongs into the gallery is there first."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from limner.errors import LimnerError
from limner.server.answers import Finished, finish, notes_of
from limner.server.asking import Ask, note
from limner.server.gallery import FULL, Entry, Gallery
from limner.server.logs import log_fault
from limner.types import Picture

if TYPE_CHECKING:
    from limner.server.jobs import Job
    from limner.server.service import Service

# Why is in the log: it tells of this machine.
_NOT_KEPT = "the picture could not be kept in the gallery"


async def finish_one(service: Service, ask: Ask, job: Job, picture: Picture) -> Finished:
    """Return a picture as it is sent, on the disk before that where its request says so."""
    metadata = service.config.metadata or ask.gallery
    finisher = functools.partial(finish, metadata=metadata, mark=service.config.mark)
    finished = await service.finishing(finisher, picture, ask, service.hooks)
    if not ask.gallery or not service.gallery.keeps:
        return finished
    return await service.finishing(keep, service.gallery, job.key, ask, finished)


def keep(gallery: Gallery, owner: str, ask: Ask, finished: Finished) -> Finished:
    """Write a picture into the gallery; one that finds no room is sent all the same, and said."""
    picture = finished.picture
    entry = Entry(
        ask.way, picture.prompt, picture.revised_prompt or picture.prompt, picture.seed,
        ask.offer.id, picture.image.size, ask.kind, finished.data, picture.settings,
        [each.to_json() for each in notes_of(ask, [picture])],
    )  # fmt: skip
    try:
        return replace(finished, number=gallery.keep(owner, entry))
    except LimnerError as error:
        log_fault(error)
        full = error.code == FULL
        told = note("gallery_full", str(error)) if full else note("not_kept", _NOT_KEPT)
        return replace(finished, notes=(told,))
