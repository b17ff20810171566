"""`python -m localnet`: the embedded L1 as a process. Flags are named as solana-test-validator's where it has them."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio
from solders.pubkey import Pubkey

from localnet.clock import DEFAULT_SLOT_MS
from localnet.commitment import FINALIZED_LAG_SLOTS
from localnet.config import DEFAULT_RPC_PORT, GenesisProgram, LocalnetConfig
from localnet.keys import KeyFileError, parse_address
from localnet.ledger import LedgerError
from localnet.programs import ProgramLoadError
from localnet.service import Endpoints, StartError, serve

EPILOG = """The ledger folder keeps everything: accounts, programs, blocks, transactions, blockhashes, the genesis hash, the
keypairs of faucet and validator. A restart goes on with the next slot. Flags that make the genesis (--mint, --bpf-program,
--upgradeable-program) count for a new ledger only. What is finalized is on the disk; a crash may take back what is not."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="localnet",
        description="A local Solana cluster in one process: JSON-RPC and WebSocket over LiteSVM.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    p.add_argument("--ledger", "-l", type=Path, metavar="DIR", help="folder of the ledger (default: none, in memory)")
    p.add_argument("--reset", "-r", action="store_true", help="begin a new ledger in that folder")
    p.add_argument(
        "--rpc-port",
        type=int,
        default=DEFAULT_RPC_PORT,
        metavar="PORT",
        help="JSON-RPC port, WebSocket on the next one; 0 takes free ones (default: %(default)s)",
    )
    p.add_argument("--bind-address", default="127.0.0.1", metavar="HOST", help="default: %(default)s")
    p.add_argument("--mint", type=parse_address_argument, metavar="PUBKEY", help="account that gets 500,000,000 SOL")
    p.add_argument(
        "--bpf-program",
        nargs=2,
        action="append",
        default=[],
        metavar=("ADDRESS_OR_KEYPAIR", "FILE"),
        help="a program, with the system program as its upgrade authority; may be repeated",
    )
    p.add_argument(
        "--upgradeable-program",
        nargs=3,
        action="append",
        default=[],
        metavar=("ADDRESS_OR_KEYPAIR", "FILE", "AUTHORITY"),
        help='a program with its upgrade authority: a public key, a keypair file or "none"; may be repeated',
    )
    p.add_argument(
        "--slot-ms", type=float, default=DEFAULT_SLOT_MS, metavar="MS", help="length of a slot (default: %(default)s)"
    )
    p.add_argument(
        "--finalized-lag",
        type=int,
        default=FINALIZED_LAG_SLOTS,
        metavar="SLOTS",
        help="slots by which finalized lags behind processed (default: %(default)s, as on a cluster)",
    )
    p.add_argument("--quiet", "-q", action="store_true", help="log errors only")
    p.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    return p


def parse_address_argument(text: str) -> Pubkey:
    try:
        return parse_address(text)
    except KeyFileError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def config_of(arguments: argparse.Namespace) -> LocalnetConfig:
    """Raises KeyFileError, StartError."""
    if arguments.reset and arguments.ledger is None:
        raise StartError("--reset needs --ledger: without it nothing is kept anyway")
    if not arguments.slot_ms > 0:
        raise StartError(f"--slot-ms {arguments.slot_ms} must be more than 0")
    if arguments.finalized_lag < 1:
        raise StartError(f"--finalized-lag {arguments.finalized_lag} must be at least 1, the lag of confirmed")
    system_program = parse_address("11111111111111111111111111111111")
    programs = [GenesisProgram(parse_address(i), Path(f), system_program) for i, f in arguments.bpf_program]
    programs += [
        GenesisProgram(parse_address(i), Path(f), None if authority == "none" else parse_address(authority))
        for i, f, authority in arguments.upgradeable_program
    ]
    return LocalnetConfig(
        rpc_port=arguments.rpc_port,
        bind_address=arguments.bind_address,
        ledger=arguments.ledger,
        reset=arguments.reset,
        programs=tuple(programs),
        mint=arguments.mint,
        slot_ms=arguments.slot_ms,
        finalized_lag_slots=arguments.finalized_lag,
    )


def ready_line(endpoints: Endpoints, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(
            {
                "rpc_url": endpoints.rpc_url,
                "websocket_url": endpoints.websocket_url,
                "genesis_hash": str(endpoints.genesis_hash),
                "faucet": str(endpoints.faucet),
                "pid": os.getpid(),
            }
        )
    return f"localnet ready: JSON-RPC {endpoints.rpc_url}  WebSocket {endpoints.websocket_url}"


async def run(arguments: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM."""
    config = config_of(arguments)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope)
            endpoints = await nursery.start(serve, config)
            print(ready_line(endpoints, as_json=arguments.json), flush=True)


async def _cancel_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def main() -> None:
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.ERROR if arguments.quiet else logging.WARNING, stream=sys.stderr)
    try:
        trio.run(run, arguments)
    except* (StartError, LedgerError, KeyFileError, ProgramLoadError) as errors:
        sys.exit(f"localnet: {_first(errors)}")


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


if __name__ == "__main__":
    main()
