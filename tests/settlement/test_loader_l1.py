"""Deployments and upgrades on the embedded L1: what they cost, stopped and gone on with, over a node that loses and refuses sendings,
and every refusal. The program is SPL's associated token account, a quarter of ours.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from solders.account import Account
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from localnet.config import LocalnetConfig
from localnet.service import serve
from settlement import loader, loader_writer, pda, transactions
from settlement.client import L1Client
from settlement.errors import AccountInvalid, DeployError, FeatureMissing, L1Unreachable
from settlement.loader_artifact import BLS12_381_SYSCALLS, FEATURE_PROGRAM, Artifact
from settlement.loader_deploy import carry_out, plan_buffer, plan_deploy, plan_upgrade
from settlement.loader_program import Keys, Program, buffers_of, change_authority, close_buffer, fetch_program
from settlement.rpc import Rpc

SOL = 1_000_000_000
SLOT_MS = 40
FINALIZED_LAG_SLOTS = 4


def _small_program() -> bytes:
    account = LiteSVM().get_account(Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"))
    assert account is not None
    return bytes(account.data)


ELF = _small_program()
ARTIFACT = Artifact("small.so", ELF)
LARGER = Artifact("larger.so", ELF + b"\1" * 3_000)


def quiet(done: int, total: int) -> None:
    pass


@dataclass
class Node:
    """One node, asked directly. `meddle(method, params, pass_on)` may do something else than to pass a call on."""

    real: Rpc
    meddle: Callable[..., Any] | None = None
    calls: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.real.url

    async def __aenter__(self) -> Node:
        await self.real.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.real.__aexit__(*error)

    async def call(self, method: str, params: Any = (), attempts: int = 6) -> Any:
        self.calls.append(method)

        async def pass_on() -> Any:
            return await self.real.call(method, params, attempts)

        return await (self.meddle(method, params, pass_on) if self.meddle else pass_on())


@dataclass
class Bench:
    """`program` is the key of the id that `client` is about; `keys.payer` has 100 SOL."""

    node: Node
    client: L1Client
    program: Keypair
    keys: Keys

    async def deploy(self, artifact: Artifact = ARTIFACT, **options: Any) -> Program:
        plan = await plan_deploy(self.client, artifact, self.keys, **options)
        assert plan is not None
        await carry_out(self.client, plan, self.keys, self.program, quiet)
        return await self.fetched()

    async def upgrade(self, artifact: Artifact, **options: Any) -> Program:
        plan = await plan_upgrade(self.client, artifact, self.keys, **options)
        assert plan is not None
        await carry_out(self.client, plan, self.keys, None, quiet)
        return await self.fetched()

    async def fetched(self) -> Program:
        program = await fetch_program(self.client)
        assert program is not None
        return program

    async def balance(self) -> int:
        return await self.client.get_balance(self.keys.payer.pubkey())

    async def give(self, address: Pubkey, lamports: int) -> None:
        payer = self.keys.payer
        gift = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=address, lamports=lamports))
        await self.client.send_and_confirm([gift], payer)

    async def interrupted(self, chunks: int) -> None:
        """A deployment that ends when so many chunks are confirmed."""

        class Stopped(Exception):
            pass

        def progress(done: int, total: int) -> None:
            if done >= chunks:
                raise Stopped

        plan = await plan_deploy(self.client, ARTIFACT, self.keys)
        assert plan is not None
        with pytest.raises(Stopped):
            await carry_out(self.client, plan, self.keys, self.program, progress)
        await self.client.wait_for_slot(await self.client.get_slot("processed") + 1)  # what was in flight is confirmed


@asynccontextmanager
async def benched(nursery: trio.Nursery, **config: Any) -> AsyncIterator[Bench]:
    program, payer, authority = Keypair(), Keypair(), Keypair()
    settings = LocalnetConfig(
        rpc_port=0, slot_ms=SLOT_MS, finalized_lag_slots=FINALIZED_LAG_SLOTS, mint=payer.pubkey(), **config
    )
    endpoints = await nursery.start(serve, settings)
    node = Node(Rpc(endpoints.rpc_url))
    async with L1Client(node, program.pubkey()) as client:
        yield Bench(node, client, program, Keys(payer, authority))
    nursery.cancel_scope.cancel()


@pytest.fixture
async def on(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    async with benched(nursery) as bench:
        yield bench


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_writer, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(transactions, "POLL_SECONDS", 0.05)


# -- deployments


@pytest.mark.parametrize("price", [0, 50_000])
async def test_a_deployment_costs_what_was_said(on: Bench, price: int) -> None:
    plan = await plan_deploy(on.client, ARTIFACT, on.keys, len(ELF) + 500, None, price)
    assert plan is not None and plan.chunks < 5  # of zeros only, which a new buffer has
    before = await on.balance()
    await carry_out(on.client, plan, on.keys, on.program, quiet)
    assert before - await on.balance() == plan.cost.rent_lamports + plan.cost.fee_lamports
    program = await on.fetched()
    assert program.holds(ARTIFACT) and not program.holds(LARGER)
    assert (program.authority, program.room_bytes) == (on.keys.authority.pubkey(), len(ELF) + 500)
    assert program.hash == ARTIFACT.hash
    assert await plan_deploy(on.client, ARTIFACT, on.keys) is None
    assert await buffers_of(on.client, on.keys.authority.pubkey()) == []
    with pytest.raises(DeployError, match="`pouw program upgrade` replaces it"):
        await plan_deploy(on.client, LARGER, on.keys)


async def test_a_stopped_deployment_goes_on_with_what_is_missing(on: Bench) -> None:
    await on.interrupted(20)
    plan = await plan_deploy(on.client, ARTIFACT, on.keys)
    assert plan is not None and plan.chunks >= 20 and plan.create_lamports is None
    ((buffer, lamports, size),) = await buffers_of(on.client, on.keys.authority.pubkey())
    assert (buffer, size) == (plan.writing.buffer, len(ELF)) and lamports > 0
    before, on.node.calls[:] = await on.balance(), []
    await carry_out(on.client, plan, on.keys, on.program, quiet)
    assert before - await on.balance() == plan.cost.needed_lamports
    assert on.node.calls.count("sendTransaction") < plan.all_chunks
    assert (await on.fetched()).holds(ARTIFACT)


async def test_gifts_to_the_addresses_hinder_nobody(on: Bench) -> None:
    """`create_account` would refuse an address that holds a lamport."""
    buffer = loader.buffer_address(on.keys.authority.pubkey(), loader.buffer_seed(on.program.pubkey(), ELF))
    for address in (buffer, on.program.pubkey()):
        await on.give(address, 900_000)
    assert (await on.deploy()).holds(ARTIFACT)


async def test_a_gift_to_the_program_data_makes_the_id_unusable(on: Bench) -> None:
    await on.give(pda.program_data(on.program.pubkey()), 900_000)
    with pytest.raises(DeployError, match="Make another key file"):
        await plan_deploy(on.client, ARTIFACT, on.keys)


async def test_a_program_that_l1_refuses_leaves_no_rent_behind(on: Bench) -> None:
    broken = Artifact("broken.so", ELF[:64] + bytes(2_000))
    before = await on.balance()
    with pytest.raises(
        DeployError, match=r"L1 refuses the program: .*the buffer was closed and its [\d,]+ lamports went"
    ):
        await on.deploy(broken)
    assert before - await on.balance() < 100_000  # fees
    assert await buffers_of(on.client, on.keys.authority.pubkey()) == []


async def test_a_deployment_that_somebody_hinders_keeps_its_buffer(on: Bench) -> None:
    """Lamports sent to the ProgramData's address between plan and deployment."""
    plan = await plan_deploy(on.client, ARTIFACT, on.keys)
    assert plan is not None
    await on.give(pda.program_data(on.program.pubkey()), 900_000)
    with pytest.raises(DeployError, match=rf"L1 refuses the deploy: .* in the buffer {plan.writing.buffer}: mend that"):
        await carry_out(on.client, plan, on.keys, on.program, quiet)
    assert [one[0] for one in await buffers_of(on.client, on.keys.authority.pubkey())] == [plan.writing.buffer]


