"""The accounts that genesis makes besides the ledger's own keys: the native mint, and the one validator's vote and stake.

The whole cluster is one process, so the vote account carries no votes; it exists so that what `getVoteAccounts` names
can be read, and all of the stake is delegated to it. Layouts: spl-token's Mint, `VoteStateV4` of solana-vote-interface
(SIMD-0185) and `StakeStateV2` of solana-stake-interface, the latter two bincode.
"""

from __future__ import annotations

from collections.abc import Callable

from solders.account import Account
from solders.pubkey import Pubkey

from localnet.programs import RENT_EXEMPT_EPOCH
from localnet.token_state import NATIVE_MINT, NATIVE_MINT_DECIMALS, TOKEN_PROGRAM_ID

VOTE_PROGRAM_ID = Pubkey.from_string("Vote111111111111111111111111111111111111111")
STAKE_PROGRAM_ID = Pubkey.from_string("Stake11111111111111111111111111111111111111")
NATIVE_MINT_LAMPORTS = 1_000_000_000

# What solana-test-validator gives its own: a million SOL in the stake account.
STAKE_LAMPORTS = 1_000_000 * 1_000_000_000
VOTE_ACCOUNT_LENGTH = 3_762
STAKE_ACCOUNT_LENGTH = 200
_VOTE_STATE_V4 = 3
_STAKE_DELEGATED = 2
_NEVER = 2**64 - 1
_WARMUP_RATE = bytes.fromhex("000000000000d03f")  # the double 0.25, unused since SIMD-0118's fixed rate
_ALL_REVENUE_BPS = 10_000


def vote_address(identity: Pubkey) -> Pubkey:
    return Pubkey.create_with_seed(identity, "vote", VOTE_PROGRAM_ID)


def stake_address(identity: Pubkey) -> Pubkey:
    return Pubkey.create_with_seed(identity, "stake", STAKE_PROGRAM_ID)


def active_stake_lamports(rent: Callable[[int], int]) -> int:
    """What is delegated: the stake account without its rent. `rent` gives lamports for a length in bytes."""
    return STAKE_LAMPORTS - rent(STAKE_ACCOUNT_LENGTH)


def genesis_accounts(identity: Pubkey, rent: Callable[[int], int]) -> dict[Pubkey, Account]:
    """By address. `rent` gives the rent-exempt lamports for a length in bytes."""
    vote, stake = vote_address(identity), stake_address(identity)
    vote_lamports = rent(VOTE_ACCOUNT_LENGTH)
    return {
        NATIVE_MINT: _account(NATIVE_MINT_LAMPORTS, _native_mint(), TOKEN_PROGRAM_ID),
        vote: _account(vote_lamports, _vote_state(identity, vote).ljust(VOTE_ACCOUNT_LENGTH, b"\0"), VOTE_PROGRAM_ID),
        stake: _account(STAKE_LAMPORTS, _stake_state(identity, vote, rent), STAKE_PROGRAM_ID),
    }


def _account(lamports: int, data: bytes, owner: Pubkey) -> Account:
    return Account(lamports, data, owner, False, RENT_EXEMPT_EPOCH)


def _native_mint() -> bytes:
    """No authority, no supply, nine decimals, initialized, not freezable."""
    return bytes(36) + bytes(8) + bytes([NATIVE_MINT_DECIMALS, 1]) + bytes(36)


def _u64(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def _vote_state(identity: Pubkey, vote: Pubkey) -> bytes:
    """Who votes and who withdraws is the identity; no votes, no root, no credits."""
    key = bytes(identity)
    commissions = (0).to_bytes(2, "little") + _ALL_REVENUE_BPS.to_bytes(2, "little")
    state = _VOTE_STATE_V4.to_bytes(4, "little") + key + key + bytes(vote) + key + commissions
    state += _u64(0) + b"\0"  # no rewards pending, no BLS key
    state += _u64(0) + b"\0"  # no votes, no root
    state += _u64(1, 0) + key  # authorized voters: from epoch 0 on
    return state + _u64(0) + _u64(0, 0)  # no credits; the last timestamp is (slot 0, time 0)


def _stake_state(identity: Pubkey, vote: Pubkey, rent: Callable[[int], int]) -> bytes:
    """Delegated since before the first epoch, so active from the start."""
    key, no_lockup = bytes(identity), bytes(8 + 8 + 32)
    meta = _u64(rent(STAKE_ACCOUNT_LENGTH)) + key + key + no_lockup
    delegation = bytes(vote) + _u64(active_stake_lamports(rent), _NEVER, _NEVER) + _WARMUP_RATE
    state = _STAKE_DELEGATED.to_bytes(4, "little") + meta + delegation + _u64(0) + b"\0"
    return state.ljust(STAKE_ACCOUNT_LENGTH, b"\0")
