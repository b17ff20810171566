"""Methods about the cluster: its leader, its validator, its stake, its money.

All of it follows from one fact: a single validator, this process, leads every slot and holds all of the stake. There
is no gossip, no turbine, no snapshot and no inflation, and the answers say so.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Any, NoReturn

from solders.hash import Hash

from localnet.commitment import Commitment
from localnet.errors import block_cleaned_up, block_not_available, invalid_params, no_snapshot
from localnet.genesis import active_stake_lamports, vote_address
from localnet.methods_ledger import FEATURE_SET, slot_of, slots_per_epoch
from localnet.node import API_VERSION, Node, with_context
from localnet.params import (
    U64,
    BlockProductionConfig,
    CommitmentConfig,
    ContextConfig,
    EpochConfig,
    LargestAccountsConfig,
    LeaderScheduleConfig,
    SupplyConfig,
    VoteAccountsConfig,
    pubkey,
)
from localnet.registry import Methods
from localnet.supply import all_accounts

MAX_SLOT_LEADERS = 5_000
LARGEST_ACCOUNTS = 20
MAX_PERFORMANCE_SAMPLES = 720
PERFORMANCE_SAMPLE_SECONDS = 60
MAX_LOCKOUT_DEPTH = 31
MIN_DELEGATION_LAMPORTS = 1_000_000_000

methods = Methods()


def stake_lamports(node: Node) -> int:
    return active_stake_lamports(node.bank.svm.minimum_balance_for_rent_exemption)


def _epoch(node: Node, slot: int) -> int:
    return slot // slots_per_epoch(node)


def _has_leader_schedule(node: Node, epoch: int, slot: int) -> bool:
    """Schedules are known up to the epoch after the current one, as the schedule offset of a whole epoch gives."""
    return epoch <= _epoch(node, slot) + 1


@methods.method("getSlotLeader")
def get_slot_leader(node: Node, config: ContextConfig | None = None) -> str:
    slot_of(node, config)
    return str(node.identity)


@methods.method("getSlotLeaders")
def get_slot_leaders(node: Node, start_slot: U64, limit: U64) -> list[str]:
    if limit > MAX_SLOT_LEADERS:
        raise invalid_params(f"Invalid limit; max {MAX_SLOT_LEADERS}")
    newest = slot_of(node, None)
    for epoch in range(_epoch(node, start_slot), _epoch(node, start_slot + limit - 1) + 1):
        if not _has_leader_schedule(node, epoch, newest):
            raise invalid_params(f"Invalid slot range: leader schedule for epoch {epoch} is unavailable")
    return [str(node.identity)] * limit


@methods.method("getLeaderSchedule")
def get_leader_schedule(
    node: Node,
    slot_or_config: U64 | LeaderScheduleConfig | None = None,
    config: LeaderScheduleConfig | None = None,
) -> dict[str, list[int]] | None:
    """Slots by leader, counted from the start of the epoch; null when the epoch's schedule is not known yet."""
    slot = slot_or_config if isinstance(slot_or_config, int) else None
    if isinstance(slot_or_config, LeaderScheduleConfig):
        config = slot_or_config
    config = config or LeaderScheduleConfig()
    wanted = None if config.identity is None else pubkey(config.identity)
    newest = node.slot_for(config.commitment)
    if not _has_leader_schedule(node, _epoch(node, newest if slot is None else slot), newest):
        return None
    return {str(node.identity): list(range(slots_per_epoch(node)))} if wanted in (None, node.identity) else {}


@methods.method("getBlockProduction")
def get_block_production(node: Node, config: BlockProductionConfig | None = None) -> dict[str, Any]:
    """Every slot has its block."""
    config = config or BlockProductionConfig()
    wanted = None if config.identity is None else pubkey(config.identity)
    newest = node.slot_for(config.commitment)
    first, last = newest - newest % slots_per_epoch(node), newest
    if config.range is not None:
        first = config.range.first_slot
        last = newest if config.range.last_slot is None else config.range.last_slot
        if last < first:
            raise invalid_params(f"lastSlot, {last}, cannot be less than firstSlot, {first}")
    if last > newest:
        raise invalid_params(f"lastSlot, {last}, is too large; max {newest}")
    slots = last - first + 1
    by_identity = {str(node.identity): [slots, slots]} if wanted in (None, node.identity) else {}
    return with_context(newest, {"byIdentity": by_identity, "range": {"firstSlot": first, "lastSlot": last}})


