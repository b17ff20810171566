"""The command `pouw` as a user meets it: what it prints, how it fails, and a deployment brought up with nothing else."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair

from cli import main as cli_main
from cli.output import lamports
from settlement import pda
from settlement.bls import verify as bls_verify
from settlement.hash_to_curve import hints
from settlement.keys import read_bls_secret, read_keypair, write_keypair
from settlement.messages import proof_of_possession_digest

SOL = 1_000_000_000
ROOT = Path(__file__).parents[2]


def new_key(path: Path) -> Keypair:
    keypair = Keypair()
    write_keypair(path, keypair)
    return keypair


# -- output, errors, exit codes


@pytest.mark.parametrize(
    "arguments", [["--help"], ["task", "--help"], ["validator", "set", "--help"], ["localnet", "--help"]]
)
def test_help_is_there_and_ends_with_0(pouw, arguments):
    ran = pouw(*arguments)
    assert ran.code == 0
    assert "usage" in ran.out.lower()


def test_every_command_has_help(pouw):
    import typer

    def walk(group, path):
        for name, command in group.commands.items():
            yield [*path, name]
            if hasattr(command, "commands"):
                yield from walk(command, [*path, name])

    found = list(walk(typer.main.get_command(cli_main.app), []))
    names = {" ".join(path) for path in found}
    assert names >= {
        "init", "deposit", "withdraw", "claim", "balance", "localnet", "keys new", "keys show", "keys prove", "demo",
        "validator register", "validator set advance", "validator run", "worker run", "sequencer run",
        "task submit", "task status", "task list", "task result", "receipt verify", "receipt get",
    }  # fmt: skip
    for path in found:
        ran = pouw(*path, "--help")
        assert ran.code == 0, path
        if path[0] != "localnet" and not any(
            " ".join(path) + " " in name + " " and name != " ".join(path) for name in names
        ):
            assert "--json" in ran.out or path[-1] in ("run", "get"), path


def test_help_needs_no_heavy_room():
    heavy = ("torch", "solders", "httpx", "rocksdict", "blspy", "trio", "pydantic", "rich", "settlement", "sequencer")
    probe = f"import sys; import cli.main; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "No such command"),
        (["deposit", "many"], "should be a valid integer"),
        (["deposit", "0"], "greater than or equal to 1"),
        (["deposit", "5", "--for", "abc"], "is not a base58 public key"),
        (["keys", "new"], "name at least one file"),
        (["init", "--authority", "x", "-p", "nothing=1"], "is no parameter; there are challenge_window_slots"),
        (["init"], "Missing option '--authority'"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_right(pouw, tmp_path, arguments, says):
    if "init" in arguments and "x" in arguments:
        new_key(tmp_path / "x")
        arguments = [str(tmp_path / "x") if a == "x" else a for a in arguments]
    new_key(tmp_path / "home/.config/solana/id.json")
    ran = pouw(*arguments)
    assert ran.code == 2
    assert says in " ".join(ran.err.replace("│", " ").split())


def test_failures_are_one_line_without_a_traceback(pouw, tmp_path):
    ran = pouw("balance", "-k", tmp_path / "none.json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: there is no key file {tmp_path / 'none.json'}; `pouw keys new` makes one\n"
    new_key(tmp_path / "id.json")
    ran = pouw("deposit", "5", "-k", tmp_path / "id.json", "--url", "nowhere")
    assert ran.code == 1
    assert ran.err.startswith("error: 'nowhere' is neither a URL")
    ran = pouw("receipt", "verify", tmp_path / "none.json")
    assert ran.err == f"error: there is no file {tmp_path / 'none.json'}\n"


def test_an_error_nobody_expected_is_named_and_has_a_traceback_on_demand(pouw, monkeypatch, tmp_path):
    new_key(tmp_path / "id.json")

    def broken(url):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("settlement.keys.resolve_url", broken)
    ran = pouw("deposit", "5", "-k", tmp_path / "id.json")
    assert (ran.code, ran.err) == (1, "error: ZeroDivisionError: by zero\n")
    monkeypatch.setenv("POUW_DEBUG", "1")
    assert "Traceback" in pouw("deposit", "5", "-k", tmp_path / "id.json").err


def test_amounts_are_shown_exactly():
    assert lamports(1_500_000_000) == "1,500,000,000 lamports (◎1.5)"
    assert lamports(1) == "1 lamports (◎0.000000001)"
    assert lamports(0) == "0 lamports (◎0.0)"


# -- keys


def test_new_keys_are_private_and_never_overwrite(pouw, tmp_path):
    ed, bls = tmp_path / "id.json", tmp_path / "bls.json"
    made = pouw("keys", "new", "-o", ed, "--bls-outfile", bls, "--json").json
    assert made["public_key"] == str(read_keypair(ed).pubkey())
    assert len(read_bls_secret(bls)) == 32
    for path in (ed, bls):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = ed.read_bytes()
    ran = pouw("keys", "new", "-o", ed, "--bls-outfile", tmp_path / "other.json")
    assert ran.code == 2
    assert "never overwritten" in " ".join(ran.err.replace("│", " ").split())
    assert ed.read_bytes() == before
    assert not (tmp_path / "other.json").exists(), "a refusal leaves no half of a pair"
    shown = pouw("keys", "show", "-k", ed, "--bls-keypair", bls, "--json").json
    assert (shown["public_key"], shown["bls_public_key"]) == (made["public_key"], made["bls_public_key"])
    assert pouw("keys", "show", "-k", ed, "--address").out == f"{made['public_key']}\n"


def test_a_readable_key_is_warned_about_on_stderr_only(pouw, tmp_path):
    new_key(tmp_path / "id.json")
    (tmp_path / "id.json").chmod(0o644)
    ran = pouw("keys", "show", "-k", tmp_path / "id.json", "--json")
    assert ran.json["public_key"]
    assert "others can read it" in ran.err


def test_the_key_comes_from_flag_environment_solana_config_or_default_in_this_order(pouw, tmp_path, monkeypatch):
    default = new_key(tmp_path / "home/.config/solana/id.json")
    assert pouw("keys", "show", "--json").json["public_key"] == str(default.pubkey())
    configured = new_key(tmp_path / "configured.json")
    config = tmp_path / "home/.config/solana/cli/config.yml"
    config.parent.mkdir()
    config.write_text(f"keypair_path: {tmp_path / 'configured.json'}\n")
    assert pouw("keys", "show", "--json").json["public_key"] == str(configured.pubkey())
    environment = new_key(tmp_path / "environment.json")
    monkeypatch.setenv("POUW_KEYPAIR", str(tmp_path / "environment.json"))
    assert pouw("keys", "show", "--json").json["public_key"] == str(environment.pubkey())
    flag = new_key(tmp_path / "flag.json")
    assert pouw("keys", "show", "-k", tmp_path / "flag.json", "--json").json["public_key"] == str(flag.pubkey())


# -- services


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_localnet_ends_cleanly_when_told(number, tmp_path):
    command = [sys.executable, "-m", "cli.main", "localnet", "--rpc-port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["rpc_url"].startswith("http://127.0.0.1:")
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")


SERVICE = """
import signal, sys, trio
from cli.runtime import serve
async def service(config, *, task_status):
    task_status.started()
    print("started", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
        print("cleaned up", flush=True)
async def broken(config, *, task_status):
    task_status.started()
    raise OSError("disk gone")
async def done(config, *, task_status):
    task_status.started()
serve({"service": service, "broken": broken, "done": done}[sys.argv[1]], None, "thing")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_is_cancelled_and_cleans_up(number):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, "service"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "cleaned up\n")
    assert signal.Signals(number).name in err


