"""With what each mutation of hostile_kit is refused: by the runtime or the framework as the class of attack has it, or by the check of ours that is
meant for it. So no refusal happens for another reason than the one that is told."""

from __future__ import annotations

MUTABLE, EXECUTABLE, SPACE, DUPLICATE = (f"InstructionErrorCustom({code})" for code in (2000, 2007, 2019, 2040))
"""Anchor's constraints: not writable; no program; of another size; one account in two writable places."""
TAKEN = "InstructionErrorCustom(0)"
"""The system program's: the account is there already."""
_ERROR = "InstructionErrorFieldless."

BY_CLASS: dict[str, set[str]] = {
    "unsigned": {f"{_ERROR}MissingRequiredSignature"},
    "read-only": {MUTABLE, f"{_ERROR}MissingRequiredSignature", f"{_ERROR}PrivilegeEscalation"},
    "copy": {f"{_ERROR}InvalidSeeds"},
    "bump": {f"{_ERROR}InvalidSeeds"},
    "made": {TAKEN},
    "program": {EXECUTABLE, f"{_ERROR}IncorrectProgramId"},
    "twice": {DUPLICATE, f"{_ERROR}InvalidSeeds", f"{_ERROR}MissingRequiredSignature"},
    "missing": {f"{_ERROR}NotEnoughAccountKeys"},
    "data": {f"{_ERROR}InvalidInstructionData"},
    "owner": {TAKEN, f"{_ERROR}IllegalOwner"},
    "type": {f"{_ERROR}InvalidAccountData"},
    "short": {SPACE, f"{_ERROR}AccountDataTooSmall"},
    "closed": {f"{_ERROR}AccountDataTooSmall", f"{_ERROR}UninitializedAccount"},
    "revived": {TAKEN, SPACE, f"{_ERROR}AccountDataTooSmall", f"{_ERROR}IllegalOwner", f"{_ERROR}InvalidAccountData"},
    "other": {SPACE, DUPLICATE, f"{_ERROR}InvalidAccountData", f"{_ERROR}InvalidSeeds"},
    "stranger": {f"{_ERROR}InvalidSeeds"},
    "renamed": {f"{_ERROR}InvalidSeeds"},
    "twin": {DUPLICATE, f"{_ERROR}InvalidSeeds"},
}
"""Names of the runtime and of the framework."""

