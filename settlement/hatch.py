"""The escape hatch: whether it may be opened, opening it, and what it pays once it is open (docs/settlement.md).

Anyone may do each of these for anyone: refunds and claims go to whom they belong, whoever sends them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, inbox_instructions, money, pda
from settlement.accounts import Config, InboxEntryAccount
from settlement.client import ACCOUNTS_PER_CALL, L1Client
from settlement.errors import ProgramError
from settlement.ledger import Account, LeafKind, State, account_key, verify_proof
from settlement.money import Claimed, held
from settlement.signing import node_id

REFUNDS_PER_TRANSACTION = 8
"""Two accounts each beside those that all share, of 1,232 bytes."""
ATTEMPTS = 20


class HatchRefused(Exception):
    """The program would refuse it; nothing was sent. The message says what would be right."""


@dataclass(frozen=True)
class Hatch:
    """`opens_slot` is the first slot in which it may be opened; `escape_slot` None until it was."""

    slot: int
    opens_slot: int
    escape_slot: int | None
    finalized_epoch: int
    finalized_slot: int

    @property
    def may_open(self) -> bool:
        return self.escape_slot is None and self.slot >= self.opens_slot


def hatch_of(config: Config, slot: int) -> Hatch:
    """At L1's slot `slot`. While nothing is final, initialize's slot stands for the last finalized one."""
    return Hatch(
        slot=slot,
        opens_slot=config.finalized.slot + config.parameters.hatch_slots + 1,
        escape_slot=config.escape_slot if config.escaped else None,
        finalized_epoch=config.finalized.epoch,
        finalized_slot=config.finalized.slot,
    )


async def open_hatch(client: L1Client, payer: Keypair) -> Hatch:
    """Opens it for good; returns it as it is then, also when it was open already. HatchRefused when it is too early."""
    config = await client.check_cluster()
    hatch = hatch_of(config, await client.get_slot())
    if hatch.escape_slot is not None:
        return hatch
    if not hatch.may_open:
        raise HatchRefused(
            f"too early: the hatch may be opened from slot {hatch.opens_slot} on, in {hatch.opens_slot - hatch.slot} slots, "
            "unless another checkpoint is finalized before"
        )
    try:
        await client.send_and_confirm([inbox_instructions.escape(client.program_id, payer.pubkey())], payer)
    except ProgramError as error:
        if error.name != "Escaped":  # somebody else was faster
            raise
    return hatch_of(await client.fetch_config(), await client.get_slot())


# -- entries that L2 had not taken


def need_open(config: Config) -> None:
    """HatchRefused while it is not."""
    if not config.escaped:
        raise HatchRefused(
            "the hatch is not open: `pouw escape status` says whether it may be, `pouw escape open` opens it"
        )


async def to_refund(client: L1Client, beneficiary: Pubkey | None = None) -> list[InboxEntryAccount]:
    """The entries that the hatch still owes, of one beneficiary or of all."""
    config = await client.check_cluster()
    need_open(config)
    found: list[InboxEntryAccount] = []
    for start in range(config.finalized.inbox_cursor, config.inbox.count, ACCOUNTS_PER_CALL):
        found += await client.fetch_inbox_entries(start, min(start + ACCOUNTS_PER_CALL, config.inbox.count))
    return [one for one in found if not one.refunded and beneficiary in (None, one.beneficiary)]


async def refund(client: L1Client, payer: Keypair, index: int) -> InboxEntryAccount:
    """Pays one entry back to its beneficiary. HatchRefused when it is none that the hatch pays back, or it was."""
    config = await client.check_cluster()
    need_open(config)
    if index >= config.inbox.count:
        raise HatchRefused(f"there is no inbox entry {index}: the inbox has {config.inbox.count}, counted from 0")
    if index < config.finalized.inbox_cursor:
        raise HatchRefused(
            f"entry {index} was taken by epoch {config.finalized.epoch} or one before it: `pouw escape claim` pays its account"
        )
    (entry,) = await client.fetch_inbox_entries(index, index + 1)
    if entry.refunded:
        raise HatchRefused(f"entry {index} was paid back already, to {entry.beneficiary}")
    await _send_refunds(client, payer, [entry])
    return entry


async def refund_all(client: L1Client, payer: Keypair, beneficiary: Pubkey | None = None) -> list[InboxEntryAccount]:
    """Pays back what is still owed, and returns what this call paid. Can be run again."""
    paid: list[InboxEntryAccount] = []
    owed = await to_refund(client, beneficiary)
    for _ in range(ATTEMPTS):
        try:
            while owed:
                batch, owed = owed[:REFUNDS_PER_TRANSACTION], owed[REFUNDS_PER_TRANSACTION:]
                await _send_refunds(client, payer, batch)
                paid += batch
            break
        except ProgramError as error:
            if error.name != "EntryRefunded":  # somebody else paid one of them back meanwhile
                raise
            owed = await to_refund(client, beneficiary)
    return paid


async def _send_refunds(client: L1Client, payer: Keypair, entries: Sequence[InboxEntryAccount]) -> None:
    program, key = client.program_id, payer.pubkey()
    parts = [inbox_instructions.escape_refund(program, key, one.index, one.beneficiary) for one in entries]
    await client.send_and_confirm(parts, payer)


# -- accounts of the finalized state


async def owed(client: L1Client, account: Account) -> int:
    """Lamports that the hatch still pays this account of the finalized state; 0 once it was paid."""
    address = pda.claim(client.program_id, account.public_key)
    found = await client.get_account(address)
    if found is None or found.owner != client.program_id:
        return held(account)
    claimed = accounts.decode_claim(address, found.data)
    return 0 if claimed.escaped else held(account) - claimed.claimed_lamports


async def claim(client: L1Client, payer: Keypair, value: bytes, siblings: Sequence[bytes]) -> Claimed:
    """Pays all that the account leaf `value` (80 bytes) holds to the key in it. HatchRefused before anything is sent."""
    config = await client.check_cluster()
    need_open(config)
    account = Account.decode(value)
    if not verify_proof(
        config.finalized.state_root, account_key(node_id(account.public_key)), LeafKind.ACCOUNT, value, siblings
    ):
        raise HatchRefused(
            f"the proof does not lead to the state root of epoch {config.finalized.epoch}, the last final one on L1"
        )
    key = Pubkey(account.public_key)
    lamports = await owed(client, account)
    if not lamports:
        raise HatchRefused(f"nothing is owed to {key}: all that it had on L2 was paid")
    if config.claimed_total + lamports > config.finalized.inbox_lamports:
        raise HatchRefused(f"{key} would be paid more than the finalized state took from the inbox: its signers lied")
    return await money.escape_claim(client, payer, value, siblings)


def holders(state: State) -> list[Account]:
    """The accounts of a state that hold anything or ever did."""
    found = [Account.decode(value) for _, kind, value in state.leaves() if kind is LeafKind.ACCOUNT]
    return [account for account in found if held(account)]


def no_account(key: Pubkey) -> HatchRefused:
    return HatchRefused(
        f"{key} has no account in the last final state; what L2 had not taken, `pouw escape refund --mine` pays back"
    )


def proof_of(state: State, key: Pubkey) -> tuple[bytes, list[bytes]]:
    """The account's leaf and its siblings. HatchRefused when the state has no such account."""
    node = node_id(bytes(key))
    if state.account(node) is None:
        raise no_account(key)
    return state.proof(account_key(node))
