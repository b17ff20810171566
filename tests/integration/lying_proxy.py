"""A lying sequencer, for tests: a proxy before the real one that shows each validator another proposal than the real one, or none.

Each validator has a path of its own (`/validator-0`), so the proxy knows who asks. Whatever is not about proposals passes through unaltered.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import httpx
import msgspec
import trio
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from settlement import merkle, records
from settlement.ledger import Context, LedgerRejection, Parent, apply, batch
from settlement.messages import CheckpointMessage
from settlement.records import Record
from settlement.sequencer_client import RpcError, SequencerClient
from settlement.signing import Authorisation, Domain

NOT_FOUND = -33016
Signed = tuple[Record, Authorisation]


@dataclass(frozen=True)
class Proposal:
    """A checkpoint message and the bytes of its batch."""

    message: CheckpointMessage
    data: bytes

    @property
    def pairs(self) -> list[Signed]:
        return [(records.decode(r), Authorisation.decode(a)) for r, a in batch.split(self.data)]

    @property
    def key(self) -> tuple[int, int]:
        return self.message.epoch, self.message.attempt

    def saying(self, **changes: Any) -> "Proposal":
        return replace(self, message=replace(self.message, **changes))

    def holding(self, pairs: list[Signed], parent: Parent, context: Context) -> "Proposal":
        """The same with another batch and everything else made consistent with it. What the ledger refuses leaves its state as it was."""
        state, trace = parent.state, [parent.state.root]
        for index, (record, _) in enumerate(pairs):
            with suppress(LedgerRejection):
                state = apply(state, record, context)
            if (index + 1) % batch.RECORDS_PER_TRACE_ENTRY == 0 or index + 1 == len(pairs):
                trace.append(state.root)
        taken = [records.encode(record) for record, _ in pairs]
        data = b"".join(taken) + b"".join(authorisation.encode() for _, authorisation in pairs)
        message = replace(
            self.message,
            results_root=merkle.root("results-root", taken),
            trace_root=merkle.root("trace-root", trace),
            data_root=merkle.root("data-root", batch.chunks(data)),
            state_root=state.root,
            payable_total=state.totals.payable,
            inbox_cursor=state.totals.inbox_cursor,
            inbox_hash=batch.inbox_hash(parent.inbox_hash, [record for record, _ in pairs]),
        )
        return Proposal(message, data)


Show = Callable[[str, Proposal], Awaitable[Proposal | None]]
"""What a validator is shown in place of the real proposal; None hides it."""


@dataclass
class LyingProxy:
    """`show` may be replaced at any time.

    `signed` is who attested what, by checkpoint hash; `done` which proposals a validator was shown and is through with, by validator;
    `slot` is the last that the real sequencer told.
    """

    upstream: str
    port: int
    domain: Domain
    show: Show
    signed: dict[str, set[str]] = field(default_factory=dict)
    done: dict[str, set[str]] = field(default_factory=dict)
    slot: int = 0
    _shown: dict[str, str] = field(default_factory=dict)
    _blobs: dict[str, bytes] = field(default_factory=dict)
    _real: dict[tuple[int, int], Proposal] = field(default_factory=dict)

    def signers(self, proposal: Proposal) -> set[str]:
        return self.signed.get(self.hash_of(proposal), set())

    def is_done(self, validator: str, proposal: Proposal) -> bool:
        """Whether the validator was shown this and has asked for its duties since: it has signed it or never will."""
        return self.hash_of(proposal) in self.done.get(validator, set())

    def url_for(self, validator: str) -> str:
        return f"http://127.0.0.1:{self.port}/{validator}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        routes = [
            Route("/{validator}/", self._call, methods=["POST"]),
            Route("/{validator}/blobs/{name}", self._blob, methods=["GET"]),
        ]
        config = ServerConfig()
        config.bind, config.accesslog, config.errorlog = [f"127.0.0.1:{self.port}"], None, None
        config.graceful_timeout = 1
        self._http = httpx.AsyncClient(timeout=60, trust_env=False)
        async with self._http, SequencerClient(self.upstream) as client, trio.open_nursery() as nursery:
            self._client = client
            await nursery.start(serve, Starlette(routes=routes), config)
            task_status.started()

    async def _forward(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._http.post(self.upstream + "/", json=body)).json()
        return answer

    async def _blob(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in self._blobs:
            return Response(self._blobs[name])
        answer = await self._http.get(f"{self.upstream}/blobs/{name}")
        return Response(answer.content, answer.status_code)

    async def _call(self, request: Request) -> Response:
        validator, body = request.path_params["validator"], msgspec.json.decode(await request.body())
        params = body.get("params", {})
        match body["method"]:
            case "getDuties":
                return JSONResponse(await self._duties(validator, body))
            case "getProposal":
                return JSONResponse(await self._proposal(validator, body))
            case "submitAttestation":
                self.signed.setdefault(params["hash"], set()).add(validator)
                if params["hash"] not in {self.hash_of(real) for real in self._real.values()}:
                    value = {"signers": 1, "stakeLamports": 1, "quorum": False}
                    return JSONResponse({"jsonrpc": "2.0", "id": body["id"], "result": {"context": {}, "value": value}})
        return JSONResponse(await self._forward(body))

    async def _duties(self, validator: str, body: dict[str, Any]) -> dict[str, Any]:
        if validator in self._shown:  # it judges one proposal at a time
            self.done.setdefault(validator, set()).add(self._shown.pop(validator))
        answer = await self._forward(body)
        if "result" in answer:
            self.slot = answer["result"]["context"]["slot"]
            real = await self._in_flight()
            shown = real and await self.show(validator, real)
            key = shown and {"epoch": shown.message.epoch, "attempt": shown.message.attempt}
            answer["result"]["value"]["proposal"] = key
        return answer

    async def _proposal(self, validator: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._forward(body)
        real = await self._in_flight()
        if "result" in answer and real is not None and answer["result"]["value"]["hash"] == self.hash_of(real):
            shown = await self.show(validator, real)
            if shown is not None:
                self._shown[validator] = self.hash_of(shown)
                name = sha256(shown.data).hexdigest()
                self._blobs[name] = shown.data
                named = {"hash": self.hash_of(shown), "dataSha256": name}
                answer["result"]["value"] |= {**shown.message.to_json(), **named}
        return answer

    def hash_of(self, proposal: Proposal) -> str:
        return proposal.message.hash(self.domain).hex()

    async def _in_flight(self) -> Proposal | None:
        """The real proposal that waits for attestations, whether or not a validator has given its own."""
        epoch = (await self._client.call("getEpochInfo"))["postedEpoch"] + 1
        try:
            checkpoint = await self._client.call("getCheckpoint", {"epoch": epoch})
        except RpcError as error:
            if error.code != NOT_FOUND:
                raise
            return None  # it is not cut yet
        if checkpoint["status"] != "attesting":
            return None
        key = checkpoint["epoch"], checkpoint["attempt"]
        if key not in self._real:
            data = await self._client.get_blob(checkpoint["dataSha256"])
            self._real[key] = Proposal(CheckpointMessage.from_json(checkpoint), data)
        return self._real[key]
