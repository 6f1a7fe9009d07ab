"""The files of the page: read once, served without a key, for they hold nothing of anybody's."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

PAGE = "page.html"
FILES = (
    "page.css", "parts.css", "icon.svg", "main.js", "api.js", "text.js", "en.js", "zh.js", "dom.js",
    "settings.js", "drawing.js", "words.js", "compose.js", "gallery.js", "viewer.js", "editor.js",
    "brush.js", "metadata.js", "store.js", "explain.js", "turn.js",
)  # fmt: skip
FOLDER = "/web/"
OPEN = ("/", *(FOLDER + name for name in FILES))
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing inline, nothing from elsewhere; pictures are blobs, for a key can't be sent with an <img>.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@lru_cache
def read(name: str) -> bytes:
    """Return the bytes of a file of the page; `name` must be PAGE or of FILES."""
    return (files("limner.server") / "web" / name).read_bytes()
