"""What every run does: tell its steps, and gather the warnings for the page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Takes one line about what is being done.
Tell = Callable[[str], None]


@contextmanager
def gathered_warnings(tell: Tell = lambda _: None) -> Iterator[list[str]]:
    """Collect the warnings meant for users as lines of text, and tell each once."""
    messages: list[str] = []

    def gather(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        text = " ".join(str(message).split())
        if not issubclass(category, (DeprecationWarning, FutureWarning)) and text not in messages:
            messages.append(text)
            tell(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = gather
        yield messages
