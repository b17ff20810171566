"""The embedded L1 beside a real solana-test-validator: `./run python -m bench.localnet [--json]`.

Start-up, confirmed transfers per second over HTTP, latency and memory of each, in one run on one machine; beside them what the machine
could do at most: transfers in LiteSVM without anything around it, and signature verification.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from statistics import median

import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.litesvm import LiteSVM

from bench import rpc_load
from bench.console import note, print_json, print_table
from bench.l1_process import L1Process, embedded, solana_test_validator
from localnet import real_validator, x87
from localnet.config import LocalnetConfig
from localnet.registry import answer
from localnet.rpc import METHODS
from localnet.start import open_node

TRANSFERS = 2_000
IN_FLIGHT = 16
LATENCY_SAMPLES = 20
STARTS = 3
MIB = 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One L1; times in milliseconds, rates per second."""

    l1: str
    start_ms: float
    requests_per_s: float
    transfers_per_s: float
    transfers_with_preflight_per_s: float
    # Of the L1's process, in the load without preflight.
    cpu_us_per_transfer: float
    processed_ms: float
    confirmed_ms: float
    resident_mib: float


@dataclass(frozen=True)
class Floor:
    """This process alone, per second: the runtime, its signature check, and the embedded L1's answers without HTTP around them."""

    litesvm_transfers_per_s: float
    signatures_verified_per_s: float
    without_http_per_s: float
    without_http_with_preflight_per_s: float


@dataclass(frozen=True)
class Sizes:
    transfers: int
    in_flight: int
    latency_samples: int
    starts: int


def measure(name: str, start: Callable[[], AbstractContextManager[L1Process]], sizes: Sizes) -> Row:
    """Starts the L1 `sizes.starts` times; all but the start-up is of the last one."""
    started = []
    for _ in range(sizes.starts - 1):
        with start() as l1:
            started.append(l1.start_seconds)
    with start() as l1:
        started.append(l1.start_seconds)
        return trio.run(_measure, name, l1, median(started) * 1000, sizes)


async def _measure(name: str, l1: L1Process, start_ms: float, sizes: Sizes) -> Row:
    await _wait_for_a_finalized_slot(l1.rpc_url)
    requests = await rpc_load.request_rate(l1.rpc_url, sizes.transfers, sizes.in_flight)
    latency = await rpc_load.transfer_latency(l1.rpc_url, sizes.latency_samples)
    before = l1.cpu_seconds()
    plain = await rpc_load.transfer_rate(l1.rpc_url, sizes.transfers, sizes.in_flight, preflight=False)
    cpu_seconds = l1.cpu_seconds() - before
    checked = await rpc_load.transfer_rate(l1.rpc_url, sizes.transfers, sizes.in_flight, preflight=True)
    return Row(
        name,
        start_ms,
        requests,
        plain,
        checked,
        cpu_seconds / sizes.transfers * 1_000_000,
        latency.processed_ms,
        latency.confirmed_ms,
        l1.resident_bytes() / MIB,
    )


async def _wait_for_a_finalized_slot(rpc_url: str) -> None:
    """A real validator confirms late until then."""
    async with rpc_load.connected(rpc_url) as connection:
        while not await connection.call("getSlot", {"commitment": "finalized"}):
            await trio.sleep(0.1)


def floor(transfers: int) -> Floor:
    svm = LiteSVM().with_transaction_history(0).with_blockhash_check(False)
    payer, to = Keypair(), Keypair()
    svm.airdrop(payer.pubkey(), rpc_load.PAYER_LAMPORTS)
    first = rpc_load.RECEIVER_LAMPORTS
    made = [rpc_load.signed_transfer(payer, to, first + i, Hash.default()) for i in range(transfers)]
    began = time.perf_counter()
    for one in made:
        svm.send_transaction(one)
    executed = time.perf_counter()
    x87.clear()
    assert all(all(one.verify_with_results()) for one in made)
    verified = time.perf_counter()
    unserved = [_without_http(transfers, preflight=preflight) for preflight in (False, True)]
    return Floor(transfers / (executed - began), transfers / (verified - executed), *unserved)


