"""Durable nonces: a transaction that names an account's nonce instead of a recent blockhash. Pure.

agave takes one when its first instruction advances the nonce that it names, signed for by the nonce's authority; and
it advances the nonce even if the rest fails, so that no such transaction runs twice (solana-nonce, `State` and
`DurableNonce`; solana-runtime, check_transactions.rs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from solders.account import Account
from solders.hash import Hash
from solders.message import VersionedMessage
from solders.pubkey import Pubkey

from localnet.transaction_keys import is_declared_writable

NONCE_LENGTH = 80
_ADVANCE_NONCE = (4).to_bytes(4, "little")
_CURRENT_INITIALIZED = (1).to_bytes(4, "little") * 2
_AUTHORITY, _NONCE = slice(8, 40), slice(40, 72)


def durable_nonce(message: VersionedMessage, account_at: Callable[[Pubkey], Account | None]) -> Pubkey | None:
    """The nonce account by which this transaction may run; None for one that has no such right."""
    keys, header = message.account_keys, message.header
    first = message.instructions[0] if message.instructions else None
    if first is None or keys[first.program_id_index] != Pubkey.default() or not first.accounts:
        return None
    accounts = bytes(first.accounts)
    index = accounts[0]
    if bytes(first.data)[:4] != _ADVANCE_NONCE or index >= len(keys) or not is_declared_writable(message, index):
        return None
    account = account_at(keys[index])
    if account is None or account.owner != Pubkey.default() or len(account.data) != NONCE_LENGTH:
        return None
    data = bytes(account.data)
    signers = {bytes(keys[i]) for i in accounts if i < header.num_required_signatures}
    is_named = data[:8] == _CURRENT_INITIALIZED and data[_NONCE] == bytes(message.recent_blockhash)
    return keys[index] if is_named and data[_AUTHORITY] in signers else None


def advanced(account: Account, blockhash: Hash) -> Account:
    """The nonce account with the next nonce, which `blockhash` gives."""
    data = bytearray(account.data)
    data[_NONCE] = hashlib.sha256(b"DURABLE_NONCE" + bytes(blockhash)).digest()
    return Account(account.lamports, bytes(data), account.owner, account.executable, account.rent_epoch)
