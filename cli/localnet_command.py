"""`pouw localnet`: the embedded L1 with the settlement program on it, and what to do next with it.

The program's upgrade authority, who alone may initialise it, is one key for all of a user's localnets, made on first use.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.settings import DEFAULT_URL

if TYPE_CHECKING:
    from localnet.service import Endpoints

AUTHORITY = Path("~/.local/share/pouw/localnet/upgrade-authority.json")


def register(app: typer.Typer) -> None:
    app.command(
        "localnet",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        help="Run an embedded L1 with the settlement program on it; flags as solana-test-validator's (`pouw localnet --help`).",
        rich_help_panel="Start here",
    )(localnet)


def localnet(context: typer.Context) -> None:
    import trio

    from localnet.__main__ import parser, ready_lines, run
    from localnet.keys import ensure_keypair
    from settlement import idl

    flags = parser()
    flags.prog = "pouw localnet"
    arguments = flags.parse_args(context.args)
    program, authority = str(idl.committed().address), AUTHORITY.expanduser()
    given = [address for address, *_ in (*arguments.upgradeable_program, *arguments.bpf_program)]
    # Whoever names another build of it, or another authority, knows how to go on.
    ours = program not in given
    if ours:
        ensure_keypair(authority)
        arguments.upgradeable_program.append([program, str(idl.PROGRAM_PATH), str(authority)])

    def announce(endpoints: Endpoints, flags: argparse.Namespace) -> str:
        ready = ready_lines(endpoints, flags)
        if not ours or (flags.quiet and not flags.json):
            return ready
        if flags.json:
            return json.dumps({**json.loads(ready), "program_id": program, "upgrade_authority": str(authority)})
        return f"{ready}\n{what_next(endpoints.rpc_url, program, authority)}"

    logging.basicConfig(level=logging.ERROR if arguments.quiet else logging.WARNING, stream=sys.stderr)
    trio.run(run, arguments, announce)


def what_next(url: str, program: str, authority: Path) -> str:
    """The program and commands that work when they are pasted into another shell in the checkout."""
    return "\n".join(
        (
            "The settlement program is on it:",
            f"  program       {program}",
            f"  authority     {authority}",
            "Next with pouw, in another shell:",
            *(f"  {command}" for command in next_commands(url, authority)),
            'README.md, "Run it yourself", goes on with a validator, the sequencer, a worker and a task.',
        )
    )


def next_commands(url: str, authority: Path) -> list[str]:
    elsewhere = [] if url == DEFAULT_URL else [f"export POUW_URL={url}"]
    return [
        *elsewhere,
        "./run pouw keys new -o me.json",
        "./run pouw airdrop 10000000000 -k me.json",
        f"./run pouw init --authority {authority} --payer me.json",
        "./run pouw deposit 1000000 -k me.json",
        "./run pouw validator list",
    ]
