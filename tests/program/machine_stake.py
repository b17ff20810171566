"""The rules of stake, validator sets, slashing and rewards."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from settlement import pda
from settlement.validator_set import SetEntry, ValidatorSet
from tests.program.machine_model import (
    ALL,
    ANY,
    FINALIZED,
    MAX_TOTAL,
    NO_SLOT,
    POSTED,
    REJECTED,
    Base,
    Fields,
    bits,
    need,
)

SLOTS = 256
OCCUPIED, JAILED, INACTIVE = 1, 2, 4
V_JAILED, V_TOMBSTONED = 1, 2
REGISTRY_FULL_BYTES = 45_080
SET_FULL_BYTES = 35_288
GROWTH = 10_240


def enter(pool: tuple[int, int], lamports: int) -> tuple[tuple[int, int], int]:
    """(lamports, shares) of a pool, and the shares that come in."""
    held, shares = pool
    need(not (held == 0 and shares > 0), "PoolEmptied")
    new = lamports if shares == 0 else lamports * shares // held
    need(held + lamports < MAX_TOTAL, "ArithmeticOverflow")
    need(shares + new < 1 << 64 and new < 1 << 64, "ArithmeticOverflow")
    return (held + lamports, shares + new), new


def worth(pool: tuple[int, int], shares: int) -> int:
    return shares * pool[0] // pool[1] if shares else 0


class StakeRules(Base):
    # -- the registry ------------------------------------------------------------------------------------------------------------------

    @property
    def slots(self) -> list[Fields | None]:
        self.held(self.registry_at, "Registry")
        found: list[Fields | None] = self.tails[self.registry_at]
        return found

    def slot_of(self, validator: Fields) -> Fields | None:
        return None if validator.slot_index == NO_SLOT else self.slots[validator.slot_index]

    def grow_registry(self, payer: Pubkey) -> None:
        self.held(self.registry_at, "Registry")
        size = self.sizes[self.registry_at]
        need(size < REGISTRY_FULL_BYTES, "RegistryFullSize")
        self.grow(self.registry_at, payer, min(REGISTRY_FULL_BYTES, size + GROWTH))

    def standing(self, slot: Fields) -> int:
        return 0 if slot.flags & (JAILED | INACTIVE) else int(slot.stake_lamports)

    def lowest(self) -> int:
        """The slot to be outbid; only when all are taken."""
        slots = self.slots
        return min(range(SLOTS), key=lambda index: (self.standing(slots[index]), index))  # type: ignore[arg-type]

    def _room(self, newcomer: Fields, outbid: Pubkey | None) -> int:
        need(self.sizes[self.registry_at] >= REGISTRY_FULL_BYTES, "RegistryTooSmall")
        slots = self.slots
        taken = [slot for slot in slots if slot is not None]
        need(all(slot.authority != newcomer.authority for slot in taken), "AuthorityRegistered")
        if len(taken) < SLOTS:
            self.held(self.registry_at, "Registry").count += 1
            return slots.index(None)
        need(outbid is not None, "RegistryFull")
        loser = self.held(outbid, "Validator")  # type: ignore[arg-type]
        index = self.lowest()
        need(loser.slot_index == index, "NotLowestStake")
        need(newcomer.active_lamports > self.standing(slots[index]), "OutbidTooLow")  # type: ignore[arg-type]
        self._vacate(loser)
        return index

    def _vacate(self, validator: Fields) -> None:
        slot = self.slot_of(validator)
        need(slot is not None, "NotInRegistry")
        assert slot is not None
        self.slots[validator.slot_index] = None
        validator.update(
            reward_lamports=validator.reward_lamports + slot.reward_lamports,
            misses=slot.misses,
            slot_index=NO_SLOT,
            left_version=self.config.sealed_last.version + 1,
        )

    def _occupy(self, index: int, validator: Fields) -> None:
        self.slots[index] = Fields(
            authority=validator.authority,
            bls_public_key=validator.bls_public_key,
            stake_lamports=validator.active_lamports,
            stake_slot=self.slot,
            reward_lamports=0,
            reserved=0,
            heartbeat_slot=self.slot,
            misses=validator.misses,
            flags=OCCUPIED,
        )
        validator.update(slot_index=index, left_version=0)

    def _mirror(self, validator: Fields) -> None:
        slot = self.slot_of(validator)
        if slot is not None:
            slot.update(stake_lamports=validator.active_lamports, stake_slot=self.slot)

    # -- validators --------------------------------------------------------------------------------------------------------------------

    def register_validator(
        self,
        payer: Pubkey,
        authority: Pubkey,
        keys: tuple[bytes, bytes],
        stake_lamports: int,
        commission_basis_points: int,
        outbid: Pubkey | None,
        flaw: str | None,
    ) -> None:
        """`keys`: compressed and uncompressed; `flaw`: what the proof of possession or its hints are refused with."""
        config = self.config
        if outbid is not None:
            self.held(outbid, "Validator")
        need(config.escaped == 0, "Escaped")
        need(stake_lamports >= self.parameters.min_validator_stake_lamports, "StakeBelowMinimum")
        need(commission_basis_points <= ALL, "CommissionTooHigh")
        address = pda.validator(self.program, keys[0])
        need(self.is_unused(address), "BlsKeyRegistered")
        need(flaw is None, flaw or "")
        validator = self.create(
            address,
            "Validator",
            payer,
            authority=authority,
            bls_public_key=keys[1],
            slot_index=NO_SLOT,
            commission_basis_points=commission_basis_points,
            active_lamports=stake_lamports,
            active_shares=stake_lamports,
        )
        at = pda.stake_position(self.program, address, authority)
        self.create(at, "StakePosition", payer, owner=authority, validator=address, shares=stake_lamports)
        index = self._room(validator, outbid)
        self._occupy(index, validator)
        self.move(payer, self.stake_vault, stake_lamports)

    def _of(self, authority: Pubkey, address: Pubkey) -> Fields:
        validator = self.held(address, "Validator")
        need(validator.authority == authority, "NotValidatorAuthority")
        return validator

    def join_registry(self, authority: Pubkey, address: Pubkey, outbid: Pubkey | None) -> None:
        validator = self.held(address, "Validator")
        if outbid is not None:
            self.held(outbid, "Validator")
        need(outbid != address, ANY)
        need(self.config.escaped == 0, "Escaped")
        self._of(authority, address)
        need(not validator.flags & V_TOMBSTONED, "Tombstoned")
        need(not validator.flags & V_JAILED, "InJail")
        need(validator.slot_index == NO_SLOT, "InRegistry")
        need(validator.active_lamports >= self.parameters.min_validator_stake_lamports, "StakeBelowMinimum")
        self._occupy(self._room(validator, outbid), validator)

    def leave_registry(self, authority: Pubkey, address: Pubkey) -> None:
        self._vacate(self._of(authority, address))
        self.held(self.registry_at, "Registry").count -= 1

    def set_commission(self, authority: Pubkey, address: Pubkey, basis_points: int) -> None:
        validator = self._of(authority, address)
        need(basis_points < validator.commission_basis_points, "CommissionNotLower")
        validator.commission_basis_points = basis_points

    def heartbeat(self, authority: Pubkey, address: Pubkey) -> None:
        slot = self.slot_of(self._of(authority, address))
        need(slot is not None, "NotInRegistry")
        assert slot is not None
        slot.update(heartbeat_slot=self.slot, flags=slot.flags & ~INACTIVE)

    def _collect(self, validator: Fields) -> int:
        reward = validator.reward_lamports
        slot = self.slot_of(validator)
        if slot is not None:
            reward += slot.reward_lamports
            slot.reward_lamports = 0
        validator.reward_lamports = 0
        commission = reward
        if validator.active_lamports:
            commission = reward * validator.commission_basis_points // ALL
        validator.commission_lamports += commission
        validator.active_lamports += reward - commission
        return int(reward)

    def collect_rewards(self, address: Pubkey) -> None:
        validator = self.held(address, "Validator")
        need(self._collect(validator) > 0, "NothingToCollect")
        self._mirror(validator)

    def withdraw_commission(self, authority: Pubkey, address: Pubkey) -> None:
        validator = self._of(authority, address)
        lamports = validator.commission_lamports
        need(lamports > 0, "NothingToWithdraw")
        validator.commission_lamports = 0
        self.pay_out(self.stake_vault, authority, lamports)

    def delegate(self, payer: Pubkey, owner: Pubkey, address: Pubkey, lamports: int) -> None:
        validator = self.held(address, "Validator")
        at = pda.stake_position(self.program, address, owner)
        if self.is_unused(at):
            self.create(at, "StakePosition", payer)
        position = self.held(at, "StakePosition")
        need(self.config.escaped == 0, "Escaped")
        need(not validator.flags & V_TOMBSTONED, "Tombstoned")
        self._collect(validator)
        need(not (validator.unbonding_lamports == 0 and validator.unbonding_shares > 0), "PoolEmptied")
        pool, shares = enter((validator.active_lamports, validator.active_shares), lamports)
        need(shares > 0 and lamports - worth(pool, shares) <= lamports // 1_000, "DelegationTooSmall")
        validator.update(active_lamports=pool[0], active_shares=pool[1])
        self._mirror(validator)
        self.move(payer, self.stake_vault, lamports)
        position.update(owner=owner, validator=address, shares=position.shares + shares)

    def unbond(self, payer: Pubkey, owner: Pubkey, address: Pubkey, unbonding_id: int, shares: int) -> None:
        validator = self.held(address, "Validator")
        at = pda.stake_position(self.program, address, owner)
        position = self.held(at, "StakePosition")
        need(0 < shares <= position.shares, "WrongShares")
        self._collect(validator)
        active = validator.active_lamports, validator.active_shares
        lamports = worth(active, shares)
        need(lamports > 0, "WorthlessShares")
        pool, new = enter((validator.unbonding_lamports, validator.unbonding_shares), lamports)
        free = validator.left_version if validator.slot_index == NO_SLOT else self.config.sealed_last.version + 1
        validator.update(
            active_lamports=active[0] - lamports,
            active_shares=active[1] - shares,
            unbonding_lamports=pool[0],
            unbonding_shares=pool[1],
        )
        self._mirror(validator)
        need(unbonding_id == position.next_unbonding_id, "WrongAddress")
        self.create(
            pda.unbonding(self.program, at, unbonding_id),
            "Unbonding",
            payer,
            owner=owner,
            validator=address,
            id=unbonding_id,
            shares=new,
            first_free_version=free,
            requested_slot=self.slot,
        )
        position.update(
            shares=position.shares - shares,
            next_unbonding_id=unbonding_id + 1,
            open_unbondings=position.open_unbondings + 1,
        )

    def _out_of_reach(self, checkpoint: Fields | None, first_free_version: int) -> None:
        config = self.config
        if checkpoint is None:
            need(config.escaped == 1, "CheckpointMissing")
            since = config.escape_slot
        else:
            need(checkpoint.status == FINALIZED, "CheckpointNotFinalized")
            need(checkpoint.set_version >= first_free_version, "CheckpointTooOld")
            since = checkpoint.posted_slot
        need(self.slot > since + config.parameters.unbonding_slots, "UnbondingNotOver")
        need(config.pending_slashes == 0, "SlashesPending")

    def checkpoint(self, epoch: int) -> Fields:
        return self.held(pda.checkpoint(self.program, epoch), "Checkpoint")

    def set_of(self, version: int) -> Fields:
        return self.held(pda.validator_set(self.program, version), "ValidatorSet")

    def entries(self, version: int) -> tuple[SetEntry, ...]:
        return self.tails.get(pda.validator_set(self.program, version)) or ()

    def withdraw_unbonded(self, owner: Pubkey, address: Pubkey, unbonding_id: int, epoch: int | None) -> None:
        validator = self.held(address, "Validator")
        at = pda.stake_position(self.program, address, owner)
        position = self.held(at, "StakePosition")
        unbonding_at = pda.unbonding(self.program, at, unbonding_id)
        unbonding = self.held(unbonding_at, "Unbonding")
        self._out_of_reach(None if epoch is None else self.checkpoint(epoch), unbonding.first_free_version)
        lamports = worth((validator.unbonding_lamports, validator.unbonding_shares), unbonding.shares)
        validator.unbonding_lamports -= lamports
        validator.unbonding_shares -= unbonding.shares
        position.open_unbondings -= 1
        self.once("unbonding", at, unbonding_id, unbonding.requested_slot)
        if lamports:
            self.pay_out(self.stake_vault, owner, lamports)
        self.close(unbonding_at, owner)

    def close_stake_position(self, owner: Pubkey, address: Pubkey) -> None:
        self.held(address, "Validator")
        at = pda.stake_position(self.program, address, owner)
        position = self.held(at, "StakePosition")
        need(position.shares == 0 and position.open_unbondings == 0, "PositionInUse")
        self.close(at, owner)

    # -- sets --------------------------------------------------------------------------------------------------------------------------

    def create_validator_set(self, payer: Pubkey, version: int) -> None:
        need(self.config.escaped == 0, "Escaped")
        need(version == self.config.sealed_last.version + 1, "WrongSetVersion")
        address = pda.validator_set(self.program, version)
        need(self.is_unused(address), "SetExists")
        self.create(address, "ValidatorSet", payer, GROWTH, set_version=version, payer=payer)

    def grow_validator_set(self, payer: Pubkey, version: int) -> None:
        held = self.set_of(version)
        address = pda.validator_set(self.program, version)
        need(held.sealed == 0, "SetSealed")
        size = self.sizes[address]
        need(size < SET_FULL_BYTES, "SetFullSize")
        self.grow(address, payer, min(SET_FULL_BYTES, size + GROWTH))

    def _check_next(self, held: Fields) -> None:
        need(self.config.escaped == 0, "Escaped")
        need(held.sealed == 0, "SetSealed")
        need(held.set_version == self.config.sealed_last.version + 1, "WrongSetVersion")

    def _is_sealable(self, slot: Fields | None) -> bool:
        least = self.parameters.min_validator_stake_lamports
        return slot is not None and slot.flags == OCCUPIED and slot.stake_lamports >= least

    def _seal(self, held: Fields, chosen: list[int]) -> None:
        config, parameters = self.config, self.parameters
        address = pda.validator_set(self.program, held.set_version)
        need(len(chosen) >= parameters.min_validators, "TooFewValidators")
        header = SET_FULL_BYTES - SLOTS * 136
        need(self.sizes[address] >= header + len(chosen) * 136, "SetTooSmall")
        slots = [self.slots[index] for index in chosen]
        entries = tuple(SetEntry(bytes(one.authority), bytes(one.bls_public_key), one.stake_lamports) for one in slots)  # type: ignore[union-attr]
        total = sum(one.stake_lamports for one in entries)
        need(total >= parameters.min_set_stake_lamports, "SetStakeBelowMinimum")
        digest = ValidatorSet(held.set_version, entries).hash(self.domain)
        held.update(
            sealed=1,
            sealed_slot=self.slot,
            set_hash=digest,
            count=len(entries),
            total_stake_lamports=total,
            slot_indexes=bytes(chosen).ljust(SLOTS, b"\0"),
        )
        self.tails[address] = entries
        config.sealed_before = config.sealed_last
        config.sealed_last = Fields(version=held.set_version, slot=self.slot, hash=digest)

    def advance_validator_set(self, payer: Pubkey, version: int) -> None:
        held, config = self.set_of(version), self.config
        self._check_next(held)
        if config.highest_epoch == 0:
            need(payer == config.authority, "NotAuthority")
        else:
            need(self.slot - config.sealed_last.slot >= self.parameters.min_seal_gap_slots, "SealTooSoon")
        need(self.sizes[self.registry_at] >= REGISTRY_FULL_BYTES, "RegistryTooSmall")
        self._seal(held, [index for index, slot in enumerate(self.slots) if self._is_sealable(slot)])
        if config.highest_epoch == 0:
            config.pinned = config.sealed_last

    def stall_step(self, version: int) -> None:
        config, parameters = self.config, self.parameters
        pinned, held = self.set_of(config.pinned.version), self.set_of(version)
        need(version != config.pinned.version, ANY)
        self._check_next(held)
        need(config.highest_epoch > 0, "NothingPosted")
        last = max(config.last_post_slot, config.last_stall_slot, config.initialized_slot)
        need(self.slot > last + parameters.stall_slots, "StallTooSoon")
        chosen, dropped = [], 0
        members = list(zip(self.entries(config.pinned.version), pinned.slot_indexes, strict=False))
        for entry, index in members:
            slot = self.slots[index]
            if slot is not None and bytes(slot.bls_public_key) == entry.bls_uncompressed and self._is_sealable(slot):
                chosen.append(index)
            else:
                dropped += entry.stake_lamports
        for entry, index in members:
            slot = self.slots[index]
            silent = slot is not None and slot.heartbeat_slot + parameters.heartbeat_slots < self.slot
            if index in chosen and silent and dropped + entry.stake_lamports <= pinned.total_stake_lamports // 3:
                chosen.remove(index)
                dropped += entry.stake_lamports
                slot.flags |= INACTIVE  # type: ignore[union-attr]
        need(dropped > 0, "NobodyToDrop")
        self._seal(held, chosen)
        pinned.replaced_slot = self.slot
        config.update(pinned=config.sealed_last, last_stall_slot=self.slot)

    def close_validator_set(self, version: int, recipient: Pubkey, epoch: int | None) -> None:
        config, held = self.config, self.set_of(version)
        checkpoint = None if epoch is None else self.checkpoint(epoch)
        need(version < config.sealed_before.version and version != config.pinned.version, "SetInUse")
        need(recipient == held.payer, "NotSetPayer")
        self._out_of_reach(checkpoint, version + 1)
        need(checkpoint is None or checkpoint.rewarded == 1, "RewardsDue")
        self.once("set", version)
        self.close(pda.validator_set(self.program, version), recipient)

    # -- slashing ----------------------------------------------------------------------------------------------------------------------

    def _slash(self, validator: Fields, basis_points: int, reporter: Pubkey, flags: int) -> int:
        cuts = [validator[name] * basis_points // ALL for name in ("active_lamports", "unbonding_lamports")]
        validator.active_lamports -= cuts[0]
        validator.unbonding_lamports -= cuts[1]
        validator.slashed_lamports += sum(cuts)
        if flags:
            validator.update(flags=validator.flags | flags, jailed_slot=self.slot)
        slot = self.slot_of(validator)
        if slot is not None:
            jailed = JAILED if validator.flags & V_JAILED else 0
            slot.update(stake_lamports=validator.active_lamports, flags=slot.flags & ~JAILED | jailed)
        share = sum(cuts) * self.parameters.reporter_basis_points // ALL
        if share:
            self.pay_out(self.stake_vault, reporter, share)
        if sum(cuts) - share:
            self.pay_out(self.stake_vault, self.treasury, sum(cuts) - share)
        return sum(cuts)

    def jail_validator(self, reporter: Pubkey, address: Pubkey) -> None:
        validator = self.held(address, "Validator")
        need(not validator.flags & V_JAILED, "InJail")
        slot = self.slot_of(validator)
        need(slot is not None, "NotInRegistry")
        assert slot is not None
        need(slot.misses >= self.parameters.max_misses, "TooFewMisses")
        self._slash(validator, self.parameters.miss_slash_basis_points, reporter, V_JAILED)

    def unjail(self, authority: Pubkey, address: Pubkey) -> None:
        validator = self._of(authority, address)
        need(not validator.flags & V_TOMBSTONED, "Tombstoned")
        need(bool(validator.flags & V_JAILED), "NotInJail")
        need(self.slot > validator.jailed_slot + self.parameters.jail_slots, "JailNotOver")
        validator.update(flags=validator.flags & ~V_JAILED, misses=0)
        slot = self.slot_of(validator)
        if slot is not None:
            slot.update(flags=slot.flags & ~JAILED, misses=0)

    def _signers(self, version: int, bitmap: bytes, quorum: bool, flaw: str | None) -> None:
        """What is refused about who signed: the set, its keys and, last, what is wrong with signature or hints."""
        entries = self.entries(version)
        signed = bits(bitmap)
        need(all(index < len(entries) for index in signed), "BitBeyondSet")
        stake = sum(entries[index].stake_lamports for index in signed)
        if quorum:
            need(3 * stake >= 2 * sum(one.stake_lamports for one in entries), "ShortQuorum")
        else:
            need(bool(signed), "NobodySigned")
        need(not self.sums_to_infinity([entries[index].bls_uncompressed for index in signed]), "AggregateKeyAtInfinity")
        need(flaw is None, flaw or "")

    def sums_to_infinity(self, keys: list[bytes]) -> bool:
        """Two keys that are each other's negative have the same x; the machine knows of no other sum at infinity."""
        return len(keys) == 2 and keys[0][:48] == keys[1][:48] and keys[0] != keys[1]

    def record_receipt(
        self, owner: Pubkey, version: int, message: Any, digest: bytes, bitmap: bytes, flaw: str | None
    ) -> None:
        held = self.set_of(version)
        address = pda.receipt(self.program, owner, digest)
        need(self.is_unused(address), "ReceiptExists")
        need(held.sealed == 1, "WrongValidatorSet")
        self._signers(version, bitmap, False, flaw)
        self.create(
            address,
            "Receipt",
            owner,
            owner=owner,
            epoch=message.epoch,
            attempt=message.attempt,
            set_version=version,
            message_hash=digest,
            bitmap=bitmap,
        )

    def close_receipt(self, owner: Pubkey, address: Pubkey) -> None:
        need(self.held(address, "Receipt").owner == owner, "NotReceiptOwner")
        self.close(address, owner)

    def _evidence(self, address: Pubkey, reporter: Pubkey) -> Fields:
        if self.kinds.get(address) == "Receipt":
            receipt = self.held(address, "Receipt")
            need(receipt.owner == reporter, "NotReceiptOwner")
            return Fields(receipt, hash=receipt.message_hash)
        need(self.kinds.get(address) == "Checkpoint", "NotEvidence")
        return self.held(address, "Checkpoint")

    def _signer(self, evidence: Fields, version: int, index: int) -> SetEntry:
        held = self.set_of(version)
        need(held.sealed == 1 and version == evidence.set_version, "WrongValidatorSet")
        need(index in bits(evidence.bitmap) and index < len(self.entries(version)), "NotASigner")
        return self.entries(version)[index]

    def slash_equivocation(
        self,
        reporter: Pubkey,
        address: Pubkey,
        epoch: int,
        evidence: tuple[Pubkey, Pubkey],
        versions: tuple[int, int],
        indexes: tuple[int, int],
    ) -> None:
        validator = self.held(address, "Validator")
        for version in versions:
            self.set_of(version)
        offence_at, tally_at = pda.offence(self.program, address, epoch), pda.tally(self.program, epoch)
        need(self.is_unused(offence_at), "OffencePunished")
        a, b = (self._evidence(one, reporter) for one in evidence)
        need((a.epoch, a.attempt) == (b.epoch, b.attempt), "DifferentAttempts")
        need(a.hash != b.hash, "SameMessage")
        entries = [
            self._signer(one, version, index) for one, version, index in zip((a, b), versions, indexes, strict=True)
        ]
        need(entries[0].bls_uncompressed == entries[1].bls_uncompressed, "DifferentKeys")
        need(entries[0].bls_uncompressed == bytes(validator.bls_public_key), "WrongValidator")
        need(epoch == a.epoch, "WrongAddress")
        older = 0 if a.set_version <= b.set_version else 1
        if self.is_unused(tally_at):
            total = self.set_of(versions[older]).total_stake_lamports
            self.create(tally_at, "EquivocationTally", reporter, epoch=epoch, total_stake_lamports=total)
        tally = self.held(tally_at, "EquivocationTally")
        tally.validators += 1
        tally.stake_lamports += entries[older].stake_lamports
        target = self.equivocation_target(tally)
        self.once("offence", address, epoch)
        cut = self._slash(validator, target, reporter, V_JAILED | V_TOMBSTONED)
        self.create(
            offence_at,
            "Offence",
            reporter,
            validator=address,
            epoch=epoch,
            attempt=a.attempt,
            applied_basis_points=target,
            cut_lamports=cut,
        )

    def equivocation_target(self, tally: Fields) -> int:
        stake = min(tally.stake_lamports, tally.total_stake_lamports)
        correlated = stake * 3 * ALL // tally.total_stake_lamports
        return int(min(ALL, self.parameters.equivocation_slash_basis_points + correlated))

    def raise_equivocation(self, reporter: Pubkey, address: Pubkey, epoch: int) -> None:
        validator = self.held(address, "Validator")
        offence = self.held(pda.offence(self.program, address, epoch), "Offence")
        target = self.equivocation_target(self.held(pda.tally(self.program, epoch), "EquivocationTally"))
        applied = offence.applied_basis_points
        need(target > applied, "NothingToRaise")
        more = (target - applied) * ALL // (ALL - applied)
        cut = self._slash(validator, more, reporter, 0)
        offence.update(applied_basis_points=target, cut_lamports=offence.cut_lamports + cut)

    def slash_rejected(self, reporter: Pubkey, address: Pubkey, epoch: int, version: int, index: int) -> None:
        checkpoint, held, validator = self.checkpoint(epoch), self.set_of(version), self.held(address, "Validator")
        need(checkpoint.status == REJECTED, "NotRejected")
        need(held.sealed == 1 and version == checkpoint.set_version, "WrongValidatorSet")
        need(index in bits(checkpoint.bitmap), "NotASigner")
        need(index not in bits(checkpoint.slashed_bitmap), "SignerSlashed")
        need(self.entries(version)[index].bls_uncompressed == bytes(validator.bls_public_key), "WrongValidator")
        self.once("rejected", epoch, index)
        self._slash(validator, self.parameters.fraud_slash_basis_points, reporter, V_JAILED)
        slashed = bytearray(checkpoint.slashed_bitmap)
        slashed[index >> 3] |= 1 << (index & 7)
        checkpoint.slashed_bitmap = bytes(slashed)
        self.config.pending_slashes -= 1

    # -- rewards -----------------------------------------------------------------------------------------------------------------------

    def add_signatures(self, epoch: int, version: int, bitmap: bytes, flaw: str | None) -> None:
        checkpoint, held = self.checkpoint(epoch), self.set_of(version)
        posted = checkpoint.status == POSTED and self.slot <= checkpoint.challenge_until_slot
        need(posted, "SignaturesTooLate")
        need(not self.is_void(epoch), "VoidEpoch")
        need(held.sealed == 1 and version == checkpoint.set_version, "WrongValidatorSet")
        need(not set(bits(bitmap)) & set(bits(checkpoint.bitmap)), "SignedAlready")
        self._signers(version, bitmap, False, flaw)
        checkpoint.bitmap = bytes(a | b for a, b in zip(checkpoint.bitmap, bitmap, strict=True))

    def is_void(self, epoch: int) -> bool:
        return any(one["first"] <= epoch <= one["last"] for one in self.config.voids if one["first"])

    def reward_checkpoint(self, epoch: int, parent_epoch: int, version: int, poster: Pubkey) -> None:
        checkpoint, held, parameters = self.checkpoint(epoch), self.set_of(version), self.parameters
        need(checkpoint.status == FINALIZED, "NotFinalized")
        need(checkpoint.rewarded == 0, "RewardedAlready")
        need(held.sealed == 1 and version == checkpoint.set_version, "WrongValidatorSet")
        need(poster == checkpoint.poster, "WrongPoster")
        need(parent_epoch == checkpoint.parent_epoch, "WrongAddress")
        parent = self.accounts.get(pda.checkpoint(self.program, parent_epoch))
        need(parent is None or parent.rewarded == 1, "ParentNotRewarded")
        pot = min(parameters.reward_lamports_per_epoch, max(0, self.lamports[self.treasury] - self.floor))
        share = pot * parameters.poster_reward_basis_points // ALL
        rest = pot - share
        if self.lamports.get(poster, 0) + share < self.floor:
            share = 0
        entries, signed = self.entries(version), bits(checkpoint.bitmap)
        weight = sum(entries[index].stake_lamports for index in signed)
        paid = 0
        for index, entry in enumerate(entries):
            slot = self.slots[held.slot_indexes[index]]
            if slot is None or bytes(slot.bls_public_key) != entry.bls_uncompressed:
                continue
            if index in signed:
                part = rest * entry.stake_lamports // weight
                slot.update(reward_lamports=slot.reward_lamports + part, misses=0)
                paid += part
            else:
                slot.misses = min(slot.misses + 1, 2**32 - 1)
        self.once("reward", epoch)
        for to, lamports in ((poster, share), (self.stake_vault, paid)):
            if lamports:
                self.pay_out(self.treasury, to, lamports)
        checkpoint.rewarded = 1
