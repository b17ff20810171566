"""How the demo tells what it does: a picture drawn anew four times a second on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live

from cli import demo_view
from cli.demo_state import Snapshot, changes
from cli.demo_view import Model


class Display(Protocol):
    names: Mapping[str, str]

    def say(self, sentence: str) -> None: ...
    def phase(self, done: int) -> None: ...
    def see(self, snapshot: Snapshot) -> None: ...
    def end(self) -> None: ...


class Lines:
    """For pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console, self._started = console, time.monotonic()
        self._last: Snapshot | None = None
        self.names: Mapping[str, str] = {}

    def say(self, sentence: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:4.0f} s  {sentence}", soft_wrap=True, markup=False)

    def phase(self, done: int) -> None:
        pass  # the sentences say so

    def see(self, snapshot: Snapshot) -> None:
        for sentence in changes(self._last, snapshot, self.names):
            self.say(sentence)
        self._last = snapshot

    def end(self) -> None:
        pass


class Screen:
    """For terminals."""

    def __init__(self, console: Console, where: str) -> None:
        self._started = time.monotonic()
        self._model = Model(where)
        self._live = Live(self, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    @property
    def names(self) -> Mapping[str, str]:
        return self._model.names

    @names.setter
    def names(self, names: Mapping[str, str]) -> None:
        self._model.names = names

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> list[RenderableType]:
        self._model.seconds = time.monotonic() - self._started
        return [demo_view.screen(self._model, options.max_width, console.height)]

    def say(self, sentence: str) -> None:
        self._model.feed.append((time.monotonic() - self._started, sentence))

    def phase(self, done: int) -> None:
        self._model.phase = done

    def see(self, snapshot: Snapshot) -> None:
        for sentence in changes(self._model.snapshot, snapshot, self.names):
            self.say(sentence)
        self._model.snapshot = snapshot

    def end(self) -> None:
        self._live.stop()


def display(console: Console, where: str) -> Display:
    return Screen(console, where) if console.is_terminal and not console.is_dumb_terminal else Lines(console)
