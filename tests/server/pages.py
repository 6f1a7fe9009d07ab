"""A browser with the page in it, and a list of what goes wrong there or leaves this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@dataclass
class Tab:
    """A page of a browser; `faults` are lines of its console, and requests to other machines."""

    page: Any
    faults: list[str] = field(default_factory=list)

    def goes_to(self, address: str) -> Any:
        """Open the page and wait until it can be used."""
        self.page.goto(address)
        self.page.wait_for_selector("#model option", state="attached")
        return self.page

    def shot(self, name: str) -> None:
        if folder := os.environ.get("LIMNER_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"page-{name}.png")


@contextmanager
def browsing() -> Iterator[Any]:
    """Give a Chromium; skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian's is apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'limner[dev]'")
    with playwright.sync_playwright() as driver:
        # A container's root has no user namespaces for Chromium's sandbox.
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def new_tab(context: Any) -> Tab:
    tab = Tab(context.new_page())
    tab.page.set_default_timeout(PATIENCE * 1000)
    tab.page.on("console", lambda each: tab.faults.append(each.text))
    tab.page.on("pageerror", lambda each: tab.faults.append(str(each)))

    def leave(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:http://127.0.0.1:")):
            tab.faults.append(request.url)

    tab.page.on("request", leave)
    return tab
