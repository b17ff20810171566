"""`pouw task`: an example to begin with, submitting tasks, and what became of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import text_of
from cli.options import OnL2, SigningOnBoth, expanded
from cli.output import emit, emit_rows
from cli.runtime import CommandError, run
from cli.settings import JsonOption

task_app = typer.Typer(help="Submit tasks and fetch their results.", no_args_is_help=True)


def checked_task_id(given: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", given):
        raise typer.BadParameter(f"{given!r} is no task id: 64 lower-case hex digits")
    return given


TaskArgument = Annotated[str, typer.Argument(help="The task's id, 64 hex digits.", callback=checked_task_id)]
SpecArgument = Annotated[Path, typer.Argument(help="The task's spec, a JSON file.")]
DatasetOption = Annotated[
    Path, typer.Option("--dataset", help="The dataset, a safetensors file with x_train, y_train, x_test, y_test.")
]
DeadlineOption = Annotated[
    str, typer.Option("--deadline", help="Slot by which it must be done; +N is N slots from now.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(task_app, name="task", rich_help_panel="Have work done")


@task_app.command("example")
def example(
    folder: Annotated[Path, typer.Argument(help="Where to write digits.safetensors and spec.json.", file_okay=False)],
    as_json: JsonOption = False,
) -> None:
    """Write a dataset and a spec that can be submitted as they are: handwritten digits, to be learned by a small network."""
    from hashlib import sha256

    from worker.digits import digits_blob, digits_spec

    files = {name: folder / name for name in ("digits.safetensors", "spec.json")}
    for path in files.values():
        if path.exists() or path.is_symlink():
            raise CommandError(f"{path} exists already; name another folder")
    dataset = digits_blob()
    spec = digits_spec(1, sha256(dataset).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    files["digits.safetensors"].write_bytes(dataset)
    files["spec.json"].write_text(json.dumps(spec, indent=2) + "\n")
    emit({"dataset": str(files["digits.safetensors"]), "spec": str(files["spec.json"])}, as_json)


@task_app.command("submit")
@expanded
def submit(
    spec: SpecArgument,
    dataset: DatasetOption,
    fee: Annotated[int, typer.Option("--fee", help="Lamports for the worker whose result is accepted.", min=1)],
    deadline: DeadlineOption = "+1500",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is paid or refunded.")] = False,
    only_id: Annotated[bool, typer.Option("--id", help="Print the task's id and nothing else, for scripts.")] = False,
    *,
    at: SigningOnBoth,
    as_json: JsonOption = False,
) -> None:
    """Upload the dataset and submit a task; the fee is locked from your L2 balance."""
    from cli.calls import submit_task, wait_for_task

    until, content = deadline_of(deadline), read_spec(spec)
    need_dataset(dataset)

    async def command() -> dict[str, Any]:
        async with at.calls() as calls:
            submitted = await submit_task(calls, content, dataset, fee, until(await calls.slot()))
            return submitted if not wait else {**submitted, **_plain(await wait_for_task(calls, submitted["task_id"]))}

    submitted = run(command)
    if only_id:
        print(submitted["task_id"])
    else:
        emit(submitted, as_json)


def deadline_of(given: str) -> Callable[[int], int]:
    """The deadline's slot, from the slot that it is now."""
    relative, slots = given.startswith("+"), given.removeprefix("+")
    if not slots.isdecimal():
        raise typer.BadParameter(f"{given!r}: expected a slot, or +N for N slots from now", param_hint="--deadline")
    return lambda now: int(slots) + (now if relative else 0)


def need_dataset(path: Path) -> None:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}", param_hint="--dataset")


def read_spec(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise CommandError(f"there is no spec {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise text_of(path, error) from None
    except json.JSONDecodeError as error:
        raise CommandError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CommandError(f"{path}: a spec is a JSON object, got a {type(content).__name__}")
    return content


def _plain(task: dict[str, Any]) -> dict[str, Any]:
    """The task object with snake_case names, as all output of this command; the spec keeps its own."""
    return {_snake(key): value for key, value in task.items()}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@task_app.command("status")
@expanded
def status(
    task_id: TaskArgument,
    *,
    at: OnL2,
    as_json: JsonOption = False,
) -> None:
    """Where a task stands."""
    emit(_plain(_ask(at, "getTask", {"taskId": task_id})), as_json)


@task_app.command("list")
@expanded
def list_tasks(
    state: Annotated[
        str | None, typer.Option("--status", help="pending, leased, committed, revealed, paid or refunded.")
    ] = None,
    client: Annotated[str | None, typer.Option("--client", help="Only this client's (a public key).")] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="Only this worker's (a public key).")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 100,
    *,
    at: OnL2,
    as_json: JsonOption = False,
) -> None:
    """Tasks, newest first."""
    chosen = {"status": state, "client": client, "worker": worker}

    async def command() -> list[dict[str, Any]]:
        from cli.calls import tasks_of

        async with at.l2() as calls:
            return await tasks_of(calls, limit, **{key: value for key, value in chosen.items() if value is not None})

    tasks = run(command)
    columns = ["task_id", "status", "kind", "mode", "fee_lamports", "deadline_slot", "worker", "accuracy"]
    emit_rows([_plain(task) for task in tasks], columns, as_json, "no tasks")


@task_app.command("result")
@expanded
def result(
    task_id: TaskArgument,
    outfile: Annotated[
        Path | None, typer.Option("--outfile", "-o", help="Where to write the model, a safetensors file.")
    ] = None,
    *,
    at: OnL2,
    as_json: JsonOption = False,
) -> None:
    """A task's result and verdicts; with -o the model too, checked against its hash."""

    async def command() -> dict[str, Any]:
        async with at.l2() as client:
            found = _plain(await client.call("getTaskResult", {"taskId": task_id}))
            if outfile is not None:
                await client.get_blob_to(found["model_sha256"], outfile)
                found["model"] = str(outfile)
            return found

    emit(run(command), as_json)


def _ask(at: OnL2, method: str, params: dict[str, Any]) -> Any:
    async def command() -> Any:
        async with at.l2() as client:
            return await client.call(method, params)

    return run(command)


@task_app.command("watch")
@expanded
def watch(
    task_id: TaskArgument,
    final: Annotated[
        bool, typer.Option("--final", help="Go on until the checkpoint with the payment is final on L1.")
    ] = False,
    *,
    at: OnL2,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each change.")] = False,
) -> None:
    """Watch one task live, with its training curve. Ends with 0 once it is paid, with 1 when it was refunded."""
    from rich.console import Console

    from cli.task_watch import watch as follow

    async def command() -> bool:
        async with at.l2() as client:
            return await follow(client, task_id, final=final, as_json=as_json, console=Console(highlight=False))

    if not run(command):
        raise typer.Exit(1)
