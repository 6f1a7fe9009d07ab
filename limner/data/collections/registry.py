"""The collections by name; another one is a file beside this and a line here."""

from limner.data.collections.clipart import CLIPART
from limner.data.collections.stamps import STAMPS

COLLECTIONS = {each.name: each for each in (STAMPS, CLIPART)}
