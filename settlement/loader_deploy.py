"""Deploying and upgrading a program through the upgradeable loader, without the Solana CLI.

A plan is made first: it reads, refuses and adds up the cost, and spends nothing. Carrying it out can be stopped at any point; whoever
makes the plan again finds the buffer, by its derived address, and goes on with what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import loader, pda
from settlement.client import Account, L1Client
from settlement.errors import AccountInvalid, DeployError, TransactionExpired, TransactionFailed
from settlement.loader_artifact import Artifact, check_feature
from settlement.loader_plan import (
    OTHER_COMPUTE_UNITS,
    Cost,
    Held,
    Rent,
    Work,
    buffer_cost,
    check_balance,
    deploy_cost,
    upgrade_cost,
)
from settlement.loader_program import Keys, Program, close_buffer, fetch_program, program_from
from settlement.loader_writer import WRITE_COMPUTE_UNITS, Progress, Writing, fill_buffer
from settlement.transactions import Confirmed

Kind = Literal["deploy", "upgrade", "buffer"]
MAX_EXPIRIES = 3  # of a transaction that is no write
_BAD_PROGRAM = "InvalidAccountData"  # what the loader says of a program that it cannot verify


@dataclass(frozen=True)
class Plan:
    """What is to be done. `chunks` of the buffer are there of `all_chunks`; `max_bytes`: room of a new program; `extension_bytes` of an
    old one; `create_lamports`, `program_lamports`: what the buffer's and the program's rent lack. `writing.buffer` is the buffer."""

    kind: Kind
    artifact: Artifact
    writing: Writing
    seed: str
    create_lamports: int | None
    chunks: int
    all_chunks: int
    cost: Cost
    max_bytes: int = 0
    extension_bytes: int = 0
    program_lamports: int = 0
    successor: Pubkey | None = None


async def check_features(client: L1Client, artifact: Artifact) -> None:
    """FeatureMissing when the cluster's runtime cannot run the artifact."""
    features = artifact.features
    _, found = await client.get_accounts([feature.address for feature in features])
    for feature, account in zip(features, found, strict=True):
        owner, data = (account.owner, account.data) if account else (None, b"")
        check_feature(feature, owner, data, client.url)


async def plan_deploy(
    client: L1Client,
    artifact: Artifact,
    keys: Keys,
    max_bytes: int | None = None,
    successor: Pubkey | None = None,
    compute_unit_price: int = 0,
) -> Plan | None:
    """None when the program is there, with these bytes. `max_bytes`: room for later upgrades; `successor`: the final upgrade authority."""
    room = max_bytes if max_bytes is not None else len(artifact.elf)
    if not len(artifact.elf) <= room <= loader.MAX_PROGRAM_BYTES:
        raise DeployError(
            f"room for {room:,} bytes was asked for; the program has {len(artifact.elf):,}, an account holds {loader.MAX_PROGRAM_BYTES:,}"
        )
    await check_features(client, artifact)
    seen = await _look(client, artifact, keys, compute_unit_price)
    if seen.program is not None:
        if not seen.program.holds(artifact):
            raise DeployError(
                f"there is a program at {client.program_id} already, with other bytes (hash {seen.program.hash.hex()}): "
                "`pouw program upgrade` replaces it"
            )
        return None
    if seen.held.program_data_lamports:
        raise DeployError(
            f"somebody sent lamports to {pda.program_data(client.program_id)}, where the loader must make the ProgramData account of "
            f"{client.program_id}: it refuses that for ever. Make another key file and build for its id"
        )
    cost = deploy_cost(seen.held, seen.work, seen.rent, len(artifact.elf), room, successor is not None)
    program_lacks = max(0, seen.rent(loader.PROGRAM_BYTES) - seen.held.program_lamports)
    plan = replace(seen.plan("deploy", cost), max_bytes=room, program_lamports=program_lacks, successor=successor)
    check_balance(cost, keys.payer.pubkey())
    return plan


