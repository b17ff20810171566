"""What a message costs, in lamports (SIMD-0170 for the default limit) and in the units of the block's cost model."""

from __future__ import annotations

from typing import Any

from solders.message import VersionedMessage
from solders.pubkey import Pubkey

LAMPORTS_PER_SIGNATURE = 5_000
MAX_COMPUTE_UNITS = 1_400_000
DEFAULT_UNITS_PER_INSTRUCTION = 200_000
DEFAULT_UNITS_PER_BUILTIN = 3_000
MICRO_LAMPORTS = 1_000_000

COMPUTE_BUDGET_ID = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
PRECOMPILES = frozenset(
    Pubkey.from_string(text)
    for text in (
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
    )
)
_BUILTINS = frozenset(
    Pubkey.from_string(text)
    for text in (
        "11111111111111111111111111111111",
        "Vote111111111111111111111111111111111111111",
        "BPFLoader1111111111111111111111111111111111",
        "BPFLoader2111111111111111111111111111111111",
        "BPFLoaderUpgradeab1e11111111111111111111111",
        "LoaderV411111111111111111111111111111111111",
        "ComputeBudget111111111111111111111111111111",
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
    )
)
# solana-cost-model, block_cost_limits.rs; SIMD-0186 for the size of loaded accounts.
COST_UNITS_PER_SIGNATURE = 720
COST_UNITS_PER_WRITE_LOCK = 300
COST_UNITS_PER_LOADED_PAGE = 8
LOADED_PAGE_BYTES = 32 * 1024
INSTRUCTION_BYTES_PER_COST_UNIT = 4
# Heap frame, unit limit, unit price, size of loaded accounts: what follows the first byte.
_BUDGET_REQUEST_BYTES = {b"\x01": 4, b"\x02": 4, b"\x03": 8, b"\x04": 4}
_SET_COMPUTE_UNIT_LIMIT = 2
_SET_COMPUTE_UNIT_PRICE = 3
_SET_LOADED_ACCOUNTS_DATA_SIZE_LIMIT = 4
MAX_LOADED_BYTES = 64 * 2**20


def compute_unit_price(message: VersionedMessage) -> int:
    """Micro-lamports per compute unit that the message pays: its price, rounded up to whole lamports for its limit."""
    limit, price = _compute_budget(message)
    return -(-price * limit // MICRO_LAMPORTS) * MICRO_LAMPORTS // limit if limit else 0


def fee_lamports(message: VersionedMessage) -> int:
    limit, price = _compute_budget(message)
    priority = -(-price * limit // MICRO_LAMPORTS)
    signatures = message.header.num_required_signatures
    for instruction in message.instructions:
        if message.account_keys[instruction.program_id_index] in PRECOMPILES and instruction.data:
            signatures += bytes(instruction.data)[0]
    return signatures * LAMPORTS_PER_SIGNATURE + priority


def loaded_bytes_limit(message: VersionedMessage) -> int:
    """How many bytes of accounts the message lets itself load (SIMD-0186 counts them)."""
    for instruction in message.instructions:
        program, data = message.account_keys[instruction.program_id_index], bytes(instruction.data)
        if program == COMPUTE_BUDGET_ID and data[:1] == bytes([_SET_LOADED_ACCOUNTS_DATA_SIZE_LIMIT]):
            return min(int.from_bytes(data[1:5], "little"), MAX_LOADED_BYTES)
    return MAX_LOADED_BYTES


def compute_budget_error(message: VersionedMessage) -> Any:
    """What a cluster refuses such a message for, as TransactionError in JSON, or None: a request to the compute budget
    that is made twice, or is none.
    """
    seen = set()
    for index, instruction in enumerate(message.instructions):
        if message.account_keys[instruction.program_id_index] != COMPUTE_BUDGET_ID:
            continue
        data = bytes(instruction.data)
        if len(data) - 1 < _BUDGET_REQUEST_BYTES.get(data[:1], len(data)):
            return {"InstructionError": [index, "InvalidInstructionData"]}
        if data[:1] in seen:
            return {"DuplicateInstruction": index}
        seen.add(data[:1])
    return None


def cost_units(message: VersionedMessage, write_locks: int, compute_units: int, loaded_bytes: int) -> int:
    """What the transaction took of its block's budget; precompile signatures are not counted."""
    return (
        message.header.num_required_signatures * COST_UNITS_PER_SIGNATURE
        + write_locks * COST_UNITS_PER_WRITE_LOCK
        + sum(len(instruction.data) for instruction in message.instructions) // INSTRUCTION_BYTES_PER_COST_UNIT
        + compute_units
        + -(-loaded_bytes // LOADED_PAGE_BYTES) * COST_UNITS_PER_LOADED_PAGE
    )


def _compute_budget(message: VersionedMessage) -> tuple[int, int]:
    limit: int | None = None
    price = 0
    default_limit = 0
    for instruction in message.instructions:
        program = message.account_keys[instruction.program_id_index]
        default_limit += DEFAULT_UNITS_PER_BUILTIN if program in _BUILTINS else DEFAULT_UNITS_PER_INSTRUCTION
        data = bytes(instruction.data)
        if program == COMPUTE_BUDGET_ID and data[:1] == bytes([_SET_COMPUTE_UNIT_LIMIT]):
            limit = int.from_bytes(data[1:5], "little")
        elif program == COMPUTE_BUDGET_ID and data[:1] == bytes([_SET_COMPUTE_UNIT_PRICE]):
            price = int.from_bytes(data[1:9], "little")
    return min(default_limit if limit is None else limit, MAX_COMPUTE_UNITS), price
