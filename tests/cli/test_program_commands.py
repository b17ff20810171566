"""`pouw program` as a deployer uses it, on the embedded L1 and on a real solana-test-validator: deployed under an id of one's own,
initialised, upgraded, verified, handed over; and killed in the middle.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import typer
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from starlette.responses import Response

from bench.l1_process import L1Process, embedded, solana_test_validator
from cli.program_trial import check_artifact
from cli.program_work import Upkeep, confirmed_by_person
from cli.runtime import CommandError
from settlement import idl, loader
from settlement.client import L1Client
from settlement.errors import ProgramFileError
from settlement.keys import read_keypair, write_keypair
from settlement.loader_artifact import BLS12_381_SYSCALLS, Artifact, read_artifact
from tests.moved_program import moved
from tests.rpc_proxy import Proxy

SOL = 1_000_000_000
STARTS = [
    pytest.param(lambda *flags: embedded("--slot-ms", "80", "--finalized-lag", "4", *flags), id="embedded"),
    pytest.param(
        lambda *flags: solana_test_validator("--ticks-per-slot", "8", *flags), marks=pytest.mark.test_validator, id="test-validator"
    ),
]  # fmt: skip
Start = Callable[..., AbstractContextManager[L1Process]]


@dataclass(frozen=True)
class Mine:
    """A deployer's files: a key with nothing on it, a program's key, and the program built for its id."""

    folder: Path
    me: Path
    key: Path
    file: Path
    id: Pubkey
    address: Pubkey


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    me, program = Keypair(), Keypair()
    write_keypair(tmp_path / "me.json", me)
    write_keypair(tmp_path / "program.json", program)
    (tmp_path / "program.so").write_bytes(moved(program.pubkey()))
    return Mine(
        tmp_path,
        tmp_path / "me.json",
        tmp_path / "program.json",
        tmp_path / "program.so",
        program.pubkey(),
        me.pubkey(),
    )


# -- before any L1 is asked


def test_a_file_for_another_id_is_refused_by_the_program_itself(mine: Mine) -> None:
    right, usual = read_artifact(mine.file), read_artifact(idl.PROGRAM_PATH)
    check_artifact(right, mine.id)
    check_artifact(usual, idl.committed().address)
    with pytest.raises(
        ProgramFileError, match=rf"not built for {mine.id}: it is for {idl.committed().address}.*--id {mine.id}"
    ):
        check_artifact(usual, mine.id)
    with pytest.raises(ProgramFileError, match="it is for another id"):
        check_artifact(right, Keypair().pubkey())


def test_an_id_that_is_only_mentioned_is_not_enough(mine: Mine) -> None:
    """The bytes stand behind the program that the committed id compares with: the program knows better."""
    mentioned = Artifact("mentioned.so", idl.PROGRAM_PATH.read_bytes() + bytes(mine.id))
    assert mentioned.mentions(mine.id)
    with pytest.raises(ProgramFileError, match="was not built for"):
        check_artifact(mentioned, mine.id)


def test_a_file_that_the_runtime_refuses_is_refused_before(mine: Mine) -> None:
    elf = mine.file.read_bytes()
    with pytest.raises(ProgramFileError, match="the runtime refuses the program"):
        check_artifact(Artifact("cut.so", elf[: len(elf) // 2]), mine.id)


def test_deploy_names_what_is_wrong_without_an_l1(pouw, mine: Mine) -> None:
    ran = pouw(
        "program", "deploy", idl.PROGRAM_PATH, "--program-id", mine.key, "-k", mine.me, "--url", "http://127.0.0.1:1"
    )
    assert ran.code == 1 and f"`./run just program-build --id {mine.id} -o FILE`" in ran.err
    ran = pouw("program", "deploy", mine.file, "-k", mine.me)
    assert ran.code == 2 and "--program-id" in ran.err
    ran = pouw("program", "deploy", mine.me, "--program-id", mine.key, "-k", mine.me)
    assert ran.code == 1 and "is no program: expected a 64-bit little-endian ELF file" in ran.err
    ran = pouw("program", "set-authority", "-k", mine.me)
    assert ran.code == 2 and "--final" in ran.err


# -- the whole story


@pytest.mark.parametrize("start", STARTS)
def test_deployed_initialised_upgraded_verified_handed_over(pouw, mine: Mine, start: Start) -> None:
    with start() as l1:

        def run(*arguments: object):
            return pouw(*arguments, "--url", l1.rpc_url)

        deploy = ["program", "deploy", mine.file, "--program-id", mine.key, "-k", mine.me]
        ran = run(*deploy, "--yes")
        assert ran.code == 1 and f"{mine.address} has 0 lamports" in ran.err and "Nothing was spent" in ran.err
        run("airdrop", 50 * SOL, "-k", mine.me)
        ran = run(*deploy, "--json")
        assert ran.code == 1 and "pass --yes" in ran.err and "0 of " in ran.err
        assert l1.call("getBalance", str(mine.address), {"commitment": "confirmed"})["value"] == 50 * SOL  # type: ignore[index]

        made = run(*deploy, "--yes", "--json").json
        assert (made["program_id"], made["upgrade_authority"]) == (str(mine.id), str(mine.address))
        assert made["hash"] == read_artifact(mine.file).hash.hex()
        again = run(*deploy, "--yes", "--json")
        assert "nothing to do" in again.err and again.json == made | {"signature": None}

        config = run("init", "--authority", mine.me, "--program-id", mine.id, "--json").json
        assert config["program_id"] == str(mine.id)

        # The next version, larger: what stands behind the program's own bytes does not change what it does.
        upgraded = mine.folder / "next.so"
        upgraded.write_bytes(mine.file.read_bytes() + b"\1" * 100)
        of = ["--program-id", mine.key]
        ran = run("program", "verify", upgraded, *of)
        assert ran.code == 1 and "is another program" in ran.err
        ran = run("program", "upgrade", upgraded, *of, "-k", mine.key, "--yes")
        assert ran.code == 1 and f"the upgrade authority of {mine.id} is {mine.address}" in ran.err
        written = run(
            "program", "write-buffer", upgraded, "--for", mine.address, *of, "-k", mine.me, "--yes", "--json"
        ).json
        buffer = ["--buffer", written["buffer"], "--upgrade-authority", mine.address]
        assert run("program", "verify", upgraded, *buffer, "--json").json["hash"] == written["hash"]
        done = run("program", "upgrade", upgraded, *of, "-k", mine.me, "--yes", "--json").json  # finds that buffer full
        assert done["room_bytes"] == made["room_bytes"] + loader.MIN_EXTENSION_BYTES and done["slot"] > made["slot"]
        verified = run("program", "verify", upgraded, *of, "--upgrade-authority", mine.address, "--json").json
        assert verified["verified"] and verified["hash"] == done["hash"] != made["hash"]
        assert run("init", "--authority", mine.me, *of[:1], mine.id, "--json").json == config

        ran = run("program", "set-authority", mine.key, *of, "-k", mine.me, "--json")  # its key file: it signs too
        assert ran.json["upgrade_authority"] == str(mine.id)
        ran = run("program", "verify", upgraded, *of, "--upgrade-authority", "none")
        assert ran.code == 1 and f"{mine.id} may change them, not nobody" in ran.err
        ran = run("program", "set-authority", "--final", *of, "-k", mine.key, "--payer", mine.me)
        assert ran.code == 1 and "pass --yes" in ran.err
        run("program", "set-authority", "--final", *of, "-k", mine.key, "--payer", mine.me, "--yes")
        assert run("program", "verify", upgraded, *of, "--upgrade-authority", "none", "--json").json["verified"]
        assert run("program", "show", *of, "--json").json["upgrade_authority"] is None

        rest = [Keypair().pubkey() for _ in range(2)]
        sent = run("transfer", SOL, *rest, mine.key, "-k", mine.me, "--json").json
        assert sent["recipients"] == [*map(str, rest), str(mine.id)]
        balance = l1.call("getBalance", str(rest[1]), {"commitment": "confirmed"})
        assert balance["value"] == SOL  # type: ignore[index]


@pytest.mark.test_validator
def test_a_real_cluster_without_the_bls_syscalls_is_refused(pouw, mine: Mine) -> None:
    with solana_test_validator("--deactivate-feature", str(BLS12_381_SYSCALLS.address)) as l1:
        pouw("airdrop", 50 * SOL, "-k", mine.me, "--url", l1.rpc_url)
        ran = pouw(
            "program", "deploy", mine.file, "--program-id", mine.key, "-k", mine.me, "--yes", "--url", l1.rpc_url
        )
        assert ran.code == 1
        assert "SIMD-0388: BLS12-381 syscalls" in ran.err and "nothing was spent" in ran.err
        assert l1.call("getBalance", str(mine.address), {"commitment": "confirmed"})["value"] == 50 * SOL  # type: ignore[index]


# -- stopped in the middle


@pytest.fixture
def stage() -> Iterator[L1Process]:
    with embedded("--slot-ms", "80", "--finalized-lag", "4") as l1:
        yield l1


async def test_killed_in_the_middle_it_goes_on_and_a_buffer_is_given_up(
    pouw, mine: Mine, stage: L1Process, nursery: trio.Nursery
) -> None:
    """The L1 is there up to the hundredth sending, then its answers stay away; then the process is killed."""

    async def run(*arguments: object, url: str = stage.rpc_url):
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, "--url", url))

    await run("airdrop", 50 * SOL, "-k", mine.me)
    silent, proxy = trio.Event(), Proxy(stage.rpc_url)

    def trouble(method: str, body: object) -> Response | None:
        if method == "sendTransaction" and len(proxy.sent()) > 100:
            silent.set()
        return Response("busy", 503, {"retry-after": "60"}) if silent.is_set() else None

    proxy.trouble = trouble
    await nursery.start(proxy.run)
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "program",
        "deploy",
        mine.file,
        "--program-id",
        mine.key,
        "-k",
        mine.me,
    ]
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it is quick
        [*map(str, command), "--yes", "--url", proxy.url], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        with trio.fail_after(120):
            await silent.wait()
    finally:
        process.kill()
        _, said = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == -signal.SIGKILL, said

    (begun,) = (await run("program", "show", "--buffers", mine.address, "--json")).json
    assert begun["program_bytes"] == mine.file.stat().st_size and begun["buffer"] in said
    ran = await run("program", "deploy", mine.file, "--program-id", mine.key, "-k", mine.me, "--json")
    assert "pass --yes" in ran.err and " 0 of " not in ran.err and begun["buffer"] in ran.err
    ran = await run("program", "deploy", mine.file, "--program-id", mine.key, "-k", mine.me, "--yes", "--json")
    assert ran.json["hash"] == read_artifact(mine.file).hash.hex()
    assert (await run("program", "show", "--buffers", mine.address, "--json")).json == []

    # Another one that was begun, and is not wanted any more.
    async with L1Client(stage.rpc_url, mine.id) as client:
        me = read_keypair(mine.me)
        create = loader.create_buffer(mine.address, mine.address, "another", 1_000, SOL)
        await client.send_and_confirm(create, me)
    buffer = loader.buffer_address(mine.address, "another")
    ran = await run("program", "close-buffer", buffer, "-k", mine.key, "--payer", mine.me)
    assert ran.code == 1 and f"is {mine.address}'s, not {mine.id}'s" in ran.err
    closed = await run("program", "close-buffer", buffer, "-k", mine.me, "--json")
    assert closed.json["returned_lamports"] == SOL
    ran = await run("program", "close-buffer", buffer, "-k", mine.me)
    assert ran.code == 1 and "there is no buffer" in ran.err
    nursery.cancel_scope.cancel()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", None), ("Yes\n", None), ("n\n", 1), ("\n", 1), ("", 1)])
def test_a_person_is_asked(monkeypatch, capsys, answer: str, code: int | None) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    work = Upkeep("deploy", {"what": "deploys it", "fees": "5"})
    if code is None:
        confirmed_by_person(work, yes=False, as_json=False)
    else:
        with pytest.raises(typer.Abort):
            confirmed_by_person(work, yes=False, as_json=False)
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("what  deploys it\nfees  5\nGo ahead? [y/N] ")
    with pytest.raises(CommandError, match="pass --yes"):
        confirmed_by_person(work, yes=False, as_json=True)
