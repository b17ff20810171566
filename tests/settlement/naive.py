"""docs/protocol.md a second time, written from the text alone: slow, recursive, on dicts, importing nothing of settlement.

Tests hold the real implementation and the committed vectors against it.
"""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from typing import Any


def digest(data: bytes) -> bytes:
    return sha256(data).digest()


def tagged(name: str, *parts: bytes) -> bytes:
    return digest(digest(b"pouw/v1/" + name.encode()) + b"".join(parts))


def le(value: int, width: int = 8) -> bytes:
    return bytes(value >> (8 * i) & 0xFF for i in range(width))


def be(value: int, width: int) -> bytes:
    return le(value, width)[::-1]


def node_id(public_key: bytes) -> bytes:
    return digest(public_key)[:20]


# RFC 9162, section 2.1


def merkle_tree(leaves: list[bytes]) -> bytes:
    if not leaves:
        return digest(b"")
    if len(leaves) == 1:
        return digest(b"\0" + leaves[0])
    k = _split(len(leaves))
    return digest(b"\1" + merkle_tree(leaves[:k]) + merkle_tree(leaves[k:]))


def merkle_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*merkle_path(index, leaves[:k]), merkle_tree(leaves[k:])]
    return [*merkle_path(index - k, leaves[k:]), merkle_tree(leaves[:k])]


def merkle_root(name: str, leaves: list[bytes]) -> bytes:
    return tagged(name, le(len(leaves)), merkle_tree(leaves))


def _split(count: int) -> int:
    k = 1
    while 2 * k < count:
        k *= 2
    return k


# CRC-32 as in ISO 3309, bit by bit


