"""What the settlement program must do, written down a second time: each instruction as a rule over plain values, in the words of
docs/settlement.md. The machine asks the rule before it sends the transaction; the program has to answer alike, error for error and
lamport for lamport.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from solders.pubkey import Pubkey

from settlement import pda
from settlement.borsh import fixed_size
from settlement.idl import committed
from settlement.signing import Domain

ANY = "*"
"""Refused by the runtime or by Anchor's checks of accounts, under whatever name."""
ALL = 10_000
NO_SLOT = 2**64 - 1
U64_MAX = 2**64 - 1
MAX_TOTAL = 1 << 62
MAX_VOIDS = 8
SYSTEM = pda.SYSTEM_PROGRAM
POSTED, FINALIZED, REJECTED, VOIDED = 1, 2, 3, 4
TAILS = {"Registry": 10_240, "ValidatorSet": 10_240}


class Refusal(Exception):
    """The rule says no, with this error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def need(holds: bool, name: str) -> None:
    if not holds:
        raise Refusal(name)


class Fields(dict[str, Any]):
    """An account's fields by name, as the IDL has them."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]


def fields_of(values: dict[str, Any]) -> Fields:
    return Fields({name: fields_of(value) if isinstance(value, dict) else value for name, value in values.items()})


def blank(kind: str) -> Fields:
    """All fields zero."""
    known = committed()
    empty = known.account_discriminator(kind) + bytes(size_of(kind))
    return fields_of(known.decode_account(kind, empty)[0])


def size_of(kind: str) -> int:
    types = committed().types
    return sum(fixed_size(field["type"], types) for field in types[kind]["type"]["fields"])


@lru_cache(maxsize=4_096)
def bits(bitmap: bytes) -> tuple[int, ...]:
    """The members whose bit is set, in order."""
    return tuple(8 * at + bit for at, byte in enumerate(bitmap) for bit in range(8) if byte >> bit & 1)


class Base:
    """Accounts by address: their fields, what lies behind the fields, and lamports of everything that the machine knows. What a rule touches
    is remembered as it was, so that a rule that refuses halfway leaves nothing behind.
    """

    def __init__(self, program: Pubkey, genesis: bytes, rent: Callable[[int], int]) -> None:
        self.program, self.genesis, self.rent = program, genesis, rent
        self.domain = Domain(genesis, bytes(program))
        self.floor = rent(0)
        self.slot = 0
        self.kinds: dict[Pubkey, str] = {}
        self.accounts: dict[Pubkey, Fields] = {}
        self.tails: dict[Pubkey, Any] = {}
        self.sizes: dict[Pubkey, int] = {}
        self.lamports: dict[Pubkey, int] = {}
        self.rights: set[tuple[object, ...]] = set()
        self.journal: dict[Pubkey, tuple[Any, ...]] = {}
        self.new_rights: list[tuple[object, ...]] = []
        self.config_at, self.registry_at = pda.config(program), pda.registry(program)
        self.vault, self.stake_vault = pda.vault(program), pda.stake_vault(program)
        self.treasury = pda.treasury(program)

    @property
    def config(self) -> Fields:
        return self.held(self.config_at, "Config")

    @property
    def parameters(self) -> Fields:
        found: Fields = self.config.parameters
        return found

    def held(self, address: Pubkey, kind: str) -> Fields:
        """The account of this type, to be changed; Refusal when it is not there."""
        need(self.kinds.get(address) == kind, ANY)
        self.touch(address)
        return self.accounts[address]

    def is_unused(self, address: Pubkey) -> bool:
        return address not in self.kinds

    def move(self, source: Pubkey, target: Pubkey, lamports: int) -> None:
        need(self.lamports.get(source, 0) >= lamports, ANY)
        self.touch(source)
        self.touch(target)
        self.lamports[source] = self.lamports.get(source, 0) - lamports
        self.lamports[target] = self.lamports.get(target, 0) + lamports

    def pay_out(self, vault: Pubkey, target: Pubkey, lamports: int) -> None:
        need(self.lamports[vault] >= lamports + self.floor, "VaultBelowRent")
        self.move(vault, target, lamports)

    def create(self, address: Pubkey, kind: str, payer: Pubkey, size: int | None = None, /, **values: Any) -> Fields:
        """With what it needs to be rent-exempt, less what somebody sent there before."""
        size = 8 + size_of(kind) if size is None else size
        self.move(payer, address, max(0, self.rent(size) - self.lamports.get(address, 0)))
        made = blank(kind)
        made.update(version=1, **values)
        self.kinds[address], self.accounts[address], self.sizes[address] = kind, made, size
        return made

    def grow(self, address: Pubkey, payer: Pubkey, size: int) -> None:
        self.move(payer, address, max(0, self.rent(size) - self.lamports[address]))
        self.sizes[address] = size

    def close(self, address: Pubkey, to: Pubkey) -> None:
        self.move(address, to, self.lamports[address])
        for table in (self.kinds, self.accounts, self.sizes, self.tails):
            table.pop(address, None)

    def once(self, *right: object) -> None:
        """A right that money is paid for, or a thing that is done but once: an invariant counts them."""
        self.new_rights.append(right)

    def touch(self, address: Pubkey) -> None:
        if address in self.journal:
            return
        fields, tail = self.accounts.get(address), self.tails.get(address)
        self.journal[address] = (
            self.kinds.get(address),
            None if fields is None else (fields, fields_of(fields)),
            None if tail is None else (tail, _copy(tail)),
            self.sizes.get(address),
            self.lamports.get(address),
        )

    def would(self, rule: Callable[[], None]) -> str | None:
        """What the rule would refuse with; nothing changes."""
        return self.guess(rule, keep=False)

    def guess(self, rule: Callable[[], None], keep: bool = True) -> str | None:
        """Carries the rule out; what it refuses with, when it leaves everything as it was."""
        self.journal, self.new_rights = {}, []
        refused = self._refusal(rule)
        if refused is not None or not keep:
            self._restore()
        else:
            self.rights.update(self.new_rights)
        return refused

    def _refusal(self, rule: Callable[[], None]) -> str | None:
        try:
            rule()
            self._check_rent()
        except Refusal as refused:
            return refused.name
        return None

    def _restore(self) -> None:
        for address, old in self.journal.items():
            tables: tuple[dict[Pubkey, Any], ...]
            tables = (self.kinds, self.accounts, self.tails, self.sizes, self.lamports)
            for table, value in zip(tables, old, strict=True):
                if value is None:
                    table.pop(address, None)
                elif isinstance(value, tuple):
                    table[address] = _as_before(*value)
                else:
                    table[address] = value

    def _check_rent(self) -> None:
        """The runtime refuses an account that is left with less than its rent."""
        for address in self.journal:
            lamports = self.lamports.get(address, 0)
            need(lamports == 0 or lamports >= self.rent(self.sizes.get(address, 0)), ANY)


def _copy(tail: Any) -> Any:
    if isinstance(tail, list):
        return [None if one is None else Fields(one) for one in tail]
    return tail


def _as_before(held: Any, copy: Any) -> Any:
    """The same object with what it held: whoever drew a call from it looks at it again when it is sent."""
    if isinstance(held, list):
        held[:] = copy
        return held
    if isinstance(held, Fields):
        held.clear()
        held.update(copy)
        return held
    return copy