@methods.method("getBlockCommitment")
def get_block_commitment(node: Node, slot: U64) -> dict[str, Any]:
    """The stake that has voted on the block at each lockout depth. A slot counts as voted on once when the next one
    opens, and once more with each after it, until it is finalized.
    """
    depths = None
    votes = node.bank.slot - slot
    if votes > 0:
        finalized = slot <= slot_of(node, None)
        depths = [0] * (MAX_LOCKOUT_DEPTH + 1)
        depths[MAX_LOCKOUT_DEPTH if finalized else min(votes, MAX_LOCKOUT_DEPTH) - 1] = stake_lamports(node)
    return {"commitment": depths, "totalStake": stake_lamports(node)}


@methods.method("getVoteAccounts")
def get_vote_accounts(node: Node, config: VoteAccountsConfig | None = None) -> dict[str, Any]:
    config = config or VoteAccountsConfig()
    vote = vote_address(node.identity)
    wanted = None if config.vote_pubkey is None else pubkey(config.vote_pubkey)
    slot = node.slot_for(config.commitment)
    validator = {
        "activatedStake": stake_lamports(node),
        "commission": 0,
        "epochCredits": [],
        "epochVoteAccount": True,
        "inflationRewardsCommissionBps": 0,
        "lastVote": slot,
        "nodePubkey": str(node.identity),
        "rootSlot": max(0, node.bank.slot_at(Commitment.FINALIZED) - (node.bank.slot - slot)),
        "votePubkey": str(vote),
    }
    return {"current": [validator] if wanted in (None, vote) else [], "delinquent": []}


def shred_version(genesis_hash: Hash) -> int:
    """What nodes of one cluster know each other by: the hash's sixteen-bit words, xored, plus one (solana-shred-version)."""
    data = bytes(genesis_hash)
    high, low = (reduce(xor, data[parity::2]) for parity in (0, 1))
    return min((high << 8 | low) + 1, 0xFFFF)


@methods.method("getClusterNodes")
def get_cluster_nodes(node: Node) -> list[dict[str, Any]]:
    """This process alone; of a validator's sockets it has RPC and WebSocket only."""
    sockets = dict.fromkeys(
        ("gossip", "serveRepair", "tpu", "tpuForwards", "tpuForwardsQuic", "tpuQuic", "tpuVote", "tvu")
    )
    identity = {"clientId": None, "featureSet": FEATURE_SET, "pubkey": str(node.identity), "version": API_VERSION}
    served = {
        "rpc": node.rpc_address,
        "pubsub": node.websocket_address,
        "shredVersion": shred_version(node.genesis_hash),
    }
    return [{**identity, **sockets, **served}]


@methods.method("getHighestSnapshotSlot")
def get_highest_snapshot_slot(node: Node) -> NoReturn:
    raise no_snapshot()


@methods.method("getMaxRetransmitSlot")
@methods.method("getMaxShredInsertSlot")
def get_max_shred_slot(node: Node) -> int:
    """No shred comes from anywhere: a single leader answers 0, here as on solana-test-validator."""
    return 0


@methods.method("getEpochSchedule")
def get_epoch_schedule(node: Node) -> dict[str, Any]:
    return {
        "firstNormalEpoch": 0,
        "firstNormalSlot": 0,
        "leaderScheduleSlotOffset": slots_per_epoch(node),
        "slotsPerEpoch": slots_per_epoch(node),
        "warmup": False,
    }


@methods.method("getInflationGovernor")
def get_inflation_governor(node: Node, config: CommitmentConfig | None = None) -> dict[str, float]:
    return dict.fromkeys(("foundation", "foundationTerm", "initial", "taper", "terminal"), 0.0)


@methods.method("getInflationRate")
def get_inflation_rate(node: Node) -> dict[str, Any]:
    epoch = _epoch(node, slot_of(node, None))
    return {"epoch": epoch, "foundation": 0.0, "total": 0.0, "validator": 0.0}


