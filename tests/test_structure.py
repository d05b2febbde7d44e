"""Where things are and what they are named: imports, sizes, names.

What does not follow a rule yet is in tests/structure_exceptions.py, rule by rule. An exception that follows its rule
fails as well, so that the list only becomes shorter.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from passed_on import PassedOn
from structure_exceptions import EXCEPTIONS

from ats_cli import records
from ats_cli.app import COMMANDS
from ats_cli.commands.options import base as options

PACKAGE = Path(records.__file__).parent
FILES = {file.relative_to(PACKAGE).as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}

# Which packages a package may import. Files beside them (records.py, text.py ...) import none but under TYPE_CHECKING.
ALLOWED: dict[str, set[str]] = {
    "slides": set(),
    "sampling": set(),
    "tasks": set(),
    "nets": {"sampling", "tasks"},
    "zoo": {"nets", "tasks"},
    "results": {"tasks"},
    "inference": {"results", "zoo", "nets", "slides", "sampling", "tasks"},
    "doctor": {"inference", "zoo", "slides"},
    "training": {"inference", "results", "zoo", "nets", "slides", "sampling", "tasks"},
    "commands": {"doctor", "inference", "training", "results", "zoo", "nets", "slides", "sampling", "tasks"},
}
LIBRARIES_LEFT_OUT = {
    "slides": {"torch", "torchvision", "timm"},
    "sampling": {"torch", "torchvision", "timm", "pathlib", "PIL", "io", "os"},
    "tasks": {"pathlib", "PIL", "io", "os", "torchvision", "timm"},
    "nets": {"pathlib", "PIL", "io", "os", "tifffile", "openslide", "safetensors"},
}
HEAVY = {
    "numpy", "torch", "lightning_fabric", "tensorboard", "torchvision", "timm", "zarr", "openslide", "tifffile",
    "imagecodecs", "PIL", "matplotlib",
}  # fmt: skip

LINES, FILES_OF_A_FOLDER, FUNCTION_LINES, PARAMETERS, COMMAND_LINES, PASSED_ON = 320, 14, 80, 8, 129, 3

# Not as the whole name of a file, folder, class, function, parameter, field, attribute or column.
BANNED = {
    "look", "see", "seen", "told", "kept", "diary", "watch", "crew", "here", "going", "chance", "heap", "shorter",
    "described", "traits", "familiarity", "passes", "one", "many", "house", "room", "face", "job", "held", "right",
    "native", "turned", "drawing", "engine", "extend", "stillborn", "call",
}  # fmt: skip
# Options of the command line: free as names of parameters and fields.
OPTIONS = {"extend", "engine"}


def check(rule: str, violations: set[str]) -> None:
    """Pass if what violates `rule` is exactly what is listed as an exception."""
    allowed = EXCEPTIONS.get(rule, set())
    assert violations <= allowed, f"{rule}: {sorted(violations - allowed)}"
    assert allowed <= violations, f"no exceptions to {rule!r} any more, remove them: {sorted(allowed - violations)}"


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a file, without what stands under `if TYPE_CHECKING`: that is never run."""
    module = ast.parse(FILES[name].read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return module


@cache
def imports(name: str) -> set[str]:
    """Full names of the modules that a file imports, at its top and within functions; `from a import b`: a and a.b."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written in full"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def libraries(name: str) -> set[str]:
    return {module.partition(".")[0] for module in imports(name)}


@cache
def files_imported(name: str) -> set[str]:
    """Files of the package that a file names in its imports. Not the __init__.py of the packages above them."""
    found = set()
    for module in imports(name):
        path = "/".join(module.split(".")[1:]) if module.startswith("ats_cli.") else None
        found |= {file for file in (f"{path}.py", f"{path}/__init__.py") if file in FILES}
    # `from ats_cli.slides import reader` names the package and the file: the file is meant.
    named = {file for file in found if not file.endswith("/__init__.py")}
    return named | {file for file in found - named if not _only_a_way_to(file, name)}


def _only_a_way_to(package: str, name: str) -> bool:
    """Whether a file imports nothing of a package's __init__.py but files beside it."""
    module = f"ats_cli.{package.removesuffix('/__init__.py').replace('/', '.')}"
    names = [
        alias.name
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    ]
    folder = package.removesuffix("__init__.py")
    return all(f"{folder}{n}.py" in FILES or f"{folder}{n}/__init__.py" in FILES for n in names)


def package_of(name: str) -> str | None:
    return name.partition("/")[0] if "/" in name else None


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for name in FILES:
        yield from ((name, node) for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef))


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name in FILES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    of = function.args
    every = [*of.posonlyargs, *of.args, *of.kwonlyargs, *(a for a in (of.vararg, of.kwarg) if a)]
    return [a.arg for a in every if a.arg not in ("self", "cls")]


