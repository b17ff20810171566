"""The rules of the inbox, checkpoints, disputes, claims, the hatch, governance and proof buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solders.pubkey import Pubkey

from settlement import messages, pda
from settlement.ledger import State
from settlement.messages import InboxEntry, InboxKind
from tests.program.machine_model import (
    ALL,
    ANY,
    FINALIZED,
    MAX_TOTAL,
    MAX_VOIDS,
    POSTED,
    REJECTED,
    U64_MAX,
    VOIDED,
    Fields,
    bits,
    blank,
    fields_of,
    need,
)
from tests.program.machine_stake import GROWTH, SLOTS, StakeRules

BUFFER_HEADER_BYTES = 56
RESULT_HOLD_SLOTS = 432_000
DEMANDED = (1, 2, 3)
HEAD = ("epoch", "hash", "cut_slot", "expiry_slot", "payable_total", "inbox_cursor", "inbox_hash", "inbox_lamports")


def check_parameters(p: Any) -> None:
    """docs/settlement.md, "Parameters", in its order."""
    need(p.challenge_window_slots > 0, "BadChallengeWindow")
    need(p.inclusion_window_slots > 0, "BadInclusionWindow")
    need(p.max_expiry_slots > 0, "BadMaxExpiry")
    need(p.min_seal_gap_slots >= p.max_expiry_slots, "BadSealGap")
    need(p.answer_slots > 0, "BadAnswerSlots")
    need(p.stall_slots > p.max_expiry_slots, "BadStallSlots")
    settled = p.challenge_window_slots + p.answer_slots + p.max_expiry_slots
    need(settled <= U64_MAX, "ArithmeticOverflow")
    need(p.hatch_slots > settled and p.hatch_slots > p.stall_slots, "BadHatchSlots")
    need(p.unbonding_slots > settled, "BadUnbondingSlots")
    need(settled + p.inclusion_window_slots < RESULT_HOLD_SLOTS, "BadResultHold")
    need(0 < p.max_inbox_per_epoch <= 4_096, "BadMaxInbox")
    need(p.min_inbox_lamports > 0, "BadMinInboxLamports")
    need(0 < p.min_validators <= SLOTS, "BadMinValidators")
    need(p.min_set_stake_lamports > 0, "BadMinSetStake")
    need(p.min_validator_stake_lamports > 0, "BadMinValidatorStake")
    need(0 < p.heartbeat_slots <= p.stall_slots, "BadHeartbeatSlots")
    need(p.jail_slots > 0, "BadJailSlots")
    need(0 < p.max_misses < 2**32 - 1, "BadMaxMisses")
    shares = (p.miss_slash_basis_points, p.equivocation_slash_basis_points, p.fraud_slash_basis_points)
    need(max(shares) <= ALL and shares[1] > 0 and shares[2] > 0, "BadSlash")
    need(p.reporter_basis_points <= ALL // 2, "BadReporterShare")
    need(p.governance_delay_slots > p.unbonding_slots, "BadGovernanceDelay")
    need(p.poster_reward_basis_points <= ALL, "BadPosterReward")
    need(p.poster_bond_lamports > 0 and p.demand_bond_lamports > 0, "BadBond")
    need(p.forced_fee_lamports > 0, "BadForcedFee")
    dear = (p.poster_bond_lamports, p.demand_bond_lamports, p.reward_lamports_per_epoch, p.forced_fee_lamports)
    need(max(dear) < MAX_TOTAL >> 16, "BadBond")


class Model(StakeRules):
    """All rules."""

    # -- the deployment ----------------------------------------------------------------------------------------------------------------

    def initialize(
        self, payer: Pubkey, authority: Pubkey, proven: tuple[bool, bool], genesis: bytes, parameters: Any
    ) -> None:
        """`proven`: whether it is the program's own data that is shown, and the authority that it names."""
        need(self.is_unused(self.config_at), "AlreadyInitialized")
        need(proven[0], "WrongProgramData")
        need(proven[1], "NotUpgradeAuthority")
        need(any(genesis), "BadGenesisHash")
        check_parameters(parameters)
        config = self.create(self.config_at, "Config", payer)
        self.create(self.registry_at, "Registry", payer, GROWTH)
        self.tails[self.registry_at] = [None] * SLOTS
        for vault in (self.vault, self.stake_vault, self.treasury):
            self.move(payer, vault, max(0, self.floor - self.lamports.get(vault, 0)))
        config.update(
            genesis_hash=genesis,
            authority=authority,
            governance=authority,
            parameters=Fields(parameters.to_mapping()),
            initialized_slot=self.slot,
        )
        first, parent = messages.genesis_inbox_hash(self.domain), messages.genesis_parent(self.domain)
        config.inbox.hash = config.posted.inbox_hash = first
        config.posted.hash = config.finalized.hash = parent
        config.finalized.update(slot=self.slot, state_root=State.empty().root)

    # -- the inbox ---------------------------------------------------------------------------------------------------------------------

    def _append(self, payer: Pubkey, index: int, kind: int, lamports: int, payload: bytes, **fields: Any) -> None:
        config = self.config
        need(config.escaped == 0, "Escaped")
        need(lamports >= self.parameters.min_inbox_lamports, "DepositBelowMinimum")
        address = pda.inbox_entry(self.program, index)
        need(self.is_unused(address), "WrongInboxEntry")
        after = config.inbox.lamports + lamports
        need(index == config.inbox.count, "WrongInboxEntry")
        need(after < MAX_TOTAL, "ArithmeticOverflow")
        entry = InboxEntry(index, self.slot, kind, lamports, payload)
        digest = messages.next_inbox_hash(config.inbox.hash, entry)
        values = {"index": index, "slot": self.slot, "kind": int(kind), "lamports": lamports, "payload_hash": payload}
        self.create(address, "InboxEntry", payer, hash_after=digest, lamports_after=after, **values, **fields)
        config.inbox.update(count=index + 1, lamports=after, hash=digest)

    def deposit(self, depositor: Pubkey, index: int, lamports: int, beneficiary: Pubkey) -> None:
        payload = messages.deposit_payload_hash(bytes(beneficiary))
        self._append(depositor, index, InboxKind.DEPOSIT, lamports, payload, beneficiary=beneficiary)
        self.move(depositor, self.vault, lamports)

    def grant(self, payer: Pubkey, signer: Pubkey, index: int, lamports: int, beneficiary: Pubkey) -> None:
        self._governs(signer)
        need(self.lamports[self.treasury] >= lamports + self.floor, "GrantAboveTreasury")
        payload = messages.deposit_payload_hash(bytes(beneficiary))
        self._append(payer, index, InboxKind.DEPOSIT, lamports, payload, beneficiary=beneficiary)
        self.pay_out(self.treasury, self.vault, lamports)

    def forced_fee(self) -> int:
        backlog = self.config.inbox.count - self.config.posted.inbox_cursor
        return int(self.parameters.forced_fee_lamports * (1 + backlog // 16))

    def inbox_task(
        self,
        client: Pubkey,
        index: int,
        lamports: int,
        spec_hash: bytes,
        kind_mode: tuple[int, int],
        deadline_slot: int,
        max_fee_lamports: int,
    ) -> None:
        kind, mode = kind_mode
        need(0 < kind <= 4, "UnknownTaskKind")
        need(0 < mode <= 4, "UnknownTaskMode")
        fee = self.forced_fee()
        need(fee <= max_fee_lamports, "FeeAboveLimit")
        self._append(
            client,
            index,
            InboxKind.TASK,
            lamports,
            messages.task_payload_hash(bytes(client), spec_hash, kind, mode, deadline_slot),  # type: ignore[arg-type]
            beneficiary=client,
            number=deadline_slot,
            reference=spec_hash,
            kind_mode=kind << 4 | mode,
        )
        need(deadline_slot > self.slot, "TaskDeadlinePassed")
        self.move(client, self.vault, lamports)
        self.move(client, self.treasury, fee)

    def inbox_withdrawal(
        self, owner: Pubkey, index: int, lamports: int, withdraw_lamports: int, task_id: bytes, max_fee_lamports: int
    ) -> None:
        fee = self.forced_fee()
        need(fee <= max_fee_lamports, "FeeAboveLimit")
        self._append(
            owner,
            index,
            InboxKind.WITHDRAWAL,
            lamports,
            messages.withdrawal_payload_hash(bytes(owner), withdraw_lamports, task_id),
            beneficiary=owner,
            number=withdraw_lamports,
            reference=task_id,
        )
        self.move(owner, self.vault, lamports)
        self.move(owner, self.treasury, fee)

    # -- checkpoints -------------------------------------------------------------------------------------------------------------------

    def entry(self, index: int) -> Fields | None:
        return self.accounts.get(pda.inbox_entry(self.program, index))

    def post_checkpoint(
        self,
        payer: Pubkey,
        version: int,
        message: messages.CheckpointMessage,
        bitmap: bytes,
        flaw: str | None = None,
        wrong_entry: str = "",
    ) -> None:
        """`flaw`: what is wrong with signature or hints; `wrong_entry`: which of the two inbox entries is another account."""
        held, config, parameters = self.set_of(version), self.config, self.parameters
        need(config.escaped == 0, "Escaped")
        need(config.paused == 0, "Paused")
        need(config.voids[MAX_VOIDS - 1]["first"] == 0, "TooManyVoids")
        need(message.epoch > config.highest_epoch, "EpochPosted")
        need(message.epoch == config.highest_epoch + 1, "WrongEpoch")
        need(message.cut_slot <= self.slot, "CutSlotInFuture")
        need(message.cut_slot > config.posted.cut_slot, "CutSlotNotAfterParent")
        need(self.slot <= message.expiry_slot, "Expired")
        need(message.expiry_slot - message.cut_slot <= parameters.max_expiry_slots, "ExpiryTooFar")
        cursor, before = message.inbox_cursor, config.posted.inbox_cursor
        need(cursor >= before, "CursorBelowParent")
        need(cursor <= config.inbox.count, "CursorAboveInbox")
        need(cursor - before <= parameters.max_inbox_per_epoch, "TooManyInboxEntries")
        inbox_hash, inbox_lamports = config.posted.inbox_hash, config.posted.inbox_lamports
        if cursor > before:
            need(wrong_entry != "WrongLastEntry", wrong_entry)
            last = self.entry(cursor - 1)
            assert last is not None
            inbox_hash, inbox_lamports = last.hash_after, last.lamports_after
        if cursor < config.inbox.count and cursor - before < parameters.max_inbox_per_epoch:
            need(wrong_entry != "WrongNextEntry", wrong_entry)
            waiting = self.entry(cursor)
            assert waiting is not None
            age = max(0, message.cut_slot - waiting.slot)
            need(age <= parameters.inclusion_window_slots, "OverdueInboxEntry")
        need(message.payable_total >= config.posted.payable_total, "PayableBelowParent")
        need(message.payable_total <= inbox_lamports, "PayableAboveInbox")
        need(held.sealed == 1 and version == config.pinned.version, "UnpinnedSet")
        built = (message.parent_hash, message.inbox_hash, message.set_hash)
        wrong = None if built == (config.posted.hash, inbox_hash, held.set_hash) else "PairingNotOne"
        # Hints are those of the message that was signed, which the program does not look at then.
        self._signers(version, bitmap, True, flaw or (ANY if wrong else None))
        digest = message.hash(self.domain)
        address = pda.checkpoint(self.program, message.epoch)
        bond = parameters.poster_bond_lamports
        common = {name: getattr(message, name) for name in message.__dataclass_fields__ if name != "set_hash"}
        self.create(
            address,
            "Checkpoint",
            payer,
            **common,
            status=POSTED,
            hash=digest,
            set_version=version,
            bitmap=bitmap,
            posted_slot=self.slot,
            poster=payer,
            parent_epoch=config.posted.epoch,
            inbox_lamports=inbox_lamports,
            bond_lamports=bond,
            challenge_until_slot=self.slot + parameters.challenge_window_slots,
        )
        self.move(payer, address, bond)
        self.once("epoch", message.epoch)
        checkpoint = self.accounts[address]
        config.posted = Fields({name: checkpoint[name] for name in HEAD})
        config.update(highest_epoch=message.epoch, last_post_slot=self.slot)
        for sealed in (config.sealed_before, config.sealed_last):
            if sealed.version > config.pinned.version and sealed.slot <= message.cut_slot:
                config.pinned = sealed
        if config.pinned.version != version:
            held.replaced_slot = self.slot

    def is_dead(self, epoch: int) -> bool:
        return epoch <= self.config.finalized.epoch or self.is_void(epoch)

    def _check_live(self, checkpoint: Fields) -> None:
        need(self.config.escaped == 0, "Escaped")
        need(checkpoint.status == POSTED, "NotPosted")
        need(not self.is_dead(checkpoint.epoch), "CheckpointVoid")

    def _bond_back(self, checkpoint: Fields, poster: Pubkey) -> None:
        need(poster == checkpoint.poster, "WrongPoster")
        self.once("bond", checkpoint.epoch)
        self.move(pda.checkpoint(self.program, checkpoint.epoch), poster, checkpoint.bond_lamports)
        checkpoint.bond_lamports = 0

    def finalize_checkpoint(self, epoch: int, poster: Pubkey) -> None:
        checkpoint, config = self.checkpoint(epoch), self.config
        self._check_live(checkpoint)
        need(checkpoint.parent_hash == config.finalized.hash, "ParentNotFinalized")
        need(self.slot > checkpoint.challenge_until_slot, "ChallengeWindowOpen")
        need(checkpoint.open_demands == 0, "DemandsOpen")
        self._bond_back(checkpoint, poster)
        checkpoint.status = FINALIZED
        names = ("epoch", "hash", "state_root", "payable_total", "inbox_cursor", "inbox_lamports")
        config.finalized = Fields({name: checkpoint[name] for name in names}, slot=self.slot)
        self._set_voids([one for one in self.voids if one[1] > epoch])

    @property
    def voids(self) -> list[tuple[int, int]]:
        return [(one["first"], one["last"]) for one in self.config.voids if one["first"]]

    def _set_voids(self, voids: list[tuple[int, int]]) -> None:
        padded = voids + [(0, 0)] * (MAX_VOIDS - len(voids))
        self.config.voids = [Fields(first=first, last=last) for first, last in padded]

    def void_checkpoint(self, epoch: int, poster: Pubkey) -> None:
        checkpoint = self.checkpoint(epoch)
        need(checkpoint.status == POSTED, "NotPosted")
        need(self.config.escaped == 1 or self.is_dead(epoch), "NotVoid")
        self._bond_back(checkpoint, poster)
        checkpoint.status = VOIDED

    def close_checkpoint(self, epoch: int, poster: Pubkey) -> None:
        checkpoint, config = self.checkpoint(epoch), self.config
        need(epoch < config.finalized.epoch, "CheckpointNeeded")
        need(checkpoint.open_demands == 0, "DemandsOpen")
        need(self.slot > checkpoint.posted_slot + config.parameters.unbonding_slots, "TooYoungToClose")
        if checkpoint.status == FINALIZED:
            need(checkpoint.rewarded == 1 or config.escaped == 1, "RewardsOpen")
        elif checkpoint.status == REJECTED:
            need(checkpoint.slashed_bitmap == checkpoint.bitmap, "SlashesOpen")
        else:
            need(checkpoint.status == VOIDED, "CheckpointNeeded")
        need(poster == checkpoint.poster, "WrongPoster")
        self.close(pda.checkpoint(self.program, epoch), poster)

    # -- disputes ----------------------------------------------------------------------------------------------------------------------

    def _check_parent(self, checkpoint: Fields, parent_epoch: int | None) -> Fields | None:
        """`parent_epoch`: of the account that was given; None when none was."""
        parent = None if parent_epoch is None else self.checkpoint(parent_epoch)
        need((parent_epoch or 0) == checkpoint.parent_epoch, "WrongParent")
        return parent

    def _reject(self, checkpoint: Fields, parent: Fields | None) -> int:
        config = self.config
        config.pending_slashes += len(bits(checkpoint.bitmap))
        kept, first = [], checkpoint.epoch
        for start, last in self.voids:
            if start < checkpoint.epoch:
                if last + 1 == checkpoint.epoch:
                    first = start
                else:
                    kept.append((start, last))
        self._set_voids([*kept, (first, config.highest_epoch)])
        if parent is not None:
            config.posted = Fields({name: parent[name] for name in HEAD})
        else:
            config.posted = fields_of(blank("Config").posted)
            config.posted.hash = messages.genesis_parent(self.domain)
            config.posted.inbox_hash = messages.genesis_inbox_hash(self.domain)
        checkpoint.status = REJECTED
        bond: int = checkpoint.bond_lamports
        checkpoint.bond_lamports = 0
        return bond

    def _share_bond(self, epoch: int, bond: int, challenger: Pubkey) -> None:
        self.once("bond", epoch)
        address = pda.checkpoint(self.program, epoch)
        self.move(address, challenger, bond // 2)
        self.move(address, self.treasury, bond - bond // 2)

    def prove(self, challenger: Pubkey, epoch: int, parent_epoch: int | None, judge: Callable[[], str | None]) -> None:
        """Any of the one-shot proofs; `judge` says what is wrong with it as a proof, None when it shows a fraud."""
        checkpoint = self.checkpoint(epoch)
        parent = None if parent_epoch is None else self.checkpoint(parent_epoch)
        self._check_live(checkpoint)
        self._check_parent(checkpoint, parent_epoch)
        refused = judge()
        need(refused is None, refused or "")
        self._share_bond(epoch, self._reject(checkpoint, parent), challenger)

    def open_demand(self, demander: Pubkey, epoch: int, kind: int, index: int) -> None:
        checkpoint, parameters = self.checkpoint(epoch), self.parameters
        self._check_live(checkpoint)
        need(kind in DEMANDED, "UnknownDemandKind")
        need(self.slot <= checkpoint.challenge_until_slot, "ChallengeWindowOver")
        address = pda.demand(self.program, epoch, kind, index)
        need(self.is_unused(address), "DemandExists")
        bond = parameters.demand_bond_lamports
        self.create(
            address,
            "Demand",
            demander,
            epoch=epoch,
            kind=kind,
            index=index,
            demander=demander,
            bond_lamports=bond,
            opened_slot=self.slot,
            answer_until_slot=self.slot + parameters.answer_slots,
        )
        self.move(demander, address, bond)
        checkpoint.open_demands += 1

    def _check_demand(self, checkpoint: Fields, demand: Fields, demander: Pubkey) -> None:
        need(demand.epoch == checkpoint.epoch, "WrongDemand")
        need(demander == demand.demander, "WrongDemander")

    def answer(
        self,
        answerer: Pubkey,
        epoch: int,
        parent_epoch: int | None,
        demand_at: Pubkey,
        demander: Pubkey,
        judge: Callable[[], str | None],
    ) -> None:
        """answer_demand and answer_absent; `judge` says what is wrong with what is shown."""
        checkpoint, demand = self.checkpoint(epoch), self.held(demand_at, "Demand")
        if parent_epoch is not None:
            self.checkpoint(parent_epoch)
        self._check_live(checkpoint)
        self._check_demand(checkpoint, demand, demander)
        self._check_parent(checkpoint, parent_epoch)
        need(self.slot <= demand.answer_until_slot, "AnswerTooLate")
        refused = judge()
        need(refused is None, refused or "")
        checkpoint.open_demands -= 1
        self.move(demand_at, answerer, demand.bond_lamports)
        self.close(demand_at, demander)

    def timeout_demand(self, epoch: int, parent_epoch: int | None, demand_at: Pubkey, demander: Pubkey) -> None:
        checkpoint, demand = self.checkpoint(epoch), self.held(demand_at, "Demand")
        parent = None if parent_epoch is None else self.checkpoint(parent_epoch)
        self._check_demand(checkpoint, demand, demander)
        need(self.slot > demand.answer_until_slot, "AnswerOpen")
        self._check_live(checkpoint)
        self._check_parent(checkpoint, parent_epoch)
        checkpoint.open_demands -= 1
        self._share_bond(epoch, self._reject(checkpoint, parent), demander)
        self.close(demand_at, demander)

    def return_demand(self, epoch: int, demand_at: Pubkey, demander: Pubkey) -> None:
        checkpoint, demand = self.checkpoint(epoch), self.held(demand_at, "Demand")
        self._check_demand(checkpoint, demand, demander)
        is_open = checkpoint.status == POSTED and not self.is_dead(epoch)
        need(self.config.escaped == 1 or not is_open, "CheckpointLive")
        checkpoint.open_demands -= 1
        self.close(demand_at, demander)

    # -- claims and the hatch ----------------------------------------------------------------------------------------------------------

    def _proven(self, payer: Pubkey, value: bytes, is_system: bool, flaw: str | None, escaped: bool) -> Fields:
        recipient = Pubkey(value[:32])
        address = pda.claim(self.program, value[:32])
        if self.is_unused(address):
            self.create(address, "Claim", payer)
        claim = self.held(address, "Claim")
        if escaped:
            need(self.config.escaped == 1, "NotEscaped")
        else:
            need(self.config.escaped == 0, "Escaped")
        need(is_system and recipient not in self.kinds, "RecipientNotSystem")
        need(flaw is None, flaw or "")
        return claim

    def claim(self, payer: Pubkey, value: bytes, is_system: bool, flaw: str | None) -> None:
        """`flaw`: what is wrong with the proof."""
        claim, config = self._proven(payer, value, is_system, flaw, False), self.config
        payable = int.from_bytes(value[72:80], "little")
        need(payable > claim.claimed_lamports, "NothingToClaim")
        lamports = payable - claim.claimed_lamports
        need(config.claimed_total + lamports <= config.finalized.payable_total, "ClaimAboveFinalized")
        self.pay_out(self.vault, Pubkey(value[:32]), lamports)
        self.once("claim", value[:32], payable)
        claim.claimed_lamports = payable
        config.claimed_total += lamports

    def escape(self) -> None:
        config = self.config
        need(config.escaped == 0, "Escaped")
        need(self.slot > config.finalized.slot + config.parameters.hatch_slots, "HatchClosed")
        config.update(escaped=1, escape_slot=self.slot)

    def escape_claim(self, payer: Pubkey, value: bytes, is_system: bool, flaw: str | None) -> None:
        claim, config = self._proven(payer, value, is_system, flaw, True), self.config
        need(claim.escaped == 0, "EscapePaid")
        total = sum(int.from_bytes(value[at : at + 8], "little") for at in (32, 40, 48, 72))
        need(total >= claim.claimed_lamports, "ArithmeticOverflow")
        lamports = total - claim.claimed_lamports
        need(lamports > 0, "NothingToClaim")
        need(config.claimed_total + lamports <= config.finalized.inbox_lamports, "EscapeAboveInbox")
        self.pay_out(self.vault, Pubkey(value[:32]), lamports)
        self.once("escape", value[:32])
        claim.update(escaped=1, claimed_lamports=claim.claimed_lamports + lamports)
        config.claimed_total += lamports

    def escape_refund(self, index: int, recipient: Pubkey, is_system: bool) -> None:
        entry, config = self.held(pda.inbox_entry(self.program, index), "InboxEntry"), self.config
        need(config.escaped == 1, "NotEscaped")
        need(index >= config.finalized.inbox_cursor, "EntryTaken")
        need(entry.refunded == 0, "EntryRefunded")
        need(recipient == entry.beneficiary, "WrongRecipient")
        need(is_system and recipient not in self.kinds, "RecipientNotSystem")
        self.once("entry", index)
        entry.refunded = 1
        self.pay_out(self.vault, recipient, entry.lamports)

    # -- governance --------------------------------------------------------------------------------------------------------------------

    def _governs(self, signer: Pubkey) -> Fields:
        config = self.config
        need(signer == config.governance, "NotGovernance")
        return config

    def pause(self, signer: Pubkey) -> None:
        config = self._governs(signer)
        need(config.paused == 0, "AlreadyPaused")
        config.paused = 1

    def unpause(self, signer: Pubkey) -> None:
        config = self._governs(signer)
        need(config.paused == 1, "NotPaused")
        config.paused = 0

    def offer_governance(self, signer: Pubkey, next_governance: Pubkey) -> None:
        self._governs(signer).next_governance = next_governance

    def accept_governance(self, signer: Pubkey) -> None:
        config = self.config
        need(signer == config.next_governance, "NotNextGovernance")
        config.update(governance=signer, next_governance=Pubkey(bytes(32)))

    def propose_parameters(self, payer: Pubkey, signer: Pubkey, parameters: Any) -> None:
        self._governs(signer)
        check_parameters(parameters)
        address = pda.proposal(self.program)
        need(self.is_unused(address), "ProposalExists")
        self.create(
            address,
            "ParameterProposal",
            payer,
            proposer=payer,
            proposed_slot=self.slot,
            ready_slot=self.slot + self.parameters.governance_delay_slots,
            parameters=Fields(parameters.to_mapping()),
        )

    def _close_proposal(self, proposal: Fields, proposer: Pubkey) -> None:
        need(proposer == proposal.proposer, "WrongProposer")
        self.close(pda.proposal(self.program), proposer)

    def apply_parameters(self, proposer: Pubkey) -> None:
        proposal, config = self.held(pda.proposal(self.program), "ParameterProposal"), self.config
        need(self.slot > proposal.ready_slot, "ProposalTooYoung")
        config.parameters = Fields(proposal.parameters)
        self._close_proposal(proposal, proposer)

    def cancel_parameters(self, signer: Pubkey, proposer: Pubkey) -> None:
        proposal = self.held(pda.proposal(self.program), "ParameterProposal")
        self._governs(signer)
        self._close_proposal(proposal, proposer)

    # -- proof buffers -----------------------------------------------------------------------------------------------------------------

    def create_proof_buffer(self, owner: Pubkey, buffer_id: int, length: int) -> None:
        need(0 < length <= 8_192 and length % 32 == 0, "BadBufferLength")
        address = pda.proof_buffer(self.program, owner, buffer_id)
        need(self.is_unused(address), "BufferExists")
        size = BUFFER_HEADER_BYTES + length
        self.create(address, "ProofBuffer", owner, size, owner=owner, id=buffer_id, length=length)
        self.tails[address] = bytes(length)

    def _buffer(self, signer: Pubkey, address: Pubkey, buffer_id: int) -> Fields:
        buffer = self.held(address, "ProofBuffer")
        need(signer == buffer.owner, "NotBufferOwner")
        need(buffer_id == buffer.id, "WrongAddress")
        return buffer

    def write_proof_buffer(self, signer: Pubkey, address: Pubkey, buffer_id: int, offset: int, data: bytes) -> None:
        buffer = self._buffer(signer, address, buffer_id)
        need(bool(data) and offset + len(data) <= buffer.length, "BufferRange")
        old = self.tails[address]
        self.tails[address] = old[:offset] + data + old[offset + len(data) :]

    def grow_proof_buffer(self, signer: Pubkey, address: Pubkey, buffer_id: int, length: int) -> None:
        buffer = self._buffer(signer, address, buffer_id)
        fits = buffer.length < length <= min(buffer.length + GROWTH, 65_536) and length % 32 == 0
        need(fits, "BadBufferGrowth")
        self.grow(address, signer, BUFFER_HEADER_BYTES + length)
        self.tails[address] = self.tails[address].ljust(length, b"\0")
        buffer.length = length

    def close_proof_buffer(self, signer: Pubkey, address: Pubkey, buffer_id: int) -> None:
        self._buffer(signer, address, buffer_id)
        self.close(address, signer)