def test_a_service_that_ends_or_fails_by_itself_is_not_waited_for():
    assert (
        subprocess.run([sys.executable, "-c", SERVICE, "done"], timeout=20, capture_output=True, check=False).returncode
        == 0
    )
    ran = subprocess.run(
        [sys.executable, "-c", SERVICE, "broken"], timeout=20, capture_output=True, check=False, text=True
    )
    assert ran.returncode == 1
    assert "disk gone" in ran.stderr


@pytest.mark.parametrize("room", ["sequencer", "worker", "validator"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense = 1\n", "nonsense: "),
        ("poll_seconds = -1\n", "poll_seconds: "),
        ("not toml", "is not TOML"),
    ],
)
def test_a_wrong_configuration_is_named(pouw, tmp_path, room, text, says):
    new_key(tmp_path / "id.json")
    config = tmp_path / "room.toml"
    config.write_text(text)
    flags = ["--bls-keypair", tmp_path / "bls.json"] if room == "validator" else []
    ran = pouw(room, "run", "-c", config, "-k", tmp_path / "id.json", *flags)
    assert ran.code == 1
    assert says in ran.err


# -- a deployment, by commands


async def test_a_deployment_by_commands(pouw, tmp_path, l1):
    async def run(*arguments: object):
        return await trio.to_thread.run_sync(lambda: pouw(*arguments, "--url", l1.url))

    write_keypair(tmp_path / "authority.json", l1.authority)
    write_keypair(tmp_path / "rich.json", l1.rich)
    ran = await run("deposit", SOL, "-k", tmp_path / "rich.json")
    assert (ran.code, ran.out) == (1, "")
    assert "is not initialised" in ran.err

    init = ["init", "--authority", tmp_path / "authority.json", "--payer", tmp_path / "rich.json"]
    made = (await run(*init, "--json")).json
    assert (made["program_id"], made["challenge_window_slots"]) == (str(l1.program_id), 16)
    assert (await run(*init, "--json")).json == made
    ran = await run(*init, "-p", "stall_slots=2_000")
    assert (ran.code, ran.err) == (1, "error: parameter stall_slots is 1500 on L1, expected 2000\n")

    for i in range(3):
        keys = tmp_path / f"v{i}.json", tmp_path / f"b{i}.json"
        await run_keys(pouw, *keys)
        ran = await run(
            "validator", "register", "--stake", 5_000_000, "-k", keys[0], "--bls-keypair", keys[1],
            "--payer", tmp_path / "rich.json", "--json",
        )  # fmt: skip
        assert ran.json["slot_index"] == i
    listed = (await run("validator", "list", "--json")).json
    assert [v["authority"] for v in listed] == [str(read_keypair(tmp_path / f"v{i}.json").pubkey()) for i in range(3)]
    sealed = (await run("validator", "set", "advance", "-k", tmp_path / "authority.json", "--json")).json
    assert (sealed["set_version"], sealed["validators"], sealed["total_stake_lamports"]) == (1, 3, 15_000_000)

    for index in range(2):
        done = (await run("deposit", SOL, "-k", tmp_path / "rich.json", "--json")).json
        assert (done["inbox_index"], done["lamports"]) == (index, SOL)
    assert (await l1.client.fetch_config()).inbox.lamports == 2 * SOL
    human = await run("deposit", SOL, "-k", tmp_path / "rich.json")
    assert "1,000,000,000 lamports (◎1.0)" in human.out


