"""The commands that make, change and serve a bundle."""

import dataclasses
import logging

from genrec.cli import console
from genrec.cli.arguments import Export, ResultFlags, Serve, Update
from genrec.cli.commands import Call
from genrec.cli.parsing import flags_of, settings_under
from genrec.cli.tables import change_lines
from genrec.errors import UserError


def export(command: Export, call: Call) -> None:
    if not (command.run / "config.yaml").exists():
        raise UserError(f"{command.run} is not a run: make one with `genrec run CONFIG`")
    if command.format != "bundle":
        _refuse_flags_of_bundles(command.format, call)
    config = settings_under(command.run / "config.yaml", command, call.named)

    from genrec.bundle.checks import MOST_ROOM
    from genrec.export import export_bundle, export_huggingface, export_parameters
    from genrec.recommend.requests import read_names
    from genrec.runs.loaded import load_run

    if not 0 <= command.room <= MOST_ROOM:
        raise UserError(f"--room must lie between 0 and {MOST_ROOM}")
    console.tell_compilations()
    run = load_run(command.run, config.decoding)
    if command.format != "bundle":
        write = {"safetensors": export_parameters, "huggingface": export_huggingface}
        summary = write[command.format](run, command.out, dtype=command.dtype)
        console.say(f"{command.out}: {summary}")
        console.document({"out": command.out, "format": command.format, "summary": summary})
        return
    if command.allow is not None:
        run = run.restricted(allow=read_names(command.allow))
    manifest = export_bundle(
        run,
        command.out,
        dtype=command.dtype,
        room=command.room,
        newcomers=command.newcomers,
        update=command.update,
    )
    size = sum(file["bytes"] for file in manifest["files"].values())
    console.say(f"{command.out}: {manifest['items']:,} items, {size / 2**20:.1f} MiB")
    document = {"out": command.out, "format": "bundle", "items": manifest["items"], "bytes": size}
    console.document(document)


def update(command: Update, call: Call) -> None:
    wanted = (command.append is not None, bool(command.remove), command.allow is not None)
    if sum(wanted) != 1:
        raise UserError("change what? give one of --append, --remove and --allow")
    if (command.vectors is None) != (command.append is None):
        raise UserError(
            "--append and --vectors go together; where the run embedded the texts itself, add the "
            "items to it (genrec tokenize RUN --append FILE), then genrec export RUN --update"
        )

    from genrec.bundle import allow_items, remove_items

    if command.append is not None and command.vectors is not None:
        from genrec.runs.catalog_updates import append_to_bundle

        change = append_to_bundle(command.bundle, command.append, command.vectors)
    elif command.allow is not None:
        from genrec.recommend.requests import read_names

        change = allow_items(command.bundle, read_names(command.allow))
    else:
        change = remove_items(command.bundle, command.remove)
    for line in change_lines(change, command.append, command.remove):
        console.say(line)
    console.document({"bundle": command.bundle, **dataclasses.asdict(change)})


def _refuse_flags_of_bundles(format: str, call: Call) -> None:
    """Raises UserError for flags that another format than a bundle does not heed."""
    heeded = {"out", "format", "dtype", *flags_of(ResultFlags)}
    if format == "huggingface":
        heeded |= {"decoding.beam", "decoding.normalise"}
    if others := sorted(call.named - heeded):
        flags = ", ".join("--" + name.replace("_", "-") for name in others)
        raise UserError(f"--format {format} goes without {flags}")


def serve(command: Serve, call: Call) -> None:
    try:
        from genrec.serving.server import serve as answer
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs {error.name}: pip install 'genrec[serve]'") from error
    logger, options = logging.getLogger("genrec"), command.options
    if command.quiet:
        options = dataclasses.replace(options, access_log=False)
    elif not command.verbose:
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").addHandler(logger.handlers[-1])
    console.tell_compilations()
    answer(command.bundle, options)
