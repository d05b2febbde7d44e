"""Parameters that functions only pass on, found in the syntax trees of a package.

A function passes a parameter on if it does nothing else with it: every use is a whole argument of a call to a function
of the package. The chain goes on with the parameter that receives it, under whatever name, and ends at the function
that uses it, or stores it.

A call `f(x)` is followed through imports to the function, or to the `__init__` of the class, that the file knows as
`f`. A call `a.f(x)` is followed if the package has only one method of that name. Where it has several, the call goes
through an interface: its parameters are the interface's choice and not the caller's, so the chain ends.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Parameter(NamedTuple):
    """A parameter of a function in a file."""

    file: str
    function: Function
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function.name}({self.name})"


class PassedOn:
    """The parameters of the functions in `trees`: file, as "a/b.py" -> syntax tree. `package`: its name in imports."""

    def __init__(self, trees: Mapping[str, ast.Module], package: str) -> None:
        self._trees, self._package = trees, package
        self._known = {file: self._definitions(file) for file in trees}
        self._methods: dict[str, list[tuple[str, Function]]] = {}
        for file, tree in trees.items():
            for class_ in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
                for function in (node for node in class_.body if isinstance(node, Function)):
                    self._methods.setdefault(function.name, []).append((file, function))
        self._chains: dict[tuple[int, str], tuple[Parameter, ...]] = {}

    def chains(self) -> Iterator[tuple[Parameter, ...]]:
        """Yield for each parameter of each function the longest chain from it: those that pass it on, then the last."""
        for file, tree in self._trees.items():
            for function in (node for node in ast.walk(tree) if isinstance(node, Function)):
                positional, by_name = _parameters(function)
                for name in positional + by_name:
                    yield self._chain(Parameter(file, function, name))

    def _chain(self, parameter: Parameter) -> tuple[Parameter, ...]:
        key = id(parameter.function), parameter.name
        if key not in self._chains:
            self._chains[key] = (parameter,)  # where a function calls itself
            longest = max((self._chain(receiver) for receiver in self._receivers(parameter)), key=len, default=())
            self._chains[key] = (parameter, *longest)
        return self._chains[key]

    def _receivers(self, parameter: Parameter) -> list[Parameter]:
        """The parameters that receive this one, if it is passed on and not used."""
        nodes = [node for statement in parameter.function.body for node in ast.walk(statement)]
        uses = {id(node) for node in nodes if isinstance(node, ast.Name) and node.id == parameter.name}
        found = []
        for call in (node for node in nodes if isinstance(node, ast.Call)):
            arguments = [*enumerate(call.args), *((keyword.arg, keyword.value) for keyword in call.keywords)]
            for place, argument in arguments:
                if id(argument) in uses and (receiver := self._receiver(parameter.file, call, place)) is not None:
                    found.append(receiver)
                    uses.discard(id(argument))
        return [] if uses else found

    def _receiver(self, file: str, call: ast.Call, place: int | str | None) -> Parameter | None:
        """The parameter to which a call hands the argument at `place`, a number or a name."""
        if isinstance(call.func, ast.Name):
            called = self._find(file, call.func.id)
        elif isinstance(call.func, ast.Attribute) and len(self._methods.get(call.func.attr, ())) == 1:
            called = self._methods[call.func.attr][0]
        else:
            return None
        if called is None:
            return None
        positional, by_name = _parameters(called[1])
        if isinstance(place, int):
            return Parameter(*called, positional[place]) if place < len(positional) else None
        return Parameter(*called, place) if place in positional + by_name else None

    def _find(self, file: str, name: str) -> tuple[str, Function] | None:
        """The file and the function that a file knows by a name."""
        known = self._known[file].get(name)
        if isinstance(known, tuple):
            return self._find(*known)
        if isinstance(known, ast.ClassDef):
            known = next((n for n in known.body if isinstance(n, Function) and n.name == "__init__"), None)
        return None if known is None else (file, known)

    def _definitions(self, file: str) -> dict[str, ast.ClassDef | Function | tuple[str, str]]:
        """What a file defines or imports from the package: name -> definition, or (file, name) of what is imported."""
        found: dict[str, ast.ClassDef | Function | tuple[str, str]] = {}
        for node in ast.walk(self._trees[file]):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == self._package:
                path = "/".join((node.module or "").split(".")[1:])
                other = next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in self._trees), None)
                found |= {a.asname or a.name: (other, a.name) for a in node.names} if other else {}
        found |= {node.name: node for node in self._trees[file].body if isinstance(node, ast.ClassDef | Function)}
        return found


def _parameters(function: Function) -> tuple[list[str], list[str]]:
    """Names of the parameters by position, without self, and of those by name only."""
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return positional[positional[:1] in (["self"], ["cls"]) :], [a.arg for a in function.args.kwonlyargs]
