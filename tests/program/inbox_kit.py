"""Forced entries on a Chain, and an honest ledger beside it that takes what the inbox holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import accounts, inbox, inbox_instructions, pda
from settlement.ledger import Account, Context, State, account_key, apply
from settlement.records import EconomicEvent, Event, Op, Record
from settlement.signing import node_id
from tests.program.kit import SOL, Chain

SPEC_HASH = b"\x5c" * 32
NO_LIMIT = 2**63


def person(chain: Chain, seed: int) -> Keypair:
    """Somebody with an L1 account that holds enough."""
    keypair = Keypair.from_seed(bytes([7]) + seed.to_bytes(31, "little"))
    if chain.lamports(keypair.pubkey()) == 0:
        chain.svm.airdrop(keypair.pubkey(), 10 * SOL)
    return keypair


def entry(chain: Chain, index: int) -> accounts.InboxEntryAccount:
    address = pda.inbox_entry(chain.program_id, index)
    return accounts.decode_inbox_entry(address, chain.data(address))


def forcing_task(chain: Chain, client: Pubkey, **changes: int | bytes) -> Instruction:
    args: dict[str, int | bytes] = {
        "inbox_count": chain.config.inbox.count,
        "lamports": 50_000,
        "spec_hash": SPEC_HASH,
        "deadline_slot": chain.slot + 1_000,
        "max_fee_lamports": NO_LIMIT,
    }
    return inbox_instructions.inbox_task(chain.program_id, client, **{**args, **changes})  # type: ignore[arg-type]


def forcing_withdrawal(chain: Chain, owner: Pubkey, **changes: int | bytes) -> Instruction:
    args: dict[str, int | bytes] = {
        "inbox_count": chain.config.inbox.count,
        "lamports": 10_000,
        "withdraw_lamports": 2**64 - 1,
        "max_fee_lamports": NO_LIMIT,
    }
    return inbox_instructions.inbox_withdrawal(chain.program_id, owner, **{**args, **changes})  # type: ignore[arg-type]


def force_task(chain: Chain, client: Keypair, **changes: int | bytes) -> None:
    chain.send(forcing_task(chain, client.pubkey(), **changes), payer=client)


def force_withdrawal(chain: Chain, owner: Keypair, **changes: int | bytes) -> None:
    chain.send(forcing_withdrawal(chain, owner.pubkey(), **changes), payer=owner)


def escape(chain: Chain) -> None:
    """Waits until the hatch may be opened, and opens it."""
    opens_after = chain.config.finalized.slot + chain.config.parameters.hatch_slots
    chain.advance(max(0, opens_after + 1 - chain.slot))
    chain.send(inbox_instructions.escape(chain.program_id, chain.payer.pubkey()))


def refunding(chain: Chain, index: int, recipient: Pubkey | None = None) -> Instruction:
    to = recipient or entry(chain, index).beneficiary
    return inbox_instructions.escape_refund(chain.program_id, chain.payer.pubkey(), index, to)


def escaping(chain: Chain, state: State, public_key: bytes) -> Instruction:
    value, siblings = state.proof(account_key(node_id(public_key)))
    return inbox_instructions.escape_claim(chain.program_id, chain.payer.pubkey(), value, siblings)


@dataclass
class Ledger:
    """What honest validators would compute. `finalized` is the state of the last checkpoint that was made final."""

    chain: Chain
    state: State = field(default_factory=State.empty)
    finalized: State = field(default_factory=State.empty)
    posted: dict[int, State] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        chain = self.chain
        treasury = bytes(pda.treasury(chain.program_id))
        return Context(
            chain.domain, chain.config.highest_epoch + 1, chain.config.posted.cut_slot, chain.sealed_set, treasury
        )

    def take(self) -> None:
        """All entries that are in the inbox."""
        for index in range(self.state.totals.inbox_cursor, self.chain.config.inbox.count):
            record = inbox.record_of(self.chain.domain, entry(self.chain, index), 0)
            self.state = apply(self.state, record, self.context)

    def withdraw(self, owner: Keypair, lamports: int) -> None:
        account = self.account(owner)
        event = EconomicEvent(Event.WITHDRAWAL, number=account.nonce, lamports=lamports)
        record = Record(Op.ECONOMIC_EVENT, 0, account.node, bytes(32), event)
        self.state = apply(self.state, record, self.context)

    def lock_stake(self, owner: Keypair, lamports: int) -> None:
        """As a registration does."""
        account = self.account(owner)
        locked = replace(account, balance=account.balance - lamports, locked_stake=account.locked_stake + lamports)
        totals = self.state.totals
        moved = replace(totals, balance=totals.balance - lamports, locked=totals.locked + lamports)
        self.state = self.state.with_account(locked).with_totals(moved)

    def account(self, owner: Keypair) -> Account:
        found = self.state.account(node_id(bytes(owner.pubkey())))
        assert found is not None
        return found

    def post(self) -> int:
        """Takes the inbox and posts; gives the epoch."""
        self.chain.advance(1)
        self.take()
        message = self.chain.post(state_root=self.state.root, payable_total=self.state.totals.payable)
        self.posted[message.epoch] = self.state
        return message.epoch

    def settle(self) -> None:
        epoch = self.post()
        self.chain.advance(self.chain.config.parameters.challenge_window_slots + 1)
        self.finalize(epoch)

    def finalize(self, epoch: int) -> None:
        self.chain.finalize(epoch)
        self.finalized = self.posted[epoch]

    def pay_everyone(self) -> None:
        """Everything that the hatch pays: every account of the finalized state, every entry that it had not taken."""
        chain = self.chain
        for _, kind, value in self.finalized.leaves():
            if kind == "account" and any(value[offset : offset + 8] != bytes(8) for offset in (32, 40, 48, 72)):
                chain.send(escaping(chain, self.finalized, value[:32]))
        for index in range(chain.config.finalized.inbox_cursor, chain.config.inbox.count):
            chain.send(refunding(chain, index))


def vault_holds(chain: Chain) -> int:
    """What is in the vault above its rent."""
    return chain.lamports(pda.vault(chain.program_id)) - int(chain.svm.minimum_balance_for_rent_exemption(0))
