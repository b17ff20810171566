"""Groups of options that many commands share. A command takes a group as one parameter; `expanded` shows its fields to typer as options.

A group opens the client that it describes, so that no command looks up URLs, programs and keys itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from cli import settings
from cli.runtime import run
from cli.settings import KeypairOption, ProgramOption, SequencerOption, UrlOption

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from settlement.client import L1Client
    from settlement.sequencer_client import SequencerClient

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OnL1:
    """Reads from L1."""

    url: UrlOption = None
    program_id: ProgramOption = None

    @property
    def l1_urls(self) -> tuple[str, ...]:
        return settings.l1_urls(self.url)

    @property
    def program(self) -> Pubkey:
        return settings.program_id(self.program_id)

    def l1(self) -> L1Client:
        from settlement.client import L1Client

        return L1Client(self.l1_urls, self.program)

    def ask(self, question: Callable[[L1Client], Awaitable[T]]) -> T:
        """What `question` finds on L1."""

        async def asked() -> T:
            async with self.l1() as client:
                return await question(client)

        return run(asked)


@dataclass(frozen=True, kw_only=True)
class SigningOnL1(OnL1):
    """Sends transactions that `keypair` signs."""

    keypair: KeypairOption = None

    def signer(self) -> Keypair:
        return settings.keypair(self.keypair)

    def account(self, public_key: str | None) -> Pubkey:
        """The account that a command is about: the one named, else the signer's."""
        return settings.public_key(public_key, "PUBLIC_KEY") if public_key else self.signer().pubkey()

    def act(self, action: Callable[[L1Client, Keypair], Awaitable[T]]) -> T:
        """What `action` does with --keypair, on the cluster that the program's Config names and on no other."""
        signer = self.signer()

        async def acted(client: L1Client) -> T:
            await client.check_cluster()
            return await action(client, signer)

        return self.ask(acted)


@dataclass(frozen=True, kw_only=True)
class OnL2:
    """Reads from the sequencer."""

    sequencer: SequencerOption = None

    def l2(self) -> SequencerClient:
        from settlement.sequencer_client import SequencerClient

        return SequencerClient(settings.sequencer_url(self.sequencer))


@dataclass(frozen=True, kw_only=True)
class OnBoth(OnL2, OnL1):
    """Reads from both, which must speak of the same chain."""


@dataclass(frozen=True, kw_only=True)
class SigningOnBoth(OnL2, SigningOnL1):
    """Signs calls to the sequencer, or transactions, for the chain that L1 is."""

    def calls(self) -> AbstractAsyncContextManager[SequencerClient]:
        """A client that signs, and refuses a sequencer of another chain."""
        from cli.calls import client_calls

        return client_calls(self.l1_urls, settings.sequencer_url(self.sequencer), self.program_id, self.signer())


@dataclass(frozen=True, kw_only=True)
class Paying:
    """Who pays for a transaction where that may be somebody else."""

    payer: settings.PayerOption = None

    def or_else(self, signer: Keypair) -> Keypair:
        return settings.keypair(self.payer) if self.payer else signer


def expanded(command: Callable[..., R]) -> Callable[..., R]:
    """The command as typer wants it: each parameter that is a group of options is replaced by the group's fields."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = groups.get(parameter.name)
        if kind is None:
            hint = hints[parameter.name]
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=types[one.name])
            for one in fields(kind)
        ]

    @wraps(command)
    def taken(**values: Any) -> R:
        for name, kind in groups.items():
            values[name] = kind(**{one.name: values.pop(one.name) for one in fields(kind)})  # type: ignore[operator]
        return command(**values)

    taken.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taken.__annotations__ = {one.name: one.annotation for one in parameters}
    return taken