async def test_a_short_balance_is_refused_before_anything_is_spent(on: Bench) -> None:
    poor = Keypair()
    await on.give(poor.pubkey(), SOL // 10)
    with pytest.raises(DeployError, match=r"has 100,000,000 lamports; 7\d\d,\d{3},\d{3} are needed"):
        await plan_deploy(on.client, ARTIFACT, Keys(poor, on.keys.authority))
    assert await on.client.get_balance(poor.pubkey()) == SOL // 10


async def test_too_little_and_too_much_room_are_refused(on: Bench) -> None:
    for room in (len(ELF) - 1, loader.MAX_PROGRAM_BYTES + 1):
        with pytest.raises(DeployError, match="was asked for"):
            await plan_deploy(on.client, ARTIFACT, on.keys, room)


@pytest.mark.parametrize(("data", "state"), [(bytes(9), "is to come"), (b"", "is not active")])
async def test_a_cluster_without_bls_is_refused_before_anything_is_spent(
    nursery: trio.Nursery, data: bytes, state: str
) -> None:
    """The embedded L1's runtime has every feature on; what is read is the gate's account, which says otherwise here."""
    gate = Account(953_520, data, FEATURE_PROGRAM if data else Pubkey.default())
    async with benched(nursery, accounts={BLS12_381_SYSCALLS.address: gate}) as on:
        before = await on.balance()
        for plan in (plan_deploy, plan_upgrade):
            with pytest.raises(FeatureMissing, match=state):
                await plan(on.client, ARTIFACT, on.keys)
        with pytest.raises(FeatureMissing):
            await plan_buffer(on.client, ARTIFACT, on.keys, Keypair().pubkey())
        assert await on.balance() == before


async def test_what_is_no_program_is_named(on: Bench) -> None:
    other = L1Client(on.node, pda.program_data(pda.localnet_program_id()))
    assert await fetch_program(other) is None
    older = L1Client(on.node, Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"))
    with pytest.raises(AccountInvalid, match="no program of the upgradeable loader"):
        await fetch_program(older)


# -- a node that makes trouble


async def test_lost_and_refused_sendings_are_sent_again(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_writer, "RESEND_SECONDS", 0.3)
    sent = 0

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        nonlocal sent
        sent += method == "sendTransaction"
        if method == "sendTransaction" and 2 < sent < 60:
            if sent % 3 == 0:
                raise L1Unreachable("node", method, 1, "HTTP status 429", 0.05)
            if sent % 3 == 1:
                return "lost"
        return await pass_on()

    on.node.meddle = meddle
    assert (await on.deploy()).holds(ARTIFACT)
    assert sent > len(ELF) / 1_024 + 20


async def test_expired_writes_are_signed_anew(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sendings are lost, and blockhashes that live for 3 blocks expire, until one is given that lives as usual."""
    monkeypatch.setattr(loader_writer, "BLOCKHASH_SECONDS", 0.0)
    fetched, lost = 0, 0

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        nonlocal fetched, lost
        if method == "getLatestBlockhash":
            answer = await pass_on()
            fetched += 1
            if 2 < fetched < 5:  # the first is the buffer's creation, the second the write that is tried alone
                answer["value"]["lastValidBlockHeight"] -= 147
            return answer
        if method == "sendTransaction" and 2 < fetched < 5:
            lost += 1
            return "lost"
        return await pass_on()

    on.node.meddle = meddle
    assert (await on.deploy()).holds(ARTIFACT)
    assert lost > 0


async def test_an_expired_deployment_is_signed_anew(on: Bench) -> None:
    """The one sending after the writes is lost until its blockhash has expired at `finalized`."""
    lost: set[str] = set()
    filled = False

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        nonlocal filled
        filled |= method == "getMultipleAccounts" and params[1]["commitment"] == "finalized"
        if method == "getLatestBlockhash" and filled and not lost:
            answer = await pass_on()
            answer["value"]["lastValidBlockHeight"] -= 145
            return answer
        if method == "sendTransaction" and filled and (not lost or params[0] in lost):
            lost.add(params[0])
            return "lost"
        return await pass_on()

    on.node.meddle = meddle
    assert (await on.deploy()).holds(ARTIFACT)
    assert len(lost) == 1


async def test_writes_that_never_land_are_given_up(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_writer, "BLOCKHASH_SECONDS", 0.0)
    created = False

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        nonlocal created
        if method == "getLatestBlockhash":
            answer = await pass_on()
            if created:
                answer["value"]["lastValidBlockHeight"] -= 149
            return answer
        if method == "sendTransaction":
            if created:
                return "lost"
            created = True
        return await pass_on()

    on.node.meddle = meddle
    with pytest.raises(DeployError, match=r"takes no write .*expired 6 times.*--compute-unit-price"):
        await on.deploy()


async def test_a_node_that_turns_everything_away_is_given_up(on: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_writer, "MAX_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(loader_writer, "FIRST_PAUSE_SECONDS", 0.01)
    sent = 0

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        nonlocal sent
        sent += method == "sendTransaction"
        if method == "sendTransaction" and sent > 10:
            raise L1Unreachable("node", method, 1, "HTTP status 429")
        return await pass_on()

    on.node.meddle = meddle
    with pytest.raises(L1Unreachable):
        await on.deploy()
    on.node.meddle = None
    assert (await on.deploy()).holds(ARTIFACT)


async def test_writes_that_are_not_there_at_finalized_are_not_believed(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_writer, "MAX_PASSES", 2)
    empty = b"\1\0\0\0\1" + bytes(on.keys.authority.pubkey()) + bytes(len(ELF))

    async def meddle(method: str, params: Any, pass_on: Callable[..., Any]) -> Any:
        if method == "getMultipleAccounts" and params[1]["commitment"] == "finalized":
            answer = await pass_on()
            for value in answer["value"]:
                value["data"][0] = b64encode(empty).decode()
            return answer
        return await pass_on()

    on.node.meddle = meddle
    with pytest.raises(DeployError, match="does not have them all"):
        await on.deploy()


# -- upgrades, buffers, authorities


async def test_upgrades_grow_the_program_when_they_must(on: Bench) -> None:
    await on.deploy()
    before = await on.balance()
    plan = await plan_upgrade(on.client, LARGER, on.keys)
    assert plan is not None and plan.extension_bytes == loader.MIN_EXTENSION_BYTES
    await carry_out(on.client, plan, on.keys, None, quiet)
    assert before - await on.balance() == plan.cost.rent_lamports + plan.cost.fee_lamports
    program = await on.fetched()
    assert program.holds(LARGER) and program.room_bytes == len(ELF) + loader.MIN_EXTENSION_BYTES
    assert await plan_upgrade(on.client, LARGER, on.keys) is None

    before = await on.balance()
    back = await plan_upgrade(on.client, ARTIFACT, on.keys)
    assert back is not None and back.extension_bytes == 0
    await carry_out(on.client, back, on.keys, None, quiet)
    assert before - await on.balance() == back.cost.fee_lamports
    assert back.cost.needed_lamports == back.cost.fee_lamports + back.cost.returned_lamports
    assert (await on.fetched()).holds(ARTIFACT), "nothing of the larger one is left behind it"


async def test_who_may_upgrade(on: Bench) -> None:
    with pytest.raises(DeployError, match="`pouw program deploy` makes it"):
        await plan_upgrade(on.client, ARTIFACT, on.keys)
    multisig = Keypair()
    program = await on.deploy(successor=multisig.pubkey())
    assert program.authority == multisig.pubkey()
    with pytest.raises(DeployError, match=f"is {multisig.pubkey()}, not {on.keys.authority.pubkey()}"):
        await plan_upgrade(on.client, LARGER, on.keys)
    with pytest.raises(DeployError, match=f"is {multisig.pubkey()}, not"):
        await change_authority(on.client, on.keys, None)

    # As a multisig does it: the buffer is prepared by anybody, checked, and used by who has the authority.
    plan = await plan_buffer(on.client, LARGER, on.keys, multisig.pubkey())
    before = await on.balance()
    await carry_out(on.client, plan, on.keys, None, quiet)
    assert before - await on.balance() == plan.cost.needed_lamports
    assert [one[0] for one in await buffers_of(on.client, multisig.pubkey())] == [plan.writing.buffer]
    with pytest.raises(DeployError, match="was handed to"):
        await plan_buffer(on.client, plan.artifact, on.keys, multisig.pubkey())
    with pytest.raises(DeployError, match=f"is {multisig.pubkey()}'s"):
        await close_buffer(on.client, plan.writing.buffer, on.keys, on.keys.payer.pubkey())
    use = loader.upgrade(on.program.pubkey(), plan.writing.buffer, multisig.pubkey(), on.keys.payer.pubkey())
    await on.client.send_and_confirm([use], on.keys.payer, [multisig])
    assert (await on.fetched()).holds(plan.artifact)

    theirs = Keys(on.keys.payer, multisig)
    await change_authority(on.client, theirs, on.keys.authority.pubkey(), on.keys.authority)
    assert (await on.fetched()).authority == on.keys.authority.pubkey()
    await change_authority(on.client, on.keys, None)
    with pytest.raises(DeployError, match="is final"):
        await plan_upgrade(on.client, LARGER, on.keys)
    with pytest.raises(DeployError, match="no buffer can change it"):
        await plan_buffer(on.client, ARTIFACT, on.keys, multisig.pubkey())
    with pytest.raises(DeployError, match="is nobody: it is final"):
        await change_authority(on.client, on.keys, multisig.pubkey())


async def test_a_deployment_that_was_begun_can_be_given_up(on: Bench) -> None:
    before = await on.balance()
    await on.interrupted(5)
    ((buffer, lamports, _),) = await buffers_of(on.client, on.keys.authority.pubkey())
    assert await close_buffer(on.client, buffer, on.keys, on.keys.payer.pubkey()) == lamports
    assert before - await on.balance() < SOL // 100
    with pytest.raises(DeployError, match="there is no buffer"):
        await close_buffer(on.client, buffer, on.keys, on.keys.payer.pubkey())
    assert (await on.deploy()).holds(ARTIFACT)