async def plan_upgrade(
    client: L1Client, artifact: Artifact, keys: Keys, successor: Pubkey | None = None, compute_unit_price: int = 0
) -> Plan | None:
    """None when the program has these bytes already."""
    await check_features(client, artifact)
    seen = await _look(client, artifact, keys, compute_unit_price)
    program = seen.program
    if program is None:
        raise DeployError(f"there is no program {client.program_id} on {client.url}: `pouw program deploy` makes it")
    if program.authority is None:
        raise DeployError(f"program {client.program_id} is final: it has no upgrade authority any more")
    if program.authority != keys.authority.pubkey():
        raise DeployError(
            f"the upgrade authority of {client.program_id} is {program.authority}, not {keys.authority.pubkey()}: name its key "
            "file with --keypair, or prepare a buffer for it with `pouw program write-buffer`"
        )
    if program.holds(artifact):
        return None
    extension = loader.extension_bytes(program.room_bytes, len(artifact.elf))
    cost = upgrade_cost(
        seen.held, seen.work, seen.rent, len(artifact.elf), program.room_bytes, extension, successor is not None
    )
    check_balance(cost, keys.payer.pubkey())
    return replace(seen.plan("upgrade", cost), extension_bytes=extension, successor=successor)


async def plan_buffer(
    client: L1Client, artifact: Artifact, keys: Keys, successor: Pubkey, compute_unit_price: int = 0
) -> Plan:
    """A buffer that `successor`, a multisig perhaps, is to deploy or upgrade from; and room for it, which anybody may add to a program."""
    await check_features(client, artifact)
    seen = await _look(client, artifact, keys, compute_unit_price)
    size, room, extension = len(artifact.elf), 0, 0
    if seen.program is not None:
        if seen.program.authority is None:
            raise DeployError(f"program {client.program_id} is final: no buffer can change it any more")
        room = seen.program.room_bytes
        extension = loader.extension_bytes(room, size)
    cost = buffer_cost(seen.held, seen.work, seen.rent, size, room, extension)
    check_balance(cost, keys.payer.pubkey())
    return replace(seen.plan("buffer", cost), extension_bytes=extension, successor=successor)


@dataclass(frozen=True)
class _Seen:
    """The accounts of a plan, as they were."""

    artifact: Artifact
    writing: Writing
    seed: str
    program: Program | None
    held: Held
    work: Work
    rent: Rent
    all_chunks: int

    def plan(self, kind: Kind, cost: Cost) -> Plan:
        buffer_rent = self.rent(loader.BUFFER_HEADER_BYTES + len(self.artifact.elf))
        lacking = max(0, buffer_rent - self.held.buffer_lamports) if self.work.creates else None
        chunks = self.all_chunks - self.work.writes
        return Plan(kind, self.artifact, self.writing, self.seed, lacking, chunks, self.all_chunks, cost)


