"""A LiteSVM with the settlement program on it, and the few lines that bring it to a given point. Transactions are real: signed, of at
most 1,232 bytes, with two compute-budget instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from solders.account import Account as L1Account
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from localnet.programs import load_upgradeable
from settlement import accounts, bls, idl, instructions, messages, pda
from settlement.hash_to_curve import hints
from settlement.instructions import CheckpointArgs
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet, bitmap_to_bytes

GENESIS = bytes(range(32))
SOL = 1_000_000_000
STAKE = 1_000_000
TRANSACTION_BYTES = 1_232
LARGEST_COMPUTE = 1_400_000
START_SLOT = 1_000


class Refused(AssertionError):
    """The program (or the runtime) refused a transaction; `name` is the program's error or the runtime's text."""

    def __init__(self, name: str, logs: Sequence[str]) -> None:
        super().__init__(f"{name}\n" + "\n".join(logs))
        self.name = name


@dataclass(frozen=True)
class Validator:
    authority: Keypair
    secret: bls.SecretKey
    stake_lamports: int = STAKE


def validator(seed: int, stake_lamports: int = STAKE) -> Validator:
    return Validator(
        Keypair.from_seed(bytes([1]) + seed.to_bytes(31, "little")),
        bls.SecretKey.from_seed(bytes([2]) + seed.to_bytes(31, "little")),
        stake_lamports,
    )


@dataclass
class Chain:
    """One deployment. `validators` are in registry order."""

    program_id: Pubkey
    svm: LiteSVM
    authority: Keypair
    payer: Keypair
    validators: list[Validator] = field(default_factory=list)
    compute_units: dict[str, int] = field(default_factory=dict)

    @classmethod
    def new(cls, program_id: Pubkey | None = None, elf: Path | None = None) -> Self:
        """The program loaded as upgradeable, not initialised."""
        program_id = program_id or idl.committed().address
        authority, payer = Keypair.from_seed(b"a" * 32), Keypair.from_seed(b"p" * 32)
        svm = LiteSVM()
        load_upgradeable(svm, program_id, (elf or idl.PROGRAM_PATH).read_bytes(), authority.pubkey(), 0)
        svm.airdrop(payer.pubkey(), 100_000 * SOL)
        svm.airdrop(authority.pubkey(), 1_000 * SOL)
        svm.warp_to_slot(START_SLOT)
        return cls(program_id, svm, authority, payer)

    @property
    def domain(self) -> Domain:
        return Domain(GENESIS, bytes(self.program_id))

    @property
    def slot(self) -> int:
        return int(self.svm.get_clock().slot)

    def advance(self, slots: int) -> None:
        self.svm.warp_to_slot(self.slot + slots)
        self.svm.expire_blockhash()

    def send(
        self,
        *batch: Instruction,
        signers: Iterable[Keypair] = (),
        payer: Keypair | None = None,
        limit_bytes: int = TRANSACTION_BYTES,
    ) -> TransactionMetadata:
        """Executes one transaction of at most `limit_bytes`; Refused with the program's error name."""
        payer = payer or self.payer
        transaction = self.transaction(batch, signers, payer)
        size = len(bytes(transaction))
        assert size <= limit_bytes, f"{size} bytes"
        done = self.svm.send_transaction(transaction)
        self.svm.expire_blockhash()
        if isinstance(done, FailedTransactionMetadata):
            raise Refused(error_name(done), done.meta().logs())
        for instruction in batch:
            name = instruction_name(instruction)
            if name is not None and len(batch) == 1:
                self.compute_units[name] = max(self.compute_units.get(name, 0), done.compute_units_consumed())
        return done

    def transaction(self, batch: Sequence[Instruction], signers: Iterable[Keypair], payer: Keypair) -> Transaction:
        budget = [set_compute_unit_limit(LARGEST_COMPUTE), set_compute_unit_price(1)]
        blockhash = self.svm.latest_blockhash()
        message = Message.new_with_blockhash([*budget, *batch], payer.pubkey(), blockhash)
        return Transaction([payer, *(signer for signer in signers if signer != payer)], message, blockhash)

    def data(self, address: Pubkey) -> bytes:
        account = self.svm.get_account(address)
        assert account is not None, f"no account {address}"
        return bytes(account.data)

    def lamports(self, address: Pubkey) -> int:
        return int(self.svm.get_balance(address) or 0)

    @property
    def config(self) -> accounts.Config:
        address = pda.config(self.program_id)
        return accounts.decode_config(address, self.data(address))

    @property
    def registry(self) -> accounts.Registry:
        address = pda.registry(self.program_id)
        return accounts.decode_registry(address, self.data(address))

    def set_account(self, version: int) -> accounts.SetAccount:
        address = pda.validator_set(self.program_id, version)
        return accounts.decode_validator_set(address, self.data(address))

    def checkpoint(self, epoch: int) -> accounts.Checkpoint:
        address = pda.checkpoint(self.program_id, epoch)
        return accounts.decode_checkpoint(address, self.data(address))

    def overwrite(self, address: Pubkey, data: bytes) -> None:
        """Replaces an account's data: for states that only later instructions can reach, and for hostile ones."""
        old = self.svm.get_account(address)
        assert old is not None
        self.svm.set_account(address, L1Account(old.lamports, data, old.owner, old.executable, old.rent_epoch))

    # -- bringing the deployment up --------------------------------------------------------------------------------------------------

    def initialize(self, parameters: accounts.Parameters = accounts.LOCALNET_PROFILE) -> None:
        program, payer, authority = self.program_id, self.payer, self.authority
        self.send(
            instructions.initialize(program, payer.pubkey(), authority.pubkey(), GENESIS, parameters),
            signers=[authority],
        )

    def grow_registry(self) -> None:
        while self.registry.size_bytes < self.registry.full_bytes:
            self.send(instructions.grow_registry(self.program_id, self.payer.pubkey()))

    def registration(self, new: Validator, **changes: bytes | int) -> Instruction:
        """The instruction that registers `new`; `changes` replace arguments."""
        key = new.secret.public_key
        digest = messages.proof_of_possession_digest(self.domain, bytes(new.authority.pubkey()), key)
        arguments: dict[str, bytes | int] = {
            "bls_public_key": bytes(key),
            "proof_of_possession": new.secret.sign(digest),
            "hints": hints(digest),
            "stake_lamports": new.stake_lamports,
        }
        arguments |= changes
        return instructions.register_validator(
            self.program_id,
            self.payer.pubkey(),
            new.authority.pubkey(),
            **arguments,  # type: ignore[arg-type]
        )

    def register(self, new: Validator) -> None:
        self.send(self.registration(new), signers=[new.authority])
        self.validators.append(new)

    def create_set(self, version: int) -> None:
        self.send(instructions.create_validator_set(self.program_id, self.payer.pubkey(), version))

    def grow_set(self, version: int) -> None:
        self.send(instructions.grow_validator_set(self.program_id, self.payer.pubkey(), version))

    def advance_set(self, version: int, payer: Keypair | None = None) -> None:
        payer = payer or self.authority
        self.send(instructions.advance_validator_set(self.program_id, payer.pubkey(), version), payer=payer)

    def seal(self, version: int, payer: Keypair | None = None) -> None:
        self.create_set(version)
        held = self.set_account(version)
        needed = held.full_bytes - (accounts.MAX_VALIDATORS - len(self.registry.slots)) * accounts.SET_ENTRY_BYTES
        while self.set_account(version).size_bytes < needed:
            self.grow_set(version)
        self.advance_set(version, payer)

    def bring_up(self, validators: Iterable[Validator]) -> Chain:
        """Initialised, registered, and a first set sealed and pinned."""
        self.initialize()
        self.grow_registry()
        return self.bring_up_registered(validators)

    def bring_up_registered(self, validators: Iterable[Validator]) -> Chain:
        """Registers them and seals the first set."""
        for new in validators:
            self.register(new)
        self.seal(1)
        return self

    # -- work ------------------------------------------------------------------------------------------------------------------------

    def deposit(self, lamports: int, beneficiary: Pubkey) -> None:
        count = self.config.inbox.count
        self.send(instructions.deposit(self.program_id, self.payer.pubkey(), count, lamports, beneficiary))

    def message(self, **changes: object) -> messages.CheckpointMessage:
        """The next checkpoint's message: everything in the inbox is taken, nothing is payable, cut at this slot."""
        config = self.config
        cursor = changes.get("inbox_cursor", config.inbox.count)
        assert isinstance(cursor, int)
        if cursor == config.posted.inbox_cursor or not 0 < cursor <= config.inbox.count:
            inbox_hash = config.posted.inbox_hash
        else:
            address = pda.inbox_entry(self.program_id, cursor - 1)
            inbox_hash = accounts.decode_inbox_entry(address, self.data(address)).hash_after
        cut_slot = changes.get("cut_slot", self.slot)
        assert isinstance(cut_slot, int)
        base = messages.CheckpointMessage(
            epoch=config.highest_epoch + 1,
            attempt=0,
            cut_slot=cut_slot,
            expiry_slot=cut_slot + config.parameters.max_expiry_slots,
            parent_hash=config.posted.hash,
            results_root=b"\x11" * 32,
            state_root=b"\x22" * 32,
            trace_root=b"\x33" * 32,
            data_root=b"\x44" * 32,
            payable_total=config.posted.payable_total,
            inbox_cursor=cursor,
            inbox_hash=inbox_hash,
            set_hash=config.pinned.hash,
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def certificate(
        self, message: messages.CheckpointMessage, signers: Iterable[int] | None = None, domain: Domain | None = None
    ) -> CheckpointArgs:
        """What the poster sends, signed by these validators (all of them)."""
        chosen = list(range(len(self.validators)) if signers is None else signers)
        digest = message.hash(domain or self.domain)
        signature = bls.aggregate([self.validators[index].secret.sign(digest) for index in chosen])
        return CheckpointArgs(
            epoch=message.epoch,
            attempt=message.attempt,
            cut_slot=message.cut_slot,
            expiry_slot=message.expiry_slot,
            results_root=message.results_root,
            state_root=message.state_root,
            trace_root=message.trace_root,
            data_root=message.data_root,
            payable_total=message.payable_total,
            inbox_cursor=message.inbox_cursor,
            bitmap=bitmap_to_bytes(sum(1 << index for index in chosen)),
            signature=signature,
            hints=hints(digest),
        )

    def posting(self, args: CheckpointArgs, set_version: int | None = None) -> Instruction:
        config = self.config
        version = config.pinned.version if set_version is None else set_version
        return instructions.post_checkpoint(
            self.program_id, self.payer.pubkey(), version, config.posted.inbox_cursor, args
        )

    def post(self, signers: Iterable[int] | None = None, **changes: object) -> messages.CheckpointMessage:
        message = self.message(**changes)
        self.send(self.posting(self.certificate(message, signers)))
        return message

    def finalize(self, epoch: int) -> None:
        poster = self.checkpoint(epoch).poster
        self.send(instructions.finalize_checkpoint(self.program_id, self.payer.pubkey(), epoch, poster))

    def settle(self, **changes: object) -> messages.CheckpointMessage:
        """Posts and finalizes."""
        message = self.post(**changes)
        self.advance(self.config.parameters.challenge_window_slots + 1)
        self.finalize(message.epoch)
        return message

    @property
    def sealed_set(self) -> ValidatorSet:
        return self.set_account(self.config.pinned.version).validator_set


def instruction_name(instruction: Instruction) -> str | None:
    data = bytes(instruction.data)
    for name in idl.committed().instruction_names:
        if idl.committed().instruction(name).discriminator == data[:8]:
            return name
    return None


def error_name(failed: FailedTransactionMetadata) -> str:
    error = failed.err()
    inner = getattr(error, "err", None)
    code = getattr(inner, "code", None)
    if code is not None and code in idl.committed().errors:
        return idl.committed().errors[code].name
    return str(inner if inner is not None else error)


@contextmanager
def refuses(*names: str) -> Iterator[None]:
    """The block must be refused with one of these errors."""
    try:
        yield
    except Refused as refused:
        assert refused.name in names, f"refused with {refused.name}, not {' or '.join(names)}:\n{refused}"
        return
    raise AssertionError(f"was accepted, not refused with {' or '.join(names)}")