def _without_http(transfers: int, *, preflight: bool) -> float:
    """sendTransaction of the embedded L1 per second, from the request's bytes to the answer's."""
    with open_node(LocalnetConfig(rpc_port=0), time.time()) as node:
        payer, to = Keypair(), Keypair()
        METHODS.call(node, "requestAirdrop", [str(payer.pubkey()), rpc_load.PAYER_LAMPORTS])
        blockhash = node.bank.latest_blockhash(node.bank.slot)
        first = rpc_load.RECEIVER_LAMPORTS
        options = {"encoding": "base64", "skipPreflight": not preflight, "preflightCommitment": "processed"}
        requests = []
        for lamports in range(first, first + transfers):
            wire = base64.b64encode(bytes(rpc_load.signed_transfer(payer, to, lamports, blockhash))).decode()
            request = {"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": [wire, options]}
            requests.append(json.dumps(request).encode())
        began = time.perf_counter()
        answers = [answer(METHODS, node, request) for request in requests]
        ended = time.perf_counter()
        assert not any(b'"error"' in (one or b"") for one in answers), answers[-1]
        sent = METHODS.call(node, "getTransactionCount", [{"commitment": "processed"}])
        assert sent == transfers + 1, sent  # and the airdrop
    return transfers / (ended - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; without a solana-test-validator its row is left out, and a note says so."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments)
    sizes = Sizes(parsed.transfers, parsed.in_flight, parsed.latency_samples, parsed.starts)
    note(f"{sizes.transfers} transfers in this process")
    least = floor(sizes.transfers)
    note(f"the embedded L1: {sizes.starts} starts, {sizes.transfers} transfers with {sizes.in_flight} in flight, twice")
    rows = [measure("embedded", lambda: embedded("--quiet"), sizes)]
    missing = None
    try:
        real_validator.find()
    except real_validator.ValidatorMissing as error:
        missing = str(error)
        note(f"note: {missing}")
    else:
        note("solana-test-validator: the same")
        rows.append(measure("solana-test-validator", solana_test_validator, sizes))
    if parsed.json:
        print_json(
            {
                "made_by": _command(arguments),
                "cores": os.cpu_count(),
                "sizes": asdict(sizes),
                "rows": [asdict(row) for row in rows],
                "floor": asdict(least),
            }
        )
    else:
        _print_table(rows, least, missing, sizes, arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.localnet", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    for flag, default, what in (
        ("--transfers", TRANSFERS, "transfers in each of the two loads"),
        ("--in-flight", IN_FLIGHT, "connections that send, each one request at a time"),
        ("--latency-samples", LATENCY_SAMPLES, "transfers sent one at a time"),
        ("--starts", STARTS, "starts of each L1"),
    ):
        parser.add_argument(flag, type=_count, default=default, metavar="N", help=f"{what} (default: %(default)s)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of at least 1, not {text!r}")
    return int(text)


def _command(arguments: Sequence[str]) -> str:
    return shlex.join(["./run", "python", "-m", "bench.localnet", *arguments])


def _print_table(
    rows: Sequence[Row], least: Floor, missing: str | None, sizes: Sizes, arguments: Sequence[str]
) -> None:
    columns = (
        "L1",
        "start-up ms",
        "getHealth/s",
        "transfers/s",
        "with preflight/s",
        "CPU µs each",
        "processed ms",
        "confirmed ms",
        "MiB",
    )
    cells: list[tuple[str | int | None, ...]] = [
        (row.l1, *(round(value) for value in list(asdict(row).values())[1:])) for row in rows
    ]
    for name, plain, checked in (
        ("floor: embedded without HTTP", least.without_http_per_s, least.without_http_with_preflight_per_s),
        ("floor: LiteSVM alone", least.litesvm_transfers_per_s, None),
        ("floor: signatures verified", least.signatures_verified_per_s, None),
    ):
        cells.append((name, None, None, round(plain), None if checked is None else round(checked), *[None] * 4))
    notes = [
        f"Made by `{_command(arguments)}` on {os.cpu_count()} cores, which the client shares.",
        f"Start-up: from starting the process to the first getHealth that says ok, the median of {sizes.starts}.",
        f"Transfers: {sizes.transfers:,} from {rpc_load.PAYERS} payers, {sizes.in_flight} in flight, from the first sent to the last confirmed; "
        "without preflight and with it.",
        "CPU: what the L1's process used in all its threads while the load without preflight ran, by transfer; what else runs on the "
        "machine changes it less than the rest.",
        f"Processed, confirmed: from sending one transfer to seeing its status, by polling; the median of {sizes.latency_samples}. "
        "A slot is 400 ms on both.",
        "MiB: resident memory at the end.",
    ]
    if missing is not None:
        notes.append(f"Not measured: {missing}.")
    print_table(columns, cells, notes)


if __name__ == "__main__":
    sys.exit(main())
