"""Evidence, slashes, late signatures and rewards on a Chain, in the few words that their tests need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import bls, idl, messages, pda, slash_accounts, slash_instructions
from settlement.accounts import CheckpointStatus
from settlement.borsh import fixed_size
from tests.program.kit import SOL, Chain

ALL = 10_000


def reporter(chain: Chain, name: bytes = b"w") -> Keypair:
    keypair = Keypair.from_seed(name * 32)
    if not chain.lamports(keypair.pubkey()):
        chain.svm.airdrop(keypair.pubkey(), SOL)
    return keypair


def signature(chain: Chain, message: messages.CheckpointMessage, signers: Iterable[int]) -> bytes:
    digest = message.hash(chain.domain)
    return bls.aggregate([chain.validators[index].secret.sign(digest) for index in signers])


def receipt_of(
    chain: Chain,
    owner: Keypair,
    message: messages.CheckpointMessage,
    signers: Iterable[int],
    set_version: int = 1,
) -> Instruction:
    chosen = list(signers)
    return slash_instructions.record_receipt(
        chain.program_id,
        owner.pubkey(),
        chain.config.genesis_hash,
        set_version,
        message,
        sum(1 << index for index in chosen),
        signature(chain, message, chosen),
    )


def record(chain: Chain, owner: Keypair, message: messages.CheckpointMessage, signers: Iterable[int]) -> Pubkey:
    """Records the receipt and returns its address."""
    chain.send(receipt_of(chain, owner, message, signers), payer=owner)
    return pda.receipt(chain.program_id, owner.pubkey(), message.hash(chain.domain))


def validator_address(chain: Chain, index: int) -> Pubkey:
    return pda.validator(chain.program_id, bytes(chain.validators[index].secret.public_key))


def held(chain: Chain, index: int) -> dict[str, int]:
    """The numbers of a Validator account."""
    values, _ = idl.committed().decode_account("Validator", chain.data(validator_address(chain, index)))
    return {name: value for name, value in values.items() if isinstance(value, int)}


def offence(chain: Chain, index: int, epoch: int) -> slash_accounts.Offence:
    address = pda.offence(chain.program_id, validator_address(chain, index), epoch)
    return slash_accounts.decode_offence(address, chain.data(address))


def tally(chain: Chain, epoch: int) -> slash_accounts.EquivocationTally:
    address = pda.tally(chain.program_id, epoch)
    return slash_accounts.decode_tally(address, chain.data(address))


def slashing(
    chain: Chain,
    by: Keypair,
    index: int,
    evidence: tuple[Pubkey, Pubkey],
    epoch: int = 1,
    *,
    validator: Pubkey | None = None,
    set_versions: tuple[int, int] = (1, 1),
    indexes: tuple[int, int] | None = None,
) -> Instruction:
    """slash_equivocation of member `index`; what else is given is what an attacker would put in its place."""
    return slash_instructions.slash_equivocation(
        chain.program_id,
        by.pubkey(),
        validator or validator_address(chain, index),
        epoch,
        evidence,
        set_versions,
        indexes or (index, index),
    )


def two_messages(chain: Chain, **changes: object) -> tuple[messages.CheckpointMessage, messages.CheckpointMessage]:
    """Of the next epoch and one attempt, with different results."""
    first = chain.message(**changes)
    return first, replace(first, results_root=b"\x66" * 32)


def vault_total(chain: Chain) -> int:
    """What the stake vault must hold: rent, and all stake and reward of validators and slots."""
    total = int(chain.svm.minimum_balance_for_rent_exemption(0))
    for index in range(len(chain.validators)):
        values = held(chain, index)
        total += sum(
            values[name] for name in ("active_lamports", "unbonding_lamports", "commission_lamports", "reward_lamports")
        )
    return total + sum(slot.reward_lamports for slot in chain.registry.slots)


def everything(chain: Chain, *others: Pubkey) -> int:
    """Lamports of the vaults and of these accounts."""
    program = chain.program_id
    known = [pda.stake_vault(program), pda.treasury(program), pda.vault(program), chain.payer.pubkey(), *others]
    return sum(chain.lamports(address) for address in dict.fromkeys(known))


def with_status_by_overwrite(chain: Chain, epoch: int, status: CheckpointStatus, **fields: int) -> None:
    """Sets a Checkpoint's status (and integers of Config) without the instructions that lead there."""
    address = pda.checkpoint(chain.program_id, epoch)
    data = bytearray(chain.data(address))
    data[8 + 2] = status
    chain.overwrite(address, bytes(data))
    config = pda.config(chain.program_id)
    for name, value in fields.items():
        overwrite_u64(chain, config, "Config", name, value)


def overwrite_u64(chain: Chain, address: Pubkey, kind: str, name: str, value: int) -> None:
    """Overwrites one u64 of an account, found by its name."""
    offset = offset_of(kind, name)
    data = bytearray(chain.data(address))
    data[offset : offset + 8] = value.to_bytes(8, "little")
    chain.overwrite(address, bytes(data))


def offset_of(kind: str, name: str) -> int:
    """Where a field stands in an account's data: behind the discriminator and the fields before it."""
    types = idl.committed().types
    offset = 8
    for field in types[kind]["type"]["fields"]:
        if field["name"] == name:
            return offset
        offset += fixed_size(field["type"], types)
    raise KeyError(name)


def reward_all(chain: Chain) -> None:
    """Every finalized epoch that is not rewarded yet, in order."""
    for epoch in range(1, chain.config.finalized.epoch + 1):
        one = chain.checkpoint(epoch)
        if one.status is CheckpointStatus.FINALIZED and not one.rewarded:
            payer = chain.payer.pubkey()
            chain.send(
                slash_instructions.reward_checkpoint(
                    chain.program_id, payer, epoch, one.parent_epoch, one.set_version, one.poster
                )
            )
