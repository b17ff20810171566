"""Runs a command's async part under trio: once for a command, until a signal for a service."""

from __future__ import annotations

import signal
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import trio

T = TypeVar("T")
Service = Callable[..., Awaitable[Any]]


class ConfigError(ValueError):
    """A configuration file or value that cannot be used; the message names it."""


class CommandError(Exception):
    """Why a command could not do what it was asked for."""


def run(command: Callable[[], Awaitable[T]]) -> T:
    import trio

    return trio.run(command)


def serve(service: Service, config: Any, name: str) -> None:
    """Runs `service(config, task_status=…)` until it ends or SIGTERM or SIGINT arrives, which both end it cleanly.

    A second signal falls back to Python's own handling, so that a shutdown that hangs can be cut short.
    """

    import structlog
    import trio

    from sequencer.logs import configure

    configure()
    log = structlog.get_logger(room=name)

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def watch_signals(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arrived:
                    task_status.started()
                    async for number in arrived:
                        log.info("shutting down", signal=signal.Signals(number).name)
                        nursery.cancel_scope.cancel()
                        return

            async def run_service(task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
                await service(config, task_status=task_status)
                nursery.cancel_scope.cancel()

            await nursery.start(watch_signals)
            started = await nursery.start(run_service)
            log.info("ready", **({"port": started} if isinstance(started, int) else {}))

    trio.run(main)


def read_toml(path: Path | None) -> dict[str, Any]:
    """The configuration file's values; empty when no file was named."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, however nested; the exception itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
