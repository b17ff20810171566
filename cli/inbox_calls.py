"""What `pouw inbox` does with the sequencer: it has to be told what a task in the inbox is, since L1 holds the spec's hash alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rfc8785
import trio

from cli.calls import POLL_SECONDS, client_calls, need_same_dataset
from cli.errors import describe as text_of
from cli.options import SigningOnBoth
from cli.settings import sequencer_url
from cli.task_commands import need_dataset, read_spec
from settlement import spec as specs
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerUnreachable

ATTEMPTS_AT_ONCE = 2


@dataclass(frozen=True)
class Described:
    """A spec in its RFC 8785 form, whose sha256 an entry names, and the file of its dataset."""

    spec_json: bytes
    spec_hash: bytes
    dataset: Path
    dataset_sha256: str


def prepared(spec: Path, dataset: Path) -> Described:
    """Both files, read and checked. SpecError; CommandError when file and spec disagree."""
    content = read_spec(spec)
    need_dataset(dataset)
    parsed = specs.parse(content)
    need_same_dataset(parsed, dataset)
    return Described(rfc8785.dumps(content), specs.spec_hash(content), dataset, parsed.dataset_info.sha256)


async def describe(at: SigningOnBoth, described: Described, wait_seconds: float) -> str | None:
    """Uploads both; None when the sequencer has them, else why not. A new account is there only when the sequencer has seen its entry, and a
    sequencer that is away may come back: both are waited for."""
    deadline = trio.current_time() + wait_seconds
    while True:
        try:
            async with client_calls(
                at.l1_urls, sequencer_url(at.sequencer), str(at.program), at.signer(), ATTEMPTS_AT_ONCE
            ) as calls:
                await calls.put_blob(described.dataset)
                await calls.put_blob(described.spec_json)
            return None
        except (RpcError, SequencerUnreachable) as error:
            passing = not isinstance(error, RpcError) or error.code == Code.UNKNOWN_ACCOUNT
            if not passing or trio.current_time() >= deadline:
                return text_of(error)
        await trio.sleep(POLL_SECONDS)
