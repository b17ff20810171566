"""A program file and what a cluster must have to run it: which feature gates, told by the file itself and by what the program calls.

Pure. Feature ids and names are those of agave-feature-set 4.1.2; a gate is an account of the feature program that holds an
Option<u64>, the slot of its activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solders.pubkey import Pubkey

from settlement import loader
from settlement.errors import FeatureMissing, ProgramFileError

FEATURE_PROGRAM = Pubkey.from_string("Feature111111111111111111111111111111111111")

_ELF_MAGIC = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_ELF_HEADER_BYTES = 64
_MACHINES = frozenset({247, 263})  # EM_BPF, EM_SBPF
_MACHINE_AT, _FLAGS_AT = 18, 48


@dataclass(frozen=True)
class Feature:
    """A feature gate. `forbidden`: the cluster must not have it."""

    address: Pubkey
    name: str
    why: str
    forbidden: bool = False


BLS12_381_SYSCALLS = Feature(
    Pubkey.from_string("b1sgUiJ3qu7hYm3tNDyyqZNQd6gLGJmJppnLNa93PCQ"),
    "SIMD-0388: BLS12-381 syscalls",
    "the program verifies certificates with them",
)
SBPF_V3 = Feature(
    Pubkey.from_string("5cC3foj77CWun58pC51ebHFUWavHWKarWyR5UUik7dnC"),
    "SIMD-0178, SIMD-0189 and SIMD-0377: SBPFv3 programs",
    "the file is of that version",
)
NO_OLD_SBPF = Feature(
    Pubkey.from_string("B8JJXCy5amZyWG9r7EnUYLwzXSXTxG7GZ1qZ1qggo83g"),
    "SIMD-0500: no deployment of SBPF v0, v1 and v2",
    "the file is of such a version",
    forbidden=True,
)


@dataclass(frozen=True)
class Artifact:
    """A program file that was read whole. `name` is for messages."""

    name: str
    elf: bytes

    @property
    def hash(self) -> bytes:
        return loader.program_hash(self.elf)

    @property
    def sbpf_version(self) -> int:
        return int.from_bytes(self.elf[_FLAGS_AT : _FLAGS_AT + 4], "little")

    @property
    def features(self) -> tuple[Feature, ...]:
        """What a cluster must have, or must not, for this file to be deployed and run."""
        return BLS12_381_SYSCALLS, SBPF_V3 if self.sbpf_version >= 3 else NO_OLD_SBPF

    def mentions(self, program_id: Pubkey) -> bool:
        """Whether the id's 32 bytes are in it, as they are in a file that was built for that id."""
        return bytes(program_id) in self.elf


def read_artifact(path: Path) -> Artifact:
    """ProgramFileError when it cannot be read or is no program."""
    try:
        elf = path.expanduser().read_bytes()
    except OSError as error:
        raise ProgramFileError(f"{path} cannot be read: {error.strerror}") from None
    if len(elf) < _ELF_HEADER_BYTES or not elf.startswith(_ELF_MAGIC):
        raise ProgramFileError(f"{path} is no program: expected a 64-bit little-endian ELF file, as settlement.so")
    machine = int.from_bytes(elf[_MACHINE_AT : _MACHINE_AT + 2], "little")
    if machine not in _MACHINES:
        raise ProgramFileError(f"{path} is an ELF file for machine {machine}, expected BPF (247) or SBPF (263)")
    if len(elf) > loader.MAX_PROGRAM_BYTES:
        raise ProgramFileError(f"{path} has {len(elf):,} bytes, an account holds {loader.MAX_PROGRAM_BYTES:,}")
    return Artifact(str(path), elf)


def check_feature(feature: Feature, owner: Pubkey | None, data: bytes, url: str) -> None:
    """FeatureMissing unless the gate's account, `owner` None where there is none, says what the feature asks for."""
    known = owner == FEATURE_PROGRAM and len(data) == 9
    active = known and data[0] == 1
    if feature.forbidden == active:
        state = "is active" if active else "is to come with the next epoch" if known else "is not active"
        raise FeatureMissing(url, str(feature.address), feature.name, state, feature.why)
