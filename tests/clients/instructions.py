"""Instructions of the programs that every cluster has, as data: what the script of calls holds and each client builds anew.

Sources: system program, solana-system-interface; token program, spl-token-interface `instruction.rs`; address lookup tables, loader v3,
compute budget: their `-interface` crates. Numbers are little-endian.
"""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

SYSTEM = "11111111111111111111111111111111"
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022 = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
ASSOCIATED_TOKEN = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
LOOKUP_TABLE = "AddressLookupTab1e1111111111111111111111111"
UPGRADEABLE_LOADER = "BPFLoaderUpgradeab1e11111111111111111111111"
CLOCK = "SysvarC1ock11111111111111111111111111111111"
RENT = "SysvarRent111111111111111111111111111111111"
EPOCH_SCHEDULE = "SysvarEpochSchedu1e111111111111111111111111"
SLOT_HASHES = "SysvarS1otHashes111111111111111111111111111"
RECENT_BLOCKHASHES = "SysvarRecentB1ockHashes11111111111111111111"
VOTE = "Vote111111111111111111111111111111111111111"
STAKE = "Stake11111111111111111111111111111111111111"
CONFIG = "Config1111111111111111111111111111111111111"
NATIVE_LOADER = "NativeLoader1111111111111111111111111111111"
BPF_LOADER_2 = "BPFLoader2111111111111111111111111111111111"
BPF_LOADER_1 = "BPFLoader1111111111111111111111111111111111"
ED25519 = "Ed25519SigVerify111111111111111111111111111"

MINT_BYTES = 82
TOKEN_ACCOUNT_BYTES = 165
MINT_RENT_LAMPORTS = 1_461_600
TOKEN_ACCOUNT_RENT_LAMPORTS = 2_039_280

Instruction = dict[str, Any]


def u32(value: int) -> str:
    return value.to_bytes(4, "little").hex()


def u64(value: int) -> str:
    return value.to_bytes(8, "little").hex()


def key(address: str) -> str:
    return bytes(Pubkey.from_string(address)).hex()


def instruction(program: str, accounts: list[tuple[str, str]], data: str) -> Instruction:
    """`accounts`: address and any of "w" (writable) and "s" (signer); `data`: hex, or "$name" of a value known when it runs."""
    return {"program": program, "accounts": [list(account) for account in accounts], "data": data}


def transfer(sender: str, to: str, lamports: int) -> Instruction:
    return instruction(SYSTEM, [(sender, "ws"), (to, "w")], u32(2) + u64(lamports))


def create_account(payer: str, new: str, lamports: int, space: int, owner: str) -> Instruction:
    return instruction(SYSTEM, [(payer, "ws"), (new, "ws")], u32(0) + u64(lamports) + u64(space) + key(owner))


def initialize_nonce(nonce: str, authority: str) -> Instruction:
    return instruction(SYSTEM, [(nonce, "w"), (RECENT_BLOCKHASHES, ""), (RENT, "")], u32(6) + key(authority))


def memo(text: str, signer: str | None = None) -> Instruction:
    return instruction(MEMO, [(signer, "s")] if signer else [], text.encode().hex())


def compute_unit_limit(units: int) -> Instruction:
    return instruction(COMPUTE_BUDGET, [], "02" + u32(units))


def compute_unit_price(micro_lamports: int) -> Instruction:
    return instruction(COMPUTE_BUDGET, [], "03" + u64(micro_lamports))


def initialize_mint(mint: str, decimals: int, authority: str, freeze: str | None, program: str = TOKEN) -> Instruction:
    option = "01" + key(freeze) if freeze else "00"
    return instruction(program, [(mint, "w")], "14" + bytes([decimals]).hex() + key(authority) + option)


def associated_token_account(owner: str, mint: str, program: str = TOKEN) -> str:
    seeds = [bytes(Pubkey.from_string(text)) for text in (owner, program, mint)]
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(ASSOCIATED_TOKEN))[0])


def create_associated(payer: str, owner: str, mint: str, program: str = TOKEN) -> Instruction:
    account = associated_token_account(owner, mint, program)
    named = [(payer, "ws"), (account, "w"), (owner, ""), (mint, ""), (SYSTEM, ""), (program, "")]
    return instruction(ASSOCIATED_TOKEN, named, "00")


def mint_to(mint: str, account: str, authority: str, amount: int, program: str = TOKEN) -> Instruction:
    return instruction(program, [(mint, "w"), (account, "w"), (authority, "s")], "07" + u64(amount))


def token_transfer(source: str, to: str, owner: str, amount: int, program: str = TOKEN) -> Instruction:
    return instruction(program, [(source, "w"), (to, "w"), (owner, "s")], "03" + u64(amount))


def token_transfer_checked(
    source: str, mint: str, to: str, owner: str, amount: int, decimals: int, program: str = TOKEN
) -> Instruction:
    data = "0c" + u64(amount) + bytes([decimals]).hex()
    return instruction(program, [(source, "w"), (mint, ""), (to, "w"), (owner, "s")], data)


def token_approve(source: str, delegate: str, owner: str, amount: int) -> Instruction:
    return instruction(TOKEN, [(source, "w"), (delegate, ""), (owner, "s")], "04" + u64(amount))


def create_lookup_table(authority: str) -> Instruction:
    """The table's address hangs on a recent slot, so `$table` and `$tableData` are known only when it runs."""
    named = [("$table", "w"), (authority, ""), (authority, "ws"), (SYSTEM, "")]
    return instruction(LOOKUP_TABLE, named, "$tableData")


def extend_lookup_table(authority: str, addresses: list[str]) -> Instruction:
    data = u32(2) + u64(len(addresses)) + "".join(key(address) for address in addresses)
    return instruction(LOOKUP_TABLE, [("$table", "w"), (authority, "s"), (authority, "ws"), (SYSTEM, "")], data)
