"""The program as its next version may be: the committed source with an account type that took a new field out of its reserved bytes, and one
that grew. test_upgrade_path.py upgrades the committed program to it over live accounts, back, and up again.

    python -m tests.program.next_version FOLDER     edits FOLDER/programs/settlement, a copy of the sources, and never the sources themselves

StakePosition, version 2: `delegations`, how often lamports were delegated into it, counted from then on. Version 1 is read as well, and the
next write makes it version 2. Unbonding became TimedUnbonding, which has the time of its request: `migrate_unbonding` turns one into the
other. scripts/program_check.sh builds it. What is not an edit lies in tests/program/next_version_src.
"""

from __future__ import annotations

from tests.program.source_edits import ROOT, Edit, apply_all, write_into_copy

POSITION_VERSION = UNBONDING_VERSION = 2
DELEGATIONS_OFFSET = 8 + 4  # u32 in a StakePosition's account
TIMED_UNBONDING_BYTES = 8 + 112

_NEW_FILES = {
    "timed_unbonding.rs": "state/timed_unbonding.rs",
    "migrate_unbonding.rs": "instructions/migrate_unbonding.rs",
    "migration.rs": "error/migration.rs",
}
_POSITION = (
    Edit(
        "state/stake_position.rs",
        "pub reserved: [u8; 6],",
        """pub reserved: [u8; 2],
    /// How often lamports were delegated into it since it has version 2.
    pub delegations: u32,""",
    ),
    Edit(
        "state/stake_position.rs",
        "impl StakePosition { pub fn invariant(&self) -> Result<()> { check_version(self.version)?;",
        """pub const POSITION_VERSION: u8 = 2;

impl StakePosition {
    /// Before anything is written to it: version 1, in which the new field's bytes are zero, becomes version 2.
    pub fn renew(&mut self) {
        if check_version(self.version).is_ok() {
            self.version = POSITION_VERSION;
        }
    }

    pub fn invariant(&self) -> Result<()> {
        require!(self.version == POSITION_VERSION, SettlementError::UnknownAccountVersion);""",
    ),
    Edit(
        "instructions/register_validator.rs",
        "position.version = ACCOUNT_VERSION;",
        "position.version = ACCOUNT_VERSION;\n    position.renew();\n    position.delegations = 1;",
    ),
    Edit(
        "instructions/delegate.rs",
        "position.bump = bump;",
        "position.renew();\n    position.bump = bump;\n    position.delegations = position.delegations.saturating_add(1);",
    ),
    Edit(
        "instructions/unbond.rs",
        "let id = position.next_unbonding_id;\n    position.shares",
        "position.renew();\n    let id = position.next_unbonding_id;\n    position.shares",
    ),
    Edit(
        "instructions/withdraw_unbonded.rs",
        "position.open_unbondings = sub(position.open_unbondings, 1)?;",
        "position.renew();\n    position.open_unbondings = sub(position.open_unbondings, 1)?;",
    ),
)
_UNBONDING = (
    Edit("state/mod.rs", "pub mod unbonding;", "pub mod timed_unbonding;\npub mod unbonding;"),
    Edit(
        "instructions/unbond.rs",
        "state::{Config, Registry, StakePosition, Unbonding, Validator},",
        "state::{timed_unbonding::{TimedUnbonding as Unbonding, UNBONDING_VERSION}, Config, Registry, StakePosition, Validator},",
    ),
    Edit(
        "instructions/unbond.rs",
        "unbonding.version = ACCOUNT_VERSION;",
        "unbonding.version = UNBONDING_VERSION;\n    unbonding.requested_seconds = Clock::get()?.unix_timestamp;",
    ),
    Edit(
        "instructions/withdraw_unbonded.rs",
        "state::{Checkpoint, Config, StakePosition, Unbonding, Validator},",
        "state::{timed_unbonding::TimedUnbonding as Unbonding, Checkpoint, Config, StakePosition, Validator},",
    ),
    Edit("error/mod.rs", "pub mod stake;", "pub mod migration;\npub use migration::MigrationError;\npub mod stake;"),
    Edit("instructions/mod.rs", "pub mod post_checkpoint;", "pub mod migrate_unbonding;\npub mod post_checkpoint;"),
    Edit(
        "lib.rs",
        "escape_claim::handler(ctx, &value, siblings)\n    }",
        """escape_claim::handler(ctx, &value, siblings)
    }

    /// Turns an Unbonding of the layout before into a TimedUnbonding. Anyone; the caller pays the rent of what is added.
    pub fn migrate_unbonding(ctx: &mut Context<migrate_unbonding::MigrateUnbonding>, id: u64) -> Result<()> {
        migrate_unbonding::handler(ctx, id)
    }""",
    ),
)


def edited() -> dict[str, str]:
    """By name under the crate's src/, the text of every file that differs or is new. ValueError names an edit that does not fit."""
    files = apply_all((*_POSITION, *_UNBONDING))
    for name, target in _NEW_FILES.items():
        files[target] = (ROOT / "tests/program/next_version_src" / name).read_text()
    return files


if __name__ == "__main__":
    write_into_copy(edited())