def is_command(name: str) -> bool:
    return name in {f"commands/{command}.py" for command in COMMANDS}


@pytest.mark.integration
def test_packages_import_one_way() -> None:
    wrong = set()
    for name in FILES:
        package = package_of(name)
        if name == "app.py":
            continue
        allowed = ALLOWED[package] | {package} if package else set()
        others = {package_of(file) for file in files_imported(name)} - {None}
        wrong |= {f"{name} -> {other}" for other in others - allowed}
    check("packages import one way", wrong)


def test_every_package_has_a_rule() -> None:
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} - ALLOWED.keys() == set()


def test_files_import_each_other_without_a_cycle() -> None:
    """Imports within functions count as well, those under TYPE_CHECKING do not."""
    left = {name: files_imported(name) - {name} for name in FILES}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    # What is left is on a cycle or imports what is; take away what no other file left imports.
    while unused := {name for name in left if not any(name in others for others in left.values())}:
        left = {name: others for name, others in left.items() if name not in unused}
    check("imports are acyclic", {Path(name).name for name in left})


@pytest.mark.parametrize("package", LIBRARIES_LEFT_OUT)
def test_packages_that_do_without(package: str) -> None:
    for name in FILES:
        if package_of(name) != package:
            continue
        assert not libraries(name) & LIBRARIES_LEFT_OUT[package], name
        if package != "slides":
            calls = [node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]
            assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}, name


def test_what_only_some_models_need_is_imported_for_them_alone() -> None:
    """Lightning Fabric by training only; timm, torchvision and tensorboard within functions only."""
    for name in FILES:
        assert package_of(name) == "training" or "lightning_fabric" not in libraries(name), name
        at_the_top = [node for node in tree(name).body if isinstance(node, ast.Import | ast.ImportFrom)]
        text = "\n".join(ast.unparse(node) for node in at_the_top)
        assert not any(library in text for library in ("timm", "torchvision", "tensorboard")), name


def test_models_is_data_and_no_package() -> None:
    assert not list((PACKAGE.parent / "models").rglob("*.py"))
    assert not [name for name in FILES if "models" in libraries(name)]


def test_files_are_short() -> None:
    long = {name for name, file in FILES.items() if len(file.read_text(encoding="utf-8").splitlines()) > LINES}
    check("files are short", {Path(name).name for name in long})


def test_folders_are_small() -> None:
    counts = Counter(name.rpartition("/")[0] for name in FILES)
    check("folders are small", {folder or "." for folder, count in counts.items() if count > FILES_OF_A_FOLDER})


def test_commands_are_short_and_alone_in_their_folder() -> None:
    beside = {name for name in FILES if Path(name).parent.as_posix() == "commands" and not is_command(name)}
    check("commands holds commands", beside - {"commands/__init__.py"})
    commands = {name for name in FILES if is_command(name) and name != "commands/train.py"}
    long = {name for name in commands if len(FILES[name].read_text(encoding="utf-8").splitlines()) > COMMAND_LINES}
    check("commands are short", long)


def test_functions_are_short_and_have_few_parameters() -> None:
    outside = [(name, function) for name, function in functions() if not is_command(name)]
    long = {f.name for _, f in outside if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES}
    check("functions are short", long)
    check("functions have few parameters", {f.name for _, f in outside if len(parameters(f)) > PARAMETERS})


@pytest.mark.integration
def test_parameters_are_not_passed_on_through_many_functions() -> None:
    """At most three functions in a row only pass a parameter on (see passed_on.py): more is a missing object."""
    chains = PassedOn({name: tree(name) for name in FILES}, "ats_cli").chains()
    long = {" -> ".join(map(str, chain)) for chain in chains if len(chain) - 1 > PASSED_ON}
    check("parameters are used", long)


