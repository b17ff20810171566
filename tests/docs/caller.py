"""Calls the methods of docs/rpc.md as the document says to: builds the record that the params stand for, signs, posts the envelope."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from solders.keypair import Keypair
from solders.signature import Signature

from settlement import messages, records, signing, spec, work
from settlement.records import (
    EconomicEvent,
    Event,
    Kind,
    Mode,
    Op,
    Record,
    TaskResult,
    TaskSubmission,
    WorkerRegistration,
)
from settlement.signing import Domain, node_id
from tests.sequencer.contract import Contract
from tests.sequencer.kit import vote_record

RECORD_SLOTS, CALL_SLOTS = 512, 256

Params = dict[str, Any]


def submission(domain: Domain, key: bytes, params: Params) -> Record:
    digest = spec.spec_hash(params["spec"])
    task_id = messages.task_id(domain, key, params["nonce"], digest)
    payload = TaskSubmission(
        params["nonce"], params["feeLamports"], params["deadlineSlot"], digest, Kind.TRAINING, Mode.REPLAY
    )
    return Record(Op.TASK_SUBMISSION, 0, node_id(key), task_id, payload)


def withdrawal(domain: Domain, key: bytes, params: Params) -> Record:
    payload = EconomicEvent(Event.WITHDRAWAL, number=params["nonce"], lamports=params["lamports"])
    return Record(Op.ECONOMIC_EVENT, 0, node_id(key), bytes(32), payload)


def registration(domain: Domain, key: bytes, params: Params) -> Record:
    environment_hash = work.environment_hash(params["environment"])
    payload = WorkerRegistration(params["nonce"], key, params["stakeLamports"], environment_hash)
    return Record(Op.WORKER_REGISTRATION, 0, node_id(key), bytes(32), payload)


def result(domain: Domain, key: bytes, params: Params) -> Record:
    payload = TaskResult(
        params["nonce"], params["leaseId"], bytes.fromhex(params["resultHash"]), bytes.fromhex(params["salt"])
    )
    return Record(Op.TASK_RESULT, 0, node_id(key), bytes.fromhex(params["taskId"]), payload)


def vote(domain: Domain, key: bytes, params: Params) -> Record:
    return vote_record(key, params)


RECORDS: dict[str, Callable[[Domain, bytes, Params], Record]] = {
    "submitTask": submission,
    "withdraw": withdrawal,
    "registerWorker": registration,
    "revealResult": result,
    "submitVerdict": vote,
}


@dataclass
class Caller:
    """Sends to the sequencer at `url`. `parties` are those whom an example names: `"auth": "<auth of worker>"`.

    Every answer is held against the OpenRPC document in `contract`.
    """

    url: str
    http: httpx.AsyncClient
    domain: Domain
    parties: dict[str, Keypair]
    contract: Contract
    used: dict[str, Params] = field(default_factory=dict)

    async def slot(self) -> int:
        answer = await self.send({"jsonrpc": "2.0", "id": 0, "method": "getEpochInfo"})
        return int(answer["result"]["context"]["slot"])

    async def send(self, envelope: dict[str, Any]) -> Any:
        response = await self.http.post(self.url, content=json.dumps(envelope))
        assert response.status_code == 200, response.text
        answer = response.json()
        self.contract.check(envelope["method"], answer)
        return answer

    async def auth(self, text: str, method: str, params: Params) -> Params:
        """The auth object for "<auth of PARTY>", "<auth of PARTY, expired>", "<… signed by PARTY>", "<…, used before>"."""
        of, _, variant = text.removeprefix("<auth of ").removesuffix(">").partition(", ")
        if variant == "used before":
            return self.used[of]
        keypair = self.parties[of]
        signer = self.parties[variant.removeprefix("signed by ")] if variant.startswith("signed by ") else keypair
        expiry = 1 if variant == "expired" else await self.slot() + (RECORD_SLOTS if method in RECORDS else CALL_SLOTS)
        made: Params = {"publicKey": str(keypair.pubkey()), "expirySlot": expiry}
        if build := RECORDS.get(method):
            raw = records.encode(build(self.domain, bytes(keypair.pubkey()), params))
            digest = signing.authorisation_digest(self.domain, expiry, raw)
        else:
            made["nonce"] = secrets.randbits(53)
            digest = signing.rpc_digest(self.domain, method, params, made["nonce"], expiry)
            self.used[of] = made
        made["signature"] = str(Signature.from_bytes(signing.sign(signer, digest)))
        return made

    async def call(self, method: str, params: Params) -> Any:
        """The answer without its envelope: {"value"} or {"error"}."""
        body = {key: value for key, value in params.items() if key != "auth"}
        if "auth" in params:
            body["auth"] = await self.auth(params["auth"], method, body)
        answer = await self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": body})
        assert answer.pop("jsonrpc") == "2.0"
        assert answer.pop("id") == 1
        if "error" in answer:
            return answer
        assert answer["result"].keys() == {"context", "value"}
        assert answer["result"]["context"].keys() == {"slot", "epoch"}
        return {"value": answer["result"]["value"]}

    async def http_call(self, first: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        verb, path = first.split(" ")
        sent = dict(headers)
        if text := sent.get("Authorization", "").removeprefix("Pouw "):
            params = {"sha256": path.rpartition("/")[2], "bytes": len(body)}
            auth = await self.auth(text, "putBlob", params)
            sent["Authorization"] = f"Pouw {base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()}"
        return await self.http.request(verb, self.url + path, headers=sent, content=body if verb == "PUT" else None)