def crc32(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(op: int, time: int, node: bytes, task: bytes, payload: bytes) -> bytes:
    body = bytes([1, op]) + be(time, 4) + node + task + payload + bytes(98 - len(payload))
    return body + be(crc32(body), 4)


# The state tree: a dict of key → leaf hash


def state_leaf(key: bytes, value_hash: bytes) -> bytes:
    return tagged("state-leaf", key, value_hash)


def state_root(leaves: dict[bytes, bytes], depth: int = 0) -> bytes:
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        return next(iter(leaves.values()))
    left = {key: leaf for key, leaf in leaves.items() if not _bit(key, depth)}
    right = {key: leaf for key, leaf in leaves.items() if _bit(key, depth)}
    return tagged("state-node", state_root(left, depth + 1), state_root(right, depth + 1))


def state_siblings(leaves: dict[bytes, bytes], key: bytes, depth: int = 0) -> list[bytes]:
    if len(leaves) == 1:
        return []
    mine = {other: leaf for other, leaf in leaves.items() if _bit(other, depth) == _bit(key, depth)}
    others = {other: leaf for other, leaf in leaves.items() if _bit(other, depth) != _bit(key, depth)}
    return [state_root(others, depth + 1), *state_siblings(mine, key, depth + 1)]


def _bit(key: bytes, depth: int) -> str:
    return "1" if f"{int.from_bytes(key, 'big'):0256b}"[depth] == "1" else ""


# The ledger on dicts. A rejected record raises Refused.

MIN_WORKER_STAKE = 1_000_000
HOLD_SLOTS = 432_000
EXACT, REPLAY = 1, 2
PENDING, REVEALED, PAID, REFUNDED, HELD, STRUCK = 1, 2, 3, 4, 5, 6
UNSCHEDULED = 2**64 - 1


EVENTS = (
    "deposit",
    "payment",
    "refund",
    "slash",
    "withdrawal",
    "inbox task",
    "forced withdrawal",
    "strike",
    "hold",
    "schedule",
)


class Refused(Exception):
    pass


def need(condition: object) -> None:
    if not condition:
        raise Refused


class Ledger:
    """Accounts by node id and tasks by id, as plain dicts of what section 7 lists."""

    def __init__(self, genesis: bytes, program: bytes, stakes: list[int], authorities: list[bytes], treasury: bytes):
        self.genesis, self.program, self.stakes, self.treasury = genesis, program, stakes, treasury
        self.authorities = authorities
        self.accounts: dict[bytes, dict[str, Any]] = {}
        self.tasks: dict[bytes, dict[str, Any]] = {}
        self.cursor = 0

    def open_account(self, public_key: bytes) -> dict[str, Any]:
        names = ("balance", "locked_fees", "locked_stake", "pledged_stake", "nonce", "payable")
        return self.accounts.setdefault(node_id(public_key), {"public_key": public_key, **dict.fromkeys(names, 0)})

    def apply(self, epoch: int, base_slot: int, op: int, node: bytes, task_id: bytes, fields: dict[str, Any]) -> None:
        """Changes everything or, with Refused, nothing."""
        kept = deepcopy((self.accounts, self.tasks, self.cursor))
        try:
            self._apply(epoch, base_slot, op, node, task_id, fields)
            need(all(value < 2**64 for a in self.accounts.values() for k, value in a.items() if k != "public_key"))
            need(all(total < 2**64 for total in self.sums()))
        except Refused:
            self.accounts, self.tasks, self.cursor = kept
            raise

    def _apply(self, epoch: int, base_slot: int, op: int, node: bytes, task_id: bytes, f: dict[str, Any]) -> None:
        kind = {1: "submission", 2: "result", 3: "registration", 4: "vote", 6: "proof"}.get(op)
        if op == 7:
            kind = EVENTS[f["event"] - 1]
        need(kind)
        if kind in ("deposit", "inbox task", "forced withdrawal", "strike"):
            need(f["inbox_index"] == self.cursor and f["lamports"] > 0 and node == node_id(f["public_key"]))
            account = self.open_account(f["public_key"])
            account["balance"] += f["lamports"]
            self.cursor += 1
            if kind == "inbox task":
                self._inbox_task(base_slot, node, task_id, f)
            elif kind == "strike":
                self._strike(node, task_id, f)
            elif kind == "forced withdrawal" and account["public_key"] == f["public_key"]:
                self._forced_withdrawal(base_slot, node, task_id, f["number"])
            return
        if kind in ("submission", "result", "registration", "withdrawal"):
            need(node in self.accounts)
            author = self.accounts[node]
            need(author["nonce"] == f["number" if kind == "withdrawal" else "nonce"])
            author["nonce"] += 1
        if kind == "submission":
            parts = (self.genesis, self.program, author["public_key"], le(f["nonce"]), f["spec_hash"])
            need(task_id == tagged("task", *parts) and task_id not in self.tasks)
            need(
                f["fee_lamports"] > 0 and f["deadline_slot"] > base_slot and (f["kind"], f["mode"]) in ((1, 1), (1, 2))
            )
            need(author["balance"] >= f["fee_lamports"])
            author["balance"] -= f["fee_lamports"]
            author["locked_fees"] += f["fee_lamports"]
            self.tasks[task_id] = new_task(node, f["kind"], f["mode"], f["fee_lamports"], f["deadline_slot"])
            return
        if kind == "registration":
            need(author["public_key"] == f["public_key"] and 0 < f["stake_lamports"] <= author["balance"])
            author["balance"] -= f["stake_lamports"]
            author["locked_stake"] += f["stake_lamports"]
            return
        if kind == "withdrawal":
            need(0 < f["lamports"] <= author["balance"])
            author["balance"] -= f["lamports"]
            author["payable"] += f["lamports"]
            return
        need(task_id in self.tasks)
        task = self.tasks[task_id]
        if kind == "result":
            need(task["status"] == PENDING and task["deadline"] >= base_slot)
            is_exact = task["mode"] == EXACT
            free = author["locked_stake"] - author["pledged_stake"]
            need(free >= (2 if is_exact else 1) * MIN_WORKER_STAKE and node != task["client"])
            author["pledged_stake"] += is_exact * MIN_WORKER_STAKE
            parts = (task_id, le(f["lease_id"]), author["public_key"], f["salt"], f["result_hash"])
            commitment = tagged("commitment", self.genesis, self.program, *parts)
            task.update(_NO_RESULT, status=REVEALED, worker=node, commitment=commitment, result=f["result_hash"])
            return
        if kind == "refund":
            need(task["status"] in (PENDING, REVEALED) and task["deadline"] < base_slot)
            need(node == task["client"] and f["lamports"] == task["fee"])
            self._give_back(task)
            return
        if kind == "schedule":
            need(task["status"] == HELD and task["deadline"] == UNSCHEDULED)
            need(epoch > task["verdict_epoch"] and node == task["worker"] and base_slot + HOLD_SLOTS < 2**64)
            task["deadline"] = base_slot + HOLD_SLOTS
            return
        if kind == "payment" and task["status"] == HELD:
            need(base_slot >= task["deadline"])
            self._pay(task, node, f["lamports"])
            return
        need(task["status"] == REVEALED)
        if kind in ("vote", "proof"):
            need(f["set_index"] < len(self.stakes) and node == node_id(self.authorities[f["set_index"]]))
            if kind == "vote":
                need(f["result_hash"] == task["result"])
                if task["verdict_epoch"] != epoch:
                    task.update(verdict_epoch=epoch, accept=frozenset(), reject=frozenset())
                need(f["set_index"] not in task["accept"] | task["reject"])
                if f["verdict"] in (1, 2):
                    task[{1: "accept", 2: "reject"}[f["verdict"]]] |= {f["set_index"]}
            return
        votes = task["reject"] if kind == "slash" else task["accept"]
        need(task["verdict_epoch"] == epoch and node == task["worker"])
        need(3 * sum(self.stakes[i] for i in votes) >= 2 * sum(self.stakes))
        if kind == "payment":
            need(task["mode"] != EXACT)
            self._pay(task, node, f["lamports"])
        elif kind == "hold":
            need(task["mode"] == EXACT and f["lamports"] == task["fee"])
            task.update(status=HELD, deadline=UNSCHEDULED)
        else:
            worker, pledge = self.accounts[node], MIN_WORKER_STAKE * (task["mode"] == EXACT)
            need(f["lamports"] == worker["locked_stake"] - worker["pledged_stake"] + pledge)
            worker["locked_stake"] -= f["lamports"]
            worker["pledged_stake"] -= pledge
            self.open_account(self.treasury)["payable"] += f["lamports"]
            task.update(_NO_RESULT, status=PENDING)

    def _inbox_task(self, base_slot: int, node: bytes, task_id: bytes, f: dict[str, Any]) -> None:
        parts = (self.genesis, self.program, f["public_key"], le(f["inbox_index"]), f["spec_hash"])
        need(task_id == tagged("inbox-task-id", *parts))
        kind, mode, fee = f["kind_mode"] // 16, f["kind_mode"] % 16, f["lamports"]
        if (kind, mode) in ((1, 1), (1, 2)) and f["number"] > base_slot and task_id not in self.tasks:
            self.accounts[node]["balance"] -= fee
            self.accounts[node]["locked_fees"] += fee
            self.tasks[task_id] = new_task(node, kind, mode, fee, f["number"])

    def _forced_withdrawal(self, base_slot: int, node: bytes, task_id: bytes, asked: int) -> None:
        account, task = self.accounts[node], self.tasks.get(task_id)
        if task and task["client"] == node and task["deadline"] < base_slot and task["status"] in (PENDING, REVEALED):
            self._give_back(task)
        taken = min(asked, account["balance"])
        account["balance"] -= taken
        account["payable"] += taken

    def _give_back(self, task: dict[str, Any], status: int = REFUNDED) -> None:
        """The fee to the client; what stood behind a result that was revealed or held is free, or gone by a strike."""
        self.accounts[task["client"]]["locked_fees"] -= task["fee"]
        self.accounts[task["client"]]["balance"] += task["fee"]
        if task["mode"] == EXACT and task["status"] in (REVEALED, HELD):
            self.accounts[task["worker"]]["pledged_stake"] -= MIN_WORKER_STAKE
        task["status"] = status

    def _pay(self, task: dict[str, Any], node: bytes, lamports: int) -> None:
        need(node == task["worker"] and lamports == task["fee"])
        self.accounts[task["client"]]["locked_fees"] -= lamports
        self.accounts[node]["payable"] += lamports
        if task["mode"] == EXACT:
            self.accounts[node]["pledged_stake"] -= MIN_WORKER_STAKE
        task["status"] = PAID

    def _strike(self, node: bytes, task_id: bytes, f: dict[str, Any]) -> None:
        task = self.tasks.get(task_id)
        if task and task["mode"] == EXACT and task["status"] in (REVEALED, HELD) and task["result"] == f["spec_hash"]:
            self._give_back(task, STRUCK)
            self.accounts[task["worker"]]["locked_stake"] -= MIN_WORKER_STAKE
            share = MIN_WORKER_STAKE * min(f["number"], 10_000) // 10_000
            self.accounts[node]["payable"] += share
            self.open_account(self.treasury)["payable"] += MIN_WORKER_STAKE - share

    def sums(self) -> tuple[int, int, int]:
        """balance, locked, payable over all accounts."""
        accounts = self.accounts.values()
        return (
            sum(a["balance"] for a in accounts),
            sum(a["locked_fees"] + a["locked_stake"] for a in accounts),
            sum(a["payable"] for a in accounts),
        )

    def leaves(self) -> dict[bytes, bytes]:
        """key → leaf hash of the whole state."""
        found = {}
        names = ("balance", "locked_fees", "locked_stake", "pledged_stake", "nonce", "payable")
        for node, account in self.accounts.items():
            value = account["public_key"] + b"".join(le(account[name]) for name in names)
            key = tagged("account-key", node)
            found[key] = state_leaf(key, tagged("account", value))
        for task_id, task in self.tasks.items():
            value = task["client"] + bytes([task["kind"], task["mode"], task["status"]])
            value += le(task["fee"]) + le(task["deadline"]) + task["worker"] + task["commitment"] + task["result"]
            value += le(task["verdict_epoch"])
            value += le(sum(1 << i for i in task["accept"]), 32) + le(sum(1 << i for i in task["reject"]), 32)
            key = tagged("task-key", task_id)
            found[key] = state_leaf(key, tagged("task-leaf", value))
        key = tagged("totals-key")
        totals = b"".join(le(value) for value in (*self.sums(), self.cursor))
        found[key] = state_leaf(key, tagged("totals", totals))
        return found

    def root(self) -> bytes:
        return state_root(self.leaves())


def new_task(client: bytes, kind: int, mode: int, fee: int, deadline: int) -> dict[str, Any]:
    of = {"client": client, "kind": kind, "mode": mode, "status": PENDING, "fee": fee, "deadline": deadline}
    return {**of, **_NO_RESULT}


_NO_RESULT: dict[str, Any] = {
    "worker": bytes(20),
    "commitment": bytes(32),
    "result": bytes(32),
    "verdict_epoch": 0,
    "accept": frozenset(),
    "reject": frozenset(),
}