CHAIN = """
from toy.other import Reader, scale
def command(size, name): return first(size, name=name)
def first(size, name): return second(size, name) + len(name)
def second(size, label): return Reader(size).go(side=size)
"""
OTHER = """
class Reader:
    def __init__(self, size): self.size = scale(size)
    def go(self, side): return scale(side) + side
def scale(size): return 2 * size
"""


def test_what_only_passes_a_parameter_on_is_found() -> None:
    trees = {"main.py": ast.parse(CHAIN), "other.py": ast.parse(OTHER)}
    longest = {str(chain[0]): [p.function.name for p in chain] for chain in PassedOn(trees, "toy").chains()}
    assert longest["main.py:command(size)"] == ["command", "first", "second", "__init__", "scale"]
    assert longest["main.py:command(name)"] == ["command", "first"], "it is measured there as well"
    assert longest["other.py:go(side)"] == ["go"]


def test_a_class_has_its_name_alone() -> None:
    counts = Counter(node.name for _, node in classes())
    check("one class of a name", {name for name, count in counts.items() if count > 1})


def names_given() -> Iterator[str]:
    """Names of files and folders, classes, functions, parameters, fields, attributes, and columns of tables."""
    for name in FILES:
        yield from name.removesuffix(".py").split("/")
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                columns = any("COLUMNS" in ast.unparse(target) for target in targets) and node.value
                strings = ast.walk(node.value) if columns and node.value else ()
                yield from (s.value for s in strings if isinstance(s, ast.Constant) and isinstance(s.value, str))
    for _, class_ in classes():
        yield class_.name
        fields = {
            node.target.id
            for node in class_.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        yield from fields - OPTIONS
    for _, function in functions():
        yield function.name
        yield from set(parameters(function)) - OPTIONS


@pytest.mark.integration
def test_names_are_words_of_the_field() -> None:
    own = {name for name in names_given() if not name.startswith("__")}
    check("names", {name for name in own if name.strip("_").lower() in BANNED})


@cache
def constants(name: str) -> set[object]:
    return {node.value for node in ast.walk(tree(name)) if isinstance(node, ast.Constant)}


def members_by_kind() -> dict[str, dict[str, str]]:
    """Kind -> name -> file of every member that registry.py lists."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(tree("registry.py")):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("Registry") and len(node.args) > 1:
            kind, members = (ast.literal_eval(argument) for argument in node.args[:2])
            modules = {name: at.partition(":")[0].removeprefix("ats_cli.") for name, at in members.items()}
            found[kind] = {name: f"{module.replace('.', '/')}.py" for name, module in modules.items()}
    return found


def test_a_member_is_named_in_its_own_file_and_the_registry_only() -> None:
    """Whole strings of the code; words of docstrings and messages are free."""
    kinds = members_by_kind()
    assert "sampler" in kinds
    wrong = set()
    for kind in ("sampler", "task", "format"):
        for member, own in kinds.get(kind, {}).items():
            # A format may be a folder of files, or several files called after it.
            folder = f"slides/formats/{member}"
            member_files = {
                name for name in FILES if kind == "format" and name.startswith((f"{folder}/", f"{folder}_"))
            }
            for name in FILES.keys() - {own, "registry.py"} - member_files:
                wrong |= {f"{Path(name).name}: {member}"} if member in constants(name) else set()
    check("members are named in their own file", wrong)


@pytest.mark.integration
def test_help_is_light() -> None:
    """Every help page, one after the other in one process: none of them imports a heavy library."""
    code = (
        "import sys; from ats_cli.app import run\n"
        f"for arguments in {[[], *([name] for name in COMMANDS)]}:\n"
        "    status = run([*arguments, '--help'])\n"
        f"    print(status, *arguments, *({HEAVY} & set(sys.modules)), sep=' ', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["0", *(f"0 {name}" for name in COMMANDS)]
    assert done.stdout.count("Usage") == 1 + len(COMMANDS)
    listed = done.stdout.partition("Commands")[2].partition("Usage")[0]
    assert all(f" {name} " in listed for name in COMMANDS), listed


def test_names_to_choose_from_are_those_of_the_records() -> None:
    assert get_args(options.ColorProfileName) == records.COLOR_PROFILES
