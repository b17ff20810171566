"""Several nodes of L1 asked as one. What decides about money or safety is what a majority of them says: of three, one may lie, lag or be
down. Where there is no majority the caller waits (L1Disagreement, L1Unreachable), nothing is guessed.

Transactions are sent to all. A node that keeps contradicting the majority, or stays silent, is named: in the log and in `troubles`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import structlog
import trio

from settlement.agreement import Agreed, agree, majority, malformed, reached
from settlement.errors import L1Disagreement, L1Error, L1RpcError, L1Unreachable
from settlement.rpc import ATTEMPTS, Rpc

ROUNDS = 6
FIRST_PAUSE_SECONDS = 0.2
ATTEMPTS_PER_NODE = 2  # the others are the retry
STRAGGLER_SECONDS = 0.3
LATE_SECONDS = 30.0
PATIENCE_SECONDS = 10.0

ANY_NODE = frozenset({"getTransaction", "getRecentPrioritizationFees"})
"""Informative only, or bounded by the caller: the first that has an answer is believed."""
FIRST_NODE = frozenset({"requestAirdrop"})
"""Writes that must happen once."""

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger(room="settlement")


class Caller(Protocol):
    """One node, or several as one. An async context manager; safe for concurrent calls."""

    url: str

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def call(self, method: str, params: Sequence[Any] = (), attempts: int = ATTEMPTS) -> Any: ...


@dataclass
class _Node:
    """`wrong` has, by method, since when (monotonic seconds) the node contradicts the majority; `silent_since` since when it fails."""

    caller: Caller
    wrong: dict[str, float] = field(default_factory=dict)
    silent_since: float | None = None
    late_until: float = float("-inf")
    named: str | None = None


@dataclass
class _Round:
    """The answers to one call so far, by node."""

    answers: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, L1Error] = field(default_factory=dict)


class QuorumRpc:
    """A Caller over at least two others with different URLs (ValueError)."""

    def __init__(self, callers: Sequence[Caller], patience_seconds: float = PATIENCE_SECONDS) -> None:
        urls = [caller.url for caller in callers]
        if len(urls) < 2 or len(set(urls)) != len(urls):
            raise ValueError(f"a quorum needs at least two different nodes, got {', '.join(urls) or 'none'}")
        self.url = ", ".join(urls)
        self._nodes = [_Node(caller) for caller in callers]
        self._quorum = majority(len(urls))
        self._patience_seconds = patience_seconds
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> QuorumRpc:
        for node in self._nodes:
            await self._stack.enter_async_context(node.caller)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def troubles(self) -> dict[str, str | None]:
        """By URL, what is wrong with a node for longer than the patience, or None."""
        return {node.caller.url: node.named for node in self._nodes}

    async def call(self, method: str, params: Sequence[Any] = (), attempts: int = ATTEMPTS) -> Any:
        """The agreed `result`. L1Unreachable when too few nodes answer, L1Disagreement when those that do contradict each other, and
        an L1RpcError that a majority of them gives."""
        if method in FIRST_NODE:
            return await self._nodes[0].caller.call(method, params, attempts)
        if method == "sendTransaction":
            return await self._send(params, attempts)
        if method == "getLatestBlockhash":
            return await self._blockhash(params)
        if method in ANY_NODE:
            return await self._any(method, params)
        return await self._agree(method, params)

    async def _agree(self, method: str, params: Sequence[Any]) -> Any:
        pause = FIRST_PAUSE_SECONDS
        for number in range(ROUNDS):
            if number:
                await trio.sleep(pause)
                pause *= 2
            asked = await self._ask(
                method, params, lambda now: agree(method, now.answers, self._quorum) is not None or self._refused(now)
            )
            agreed = agree(method, asked.answers, self._quorum)
            if agreed is not None:
                self._judge(method, asked, agreed)
                return agreed.value
            if self._refused(asked):
                raise next(error for error in asked.errors.values() if isinstance(error, L1RpcError))
        raise self._failure(method, asked)

    def _refused(self, asked: _Round) -> bool:
        """Whether a majority answered with a JSON-RPC error; a node that knows better would be outvoted all the same."""
        return sum(isinstance(error, L1RpcError) for error in asked.errors.values()) >= self._quorum

    def _failure(self, method: str, asked: _Round) -> L1Error:
        said = {self._nodes[node].caller.url: str(error) for node, error in asked.errors.items()}
        if len(asked.answers) < self._quorum:
            return L1Unreachable(
                self.url, method, ROUNDS, f"{len(asked.answers)} of {len(self._nodes)} answered; {said}"
            )
        return L1Disagreement(method, [self._nodes[node].caller.url for node in sorted(asked.answers)])

    async def _ask(
        self,
        method: str,
        params: Sequence[Any],
        enough: Callable[[_Round], bool],
        attempts: int = ATTEMPTS_PER_NODE,
    ) -> _Round:
        """Asks all at once; when there is `enough`, the others get a moment, unless they were late just before."""
        asked, now = _Round(), trio.current_time()

        async def one(index: int) -> None:
            try:
                answer = await self._nodes[index].caller.call(method, params, attempts)
                if malformed(method, params, answer):
                    asked.errors[index] = L1Unreachable(
                        self._nodes[index].caller.url, method, attempts, "a malformed answer"
                    )
                else:
                    asked.answers[index] = answer
            except L1Error as error:
                asked.errors[index] = error
            if enough(asked):
                waits = any(
                    node.late_until < now
                    for i, node in enumerate(self._nodes)
                    if i not in {**asked.answers, **asked.errors}
                )
                nursery.cancel_scope.deadline = min(
                    nursery.cancel_scope.deadline, trio.current_time() + (STRAGGLER_SECONDS if waits else 0.0)
                )

        async with trio.open_nursery() as nursery:
            for index in range(len(self._nodes)):
                nursery.start_soon(one, index)
        for index, node in enumerate(self._nodes):
            if index in asked.answers:
                node.silent_since = None
            else:
                node.silent_since = node.silent_since if node.silent_since is not None else now
                if index not in asked.errors:
                    node.late_until = now + LATE_SECONDS
            self._name(node)
        return asked

    async def _any(self, method: str, params: Sequence[Any]) -> Any:
        asked = await self._ask(method, params, lambda now: any(answer is not None for answer in now.answers.values()))
        found = [answer for answer in asked.answers.values() if answer is not None]
        if found:
            return found[0]
        if not asked.answers:
            raise next(iter(asked.errors.values()))
        return None

    async def _send(self, params: Sequence[Any], attempts: int) -> Any:
        """One node that takes it is enough; when none does, what a majority says of it is believed, and else its fate is not known."""
        asked = await self._ask("sendTransaction", params, lambda now: len(now.answers) >= self._quorum, attempts)
        if asked.answers:
            return next(iter(asked.answers.values()))
        refusals = [error for error in asked.errors.values() if isinstance(error, L1RpcError)]
        if len(refusals) >= self._quorum:
            raise refusals[0]
        waits = [error.retry_after_seconds for error in asked.errors.values() if isinstance(error, L1Unreachable)]
        raise L1Unreachable(
            self.url, "sendTransaction", 1, "; ".join(map(str, asked.errors.values())), min(waits, default=0.0)
        )

    async def _blockhash(self, params: Sequence[Any]) -> Any:
        """A blockhash that a majority knows: one of a liar's own making would keep its transaction waiting for ever."""
        asked = await self._ask("getLatestBlockhash", params, lambda now: len(now.answers) >= self._quorum)
        if len(asked.answers) < self._quorum:
            raise self._failure("getLatestBlockhash", asked)
        height = reached(
            [int(answer["value"]["lastValidBlockHeight"]) for answer in asked.answers.values()], self._quorum
        )
        for answer in sorted(asked.answers.values(), key=lambda answer: abs(_height(answer) - height)):
            known = await self._agree("isBlockhashValid", [answer["value"]["blockhash"], *params])
            if known["value"]:
                value = {**answer["value"], "lastValidBlockHeight": min(_height(answer), height)}
                return {**answer, "value": value}
        raise L1Disagreement("getLatestBlockhash", [self._nodes[node].caller.url for node in sorted(asked.answers)])

    def _judge(self, method: str, asked: _Round, agreed: Agreed) -> None:
        now = trio.current_time()
        for index in asked.answers:
            node = self._nodes[index]
            if index in agreed.dissenters:
                node.wrong.setdefault(method, now)
            else:
                node.wrong.pop(method, None)
            self._name(node)

    def _name(self, node: _Node) -> None:
        """Names a node whose trouble has lasted, or takes its name back."""
        until = trio.current_time() - self._patience_seconds
        wrong = sorted(method for method, since in node.wrong.items() if since <= until)
        trouble = None
        if wrong:
            trouble = f"contradicts the other L1 nodes on {', '.join(wrong)}"
        elif node.silent_since is not None and node.silent_since <= until:
            trouble = "does not answer"
        if trouble != node.named:
            node.named = trouble
            if trouble:
                _LOG.error("L1 node in trouble", url=node.caller.url, trouble=trouble)
            else:
                _LOG.info("L1 node agrees again", url=node.caller.url)


def _height(answer: Any) -> int:
    return int(answer["value"]["lastValidBlockHeight"])


def caller_of(urls: Sequence[str]) -> Caller:
    """One node's Rpc, or the quorum over several. ValueError when none is given or one twice."""
    return Rpc(urls[0]) if len(urls) == 1 else QuorumRpc([Rpc(url) for url in urls])
