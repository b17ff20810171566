"""What an attacker may change about a valid call without being refused, and why that is no attack. Tests refuse an entry that is stale."""

from __future__ import annotations

Key = tuple[str, str, str]
"""Instruction, class of hostile_kit.CLASSES, account."""

_ANYBODY: dict[str, str] = {
    "payer": (
        "initialize grow_registry register_validator create_validator_set grow_validator_set post_checkpoint "
        "finalize_checkpoint claim add_signatures reward_checkpoint delegate unbond collect_rewards "
        "jail_validator stall_step close_validator_set void_checkpoint close_checkpoint timeout_demand "
        "return_demand propose_parameters grant escape escape_refund escape_claim"
    ),
    "depositor": "deposit",
    "reporter": "raise_equivocation slash_rejected",
    "challenger": "prove_malformed_record prove_inbox prove_trace prove_totals prove_count prove_data prove_transition",
    "demander": "open_demand",
    "answerer": "answer_demand answer_absent",
    "signer": "apply_parameters",
    "client": "inbox_task",
    "owner": "inbox_withdrawal",
}
"""By the account that signs: the instructions where whoever pays or reports may be anybody, and signs for its own lamports only."""

_BY_CONTENT: dict[str, str] = {
    "validator_set": "post_checkpoint record_receipt slash_rejected add_signatures reward_checkpoint prove_transition",
    "last_entry": "post_checkpoint",
    "next_entry": "post_checkpoint",
    "buffer": (
        "write_proof_buffer close_proof_buffer claim prove_data prove_transition answer_demand "
        "grow_proof_buffer escape_claim"
    ),
    "receipt": "close_receipt",
    "evidence_a": "slash_equivocation",
    "evidence_b": "slash_equivocation",
    "validator_set_a": "slash_equivocation",
    "validator_set_b": "slash_equivocation",
    "validator": (
        "slash_rejected join_registry leave_registry set_commission heartbeat collect_rewards "
        "withdraw_commission jail_validator unjail"
    ),
    "checkpoint": "withdraw_unbonded close_validator_set",
    "parent": (
        "prove_malformed_record prove_inbox prove_trace prove_totals prove_count prove_data prove_transition "
        "answer_demand answer_absent timeout_demand"
    ),
    "inbox_entry": "prove_inbox",
    "demand": "answer_demand answer_absent timeout_demand return_demand",
}
"""By the account: the instructions that know it by what it holds (epoch, version, key, owner) and not by its address. The runtime lets only the
program write an account of its own, and the program makes them at derived addresses only, so these bytes are nowhere else."""

_ANOTHER_WILL_DO: dict[str, tuple[str, str]] = {
    "buffer.owner buffer.id": (
        "the proof in it is judged, not whose it is",
        "claim escape_claim prove_data prove_transition answer_demand",
    ),
    "receipt.message_hash": ("every receipt of this owner", "close_receipt"),
    "evidence_a.message_hash evidence_b.message_hash": ("any two hashes that differ", "slash_equivocation"),
    "validator.authority": ("known by its BLS key and its slot", "slash_rejected collect_rewards jail_validator"),
    "validator.bls_public_key": (
        "every validator of this authority",
        "join_registry set_commission withdraw_commission",
    ),
    "validator.slot_index": ("not about its slot", "set_commission withdraw_commission"),
    "checkpoint.epoch checkpoint.hash": (
        "any final checkpoint of a later set that is old enough",
        "withdraw_unbonded close_validator_set",
    ),
    "demand.index": ("every demand on this checkpoint", "answer_absent timeout_demand return_demand"),
    "demand.kind": ("every demand on this checkpoint", "timeout_demand return_demand"),
}
"""By the account and its field: why an account that differs there is as good, and for which instructions. Such an account is a genuine one, of
which the call is valid in its own right."""

_ONE_BY_ONE: dict[Key, str] = {
    ("initialize", "made", "vault"): "funding an address before the deployment must not block it",
    ("initialize", "made", "stake_vault"): "funding an address before the deployment must not block it",
    ("initialize", "made", "treasury"): "funding an address before the deployment must not block it",
    ("claim", "made", "recipient"): "the recipient's wallet may exist",
    ("slash_equivocation", "made", "tally"): "one tally for all offences of an epoch",
    ("reward_checkpoint", "closed", "parent"): "a parent that was closed had been rewarded",
    ("reward_checkpoint", "revived", "parent"): "lamports sent to a closed parent's address change nothing",
    ("reward_checkpoint", "twice", "payer"): "the poster may pay the fee itself; it signs",
    ("delegate", "closed", "position"): "a position that was closed is made anew, without shares",
    ("delegate", "revived", "position"): "lamports sent to the address of a position must not block making it",
    ("withdraw_unbonded", "twin", "checkpoint"): "any final checkpoint of a later set that is old enough",
    ("close_validator_set", "twin", "checkpoint"): "any final checkpoint of a later set that is old enough",
    (
        "answer_demand",
        "sysvar",
        "instructions",
    ): "a demand of data reads no signature; for the other kind a copy is NoEd25519Instruction",
    ("escape_claim", "made", "recipient"): "the recipient's wallet may exist",
}

EVERYWHERE: dict[str, str] = {
    "trailing": "no instruction takes a varying number of accounts: what stands behind its own is not looked at",
    "extended": "arguments are read from the front; what stands behind them is not looked at, and the sender has paid for it",
    "long": "the program alone sets the length of its accounts; it reads what the type has, from the front",
}
"""By the class of attack: what every instruction accepts."""

ACCEPTED: dict[Key, str] = {
    **{(name, "stranger", account): "anybody may" for account, names in _ANYBODY.items() for name in names.split()},
    **{
        (name, attack, account): "known by what it holds"
        for account, names in _BY_CONTENT.items()
        for name in names.split()
        for attack in ("copy", "bump")
    },
    **{
        (name, "renamed", field): reason
        for fields, (reason, names) in _ANOTHER_WILL_DO.items()
        for field in fields.split()
        for name in names.split()
    },
    **_ONE_BY_ONE,
}
