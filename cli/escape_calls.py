"""Where `pouw escape claim` gets its proofs: from the sequencer while there is one, else from a validator's state."""

from __future__ import annotations

from pathlib import Path

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cli.calls import client_calls, finalized_proof
from cli.options import SigningOnBoth
from cli.runtime import CommandError
from cli.settings import sequencer_url
from settlement import hatch
from settlement.client import L1Client
from settlement.money import Claimed
from settlement.sequencer_client import SequencerUnreachable
from validator.rebuild import final_state


async def claim_from_sequencer(client: L1Client, at: SigningOnBoth, payer: Keypair, account: Pubkey) -> Claimed:
    hatch.need_open(await client.check_cluster())
    try:
        async with client_calls(at.l1_urls, sequencer_url(at.sequencer), str(at.program)) as calls:
            value, siblings = await finalized_proof(client, calls, account)
    except SequencerUnreachable as error:
        raise CommandError(f"{error}; when it is gone, name a validator's data folder with --state") from None
    if not value:
        raise hatch.no_account(account)
    return await hatch.claim(client, payer, value, siblings)


async def claim_from_state(
    client: L1Client, payer: Keypair, account: Pubkey | None, folder: Path, batches: Path | None
) -> list[Claimed]:
    """For one account, or, when none is named, for all that are still owed something."""
    hatch.need_open(await client.check_cluster())
    state = await final_state(client, folder, batches)
    if account is not None:
        return [await hatch.claim(client, payer, *hatch.proof_of(state, account))]
    owing = [one for one in hatch.holders(state) if await hatch.owed(client, one)]
    return [await hatch.claim(client, payer, *hatch.proof_of(state, Pubkey(one.public_key))) for one in owing]