_BY_ACCOUNT: dict[str, dict[str, str]] = {
    "authority": {"NotValidatorAuthority": "stranger"},
    "buffer": {"BufferExists": "made other", "WrongAddress": "bump copy"},
    "buffer.id": {"WrongAddress": "renamed"},
    "buffer.owner": {"NotBufferOwner": "renamed"},
    "checkpoint": {"CheckpointTooOld": "twin", "EpochPosted": "made other", "WrongAddress": "bump copy"},
    "claim": {"EscapePaid": "made"},
    "config": {"AlreadyInitialized": "made"},
    "demand": {"DemandExists": "made other", "WrongAddress": "bump copy"},
    "demand.epoch": {"WrongDemand": "renamed"},
    "demand.index": {"BadMerkleProof": "renamed"},
    "demand.kind": {"BadCountProof": "renamed"},
    "demander": {"WrongDemander": "copy other twice"},
    "evidence_a": {"NotEvidence": "closed other owner revived short type", "SameMessage": "twin"},
    "evidence_a.owner": {"NotReceiptOwner": "renamed"},
    "evidence_b": {"NotEvidence": "closed other owner revived short type", "SameMessage": "twin"},
    "evidence_b.owner": {"NotReceiptOwner": "renamed"},
    "governance": {"NotGovernance": "stranger"},
    "inbox_entry": {"WrongEntryForRecord": "twin", "WrongInboxEntry": "bump copy made other"},
    "inbox_entry.index": {"WrongEntryForRecord": "renamed"},
    "last_entry": {"WrongLastEntry": "closed other owner revived short twin type"},
    "last_entry.index": {"WrongLastEntry": "renamed"},
    "next_entry": {"WrongNextEntry": "closed other owner revived short twin type"},
    "next_entry.index": {"WrongNextEntry": "renamed"},
    "next_governance": {"NotNextGovernance": "stranger"},
    "offence": {"OffencePunished": "made", "WrongAddress": "bump copy"},
    "owner": {"NotBufferOwner": "stranger"},
    "parent": {"WrongAddress": "bump copy other"},
    "parent.epoch": {"WrongParent": "renamed"},
    "parent.hash": {"WrongParent": "renamed"},
    "payer": {"NotAuthority": "stranger"},
    "poster": {"WrongPoster": "copy other twice"},
    "program_data": {"WrongProgramData": "sysvar"},
    "proposal": {"ProposalExists": "made"},
    "proposer": {"WrongProposer": "copy other"},
    "receipt": {"ReceiptExists": "made other", "WrongAddress": "bump copy"},
    "receipt.owner": {"NotReceiptOwner": "renamed"},
    "recipient": {"NotSetPayer": "copy other", "WrongRecipient": "twice"},
    "reporter": {"NotReceiptOwner": "stranger"},
    "signer": {"NotGovernance": "stranger"},
    "tally": {"WrongAddress": "bump copy"},
    "unbonding": {"WrongAddress": "bump copy made other"},
    "validator": {"BlsKeyRegistered": "made", "NotValidatorAuthority": "twin", "WrongAddress": "bump copy"},
    "validator.authority": {"NotValidatorAuthority": "renamed"},
    "validator.bls_public_key": {"BrokenInvariant": "renamed"},
    "validator.slot_index": {"BrokenInvariant": "renamed"},
    "validator_set": {"SetExists": "made other", "WrongAddress": "bump copy"},
    "validator_set.set_version": {"WrongValidatorSet": "renamed"},
    "validator_set_a.set_version": {"WrongValidatorSet": "renamed"},
    "validator_set_b.set_version": {"WrongValidatorSet": "renamed"},
}
"""By the account, our error and the classes of attack that meet it."""

_BY_INSTRUCTION: dict[tuple[str, str], dict[str, str]] = {
    ("copy", "recipient"): {"WrongRecipient": "escape_refund"},
    ("made", "claim"): {"NothingToClaim": "claim"},
    ("other", "recipient"): {"WrongRecipient": "escape_refund"},
    ("renamed", "demand.kind"): {"BadMerkleProof": "answer_demand"},
    ("renamed", "parent.epoch"): {"WrongAddress": "reward_checkpoint"},
    ("renamed", "parent.hash"): {"WrongAddress": "reward_checkpoint"},
    ("renamed", "validator.authority"): {"WrongAddress": "slash_equivocation"},
    ("renamed", "validator.bls_public_key"): {"WrongValidator": "slash_equivocation slash_rejected"},
    ("renamed", "validator.slot_index"): {"InRegistry": "join_registry"},
    ("renamed", "validator_set.set_version"): {
        "BrokenInvariant": "record_receipt",
        "UnpinnedSet": "post_checkpoint",
        "WrongCertifyingSet": "prove_transition",
    },
    ("stranger", "authority"): {"NotUpgradeAuthority": "initialize"},
    ("stranger", "owner"): {"NotReceiptOwner": "close_receipt", "WrongAddress": "create_proof_buffer record_receipt"},
}
"""By class and account, our errors of the instructions that know the account otherwise."""


def ours(name: str, attack: str, account: str) -> str | None:
    """The error of ours that is meant for this mutation; None where the framework or the runtime comes first."""
    for error, names in _BY_INSTRUCTION.get((attack, account), {}).items():
        if name in names.split():
            return error
    for error, classes in _BY_ACCOUNT.get(account, {}).items():
        if attack in classes.split():
            return error
    return None
