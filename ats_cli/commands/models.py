"""`ats models`: which models there are, what is in one, which is the default, whether one is sound, and the hub's."""

from __future__ import annotations

from typing import Annotated

import typer

from ats_cli.commands.common.messages import answer, say
from ats_cli.commands.common.streams import console
from ats_cli.commands.options import base as o
from ats_cli.errors import AtsError
from ats_cli.paths import user_path

EXAMPLES = """Examples:

ats models show megapixel-digits

ats models default my-model"""

HELP = "List models, show one, choose the default, check one, fetch one from the hub."
app = typer.Typer(add_completion=False, no_args_is_help=True, epilog=EXAMPLES, help=HELP)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a model, a line each.", rich_help_panel=o.OUTPUT)]
NAME_HELP = "A model folder, the name of one that ships with ats, or hf://owner/name."


@app.command("list", epilog="Examples:\n\nats models list\n\nats models list --json")
def list_(json: Json = False, debug: o.Debug = False) -> None:
    """List the models that ship, with the recipes to train by, and those fetched from the hub."""
    from ats_cli.results.models import model_record, print_models
    from ats_cli.results.record import json_line
    from ats_cli.zoo.find import default_name, find_recipe, recipe_names
    from ats_cli.zoo.hub import pulled

    chosen, _ = default_name()
    folders = [(name, find_recipe(name)) for name in [*recipe_names(), *pulled()]]
    records = [model_record(name, f.path, f.spec, f.hash, f.has_weights, name == chosen) for name, f in folders]
    if not json:
        print_models(console(), records)
    for record in records if json else ():
        answer(json_line(record))


@app.command(epilog="Examples:\n\nats models show megapixel-digits\n\nats models show my-model --json")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP)],
    json: Json = False,
    debug: o.Debug = False,
) -> None:
    """Show what a model is, what it was trained on and how good it was: its card."""
    from ats_cli.results.models import model_record, print_model
    from ats_cli.results.record import json_line
    from ats_cli.zoo.find import default_name, find_recipe

    folder = find_recipe(name)
    record = model_record(name, folder.path, folder.spec, folder.hash, folder.has_weights, name == default_name()[0])
    if json:
        answer(json_line(record))
    else:
        print_model(console(), record)


@app.command(epilog="Examples:\n\nats models default my-model\n\nats models default")
def default(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help=f"{NAME_HELP} Without it, print it.")] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Remove the default: the demonstration model again.")] = False,
    debug: o.Debug = False,
) -> None:
    """Set the default model; ATS_MODEL takes precedence."""
    from ats_cli.zoo.default import set_default_model
    from ats_cli.zoo.find import default_name, find_model, lasting_name

    if unset and name is not None:
        raise AtsError("--unset removes the default. Leave out the name, or --unset.")
    if unset:
        set_default_model(None)
    if name is not None:
        set_default_model(lasting_name(name, find_model(name)))
    chosen, because = default_name()
    answer(chosen)
    say(f"{because}.")


@app.command(epilog="Examples:\n\nats models verify my-model\n\nats models verify hf://owner/name")
def verify(folder: Annotated[str, typer.Argument(metavar="FOLDER", help=NAME_HELP)], debug: o.Debug = False) -> None:
    """Check a model: its checksums, its description, and that the weights fit it and are finite.

    Exit status: 0 sound, 1 not sound.
    """
    from ats_cli.zoo.find import find_recipe
    from ats_cli.zoo.sums import SUMS_FILE
    from ats_cli.zoo.verify import verify

    path = given if (given := user_path(folder)).is_dir() else find_recipe(folder).path
    problems = verify(path)
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(1)
    if not (path / SUMS_FILE).is_file():
        say(f"{path}: has no {SUMS_FILE}, so its files cannot be checked against what was written.")
    answer(f"{path}: sound")


@app.command(epilog="Examples:\n\nats models pull hf://owner/name\n\nats models pull hf://owner/name@v1")
def pull(
    name: Annotated[str, typer.Argument(metavar="hf://OWNER/NAME[@REVISION]", help="A model folder of the hub.")],
    debug: o.Debug = False,
) -> None:
    """Fetch a model folder from the Hugging Face hub and print its path; --model takes the same name.

    Only the files of a model folder are fetched: nothing that can be executed. Without a connection, a model fetched
    before is used.
    """
    from ats_cli.zoo.find import find_model
    from ats_cli.zoo.hub import is_hub_name

    if not is_hub_name(name):
        raise AtsError(f"{name}: not a model of the hub. Write hf://owner/name.")
    folder = find_model(name)
    if folder.spec.notice:
        say(folder.spec.notice)
    answer(str(folder.path))
