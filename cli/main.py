"""The command `pouw`: parses, calls a room, prints. It holds no rules.

Errors that a user can act on are one plain line on stderr; POUW_DEBUG=1 adds the traceback. Exit codes: 0 done (and a service
that was told to stop), 1 failed, 2 used wrongly. Rooms are imported inside the commands, so that `pouw --help` needs none of them.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer

from cli import (
    challenge_commands,
    demo_command,
    escape_commands,
    governance_commands,
    inbox_commands,
    keys_command,
    l1_commands,
    localnet_command,
    program_commands,
    prove_command,
    receipt_command,
    service_commands,
    slash_commands,
    stake_commands,
    status_command,
    task_commands,
    transfer_command,
)
from cli.errors import describe
from cli.output import fail
from cli.runtime import leaves

INTERRUPTED = 130

app = typer.Typer(
    name="pouw",
    help="A Solana layer 2 for proof of useful work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
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


# In the order in which they are needed, which is that of `pouw --help`.
demo_command.register(app)
localnet_command.register(app)
status_command.register(app)
task_commands.register(app)
receipt_command.register(app)
l1_commands.register_money(app)
transfer_command.register(app)
inbox_commands.register(app)
escape_commands.register(app)
stake_commands.register(app)
service_commands.register(app)
program_commands.register(app)
l1_commands.register(app)
slash_commands.register(app)
challenge_commands.register(app)
prove_command.register(challenge_commands.challenge_app)
governance_commands.register(app)
keys_command.register(app)


def main() -> None:
    from typer.exceptions import TyperException

    try:
        code = app(prog_name="pouw", standalone_mode=False)
    except TyperException as error:
        sys.exit(_used_wrongly(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last frame: everything becomes one line and exit code 1
        if os.environ.get("POUW_DEBUG"):
            traceback.print_exc()
        ended = leaves(error)
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in ended):
            sys.exit(INTERRUPTED)
        for leaf in ended:
            if isinstance(leaf, BrokenPipeError):  # whoever read our output has gone, as `head` does
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            else:
                fail(describe(leaf))
        sys.exit(1)
    if isinstance(code, int) and code:
        sys.exit(code)


def _used_wrongly(error: Any) -> int:
    """The exit code, after one line of what is wrong and where to look; the help itself where a group was called with nothing."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if "\n" in message or context is None:
        error.show()
    else:
        fail(f"{message.rstrip('.')}; see `{context.command_path} --help`")
    return int(error.exit_code)


if __name__ == "__main__":
    main()