async def _look(client: L1Client, artifact: Artifact, keys: Keys, price: int) -> _Seen:
    authority = keys.authority.pubkey()
    seed = loader.buffer_seed(client.program_id, artifact.elf)
    writing = Writing(keys.payer, keys.authority, loader.buffer_address(authority, seed), artifact.elf, price)
    addresses = [client.program_id, pda.program_data(client.program_id), writing.buffer, keys.payer.pubkey()]
    _, found = await client.get_accounts(addresses)
    lamports = [0 if account is None else account.lamports for account in found]
    data = _buffer_data(writing.buffer, found[2], authority)
    missing = writing.differing(data if data is not None else bytes(len(artifact.elf)))
    held = Held(lamports[3], lamports[0], lamports[1], lamports[2])
    signatures = 1 if keys.payer.pubkey() == authority else 2
    work = Work(len(missing), data is None, signatures, price, WRITE_COMPUTE_UNITS)
    total = -(-len(artifact.elf) // writing.chunk_bytes)
    program = program_from(client.program_id, found[0], found[1])
    return _Seen(artifact, writing, seed, program, held, work, await _rent(client), total)


def _buffer_data(address: Pubkey, account: Account | None, authority: Pubkey) -> bytes | None:
    """What the buffer holds; None when it must be made."""
    if account is None or (account.owner == pda.SYSTEM_PROGRAM and not account.data):
        return None
    if account.owner != loader.LOADER:
        raise AccountInvalid(str(address), f"is owned by {account.owner}, expected the loader {loader.LOADER}")
    buffer = loader.decode_buffer(address, account.data)
    if buffer.authority != authority:
        raise DeployError(
            f"the buffer {address} holds this program and was handed to {buffer.authority}, who alone can deploy from it or close it"
        )
    return buffer.data


async def _rent(client: L1Client) -> Rent:
    """Rent grows by the byte, so two answers tell all others."""
    none, thousand = await client.minimum_rent(0), await client.minimum_rent(1_000)
    per_byte = (thousand - none) // 1_000
    return lambda data_bytes: none + per_byte * data_bytes


async def carry_out(client: L1Client, plan: Plan, keys: Keys, program: Keypair | None, progress: Progress) -> Confirmed:
    """What the last transaction did. DeployError; TransactionFailed, TransactionExpired, L1Unreachable: plan anew and go on.

    `program`: the new program's key, for a deployment. When L1 refuses the program itself its buffer is closed.
    """
    if plan.create_lamports is not None:
        create = loader.create_buffer(
            keys.payer.pubkey(), keys.authority.pubkey(), plan.seed, len(plan.artifact.elf), plan.create_lamports
        )
        await _send(client, plan, create, keys.payer, [keys.authority])
    await fill_buffer(client, plan.writing, progress)
    if plan.extension_bytes:
        extend = loader.extend(keys.payer.pubkey(), client.program_id, plan.extension_bytes)
        extended = await _send(client, plan, [extend], keys.payer, [])
        await client.wait_for_slot(extended.slot + 1)  # one change of a program a slot
    if plan.kind == "buffer":
        assert plan.successor is not None
        hand_over = loader.set_authority(plan.writing.buffer, keys.authority.pubkey(), plan.successor)
        return await _send(client, plan, [hand_over], keys.payer, [keys.authority])
    try:
        if plan.kind == "deploy":
            assert program is not None
            done = await _deploy(client, plan, keys, program)
        else:
            done = await _upgrade(client, plan, keys)
    except TransactionFailed as error:
        raise await _refused(client, plan, keys, error) from error
    await client.wait_for_slot(done.slot + 1)  # a program runs from the slot after its deployment on
    await _check_deployed(client, plan)
    if plan.successor is not None:
        hand_over = loader.set_authority(pda.program_data(client.program_id), keys.authority.pubkey(), plan.successor)
        await _send(client, plan, [hand_over], keys.payer, [keys.authority])
    return done


async def _deploy(client: L1Client, plan: Plan, keys: Keys, program: Keypair) -> Confirmed:
    batch = loader.deploy(
        keys.payer.pubkey(),
        program.pubkey(),
        plan.writing.buffer,
        keys.authority.pubkey(),
        plan.program_lamports,
        plan.max_bytes,
    )
    return await _send(client, plan, batch, keys.payer, [program, keys.authority])


async def _upgrade(client: L1Client, plan: Plan, keys: Keys) -> Confirmed:
    spill = keys.payer.pubkey()
    upgrade = loader.upgrade(client.program_id, plan.writing.buffer, keys.authority.pubkey(), spill)
    return await _send(client, plan, [upgrade], keys.payer, [keys.authority])


async def _send(
    client: L1Client, plan: Plan, batch: Sequence[Instruction], payer: Keypair, signers: Sequence[Keypair]
) -> Confirmed:
    """Signed anew when it expired, which is judged at `finalized`: the first can then never land."""
    price = plan.writing.compute_unit_price
    limits = (OTHER_COMPUTE_UNITS, price) if price else (None, None)
    for _ in range(MAX_EXPIRIES - 1):
        try:
            return await client.confirm(await client.sign(batch, payer, signers, *limits))
        except TransactionExpired:
            continue
    return await client.confirm(await client.sign(batch, payer, signers, *limits))


async def _refused(client: L1Client, plan: Plan, keys: Keys, error: TransactionFailed) -> DeployError:
    """What to say when L1 refuses the deployment. A program that it will never take leaves no lamports behind; all else can be
    mended, and the buffer is kept."""
    buffer, payer = plan.writing.buffer, keys.payer.pubkey()
    said = next((line for line in reversed(error.logs) if not line.startswith("Program ")), "")
    reason = f"{error.reason} ({said})" if said else error.reason
    if _BAD_PROGRAM in error.reason:
        lamports = await close_buffer(client, buffer, keys, payer)
        return DeployError(
            f"L1 refuses the program: {reason}; the buffer was closed and its {lamports:,} lamports went back to {payer}"
        )
    return DeployError(
        f"L1 refuses the {plan.kind}: {reason}; the program is in the buffer {buffer}: mend that and run the command again, or get its "
        f"lamports back with `pouw program close-buffer {buffer}`"
    )


async def _check_deployed(client: L1Client, plan: Plan) -> None:
    program = await fetch_program(client)
    if program is None or not program.holds(plan.artifact):
        found = "nothing" if program is None else f"a program of hash {program.hash.hex()}"
        raise DeployError(
            f"L1 confirmed the {plan.kind}, and {found} is at {client.program_id} now instead of one of hash {plan.artifact.hash.hex()}: "
            "another deployment came between, or the node lies"
        )
