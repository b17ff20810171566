"""What an embedded L1 is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.bank import HISTORY_SLOTS, SLOTS_PER_EPOCH
from localnet.clock import DEFAULT_SLOT_MS
from localnet.commitment import FINALIZED_LAG_SLOTS

LAMPORTS_PER_SOL = 1_000_000_000
FAUCET_LAMPORTS = 1_000_000 * LAMPORTS_PER_SOL
MINT_LAMPORTS = 500_000_000 * LAMPORTS_PER_SOL
DEFAULT_RPC_PORT = 8899


@dataclass(frozen=True, slots=True)
class GenesisProgram:
    """A program that is there from the start, as upgradeable; `authority` None makes it immutable."""

    program_id: Pubkey
    elf_path: Path
    authority: Pubkey | None


@dataclass(frozen=True, slots=True)
class LocalnetConfig:
    """`rpc_port` 0 takes two free ports, WebSocket always on the one after RPC; `ledger` None keeps nothing on disk.

    `finalized_lag_slots` is how far `finalized` lags behind `processed`, 32 on a cluster; `limit_ledger_slots` is how
    many blocks are kept. `accounts`, `programs`, `mint`, `faucet_lamports` and `slots_per_epoch` make a new ledger; one
    that exists keeps its own.
    """

    rpc_port: int = DEFAULT_RPC_PORT
    bind_address: str = "127.0.0.1"
    ledger: Path | None = None
    reset: bool = False
    programs: tuple[GenesisProgram, ...] = field(default=())
    mint: Pubkey | None = None
    slot_ms: float = DEFAULT_SLOT_MS
    finalized_lag_slots: int = FINALIZED_LAG_SLOTS
    limit_ledger_slots: int = HISTORY_SLOTS
    slots_per_epoch: int = SLOTS_PER_EPOCH
    faucet_lamports: int = FAUCET_LAMPORTS
    accounts: Mapping[Pubkey, Account] = field(default_factory=dict)
    block_subscription: bool = False
