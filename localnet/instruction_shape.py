"""How a program's instructions are shown: for each one a row that says what its accounts and its data mean. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localnet.reader import Reader, Truncated

Fields = Callable[[Reader], dict[str, Any]]


class NotParsable(ValueError):
    """An instruction that agave shows as program, accounts and data."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`accounts` are the info names of the first accounts, "" for one that is not shown; so many there must be, or
    `at_least` where that is another number. After them may come the account that signs, or a multisig and those who
    sign for it (`signers` are the two names), and accounts that are shown if they are there (`optional`).
    """

    name: str
    accounts: tuple[str, ...] = ()
    fields: Fields | None = None
    signers: tuple[str, str] | None = None
    optional: tuple[str, ...] = ()
    at_least: int | None = None


def parse(shapes: Mapping[int, Shape], kind: int, reader: Reader, accounts: Sequence[str]) -> dict[str, Any]:
    """type and info of instruction `kind`; the reader stands after it. Raises NotParsable."""
    if kind not in shapes:
        raise NotParsable(f"no instruction {kind}")
    return show(shapes[kind], reader, accounts)


def show(shape: Shape, reader: Reader, accounts: Sequence[str]) -> dict[str, Any]:
    """Raises NotParsable for accounts or data that end too early."""
    needed = len(shape.accounts) + (shape.signers is not None) if shape.at_least is None else shape.at_least
    # agave refuses an instruction without any account, even one that needs none.
    if len(accounts) < max(needed, 1):
        raise NotParsable(f"{shape.name} has {len(accounts)} accounts")
    info: dict[str, Any] = {name: key for name, key in zip(shape.accounts, accounts, strict=False) if name}
    if shape.fields is not None:
        try:
            info |= shape.fields(reader)
        except Truncated as error:
            raise NotParsable(str(error)) from None
    if shape.signers is not None:
        info |= signers_json(shape.signers, accounts[len(shape.accounts) :])
    info |= zip(shape.optional, accounts[len(shape.accounts) :], strict=False)
    return {"info": info, "type": shape.name} if info else {"type": shape.name}


def signers_json(names: tuple[str, str], accounts: Sequence[str]) -> dict[str, Any]:
    single, multisig = names
    return {single: accounts[0]} if len(accounts) == 1 else {multisig: accounts[0], "signers": list(accounts[1:])}
