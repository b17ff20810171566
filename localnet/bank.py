"""The bank: slots, blockhashes, execution and old states over one LiteSVM. No clock, no randomness, no I/O.

Time and the seed of the blockhashes are arguments. Nothing here awaits, so one thread of control (the trio loop) owns
the LiteSVM and every call is atomic. What agave spreads over banks of many forks is one chain here: each slot has a
block, so block height and slot are the same number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from solders.account import Account
from solders.clock import Clock
from solders.epoch_schedule import EpochSchedule
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import MessageV0, VersionedMessage
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK, SLOT_HASHES
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from localnet import x87
from localnet.blockhash_queue import MAX_AGE_BLOCKS, BlockhashQueue
from localnet.checkpoint import EndedSlot, SavedState
from localnet.commitment import CONFIRMED_LAG_SLOTS, FINALIZED_LAG_SLOTS, Commitment
from localnet.fees import cost_units, loaded_bytes_limit
from localnet.history import Block, History, LandedTransaction, OlderBlocks
from localnet.nonces import advanced, durable_nonce
from localnet.outcome import LOADED_TOO_MUCH, Outcome, loaded_too_much, not_executed, outcome_of
from localnet.programs import UPGRADEABLE_LOADER_ID, program_data_address
from localnet.token_balances import token_balances
from localnet.transaction_keys import TransactionKeys, resolve_keys
from localnet.undo import Unchanged, UndoLog

SLOTS_PER_EPOCH = 432_000
SLOT_HASHES_LENGTH = 512
HISTORY_SLOTS = 100_000
ACCOUNT_BASE_BYTES = 64
LOOKUP_TABLE_BYTES = 8_248

_BLOCKHASH_TAG = hashlib.sha256(b"pouw-localnet/blockhash").digest()
_BANK_HASH_TAG = hashlib.sha256(b"pouw-localnet/bank-hash").digest()
_ABSENT = Account(0, b"", Pubkey.default())
# What each slot begins with; a restart computes them from the blocks.
_SYSVARS_OF_SLOTS = (CLOCK, SLOT_HASHES)


def needed_slots(finalized_lag_slots: int) -> int:
    """How many of the newest blocks a bank must have at hand: a blockhash is valid in a final one, too."""
    return finalized_lag_slots + MAX_AGE_BLOCKS + 1


class Bank:
    def __init__(
        self,
        svm: LiteSVM,
        *,
        blockhash_seed: bytes,
        unix_time: float,
        finalized_lag_slots: int = FINALIZED_LAG_SLOTS,
        history_slots: int = HISTORY_SLOTS,
        slots_per_epoch: int = SLOTS_PER_EPOCH,
        saved: SavedState | None = None,
        archive: OlderBlocks | None = None,
    ) -> None:
        """Takes over `svm`, whose accounts are the state at the end of slot 0, or of the newest block of `saved`, and
        opens the next slot.

        A fresh `blockhash_seed` each time keeps the hashes of slots that a crash took back from being given out again.
        What was saved is final: one node has no other fork to go back to.
        """
        if finalized_lag_slots < CONFIRMED_LAG_SLOTS:
            raise ValueError(
                f"the finalized lag is {finalized_lag_slots} slots; it must be at least the lag of "
                f"`confirmed`, {CONFIRMED_LAG_SLOTS}"
            )
        # The queue below decides on blockhashes and the history on duplicates; LiteSVM's own checks know one blockhash.
        self._svm = svm.with_blockhash_check(False).with_transaction_history(0)
        self.slots_per_epoch = slots_per_epoch
        self._svm.set_epoch_schedule(EpochSchedule.custom(slots_per_epoch, slots_per_epoch, False))
        self._lags = {
            Commitment.PROCESSED: 0,
            Commitment.CONFIRMED: CONFIRMED_LAG_SLOTS,
            Commitment.FINALIZED: finalized_lag_slots,
        }
        self._seed = blockhash_seed
        self._undo = UndoLog()
        self._slot_hashes: list[tuple[int, Hash]] = []
        self._floor_slot = 0
        self._epoch_start_unix_time = int(unix_time)
        self.history = History(history_slots, needed_slots(finalized_lag_slots), archive)
        self.blockhashes = BlockhashQueue(keep_blocks=finalized_lag_slots)
        self.slot = 0
        self.on_slot: list[Callable[[], None]] = []
        self.on_slot_end: list[Callable[[EndedSlot], None]] = []
        self.on_transaction: list[Callable[[LandedTransaction], None]] = []
        if saved is None:
            self.history.open_block(Block(0, 0, int(unix_time), 0, Hash.default()))
            self._set_clock(int(unix_time))
            self.advance(unix_time)
        else:
            self._resume(saved)
            self._open_slot(unix_time)

    @property
    def svm(self) -> LiteSVM:
        """For genesis and tests; whatever is written past this bank is not in its undo log."""
        return self._svm

    def slot_at(self, commitment: Commitment) -> int:
        return max(self._floor_slot, self.slot - self._lags[commitment])

    def block_height(self, slot: int) -> int:
        return slot

    def latest_blockhash(self, slot: int) -> Hash:
        """The newest hash that a transaction may name in a bank at `slot`; the open slot has none of its own yet."""
        return self.blockhashes.at(min(slot, self.slot - 1))

    def advance(self, unix_time: float) -> None:
        """Ends the open slot and opens the next one, at `unix_time` (seconds; never runs backwards on chain)."""
        self._end_slot()
        self._open_slot(unix_time)
        for notify in self.on_slot:
            notify()

    def end(self) -> None:
        """Ends the open slot for good: the run is over."""
        self._end_slot()

    def _end_slot(self) -> None:
        ended = self.history.block(self.slot)
        assert ended is not None
        ended.blockhash = self._blockhash_of(ended)
        self._register(ended)
        if self.on_slot_end:
            changed = {
                address: self._svm.get_account(address)
                for address in self._undo.touched_in(self.slot)
                if address not in _SYSVARS_OF_SLOTS
            }
            what = EndedSlot(ended, changed, self._epoch_start_unix_time)
            for tell in self.on_slot_end:
                tell(what)

    def _open_slot(self, unix_time: float) -> None:
        parent = self.history.block(self.slot)
        assert parent is not None and parent.blockhash is not None
        self.slot += 1
        now = max(int(unix_time), parent.unix_time)
        self.history.open_block(Block(self.slot, parent.slot, now, parent.transaction_count, parent.blockhash))
        self._record_before(_SYSVARS_OF_SLOTS)
        if self.slot % self.slots_per_epoch == 0:
            self._epoch_start_unix_time = now
        self._set_clock(now)
        self._svm.set_slot_hashes(self._slot_hashes)
        self._undo.forget_up_to(self.slot_at(Commitment.FINALIZED))

    def _resume(self, saved: SavedState) -> None:
        """The chain as it was when the newest saved block ended."""
        self.history.restore(saved.blocks, saved.first_slot)
        self._epoch_start_unix_time = saved.epoch_start_unix_time
        for block in saved.headers + saved.blocks:
            self._register(block)
        self.slot = self._floor_slot = saved.blocks[-1].slot
        self._set_clock(saved.blocks[-1].unix_time)
        self._svm.set_slot_hashes(self._slot_hashes[1:])  # a slot does not see its own hash

    def _register(self, ended: Block) -> None:
        assert ended.blockhash is not None
        self.blockhashes.register(ended.blockhash, self.block_height(ended.slot))
        bank_hash = Hash.from_bytes(hashlib.sha256(_BANK_HASH_TAG + bytes(ended.blockhash)).digest())
        self._slot_hashes = [(ended.slot, bank_hash), *self._slot_hashes[: SLOT_HASHES_LENGTH - 1]]

    def account(self, address: Pubkey, slot: int) -> Account | None:
        """The account at the end of `slot`, or as it is now when `slot` is the open one."""
        version = self._undo.version_at_end_of(slot, self.slot, address)
        return self._svm.get_account(address) if isinstance(version, Unchanged) else version

    def program_accounts(self, program_id: Pubkey, slot: int) -> list[tuple[Pubkey, Account]]:
        """The accounts that the program owned at the end of `slot`, ordered by address."""
        addresses = {address for address, _ in self._svm.get_program_accounts(program_id)}
        addresses.update(self._undo.touched_since(slot))
        found = ((address, self.account(address, slot)) for address in addresses)
        owned = [(address, account) for address, account in found if account and account.owner == program_id]
        return sorted(owned, key=lambda pair: bytes(pair[0]))

    def is_current(self, message: VersionedMessage, slot: int) -> bool:
        """Whether a bank at `slot` takes the message's blockhash: a recent one, or a durable nonce."""
        if self.blockhashes.is_valid(message.recent_blockhash, self.block_height(slot)):
            return True
        return durable_nonce(message, lambda key: self.account(key, slot)) is not None

    def refusal(self, transaction: VersionedTransaction, slot: int) -> Any:
        """Why a bank at `slot` would not even run the transaction, in agave's order, or None."""
        if not self.is_current(transaction.message, slot):
            return "BlockhashNotFound"
        landed = self.history.recent_transaction(transaction.signatures[0])
        if landed is not None and landed.slot <= slot:
            return "AlreadyProcessed"
        return None

    def process(self, transaction: VersionedTransaction) -> Outcome:
        """Runs a sanitized transaction in the open slot. What was executed lands in the block, failed or not."""
        refusal = self.refusal(transaction, self.slot)
        if refusal is not None:
            return not_executed(refusal)
        keys = resolve_keys(transaction, self._svm.get_account)
        before = {key: self._svm.get_account(key) for key in keys.all}
        nonce = durable_nonce(transaction.message, self._svm.get_account)
        loaded_bytes = self._loaded_bytes(transaction, keys.all)
        if loaded_bytes > loaded_bytes_limit(transaction.message):
            # LiteSVM does not look at the limit, so it only says whether it would run the transaction at all.
            outcome = self.simulate(transaction, self.slot, verify_signatures=True)
        else:
            result = self._svm.send_transaction(transaction)
            x87.clear()
            outcome = self._outcome(result, transaction)
        if not outcome.executed:
            return outcome
        if outcome.fees_only:
            is_too_much = outcome.error == LOADED_TOO_MUCH
            loaded_bytes = outcome.loaded_bytes if is_too_much else self._loaded_bytes(transaction, keys.static[:1])
            self._take_fee(keys.static[0], outcome.fee_lamports)
        if nonce is not None and outcome.error is not None:
            held = self._svm.get_account(nonce)
            assert held is not None
            self._svm.set_account(nonce, advanced(held, self.latest_blockhash(self.slot)))
        outcome = replace(outcome, loaded_bytes=loaded_bytes)
        after = {key: self._svm.get_account(key) for key in keys.writable}
        changed = tuple(key for key in dict.fromkeys(keys.writable) if after[key] != before[key])
        for key in changed:
            self._undo.record(self.slot, key, before[key])
        landed = self._land(transaction, keys, outcome, before, {**before, **after}, changed)
        self.history.add(landed)
        for notify in self.on_transaction:
            notify(landed)
        return outcome

    def simulate(self, transaction: VersionedTransaction, slot: int, *, verify_signatures: bool) -> Outcome:
        """Runs a sanitized transaction on the state at the end of `slot` and keeps nothing of it."""
        refusal = self.refusal(transaction, slot)
        if refusal is not None:
            return not_executed(refusal)
        keys = resolve_keys(transaction, lambda key: self.account(key, slot)).all
        with self._as_of(slot, keys):
            loaded_bytes = self._loaded_bytes(transaction, keys)
            loads_too_much = loaded_bytes > loaded_bytes_limit(transaction.message)
            self._svm.with_sigverify(verify_signatures)
            try:
                result = self._svm.simulate_transaction(transaction)
            finally:
                x87.clear()
                self._svm.with_sigverify(True)
            if isinstance(result, FailedTransactionMetadata):
                outcome, post_accounts = self._outcome(result, transaction), None
                if outcome.fees_only:
                    loaded_bytes = self._loaded_bytes(transaction, keys[:1])
            else:
                outcome, post_accounts = self._outcome(result.meta(), transaction), dict(result.post_accounts())
        if loads_too_much and (outcome.executed or outcome.error is None):
            return loaded_too_much(transaction.message)
        return replace(
            outcome,
            executed=outcome.executed or outcome.error is None,
            loaded_bytes=loaded_bytes if outcome.executed or outcome.error is None else 0,
            post_accounts=post_accounts,
        )

    @contextmanager
    def _as_of(self, slot: int, keys: Iterable[Pubkey]) -> Iterator[None]:
        """Puts the old versions of these accounts, and of what executing them reads, in place for the duration."""
        replaced: list[tuple[Pubkey, Account | None]] = []
        addresses = dict.fromkeys([CLOCK, SLOT_HASHES, *(program_data_address(k) for k in keys), *keys])
        try:
            for address in addresses if slot < self.slot else ():
                old = self._undo.version_at_end_of(slot, self.slot, address)
                if not isinstance(old, Unchanged):
                    replaced.append((address, self._svm.get_account(address)))
                    self._svm.set_account(address, old or _ABSENT)
            yield
        finally:
            for address, current in replaced:
                self._svm.set_account(address, current or _ABSENT)

    def _take_fee(self, payer: Pubkey, lamports: int) -> None:
        held = self._svm.get_account(payer)
        assert held is not None and held.lamports >= lamports, "LiteSVM checks the payer before it loads programs"
        left = Account(held.lamports - lamports, held.data, held.owner, held.executable, held.rent_epoch)
        self._svm.set_account(payer, left)

    def _record_before(self, addresses: Iterable[Pubkey]) -> None:
        for address in addresses:
            self._undo.record(self.slot, address, self._svm.get_account(address))

    def _set_clock(self, unix_time: int) -> None:
        epoch = self.slot // self.slots_per_epoch
        self._svm.set_clock(Clock(self.slot, self._epoch_start_unix_time, epoch, epoch + 1, unix_time))

    def _blockhash_of(self, block: Block) -> Hash:
        digest = hashlib.sha256(_BLOCKHASH_TAG + self._seed + bytes(block.previous_blockhash))
        digest.update(block.slot.to_bytes(8, "little"))
        for landed in block.transactions:
            digest.update(bytes(landed.signature))
        return Hash.from_bytes(digest.digest())

    def _outcome(
        self, result: TransactionMetadata | FailedTransactionMetadata, transaction: VersionedTransaction
    ) -> Outcome:
        message = transaction.message
        programs = {message.account_keys[i.program_id_index] for i in message.instructions}
        missing = any(self._svm.get_account(program) is None for program in programs)
        return outcome_of(result, transaction, names_missing_program=missing)

    def _loaded_bytes(self, transaction: VersionedTransaction, keys: Iterable[Pubkey]) -> int:
        """SIMD-0186: each account that exists, the ProgramData of each program, and a flat size per lookup table."""
        total = 0
        for key in keys:
            account = self._svm.get_account(key)
            if account is None:
                continue
            total += ACCOUNT_BASE_BYTES + len(account.data)
            if account.executable and account.owner == UPGRADEABLE_LOADER_ID:
                program_data = self._svm.get_account(program_data_address(key))
                total += ACCOUNT_BASE_BYTES + len(program_data.data) if program_data else 0
        if isinstance(transaction.message, MessageV0):
            total += LOOKUP_TABLE_BYTES * len(transaction.message.address_table_lookups)
        return total

    def _land(
        self,
        transaction: VersionedTransaction,
        keys: TransactionKeys,
        outcome: Outcome,
        before: dict[Pubkey, Account | None],
        after: dict[Pubkey, Account | None],
        changed: tuple[Pubkey, ...],
    ) -> LandedTransaction:
        block = self.history.block(self.slot)
        assert block is not None

        def lamports(accounts: dict[Pubkey, Account | None]) -> tuple[int, ...]:
            return tuple(account.lamports if account else 0 for account in map(accounts.__getitem__, keys.all))

        def lookup(accounts: dict[Pubkey, Account | None]) -> Callable[[Pubkey], Account | None]:
            return lambda key: accounts[key] if key in accounts else self._svm.get_account(key)

        return LandedTransaction(
            signature=transaction.signatures[0],
            slot=self.slot,
            index=len(block.transactions),
            transaction=transaction,
            account_keys=keys.all,
            loaded_writable=keys.loaded_writable,
            loaded_readonly=keys.loaded_readonly,
            error=outcome.error,
            fee_lamports=outcome.fee_lamports,
            logs=outcome.logs,
            compute_units=outcome.compute_units,
            cost_units=cost_units(transaction.message, len(keys.writable), outcome.compute_units, outcome.loaded_bytes),
            inner_instructions=outcome.inner_instructions,
            return_data=outcome.return_data,
            pre_balances=lamports(before),
            post_balances=lamports(after),
            pre_token_balances=token_balances(keys.all, lookup(before)),
            post_token_balances=token_balances(keys.all, lookup(after)),
            changed=changed,
        )
