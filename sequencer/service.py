"""The sequencer as a process: makes the node from its parts, opens the nursery and runs its loops. The only module that wires.

It is ready, with its port as the value, once the store is loaded and HTTP answers. A new data directory first needs L1 with the program
initialised and a set sealed; a later start does not need L1 at all: it serves what it has and says in getHealth that L1 is silent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import trio
from solders.pubkey import Pubkey

from sequencer import batch, epoch_loop, finality, l1_view, metrics, poster, recovery
from sequencer import database as db
from sequencer.answers import Answers
from sequencer.blobs import BlobStore
from sequencer.config import SequencerConfig
from sequencer.door import Door, RateLimit
from sequencer.l1_port import ClientPort, L1Port
from sequencer.node import Node
from sequencer.returns import Returns
from sequencer.rewards import Rewards
from sequencer.rows import MetaRow
from sequencer.rpc import make_app
from sequencer.store import RocksStore, StoreUnwritable
from sequencer.sweep import Sweep
from sequencer.tasks import TaskBook
from sequencer.uploads import Uploads
from settlement.client import L1Client
from settlement.errors import AccountError, L1Error, NotInitialized
from settlement.keys import read_keypair
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet

log = structlog.get_logger(__name__)

MAX_PAUSE_SECONDS = 8.0
FIRST_LOOK_SECONDS = 5


async def run(config: SequencerConfig, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Runs until cancelled. KeyFileError, StoreCorruption, WrongStore or ClusterMismatch when it cannot be what was asked for."""
    payer = read_keypair(config.keypair, lambda warning: log.warning(warning))
    program = Pubkey.from_string(config.program_id) if config.program_id else None
    async with L1Client(config.l1_urls, program) as client:
        await run_on(config, ClientPort(client, payer), task_status=task_status)