async def test_a_bls_key_is_proved_for_other_clients(pouw, tmp_path, l1):
    """What is printed is what `register_validator` takes, of the signer or of whoever is named."""
    ed, bls, other = tmp_path / "id.json", tmp_path / "bls.json", Keypair().pubkey()
    await run_keys(pouw, ed, bls)
    prove = ("keys", "prove", "--bls-keypair", bls, "--url", l1.url, "--json")
    for named, authority in (("-k", ed), read_keypair(ed).pubkey()), ((str(other),), other):
        shown = (await trio.to_thread.run_sync(lambda named=named: pouw(*prove, *named))).json
        assert shown.keys() == {"authority", "bls_public_key", "proof_of_possession", "hints", "validator"}
        key, proof = (bytes.fromhex(shown[name]) for name in ("bls_public_key", "proof_of_possession"))
        digest = proof_of_possession_digest(await l1.client.domain(), bytes(authority), key)
        assert (shown["authority"], bytes.fromhex(shown["hints"])) == (str(authority), hints(digest))
        assert bls_verify(key, digest, proof)
        assert shown["validator"] == str(pda.validator(l1.program_id, key))


async def run_keys(pouw, ed, bls):
    ran = await trio.to_thread.run_sync(lambda: pouw("keys", "new", "-o", ed, "--bls-outfile", bls))
    assert ran.code == 0, ran.err


def test_the_module_runs_as_a_process(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", "--version"], capture_output=True, text=True, check=False, env=environment
    )
    assert (ran.returncode, ran.stdout) == (0, "pouw 0.1.0\n")
    assert time.monotonic() - started < 20


# -- help, completion, localnet's welcome


