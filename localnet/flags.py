"""The command line: flags named as solana-test-validator's. What it has and this has not is refused with its reason."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.account_files import AccountFileError, read_account, read_account_folder
from localnet.bank import HISTORY_SLOTS, SLOTS_PER_EPOCH, needed_slots
from localnet.clock import DEFAULT_SLOT_MS
from localnet.commitment import FINALIZED_LAG_SLOTS
from localnet.config import DEFAULT_RPC_PORT, FAUCET_LAMPORTS, LAMPORTS_PER_SOL, GenesisProgram, LocalnetConfig
from localnet.keys import KeyFileError, parse_address
from localnet.node import API_VERSION
from localnet.start import StartError

# 160 ticks a second: DEFAULT_TICKS_PER_SECOND of solana-clock.
MS_PER_TICK = 6.25
# MINIMUM_SLOTS_PER_EPOCH of solana-epoch-schedule.
MIN_SLOTS_PER_EPOCH = 32
# More than the 512 slot hashes, and the blocks that a blockhash may be from.
MIN_LEDGER_SLOTS = 1_024
U64_MAX = 2**64 - 1

EPILOG = """The ledger folder keeps everything: accounts, programs, blocks, transactions, blockhashes, the genesis hash, the
keypairs of faucet and validator. A restart goes on with the next slot. Flags that make the genesis (--mint, --bpf-program,
--upgradeable-program, --account, --account-dir, --slots-per-epoch, --faucet-sol) count for a new ledger only. What is
finalized is on the disk; a crash may take back what is not."""

_COPY = (
    "nothing is copied from another cluster: write the account with `solana account ADDRESS --output json "
    "--output-file FILE` (a program: `solana program dump`) and pass it with --account (--upgradeable-program)"
)
_ONE_PROCESS = "nothing here speaks to other validators"
_QUEUES = "the bounds of WebSocket queues are fixed here (4,096 messages or 16 MiB a client, 256 MiB in all)"
_NO_FAUCET_SERVER = "the faucet answers requestAirdrop only, without caps; --faucet-sol says what it has"
REFUSED = {
    ("--clone", "-c"): _COPY,
    ("--maybe-clone",): _COPY,
    ("--clone-upgradeable-program",): _COPY,
    ("--clone-feature-set",): _COPY,
    ("--deep-clone-address-lookup-table",): _COPY,
    ("--url", "-u"): _COPY,
    ("--warp-slot", "-w"): "every slot here has a block, so there is nothing to skip over",
    ("--deactivate-feature",): "every feature of the runtime is active here",
    ("--account-index",): "every query reads all accounts here, so there is nothing to index",
    ("--geyser-plugin-config",): "plugins are not loaded here; subscribe over WebSocket",
    ("--gossip-port",): _ONE_PROCESS,
    ("--dynamic-port-range",): _ONE_PROCESS,
    ("--enable-scheduler-bindings",): _ONE_PROCESS,
    ("--compute-unit-limit",): "a transaction's compute units are limited as on mainnet",
    ("--transaction-account-lock-limit",): "a transaction's accounts are limited as on mainnet",
    ("--log-messages-bytes-limit",): "logs are limited as on mainnet",
    ("--inflation-fixed",): "there is no inflation here",
    ("--config", "-C"): "the Solana CLI's configuration is not read here; --mint names the account that gets SOL",
    ("--faucet-port",): _NO_FAUCET_SERVER,
    ("--faucet-per-request-sol-cap",): _NO_FAUCET_SERVER,
    ("--faucet-per-time-sol-cap",): _NO_FAUCET_SERVER,
    ("--faucet-time-slice-secs",): _NO_FAUCET_SERVER,
    ("--rpc-pubsub-enable-vote-subscription",): "nobody votes by transaction here, so there is nothing to tell",
    ("--rpc-pubsub-max-active-subscriptions",): "a client has at most 1,000 subscriptions here",
    ("--rpc-pubsub-notification-threads",): _QUEUES,
    ("--rpc-pubsub-queue-capacity-bytes",): _QUEUES,
    ("--rpc-pubsub-queue-capacity-items",): _QUEUES,
    ("--rpc-pubsub-worker-threads",): _QUEUES,
}


class _Refuse(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> NoReturn:
        reason = next(why for flags, why in REFUSED.items() if option_string in flags)
        parser.error(f"{option_string} is solana-test-validator's: {reason}")


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
        "--limit-ledger-size",
        type=int,
        default=HISTORY_SLOTS,
        metavar="SLOTS",
        help="blocks that are kept (default: %(default)s; solana-test-validator counts shreds, of which a block has some)",
    )
    p.add_argument(
        "--rpc-port",
        type=int,
        default=DEFAULT_RPC_PORT,
        metavar="PORT",
        help="JSON-RPC port, WebSocket on the next one; 0 takes free ones (default: %(default)s)",
    )
    p.add_argument("--bind-address", default="127.0.0.1", metavar="HOST", help="default: %(default)s")
    p.add_argument("--mint", type=_address, metavar="PUBKEY", help="account that gets 500,000,000 SOL")
    p.add_argument(
        "--faucet-sol",
        type=float,
        metavar="SOL",
        help=f"what the faucet has (default: {FAUCET_LAMPORTS // LAMPORTS_PER_SOL})",
    )
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
        "--account",
        nargs=2,
        action="append",
        default=[],
        metavar=("ADDRESS", "DUMP.JSON"),
        help='an account that `solana account --output json` wrote; "-" is the address in the file; may be repeated',
    )
    p.add_argument(
        "--account-dir", type=Path, action="append", default=[], metavar="DIR", help="every account file of a folder"
    )
    p.add_argument(
        "--slots-per-epoch",
        type=int,
        default=SLOTS_PER_EPOCH,
        metavar="SLOTS",
        help=f"at least {MIN_SLOTS_PER_EPOCH} (default: %(default)s)",
    )
    length = p.add_mutually_exclusive_group()
    length.add_argument(
        "--ticks-per-slot", type=int, metavar="TICKS", help=f"length of a slot, {MS_PER_TICK} ms each (default: 64)"
    )
    length.add_argument(
        "--slot-ms", type=float, default=DEFAULT_SLOT_MS, metavar="MS", help="length of a slot (default: %(default)s)"
    )
    p.add_argument(
        "--finalized-lag",
        type=int,
        default=FINALIZED_LAG_SLOTS,
        metavar="SLOTS",
        help="slots by which finalized lags behind processed (default: %(default)s, as on a cluster)",
    )
    p.add_argument(
        "--rpc-pubsub-enable-block-subscription", action="store_true", help="offer the unstable blockSubscribe"
    )
    how_much = p.add_mutually_exclusive_group()
    how_much.add_argument("--quiet", "-q", action="store_true", help="one line at the start; log errors only")
    how_much.add_argument("--log", action="store_true", help="log each slot that has transactions")
    p.add_argument("--json", action="store_true", help="print the ready line as one JSON object")
    p.add_argument("--version", "-V", action="version", version=f"localnet {API_VERSION}")
    for flags in REFUSED:
        p.add_argument(*flags, nargs="*", action=_Refuse, help=argparse.SUPPRESS)
    return p


def config_of(arguments: argparse.Namespace) -> LocalnetConfig:
    """Raises KeyFileError, AccountFileError, StartError."""
    if arguments.reset and arguments.ledger is None:
        raise StartError("--reset needs --ledger: without it nothing is kept anyway")
    slot_ms = arguments.slot_ms if arguments.ticks_per_slot is None else arguments.ticks_per_slot * MS_PER_TICK
    if not 0 < slot_ms < float("inf"):
        flag = "--slot-ms" if arguments.ticks_per_slot is None else "--ticks-per-slot"
        raise StartError(f"{flag} makes a slot of {slot_ms} ms; it must be more than 0")
    if arguments.finalized_lag < 1:
        raise StartError(f"--finalized-lag {arguments.finalized_lag} must be at least 1, the lag of confirmed")
    least = max(MIN_LEDGER_SLOTS, needed_slots(arguments.finalized_lag))
    if arguments.limit_ledger_size < least:
        raise StartError(
            f"--limit-ledger-size {arguments.limit_ledger_size} must be at least {least}: "
            "the SlotHashes sysvar and the blockhashes are made of these blocks"
        )
    if not MIN_SLOTS_PER_EPOCH <= arguments.slots_per_epoch <= U64_MAX:
        raise StartError(
            f"--slots-per-epoch {arguments.slots_per_epoch} must be at least {MIN_SLOTS_PER_EPOCH} "
            f"and at most {U64_MAX}"
        )
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
        slot_ms=slot_ms,
        finalized_lag_slots=arguments.finalized_lag,
        limit_ledger_slots=arguments.limit_ledger_size,
        slots_per_epoch=arguments.slots_per_epoch,
        faucet_lamports=_faucet_lamports(arguments.faucet_sol),
        accounts=_accounts(arguments.account, arguments.account_dir),
        block_subscription=arguments.rpc_pubsub_enable_block_subscription,
    )


def _address(text: str) -> Pubkey:
    try:
        return parse_address(text)
    except KeyFileError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _faucet_lamports(sol: float | None) -> int:
    if sol is None:
        return FAUCET_LAMPORTS
    lamports = int(sol * LAMPORTS_PER_SOL) if 0 < sol < U64_MAX / LAMPORTS_PER_SOL else 0
    if not 0 < lamports <= U64_MAX:
        raise StartError(f"--faucet-sol {sol} must be more than 0 and less than {U64_MAX // LAMPORTS_PER_SOL}")
    return lamports


def _accounts(files: Sequence[Sequence[str]], folders: Sequence[Path]) -> dict[Pubkey, Account]:
    accounts: dict[Pubkey, Account] = {}
    for folder in folders:
        accounts.update(read_account_folder(folder))
    for address, path in files:
        named, account = read_account(Path(path))
        if address != "-" and (wanted := parse_address(address)) != named:
            raise AccountFileError(f'{path} holds {named}, not {wanted}; pass "-" to take the address of the file')
        accounts[named] = account
    return accounts