async def run_on(
    config: SequencerConfig, port: L1Port, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """run() over a given L1."""
    config.data_dir.mkdir(parents=True, exist_ok=True)
    database = db.Database(RocksStore(config.data_dir / "store"))
    try:
        node = await make_node(config, database, port)
        await _look_before_serving(node, port)
        swept, rewards, answers, returns = Sweep(), Rewards(), Answers(), Returns()
        async with trio.open_nursery() as nursery:
            node_port = await nursery.start(_serve, node)
            for name, step in (
                ("l1_view", lambda: _view(node, port)),
                ("epoch", lambda: _epoch(node, port)),
                ("post", lambda: poster.step(node, port)),
                ("finality", lambda: finality.step(node, port)),
                ("rewards", lambda: rewards.step(node, port)),
                ("answers", lambda: answers.step(node, port)),
                ("returns", lambda: returns.step(node, port)),
                ("disk", lambda: _disk(node)),
                ("sweep", lambda: _sweep(node, swept)),
            ):
                nursery.start_soon(_loop, node, name, step)
            log.info("sequencer ready", port=node_port, epoch=node.chain.open.epoch)
            task_status.started(node_port)
    finally:
        database.close()


async def make_node(config: SequencerConfig, database: db.Database, port: L1Port) -> Node:
    """The node as the store has it; a new store is begun from what L1 says."""
    if database.get(db.META, b"") is None and database.check() == 0:
        await _begin(database, port)
    chain = recovery.load(database, None)
    if chain.domain.program != port.program_id:
        raise recovery.WrongStore(
            f"the data directory {config.data_dir} belongs to program {Pubkey.from_bytes(chain.domain.program)}, "
            f"asked for is {Pubkey.from_bytes(port.program_id)}"
        )
    node = Node(
        config=config,
        database=database,
        chain=chain,
        tasks=TaskBook((row for _, row in database.scan(db.TASKS)), database, chain.position.finalized.epoch),
        blobs=BlobStore(Path(config.data_dir) / "blobs"),
        uploads=Uploads(database.scan(db.UPLOADS)),
        l1_url=config.url,
        unix_time=time.time,
        now=trio.current_time,
    )
    if chain.open.records:
        node.opened(node.now())
    restore_batches(node)
    metrics.FINALIZED_EPOCH.set(chain.position.finalized.epoch)
    metrics.POSTED_EPOCH.set(chain.position.posted_head.epoch)
    metrics.POSTS_UNLANDED.set(node.posts_unlanded)
    return node


def restore_batches(node: Node) -> None:
    """Makes the bytes of each epoch that is not final anew, from its records, if their file is gone or damaged."""
    position = node.chain.position
    for row in (flight.row for flight in (*position.posted, *position.in_flight)):
        if node.blobs.whole(row.data_sha256.hex()) is None:
            deposits = [
                d for _, d in node.database.scan(db.DEPOSITS) if row.first_deposit <= d.index < row.inbox_cursor
            ]
            groups = [group for seq in row.seqs if (group := node.database.get(db.GROUPS, db.u64be(seq))) is not None]
            if node.blobs.write(batch.data_of(deposits, groups)) != row.data_sha256:
                raise RuntimeError(f"the records of epoch {row.epoch} do not make the bytes that it was cut with")
            log.warning("batch written again", epoch=row.epoch, blob=row.data_sha256.hex())


async def _begin(database: db.Database, port: L1Port) -> None:
    """Waits until the program is initialised and a validator set sealed, and writes the first rows."""
    domain, max_inbox, pinned = await _first_look(port)
    meta = MetaRow(
        schema=db.SCHEMA,
        genesis=domain.genesis,
        program=domain.program,
        treasury=port.treasury,
        max_inbox_per_epoch=max_inbox,
        finalized_epoch=0,
        pinned_version=pinned.version,
        next_seq=0,
        next_order=0,
        next_lease_id=1,
    )
    recovery.initialise(database, meta, pinned)


async def _first_look(port: L1Port) -> tuple[Domain, int, ValidatorSet]:
    pause, said = 0.2, ""
    while True:
        try:
            genesis = await port.genesis_hash()
            l1 = await port.config("confirmed")
            account = await port.validator_set(l1.pinned.version) if l1.pinned.version else None
            if l1.highest_epoch:
                raise recovery.WrongStore(
                    f"L1 has checkpoints up to epoch {l1.highest_epoch} already, and the records behind them are in the data "
                    "directory of the sequencer that posted them: start with that one"
                )
            if account is not None and account.sealed:
                return Domain(genesis, port.program_id), l1.parameters.max_inbox_per_epoch, account.validator_set
            reason = "no validator set is sealed yet"
        except (NotInitialized, AccountError) as error:
            reason = str(error)
        except L1Error as error:
            reason = str(error)
        if reason != said:
            log.info("waiting for L1", reason=reason)
            said = reason
        await trio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


async def _check_genesis(node: Node, port: L1Port) -> None:
    genesis = await port.genesis_hash()
    if genesis != node.domain.genesis:
        raise recovery.WrongStore(
            f"the data directory {node.config.data_dir} belongs to the cluster of genesis {node.domain.genesis.hex()}, "
            f"the one at {node.l1_url} has genesis {genesis.hex()}"
        )


async def _view(node: Node, port: L1Port) -> bool:
    await _check_genesis(node, port)
    await l1_view.poll(node, port)
    await trio.sleep(node.config.poll_seconds)
    return True


async def _look_before_serving(node: Node, port: L1Port) -> None:
    """Nothing signed can be taken before L1's slot is known, so callers are spared that wait when L1 answers soon; HTTP opens either way."""
    with trio.move_on_after(FIRST_LOOK_SECONDS):
        try:
            await _check_genesis(node, port)
            await l1_view.poll(node, port)
        except (L1Error, StoreUnwritable) as error:
            log.warning("first look at L1 failed", error=str(error))


async def _disk(node: Node) -> bool:
    """After a refused write, looks for room every now and then."""
    if node.database.refusal:
        metrics.READ_ONLY.set(1)
        node.database.resume()
    metrics.READ_ONLY.set(1 if node.database.refusal else 0)
    await trio.sleep(node.config.poll_seconds)
    return False


async def _sweep(node: Node, swept: Sweep) -> bool:
    await trio.sleep(node.config.blob_sweep_seconds)
    if node.database.refusal is None:
        await swept.run(node)
    return True


async def _epoch(node: Node, port: L1Port) -> bool:
    epoch_loop.tick(node)
    if await epoch_loop.cut_if_due(node, port):
        node.wake()
    return False


async def _loop(node: Node, name: str, step: Callable[[], Awaitable[bool]]) -> None:
    """Repeats a step; what L1 or the disk refuses is logged, counted and tried again ever more slowly. Anything else ends the process."""
    pause = node.config.tick_seconds
    while True:
        wake = node.wake_poster
        try:
            progressed = await step()
            pause = node.config.tick_seconds
            if progressed:
                continue
        except (L1Error, StoreUnwritable) as error:
            metrics.FAILURES.labels(name).inc()
            log.warning("step failed", loop=name, error=str(error))
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        with trio.move_on_after(pause):
            await wake.wait()


async def _serve(node: Node, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    rate = RateLimit(node.config)
    await Door(node.config, rate).serve(make_app(node, rate), task_status=task_status)
