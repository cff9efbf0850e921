"""Showing things: HTML in a notebook, text elsewhere. IPython is used if it is running, and never imported
otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def is_notebook() -> bool:
    """Whether this runs in a kernel that shows HTML: Jupyter's, and not IPython in a terminal."""
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


def show_bundle(text: str, html: Callable[[], str]) -> None:
    """Shows the HTML in a notebook, with the text beside it for whoever cannot show that; else prints the text."""
    if not is_notebook():
        print(text)
        return
    _display()({"text/plain": text, "text/html": html()}, raw=True)


class Live:
    """A part of a notebook's output that changes; elsewhere it is not there."""

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, text: str, html: str) -> None:
        """Shows this from now on."""
        if not is_notebook():
            return
        bundle = {"text/plain": text, "text/html": html}
        if self._handle is None:
            self._handle = _display()(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _display() -> Callable[..., Any]:
    from IPython import display  # type: ignore[import-not-found, unused-ignore]

    shown: Callable[..., Any] = display.display
    return shown
