"""`python -m localnet`: the embedded L1 as a process."""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable

import trio

from localnet.account_files import AccountFileError
from localnet.flags import config_of, parser
from localnet.keys import KeyFileError
from localnet.ledger import LedgerError
from localnet.node import API_VERSION
from localnet.programs import ProgramLoadError
from localnet.service import Endpoints, StartError, serve

__all__ = ["main", "parser", "ready_lines", "run"]

# Each client holds one; a thousand WebSockets are more than the usual soft limit of 1,024.
_WANTED_OPEN_FILES = 16_384


def ready_lines(endpoints: Endpoints, arguments: argparse.Namespace) -> str:
    """What is printed once both ports answer: one JSON object, one line, or what there is and what to do next."""
    if arguments.json:
        return json.dumps(
            {
                "rpc_url": endpoints.rpc_url,
                "websocket_url": endpoints.websocket_url,
                "genesis_hash": str(endpoints.genesis_hash),
                "faucet": str(endpoints.faucet),
                "identity": str(endpoints.identity),
                "slot": endpoints.slot,
                "pid": os.getpid(),
            }
        )
    first = f"localnet ready: JSON-RPC {endpoints.rpc_url}  WebSocket {endpoints.websocket_url}"
    if arguments.quiet:
        return first
    if endpoints.ledger is None:
        ledger = "in memory, gone at the end; --ledger DIR keeps it"
    else:
        ledger = f"{endpoints.ledger}, " + ("new" if endpoints.slot == 1 else f"goes on at slot {endpoints.slot}")
    return "\n".join(
        (
            first,
            f"  version       {API_VERSION}, the interface of agave over its runtime in one process",
            f"  ledger        {ledger}",
            f"  genesis hash  {endpoints.genesis_hash}",
            f"  identity      {endpoints.identity}",
            f"  faucet        {endpoints.faucet}",
            "Next:",
            f"  solana config set --url {endpoints.rpc_url}    let the Solana CLI use it",
            "  solana airdrop 10                                   SOL for the CLI's own key",
            "  solana logs                                         watch transactions as they land",
            "Ctrl-C ends it.",
        )
    )


async def run(
    arguments: argparse.Namespace, announce: Callable[[Endpoints, argparse.Namespace], str] = ready_lines
) -> None:
    """Serves until SIGINT or SIGTERM. What `announce` makes is printed once both ports answer."""
    config = config_of(arguments)
    if arguments.log:
        logging.getLogger("localnet").setLevel(logging.INFO)
    _allow_many_clients()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            endpoints = await nursery.start(serve, config)
            print(announce(endpoints, arguments), flush=True)


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _allow_many_clients() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.ERROR if arguments.quiet else logging.WARNING, stream=sys.stderr)
    try:
        trio.run(run, arguments)
    except* (StartError, LedgerError, KeyFileError, AccountFileError, ProgramLoadError) as errors:
        sys.exit(f"localnet: {_first(errors)}")


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


if __name__ == "__main__":
    main()
