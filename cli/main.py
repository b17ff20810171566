"""The command `pouw`: parses, calls a room, prints. It holds no rules.

Errors that a user can act on are one plain line on stderr; POUW_DEBUG=1 adds the traceback. Exit codes: 0 done (and a service
that was told to stop), 1 failed, 2 used wrongly. Rooms are imported inside the commands, so that `pouw --help` needs none of them.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from cli import demo_command, keys_command, l1_commands, receipt_command, service_commands, task_commands
from cli.output import fail
from cli.runtime import leaves

app = typer.Typer(
    name="pouw",
    help="A Solana layer 2 for proof of useful work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"pouw {version('pouw')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


demo_command.register(app)
keys_command.register(app)
l1_commands.register(app)
task_commands.register(app)
receipt_command.register(app)
service_commands.register(app)


def main() -> None:
    try:
        app()
    except Exception as error:  # noqa: BLE001 - the last frame: everything becomes one line and exit code 1
        if os.environ.get("POUW_DEBUG"):
            traceback.print_exc()
        for leaf in leaves(error):
            fail(describe(leaf))
        sys.exit(1)


def describe(error: BaseException) -> str:
    """The message of an error that was meant for people; the type's name before it for all others."""
    message = str(error)
    if type(error).__module__.partition(".")[0] in (
        "settlement",
        "sequencer",
        "worker",
        "validator",
        "localnet",
        "cli",
    ):
        return message or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


if __name__ == "__main__":
    main()