@methods.method("getInflationReward")
def get_inflation_reward(node: Node, addresses: list[str], config: EpochConfig | None = None) -> list[None]:
    """Nobody gets any. Rewards of an epoch are known with the first block of the next one."""
    config = config or EpochConfig()
    for text in addresses:
        pubkey(text)
    newest = slot_of(node, config)
    epoch = max(0, _epoch(node, newest) - 1) if config.epoch is None else config.epoch
    paid_in = (epoch + 1) * slots_per_epoch(node)
    if paid_in < node.bank.history.first_slot:
        raise block_cleaned_up(paid_in, node.bank.history.first_slot)
    if paid_in > newest:
        raise block_not_available(paid_in)
    return [None] * len(addresses)


@methods.method("getStakeMinimumDelegation")
def get_stake_minimum_delegation(node: Node, config: ContextConfig | None = None) -> dict[str, Any]:
    return with_context(slot_of(node, config), MIN_DELEGATION_LAMPORTS)


@methods.method("getSupply")
def get_supply(node: Node, config: SupplyConfig | None = None) -> dict[str, Any]:
    """Nothing is locked up here, so all of the supply circulates."""
    slot = node.slot_for(config.commitment if config else None)
    total = sum(account.lamports for account in all_accounts(node.bank, slot).values())
    supply = {"circulating": total, "nonCirculating": 0, "nonCirculatingAccounts": [], "total": total}
    return with_context(slot, supply)


@methods.method("getLargestAccounts")
def get_largest_accounts(node: Node, config: LargestAccountsConfig | None = None) -> dict[str, Any]:
    config = config or LargestAccountsConfig()
    slot = node.slot_for(config.commitment)
    if config.filter == "nonCirculating":
        return with_context(slot, [])
    accounts = all_accounts(node.bank, slot).items()
    balances = sorted(((account.lamports, bytes(key), key) for key, account in accounts), reverse=True)
    found = [{"address": str(key), "lamports": lamports} for lamports, _, key in balances[:LARGEST_ACCOUNTS]]
    return with_context(slot, found)


@methods.method("getRecentPerformanceSamples")
def get_recent_performance_samples(node: Node, limit: U64 | None = None) -> list[dict[str, int]]:
    """Whole minutes of block time since the first block that is kept, newest first; nobody votes here."""
    limit = MAX_PERFORMANCE_SAMPLES if limit is None else limit
    if limit > MAX_PERFORMANCE_SAMPLES:
        raise invalid_params(f"Invalid limit; max {MAX_PERFORMANCE_SAMPLES}")
    history = node.bank.history
    first, newest = history.block(history.first_slot), history.block(node.bank.slot)
    assert first is not None and newest is not None
    samples: list[dict[str, int]] = []
    end_slot = node.bank.slot
    minute = (newest.unix_time - first.unix_time) // PERFORMANCE_SAMPLE_SECONDS
    while minute > 0 and len(samples) < limit:
        ended = first.unix_time + minute * PERFORMANCE_SAMPLE_SECONDS
        last = _last_slot_before(node, ended, history.first_slot, end_slot)
        start = _last_slot_before(node, ended - PERFORMANCE_SAMPLE_SECONDS, history.first_slot, last)
        if last > start:
            count = _transactions_until(node, last) - _transactions_until(node, start)
            samples.append(
                {
                    "numNonVoteTransactions": count,
                    "numSlots": last - start,
                    "numTransactions": count,
                    "samplePeriodSecs": PERFORMANCE_SAMPLE_SECONDS,
                    "slot": last,
                }
            )
        end_slot = start
        if start == history.first_slot:
            break
        before = history.block(start)
        assert before is not None
        # Block time stands still while no process serves the ledger: go on where there are blocks again.
        minute = min(minute - 1, (before.unix_time - first.unix_time) // PERFORMANCE_SAMPLE_SECONDS + 1)
    return samples


def _last_slot_before(node: Node, unix_time: int, low: int, high: int) -> int:
    """The newest slot from `low` to `high` whose time is before `unix_time`, or `low`: times never decrease."""
    while low < high:
        middle = (low + high + 1) // 2
        block = node.bank.history.block(middle)
        if block is not None and block.unix_time < unix_time:
            low = middle
        else:
            high = middle - 1
    return low


def _transactions_until(node: Node, slot: int) -> int:
    block = node.bank.history.block(slot)
    return 0 if block is None else block.transaction_count
