"""Every instruction under attack: from one valid call, everything that an attacker may change about it, generated from the IDL.

A mutation is simulated on the chain where the valid call is accepted, so a chain serves all of them; what a mutation puts into accounts is
taken back afterwards. The classes are those of coral-xyz/sealevel-attacks and those of the runtime's own inputs (accounts, data, flags).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from solders.account import Account
from solders.compute_budget import set_compute_unit_limit
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata

from settlement import idl, pda
from settlement.idl import AccountSpec
from tests.program.hostile_stories import STORIES
from tests.program.kit import LARGEST_COMPUTE, SOL, Chain, error_name
from tests.program.slash_kit import offset_of

RELAYER = Keypair.from_seed(b"r" * 32)
STRANGER = Keypair.from_seed(b"s" * 32)
ANOTHER_PROGRAM = Pubkey(b"\x0e" * 32)
ELSEWHERE = Pubkey(b"\x0f" * 32)
INSTRUCTIONS_SYSVAR = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")
DISCRIMINATOR_BYTES = idl.DISCRIMINATOR_BYTES

CLASSES: dict[str, str] = {
    "unsigned": "a signer that does not sign (missing signer)",
    "stranger": "somebody else signs in its place (authority, PDA sharing)",
    "read-only": "a writable account passed read-only",
    "owner": "our bytes at their own address, owned by another program (owner checks)",
    "copy": "our bytes and owner at another address (account data matching)",
    "twin": "another account of the same type that the chain holds (account data matching)",
    "renamed": "its bytes under another identity (epoch, version, owner, key), elsewhere (account data matching)",
    "type": "the discriminator of another type, or none (type cosplay)",
    "other": "another account of the program in its place (type cosplay)",
    "bump": "our bytes at the address of a lower bump (bump seed canonicalization)",
    "short": "an account cut short",
    "closed": "an account that is closed (closing accounts)",
    "revived": "an account that is closed and funded again, with and without its bytes (closing accounts)",
    "made": "an account that the instruction creates is there already (initialization)",
    "program": "another program as the one that is called (arbitrary CPI)",
    "sysvar": "another account as a sysvar or as the program's data (sysvar address checking)",
    "twice": "one account in two writable places (duplicate mutable accounts)",
    "missing": "accounts left out at the end",
    "data": "instruction data cut short, or under an unknown discriminator",
    "trailing": "further accounts behind those of the instruction",
    "extended": "further bytes behind the instruction's data",
    "long": "an account with bytes behind its own, and the rent for them",
}


@dataclass(frozen=True)
class Mutation:
    """`account` names what is attacked; `place` are the accounts that the attacker prepared."""

    attack: str
    account: str
    what: str
    built: Instruction
    place: Mapping[Pubkey, Account] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    mutation: Mutation
    refused_with: str | None
    """None: it was accepted."""


@dataclass
class Story:
    """One valid call, as the table's builder leaves it."""

    name: str
    chain: Chain
    built: Instruction
    keyring: dict[Pubkey, Keypair]
    seeds: dict[Pubkey, tuple[bytes, ...]]
    created: dict[Pubkey, Account]
    """Accounts that are not there before the call and are afterwards."""

    @classmethod
    def of(cls, name: str) -> Story:
        with _recorded_seeds() as seeds:
            chain, built, signers = STORIES[name]()
        for somebody in (RELAYER, STRANGER):
            chain.svm.airdrop(somebody.pubkey(), 10 * SOL)
        keyring = {one.pubkey(): one for one in (chain.payer, RELAYER, STRANGER, *signers)}
        story = cls(name, chain, built, keyring, seeds, {})
        done = chain.svm.simulate_transaction(story._transaction(built))
        if isinstance(done, FailedTransactionMetadata):
            raise AssertionError(f"{name}: the valid call itself is refused with {error_name(done)}")
        for address, account in done.post_accounts():
            if address in story.addresses and not _exists(chain.svm, address) and account.lamports:
                story.created[address] = account
        return story

    @property
    def addresses(self) -> set[Pubkey]:
        return {meta.pubkey for meta in self.built.accounts}

    @property
    def specs(self) -> tuple[AccountSpec, ...]:
        return idl.committed().instruction(self.name).accounts

    def held(self, address: Pubkey) -> Account | None:
        """The account when the program owns it."""
        account = self.chain.svm.get_account(address)
        return account if account is not None and account.owner == self.chain.program_id else None

    def attempt(self, mutation: Mutation) -> Outcome:
        """Simulated on top of the attacker's accounts; the chain is as before afterwards."""
        svm = self.chain.svm
        before = {address: svm.get_account(address) for address in mutation.place}
        for address, account in mutation.place.items():
            svm.set_account(address, account)
        try:
            done = svm.simulate_transaction(self._transaction(mutation.built))
        finally:
            for address, held in before.items():
                svm.set_account(address, held or NOTHING)
        refused = error_name(done) if isinstance(done, FailedTransactionMetadata) else None
        return Outcome(mutation, refused)

    def outcomes(self) -> list[Outcome]:
        """Of all mutations; the valid call is accepted before and after them, or nothing is proven."""
        found = [self.attempt(mutation) for mutation in self.mutations()]
        after = self.attempt(Mutation("", "", "the valid call", self.built))
        assert after.refused_with is None, f"{self.name}: the mutations left something behind: {after.refused_with}"
        return found

    def send_refused(self, mutation: Mutation) -> None:
        """Executes it for real; raises AssertionError when it is accepted."""
        done = self.chain.svm.send_transaction(self._transaction(mutation.built))
        self.chain.svm.expire_blockhash()
        assert isinstance(done, FailedTransactionMetadata), f"{self.name} accepted {mutation.what}"

    def mutations(self) -> Iterator[Mutation]:
        yield from self._signers()
        yield from self._flags()
        yield from self._contents()
        yield from self._addresses()
        yield from self._twice()
        yield from self._shapes()

    def _transaction(self, built: Instruction) -> Transaction:
        """Paid by somebody who has no part in it."""
        signing = {meta.pubkey for meta in built.accounts if meta.is_signer} - {RELAYER.pubkey()}
        blockhash = self.chain.svm.latest_blockhash()
        message = Message.new_with_blockhash(
            [set_compute_unit_limit(LARGEST_COMPUTE), built], RELAYER.pubkey(), blockhash
        )
        return Transaction([RELAYER, *(self.keyring[key] for key in signing)], message, blockhash)

    def _with(self, index: int, meta: AccountMeta) -> Instruction:
        metas = list(self.built.accounts)
        metas[index] = meta
        return Instruction(self.built.program_id, bytes(self.built.data), metas)

    def _instead(self, index: int, address: Pubkey) -> Instruction:
        meta = self.built.accounts[index]
        return self._with(index, AccountMeta(address, address in self.keyring and meta.is_signer, meta.is_writable))

    def _given(self) -> Iterator[tuple[int, AccountSpec, AccountMeta]]:
        """The accounts of the call; an optional one that is left out is the program's id, and nothing to attack."""
        for index, (spec, meta) in enumerate(zip(self.specs, self.built.accounts, strict=True)):
            if meta.pubkey != self.chain.program_id:
                yield index, spec, meta

    def _demoted(self, address: Pubkey, *, signer: bool, writable: bool) -> Instruction:
        """Without these rights in every place where the account stands, since a message unites the flags of equal keys."""
        metas = [
            AccountMeta(address, one.is_signer and signer, one.is_writable and writable)
            if one.pubkey == address
            else one
            for one in self.built.accounts
        ]
        return Instruction(self.built.program_id, bytes(self.built.data), metas)

    def _signers(self) -> Iterator[Mutation]:
        for index, spec, meta in self._given():
            if spec.signer:
                unsigned = self._demoted(meta.pubkey, signer=False, writable=True)
                yield Mutation("unsigned", spec.name, f"{spec.name} did not sign", unsigned)
                by_another = self._with(index, AccountMeta(STRANGER.pubkey(), True, meta.is_writable))
                yield Mutation("stranger", spec.name, f"a stranger signs as {spec.name}", by_another)

    def _flags(self) -> Iterator[Mutation]:
        for _, spec, meta in self._given():
            if spec.writable:
                demoted = self._demoted(meta.pubkey, signer=True, writable=False)
                yield Mutation("read-only", spec.name, f"{spec.name} read-only", demoted)

    def _contents(self) -> Iterator[Mutation]:
        """What stands at the right address is not what it should be."""
        program, known = self.chain.program_id, idl.committed()
        types = {name: known.account_discriminator(name) for name in known.account_names}
        growing = {types[name] for name in GROWING}
        for _, spec, meta in self._given():
            held = self.held(meta.pubkey)
            if held is None:
                continue
            data, empty = bytes(held.data), bytes(len(held.data))
            assert data[:DISCRIMINATOR_BYTES] in types.values(), f"{spec.name} has no known type"

            def put(
                attack: str, what: str, content: bytes, owner: Pubkey, lamports: int, at: Pubkey, name: str
            ) -> Mutation:
                return Mutation(attack, name, f"{name} {what}", self.built, {at: Account(lamports, content, owner)})

            at, rich, name = meta.pubkey, held.lamports, spec.name
            for owner in (ANOTHER_PROGRAM, pda.SYSTEM_PROGRAM):
                yield put("owner", f"owned by {owner}", data, owner, rich, at, name)
            for other, discriminator in types.items():
                if discriminator != data[:DISCRIMINATOR_BYTES]:
                    swapped = discriminator + data[DISCRIMINATOR_BYTES:]
                    yield put("type", f"as {other}", swapped, program, rich, at, name)
            for mark in (bytes(8), b"\xff" * 8):
                swapped = mark + data[DISCRIMINATOR_BYTES:]
                yield put("type", f"under {mark.hex()}", swapped, program, rich, at, name)
            longer = set() if data[:DISCRIMINATOR_BYTES] in growing else {len(data) // 2, len(data) - 1}
            for length in sorted({0, 1, 7, 8, 9, 12, *longer}):
                yield put("short", f"cut to {length} bytes", data[:length], program, rich, at, name)
            for more in (1, 32):
                rent = more * RENT_LAMPORTS_PER_BYTE
                yield put("long", f"of {more} bytes more", data + bytes(more), program, rich + rent, at, name)
            yield put("closed", "closed", b"", pda.SYSTEM_PROGRAM, 0, at, name)
            yield put("revived", "funded again", b"", pda.SYSTEM_PROGRAM, rich, at, name)
            yield put("revived", "funded again, of zeros", empty, pda.SYSTEM_PROGRAM, rich, at, name)
            yield put("revived", "ours again, of zeros", empty, program, rich, at, name)
            yield put("revived", "ours again, empty", b"", program, rich, at, name)

    def _addresses(self) -> Iterator[Mutation]:
        """Something else stands in its place."""
        program = self.chain.program_id
        others = [pda.config(program), pda.registry(program), pda.validator_set(program, 1)]
        for index, spec, meta in self._given():
            if spec.address is not None:
                for other in (program, ANOTHER_PROGRAM, pda.BPF_LOADER_UPGRADEABLE):
                    yield Mutation("program", spec.name, f"{other} as {spec.name}", self._instead(index, other))
                continue
            if meta.is_signer:
                continue
            there = self.chain.svm.get_account(meta.pubkey)
            if meta.pubkey == INSTRUCTIONS_SYSVAR or spec.name == "program_data":
                copy = there or Account(SOL, bytes(64), ANOTHER_PROGRAM)
                forged = self._instead(index, ELSEWHERE)
                yield Mutation("sysvar", spec.name, f"a copy as {spec.name}", forged, {ELSEWHERE: copy})
                continue
            place = {ELSEWHERE: there} if there is not None and there.lamports else {}
            yield Mutation("copy", spec.name, f"{spec.name} elsewhere", self._instead(index, ELSEWHERE), place)
            for other in others:
                if other != meta.pubkey and self.held(other) is not None:
                    yield Mutation("other", spec.name, f"{other} as {spec.name}", self._instead(index, other))
            for name, renamed in self._renamed(meta.pubkey):
                what = f"{spec.name} of another {name}"
                yield Mutation(
                    "renamed", f"{spec.name}.{name}", what, self._instead(index, ELSEWHERE), {ELSEWHERE: renamed}
                )
            for twin in self._twins(meta.pubkey):
                yield Mutation("twin", spec.name, f"{twin} as {spec.name}", self._instead(index, twin))
            if meta.pubkey in self.seeds:
                low = _lower_bump(self.seeds[meta.pubkey], program)
                place = {low: there} if there is not None and there.lamports else {}
                yield Mutation("bump", spec.name, f"{spec.name} at a lower bump", self._instead(index, low), place)
            if meta.pubkey in self.created:
                place = {meta.pubkey: self.created[meta.pubkey]}
                yield Mutation("made", spec.name, f"{spec.name} is there already", self.built, place)

    def _twins(self, address: Pubkey) -> list[Pubkey]:
        """The other accounts of its type, of all that the chain's builder named."""
        held = self.held(address)
        if held is None:
            return []
        kind = bytes(held.data[:DISCRIMINATOR_BYTES])
        known = {one: self.held(one) for one in self.seeds if one != address}
        return [one for one, other in known.items() if other is not None and other.data[:DISCRIMINATOR_BYTES] == kind]

    def _renamed(self, address: Pubkey) -> Iterator[tuple[str, Account]]:
        """Its bytes with one identifying field changed, as another account of its type would have it."""
        held, known = self.held(address), idl.committed()
        if held is None:
            return
        for kind, names in IDENTITY.items():
            if known.account_discriminator(kind) == held.data[:DISCRIMINATOR_BYTES]:
                for name in names:
                    data, at = bytearray(held.data), offset_of(kind, name)
                    data[at] ^= 1
                    yield name, Account(held.lamports, bytes(data), held.owner)

    def _twice(self) -> Iterator[Mutation]:
        writable = [(spec, meta) for _, spec, meta in self._given() if spec.writable]
        for index, spec, meta in self._given():
            for other_spec, other in writable:
                if spec.writable and other.pubkey != meta.pubkey:
                    what = f"{other_spec.name} also as {spec.name}"
                    yield Mutation("twice", spec.name, what, self._instead(index, other.pubkey))

    def _shapes(self) -> Iterator[Mutation]:
        program, data, metas = self.built.program_id, bytes(self.built.data), list(self.built.accounts)
        for count in range(len(metas)):
            built = Instruction(program, data, metas[:count])
            yield Mutation("missing", self.specs[count].name, f"only {count} accounts", built)
        for length in sorted({0, 1, 7, len(data) // 2, len(data) - 1} - {len(data)}):
            yield Mutation("data", "", f"{length} of {len(data)} bytes", Instruction(program, data[:length], metas))
        for mark in (bytes(8), b"\xff" * 8, data[:7] + bytes([data[7] ^ 1])):
            yield Mutation("data", "", f"under {mark.hex()}", Instruction(program, mark + data[8:], metas))
        for more in (bytes(1), b"\xff" * 32):
            what = f"{len(more)} bytes {more[:1].hex()} behind"
            yield Mutation("extended", "", what, Instruction(program, data + more, metas))
        for address, is_writable in ((ELSEWHERE, False), (ELSEWHERE, True), (pda.config(program), True)):
            meta = AccountMeta(address, False, is_writable)
            what = f"{address} behind{', writable' if is_writable else ''}"
            yield Mutation("trailing", "", what, Instruction(program, data, [*metas, meta]))


IDENTITY: dict[str, tuple[str, ...]] = {
    "Checkpoint": ("epoch", "hash"),
    "ValidatorSet": ("set_version",),
    "Validator": ("authority", "bls_public_key", "slot_index"),
    "StakePosition": ("owner", "validator"),
    "Unbonding": ("owner", "validator", "id"),
    "Offence": ("validator", "epoch"),
    "EquivocationTally": ("epoch",),
    "ProofBuffer": ("owner", "id"),
    "Receipt": ("owner", "message_hash"),
    "Demand": ("epoch", "kind", "index"),
    "InboxEntry": ("index",),
}
"""What an instruction knows an account by; the first byte of each is changed."""
# Made whole by several instructions: any length that holds what they have in use is one of theirs.
GROWING = ("Registry", "ValidatorSet", "ProofBuffer")
RENT_LAMPORTS_PER_BYTE = 6_960
NOTHING = Account(0, b"", pda.SYSTEM_PROGRAM)


def _exists(svm: LiteSVM, address: Pubkey) -> bool:
    held = svm.get_account(address)
    return held is not None and held.lamports > 0


def _lower_bump(seeds: tuple[bytes, ...], program: Pubkey) -> Pubkey:
    """The address of the next bump below the canonical one that is off the curve too."""
    _, canonical = Pubkey.find_program_address(seeds, program)
    for bump in range(canonical - 1, -1, -1):
        hashed = b"".join(seeds) + bytes([bump]) + bytes(program) + b"ProgramDerivedAddress"
        address = Pubkey(hashlib.sha256(hashed).digest())
        if not address.is_on_curve():
            return address
    raise AssertionError("only one bump derives an address")


@contextmanager
def _recorded_seeds() -> Iterator[dict[Pubkey, tuple[bytes, ...]]]:
    """The seeds of every address that is derived in the block."""
    found: dict[Pubkey, tuple[bytes, ...]] = {}
    derive = pda._derive

    def recording(program: Pubkey, *seeds: bytes) -> Pubkey:
        address = derive(program, *seeds)
        found[address] = seeds
        return address

    pda._derive = recording  # type: ignore[assignment]
    try:
        yield found
    finally:
        pda._derive = derive
