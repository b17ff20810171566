"""What anybody may look at to see whether validators sign one thing only."""

from __future__ import annotations

from sequencer import database as db
from sequencer import given_up, views
from sequencer import params as p
from sequencer import results as r
from sequencer.lifecycle import CheckpointStatus
from sequencer.methods import Method, Read
from sequencer.node import Node
from sequencer.proposals import attestations
from sequencer.rows import EpochRow

MAX_SHOWN = 8


def get_attestations(node: Node, params: p.GetAttestations) -> r.Attestations:
    """Every verified signature on the proposals of an epoch, given-up attempts too, while the epoch is not final. At most the last 8
    attempts unless one is named."""
    rows = given_up.of(node.database, params.epoch)
    current = node.database.get(db.EPOCHS, db.u64be(params.epoch))
    if current is not None and current.status is not CheckpointStatus.FINALIZED:
        rows = [*(row for row in rows if row.attempt != current.attempt), current]
    if params.attempt is not None:
        rows = [row for row in rows if row.attempt == params.attempt]
    return r.Attestations(epoch=params.epoch, proposals=[_shown(node, row) for row in rows[-MAX_SHOWN:]])


def _shown(node: Node, row: EpochRow) -> r.AttestedProposal:
    found = attestations(node, node.database, row)
    return r.AttestedProposal(
        message=views.message(row),
        set_version=row.set_version,
        attestations=[r.Attestation(set_index=index, signature=found[index].hex()) for index in sorted(found)],
    )


METHODS: dict[str, Method] = {
    "getAttestations": Read(p.GetAttestations, get_attestations, r.Attestations),
}
