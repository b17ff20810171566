"""Makes the node that is served: from genesis, or from where the ledger's last run ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from solders.account import Account
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from localnet.archive import Archive
from localnet.bank import SLOT_HASHES_LENGTH, SLOTS_PER_EPOCH, Bank, needed_slots
from localnet.checkpoint import EndedSlot, SavedState
from localnet.config import MINT_LAMPORTS, GenesisProgram, LocalnetConfig
from localnet.genesis import active_stake_lamports, genesis_accounts, vote_address
from localnet.ledger import Ledger, LedgerError, open_ledger
from localnet.ledger_writer import LedgerWriter
from localnet.node import Node
from localnet.programs import (
    RENT_EXEMPT_EPOCH,
    load_upgradeable,
    program_data_account_data,
    program_data_address,
)

_log = logging.getLogger("localnet")


class StartError(RuntimeError):
    """What keeps the localnet from starting; the message says what to change."""


@contextmanager
def open_node(config: LocalnetConfig, unix_time: float) -> Iterator[Node]:
    """The node on its ledger; leaving it writes the open slot too. No server and no clock yet.

    Raises StartError, LedgerError, KeyFileError, ProgramLoadError.
    """
    with ExitStack() as stack:
        ledger = stack.enter_context(
            open_ledger(config.ledger, reset=config.reset, slots_per_epoch=config.slots_per_epoch)
        )
        svm = LiteSVM()
        # What a program is told when it asks the runtime for an account's stake.
        stake = active_stake_lamports(svm.minimum_balance_for_rent_exemption)
        svm.set_epoch_stake(vote_address(ledger.identity.pubkey()), stake)
        store = ledger.store
        if store is None:
            put_genesis(svm, config, ledger)
            yield _node(config, ledger, _bank(svm, config, ledger, unix_time))
            return
        try:
            saved = store.load(SLOT_HASHES_LENGTH, needed_slots(config.finalized_lag_slots))
            if saved is None:
                genesis = put_genesis(svm, config, ledger)
            else:
                try:
                    put_accounts(svm, saved.accounts)
                except StartError as error:
                    raise LedgerError(f"{store.path}: {error}; --reset makes a new ledger") from error
                for notice in ignored_by(saved, config, ledger):
                    _log.warning("%s is ignored: the ledger exists already; --reset begins a new one", notice)
            archive = Archive(store.path)
            stack.callback(archive.close)
            bank = _bank(svm, config, ledger, unix_time, saved, archive)
            if saved is None:
                first = bank.history.block(0)
                assert first is not None
                store.write([EndedSlot(first, genesis, int(unix_time))], first_slot=0)
        except BaseException:
            store.close()
            raise
        writer = LedgerWriter(store, keep_slots=config.limit_ledger_slots, durable_slot=bank.slot - 1)
        writer.start()
        stack.callback(writer.close)

        def write(ended: EndedSlot) -> None:
            writer.put(ended)
            # What the next slot makes final must be on the disk before anyone is told.
            writer.wait_for(ended.block.slot + 1 - config.finalized_lag_slots)

        bank.on_slot_end.append(write)
        # Ended before the writer is closed: what was processed by then is kept.
        stack.callback(bank.end)
        yield _node(config, ledger, bank)


def put_genesis(svm: LiteSVM, config: LocalnetConfig, ledger: Ledger) -> dict[Pubkey, Account]:
    """Writes what genesis adds to LiteSVM's own accounts, and returns it. Raises StartError, ProgramLoadError."""
    accounts = genesis_accounts(ledger.identity.pubkey(), svm.minimum_balance_for_rent_exemption)
    accounts[ledger.faucet.pubkey()] = _system_account(config.faucet_lamports)
    if config.mint is not None:
        accounts[config.mint] = _system_account(MINT_LAMPORTS)
    accounts.update(config.accounts)
    put_accounts(svm, accounts)
    for program in config.programs:
        load_upgradeable(svm, program.program_id, _read_elf(program), program.authority, slot=0)
        for address in (program_data_address(program.program_id), program.program_id):
            written = svm.get_account(address)
            assert written is not None
            accounts[address] = written
    return accounts


def put_accounts(svm: LiteSVM, accounts: Mapping[Pubkey, Account]) -> None:
    """Writes accounts that need each other, as a program needs its ProgramData. Raises StartError."""
    # LiteSVM compiles a program when its executable account is written, from the ProgramData that exists by then.
    for address, account in sorted(accounts.items(), key=lambda item: item[1].executable):
        try:
            svm.set_account(address, account)
        except Exception as error:  # LiteSVMError is no public name of solders
            raise StartError(f"the runtime refuses the account {address}: {error}") from error


def ignored_by(saved: SavedState, config: LocalnetConfig, ledger: Ledger) -> Iterator[str]:
    """The flags that only a new ledger heeds and that ask for something else than this one holds.

    Not among them is --faucet-sol: the faucet has spent since, so its balance does not tell what it began with.
    """
    if config.mint is not None and config.mint not in saved.accounts:
        yield f"--mint {config.mint}"
    # Whoever names no number gets the ledger's.
    if config.slots_per_epoch not in (SLOTS_PER_EPOCH, ledger.slots_per_epoch):
        yield f"--slots-per-epoch {config.slots_per_epoch} (the ledger's: {ledger.slots_per_epoch})"
    for address in config.accounts:
        if address not in saved.accounts:
            yield f"--account {address}"
    for program in config.programs:
        held = saved.accounts.get(program_data_address(program.program_id))
        wanted = program_data_account_data(_read_elf(program), program.authority, slot=0)
        # The slot of deployment (bytes 4 to 12) differs after an upgrade to the same bytes.
        if held is None or bytes(held.data[12 : len(wanted)]) != wanted[12:]:
            yield f"the program {program.program_id} of {program.elf_path}, which differs from the ledger's,"


def _bank(
    svm: LiteSVM,
    config: LocalnetConfig,
    ledger: Ledger,
    unix_time: float,
    saved: SavedState | None = None,
    archive: Archive | None = None,
) -> Bank:
    return Bank(
        svm,
        blockhash_seed=bytes(ledger.genesis_hash) + os.urandom(32),
        unix_time=unix_time,
        finalized_lag_slots=config.finalized_lag_slots,
        history_slots=config.limit_ledger_slots,
        slots_per_epoch=ledger.slots_per_epoch,
        saved=saved,
        archive=archive,
    )


def _node(config: LocalnetConfig, ledger: Ledger, bank: Bank) -> Node:
    return Node(bank, ledger.genesis_hash, ledger.identity.pubkey(), ledger.faucet)


def _system_account(lamports: int) -> Account:
    return Account(lamports, b"", Pubkey.default(), False, RENT_EXEMPT_EPOCH)


def _read_elf(program: GenesisProgram) -> bytes:
    try:
        return program.elf_path.read_bytes()
    except OSError as error:
        raise StartError(
            f"cannot read the program {program.program_id} from {program.elf_path}: {error.strerror}"
        ) from error
