"""The command `pouw demo`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.settings import JsonOption


def register(app: typer.Typer) -> None:
    app.command("demo", rich_help_panel="Start here")(demo)


def demo(
    l1: Annotated[
        str,
        typer.Option("--l1", help="The L1 to start: `embedded` or `test-validator` (a real solana-test-validator)."),
    ] = "embedded",
    url: Annotated[
        str, typer.Option("--url", "-u", help="Use the L1 at this URL, with the program loaded, and start none.")
    ] = "",
    authority: Annotated[
        Path | None,
        typer.Option(
            "--authority", help="The program's upgrade authority (key file), where it is not initialised yet."
        ),
    ] = None,
    tasks: Annotated[int, typer.Option("--tasks", min=6, max=60, help="How many models to train.")] = 6,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Keep keys, data and logs in this new folder instead of removing them."),
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the network up after the summary, to look around in, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a whole network on this machine, have models trained, checked, settled on L1 and paid, and catch a liar."""
    import signal

    import trio

    from cli import demo as room
    from settlement.keys import read_keypair, resolve_url

    if l1 not in ("embedded", "test-validator"):
        raise typer.BadParameter(f"{l1!r}: use embedded or test-validator", param_hint="--l1")
    if keep is not None and keep.exists():
        if not keep.is_dir():
            raise typer.BadParameter(f"{keep} is a file, a new or empty folder is needed", param_hint="--keep")
        if any(keep.iterdir()):
            raise typer.BadParameter(f"{keep} is not empty: name a new folder", param_hint="--keep")
    if authority is not None:
        read_keypair(authority)  # before anything is started
    options = room.DemoOptions(
        l1="url" if url else l1,  # type: ignore[arg-type]
        url=resolve_url(url) if url else "",
        authority=authority,
        tasks=tasks,
        keep=keep,
        stay=stay,
        as_json=as_json,
    )

    async def interruptible() -> None:
        """SIGTERM ends it as Ctrl-C does: everything is taken down first."""
        async with trio.open_nursery() as nursery:

            async def watch(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as arrived:
                    task_status.started()
                    async for number in arrived:
                        stopped.append(number)
                        nursery.cancel_scope.cancel()
                        return

            await nursery.start(watch)
            await room.run(options, staying)
            nursery.cancel_scope.cancel()

    stopped: list[int] = []
    staying = trio.Event()
    trio.run(interruptible)
    if stopped and not staying.is_set():
        raise typer.Exit(128 + stopped[0])
