"""`pouw sequencer|worker|validator run`: the processes that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from cli import settings
from cli.runtime import ConfigError, read_toml, serve
from cli.settings import KeypairOption, ProgramOption, SequencerOption, UrlOption

sequencer_app = typer.Typer(help="The L2 node.", no_args_is_help=True)
worker_app = typer.Typer(help="Executes tasks.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="A TOML file of settings; flags go before it.")
]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Where the process keeps its state.")]

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    app.add_typer(sequencer_app, name="sequencer", rich_help_panel="Run a part of a network")
    app.add_typer(worker_app, name="worker", rich_help_panel="Run a part of a network")


@sequencer_app.command("run")
def run_sequencer(
    config: ConfigOption = None,
    url: UrlOption = None,
    keypair: KeypairOption = None,
    data_dir: DataDirOption = None,
    program_id: ProgramOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")] = None,
) -> None:
    """Run the sequencer. Its key pays for posts and holds no authority."""
    from sequencer.config import SequencerConfig

    values = _values("sequencer", config, url, None, keypair, data_dir, program_id, host=host, port=port)
    checked = _checked(SequencerConfig, values)
    from sequencer.service import run

    serve(run, checked, "sequencer")


@worker_app.command("run")
def run_worker(
    config: ConfigOption = None,
    url: UrlOption = None,
    sequencer: SequencerOption = None,
    keypair: KeypairOption = None,
    data_dir: DataDirOption = None,
    program_id: ProgramOption = None,
    stake: Annotated[int | None, typer.Option("--stake", help="Lamports of stake to lock.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="CPU threads; a part of the environment that results name.")
    ] = None,
) -> None:
    """Run a worker. Its key holds the L2 account that stakes and is paid."""
    from worker.config import WorkerConfig

    more = {"stake_lamports": stake, "device": device, "threads": threads}
    values = _values("worker", config, url, sequencer, keypair, data_dir, program_id, **more)
    checked = _checked(WorkerConfig, values)
    from worker.loop import run

    serve(run, checked, "worker")


def run_validator(
    config: ConfigOption = None,
    url: UrlOption = None,
    sequencer: SequencerOption = None,
    keypair: KeypairOption = None,
    bls_keypair: Annotated[
        Path | None, typer.Option("--bls-keypair", help="The BLS key file that was registered.")
    ] = None,
    data_dir: DataDirOption = None,
    program_id: ProgramOption = None,
) -> None:
    """Run a validator. Its key is the authority that was registered on L1."""
    from validator.config import ValidatorConfig

    values = _values("validator", config, url, sequencer, keypair, data_dir, program_id, bls_keypair=bls_keypair)
    checked = _checked(ValidatorConfig, values)
    from validator.loop import run

    serve(run, checked, "validator")


def _values(
    room: str,
    config: Path | None,
    url: str | None,
    sequencer: str | None,
    keypair: Path | None,
    data_dir: Path | None,
    program_id: str | None,
    **more: Any,
) -> dict[str, Any]:
    """The file's values with the flags over them, and the usual defaults where neither says anything. A --url replaces all L1 nodes of the file."""
    values = read_toml(config)
    flags = {
        "url": url,
        "sequencer": sequencer,
        "keypair": keypair,
        "data_dir": data_dir,
        "program_id": program_id,
        **more,
    }
    values |= {name: value for name, value in flags.items() if value is not None}
    first, *others = settings.l1_urls(values.get("url"))
    values["url"] = first
    if url or others:
        values["urls"] = others
    values.setdefault("keypair", settings.keypair_path(None))
    values.setdefault("data_dir", Path(f"~/.local/share/pouw/{room}"))
    if room != "sequencer":
        values["sequencer"] = settings.sequencer_url(values.get("sequencer"))
    for name in ("keypair", "bls_keypair", "data_dir"):
        if isinstance(values.get(name), str | Path):
            values[name] = Path(values[name]).expanduser()
    if (program := settings.program_text(values.get("program_id"))) is not None:
        values["program_id"] = program
    return values


def _checked(kind: type[T], values: dict[str, Any]) -> T:
    """The room's own configuration model; one line for each value that it refuses."""
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(one) for one in error.errors())) from None


def _problem(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{name} is missing: give --{name.replace('_', '-')}, or {name} in the file of --config"
    return f"{name or 'configuration'}: {error['msg']}"