def test_what_localnet_prints_to_do_next_works_when_it_is_pasted(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POUW_")}
    environment |= {"HOME": str(tmp_path), "POUW_VENV": sys.prefix}
    command = [sys.executable, "-m", "cli.main", "localnet", "--rpc-port", "0", "--slot-ms", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        said: list[str] = []
        while not said or not said[-1].startswith("README.md"):
            said.append(process.stdout.readline())
            assert said[-1], "".join(said)
        pasted = [line.strip() for line in said if line.startswith("  ./run ") or line.startswith("  export ")]
        assert len(pasted) == 6
        script = "\n".join(pasted).replace("./run ", f"{ROOT}/run ")
        ran = subprocess.run(
            ["bash", "-e", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        assert "inbox index" in ran.stdout and "challenge window slots" in ran.stdout
    finally:
        process.terminate()
        process.wait()


def test_a_shell_can_complete_commands_and_options(tmp_path):
    def complete(line: str) -> str:
        environment = {
            **os.environ,
            "_POUW_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        probe = [str(Path(sys.prefix) / "bin" / "pouw")]
        return subprocess.run(probe, capture_output=True, text=True, check=False, env=environment).stdout

    assert complete("pouw task wa").split() == ["watch"]
    assert "--sequencer" in complete("pouw task watch --se")


def test_the_commands_stand_in_the_order_in_which_they_are_needed(pouw):
    shown = pouw("--help").out
    places = [shown.index(f" {name} ") for name in ("demo", "localnet", "status", "airdrop", "deposit", "claim")]
    assert places == sorted(places)


# -- several nodes of L1


def configured(monkeypatch, pouw, *arguments):
    """The configuration that a worker would have run with."""
    taken = []
    monkeypatch.setattr("cli.service_commands.serve", lambda run, config, name: taken.append(config))
    ran = pouw("worker", "run", *arguments)
    assert ran.code == 0, ran.err
    (config,) = taken
    return config


@pytest.mark.parametrize(
    ("flag", "environment", "toml", "urls"),
    [
        (None, None, "", ("http://127.0.0.1:8899",)),
        ("http://a:1, http://b:2,http://c:3", None, "", ("http://a:1", "http://b:2", "http://c:3")),
        (None, "http://a:1,http://b:2,http://a:1", "", ("http://a:1", "http://b:2")),
        (None, None, 'url = "http://a:1"\nurls = ["http://b:2", "http://c:3"]', ("http://a:1", "http://b:2", "http://c:3")),
        (None, None, 'url = "http://a:1,http://b:2"', ("http://a:1", "http://b:2")),
        ("http://z:9", None, 'url = "http://a:1"\nurls = ["http://b:2"]', ("http://z:9",)),
        ("http://z:9,http://y:8", "http://x:7", 'urls = ["http://b:2"]', ("http://z:9", "http://y:8")),
        ("devnet,http://a:1", None, "", ("https://api.devnet.solana.com", "http://a:1")),
    ],
)  # fmt: skip
def test_several_nodes_of_l1_may_be_named(pouw, monkeypatch, tmp_path, flag, environment, toml, urls):
    new_key(tmp_path / "id.json")
    (tmp_path / "worker.toml").write_text(toml)
    if environment:
        monkeypatch.setenv("POUW_URL", environment)
    flags = ["--url", flag] if flag else []
    config = configured(monkeypatch, pouw, "-c", tmp_path / "worker.toml", "-k", tmp_path / "id.json", *flags)
    assert config.l1_urls == urls


@pytest.mark.parametrize("wrong", ["", "http://a:1,", "http://a:1,nowhere"])
def test_a_list_of_nodes_with_something_else_in_it_is_refused(pouw, tmp_path, wrong):
    new_key(tmp_path / "id.json")
    ran = pouw("worker", "run", "-k", tmp_path / "id.json", "--url", f"{wrong},")
    assert ran.code == 1 and "is neither a URL" in ran.err


async def test_a_command_asks_all_nodes_and_believes_a_majority(pouw, tmp_path, l1):
    """Of three nodes one is not there."""
    new_key(tmp_path / "id.json")
    urls = f"{l1.url},http://127.0.0.1:9,{l1.url.replace('127.0.0.1', 'localhost')}"
    arguments = ["airdrop", SOL, "-k", tmp_path / "id.json", "--url", urls, "--json"]
    ran = await trio.to_thread.run_sync(lambda: pouw(*arguments))
    assert ran.code == 0, ran.err
    assert await l1.client.get_balance(read_keypair(tmp_path / "id.json").pubkey()) == SOL
