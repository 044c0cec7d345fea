"""What code does, as a fingerprint: the syntax trees of all files that some modules import.

What cannot change a number does not enter: comments, docstrings, formatting, the messages of errors, imports for type
checkers, a module's own lines that register something (`register_variant(...)`), and the modules of settings, whose
values are in a task's content.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from avq.errors import UsageError
from avq.models.recipe import parts_of

ROOT = Path(__file__).resolve().parent.parent
# They carry words, files, names and checks, and no number: what a card says of images is in their fingerprint; what
# settings and the entries of quantizers and metrics say, in that of the run or the measure.
_SILENT = frozenset(
    f"avq.{name}"
    for name in (
        "aliases", "data.cards", "errors", "fields", "files", "metrics.registry", "models.config",
        "models.quantizers.registry", "plugins", "registry", "resources", "toml", "training.config",
    )
)  # fmt: skip
_REGISTRATIONS = frozenset(f"register_{kind}" for kind in ("variant", "quantizer", "metric", "cards"))
# A plug-in that imports one of these, or a whole module, may build the suite's models, whose parts strings name.
_BUILDERS = ("", "*", "Autoencoder", "build_from_config", "create_variant", "load_model")


@cache
def code_fingerprint(parts: tuple[str, ...], root: Path = ROOT) -> str:
    """The fingerprint of parts: their names and their import closure, as this process first saw it; 16 hex digits.

    Code is loaded once, so an edit that comes later does not run in this process.

    Args:
        parts: modules, or "module:attribute" for one of several things that a module has.
        root: folder of the package avq.

    Raises:
        UsageError: a module of a plug-in cannot be found.
    """
    digest = hashlib.sha256(f"{sorted(parts)}\n".encode())
    for name, path in sorted(closure((part.partition(":")[0] for part in parts), root).items()):
        digest.update(f"{name} {_tree(path, path.stat().st_mtime_ns).shape}\n".encode())
    return digest.hexdigest()[:16]


def closure(modules: Iterable[str], root: Path = ROOT) -> dict[str, Path]:
    """The files that modules are made of: themselves and what they import of avq and of their own package or folder.

    Imports count wherever they stand, but for those that only type checkers see. Packages of avq are tables of names:
    of `from avq.models import X` the module that X comes from counts.

    Args:
        modules: such as "avq.training.trainer", or those of plug-ins.
        root: folder of the package avq.

    Returns:
        The files by module.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in _SILENT:
            continue
        path = _file(name, root)
        if path is None:
            raise UsageError(
                f"no module '{name}', which a variant, a quantizer or a metric names (a plug-in's is the name of its "
                "file); is its folder on PYTHONPATH?"
            )
        found[name] = path
        waiting += _followed(name, path, root)
    return found


def _followed(name: str, path: Path, root: Path) -> Iterator[str]:
    """What a module's imports lead to: modules of avq, and of the plug-in's own package or folder."""
    own = name.partition(".")[0]
    if own != "avq" and "." in name:
        yield name.rpartition(".")[0]  # a package's own code runs first
    beside = None if own == "avq" or _is_installed(path.parent) else path.parent
    for module, attribute in _tree(path, path.stat().st_mtime_ns).imports:
        base = _absolute(module, name, path)
        if own != "avq" and base.partition(".")[0] == "avq" and attribute in _BUILDERS:
            yield from (part.partition(":")[0] for part in parts_of(None, {"attention": "rpa"}))
        for target in _targets(base, attribute, root):
            top = target.partition(".")[0]
            if top in ("avq", own) or (beside is not None and (beside / f"{top}.py").is_file()):
                yield target


def _targets(module: str, attribute: str, root: Path) -> Iterator[str]:
    """The modules that `from module import attribute` (or `import module`, with no attribute) runs."""
    inside = f"{module}.{attribute}" if attribute else module
    if attribute and _file(inside, root) is not None:
        yield inside
    elif module.partition(".")[0] == "avq" and (package := _package(module, root)) is not None:
        yield from _re_exported(package, attribute)
    elif _file(module, root) is not None:
        yield module


def _re_exported(package: Path, attribute: str) -> Iterator[str]:
    """Where a package of avq takes a name from."""
    for node in ast.walk(ast.parse(package.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and attribute in {alias.name for alias in node.names}:
            yield node.module


def _absolute(module: str, importer: str, path: Path) -> str:
    """A module's full name; `module` begins with a dot for each level of a relative import."""
    levels = len(module) - len(module.lstrip("."))
    if not levels:
        return module
    parts = importer.split(".")
    parts = parts[: len(parts) - levels + (path.name == "__init__.py")]
    return ".".join([*parts, *filter(None, [module.lstrip(".")])])


def _package(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split(".")[1:], "__init__.py")
    return path if path.is_file() else None


def _file(module: str, root: Path) -> Path | None:
    """A module's source; None for one that is not there or is a package of avq."""
    top, *inside = module.split(".")
    if top == "avq":
        path = root.joinpath(*inside).with_suffix(".py") if inside else root
        return path if path.is_file() else None
    for path in _plugin_places(top):
        places = (path.joinpath(*inside, "__init__.py"), path.joinpath(*inside).with_suffix(".py"))
        candidates = places if path.is_dir() else ((path,) if not inside else ())
        for candidate in candidates:
            if candidate.is_file():
                return candidate
    return None


@cache
def _plugin_places(top: str) -> tuple[Path, ...]:
    """The folders of a package, or the file of a module, that a plug-in lies in."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module in `sys.modules` that was made by hand
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(folder) for folder in spec.submodule_search_locations)
    return (Path(spec.origin),) if spec.origin and spec.origin.endswith(".py") else ()


def _is_installed(folder: Path) -> bool:
    """Whether modules that lie there are packages of their own, rather than parts of one program."""
    places = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib"))
    return str(folder) in places or str(folder) in (f"{sys.prefix}/bin", f"{sys.base_prefix}/bin")


class Tree:
    """What a module does, from its source: the shape of it, and its imports as pairs of module and attribute."""

    def __init__(self, source: str) -> None:
        tree = _Acting().visit(ast.parse(source))
        self.shape = hashlib.sha256(_shape(tree).encode()).hexdigest()
        self.imports = list(_imports(tree))


@cache
def _tree(path: Path, _changed: int) -> Tree:
    return Tree(path.read_text(encoding="utf-8"))


class _Acting(ast.NodeTransformer):
    """Leaves out of a syntax tree what cannot change a number."""

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = [one for one in node.body if not _registers(one)]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if _name(node.test) == "TYPE_CHECKING" else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:  # a docstring, wherever it stands
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_Pass(self, _node: ast.Pass) -> None:
        return None

    def visit_Raise(self, node: ast.Raise) -> ast.AST:  # that it fails matters, not in which words
        return ast.Raise(node.exc.func) if isinstance(node.exc, ast.Call) else node


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


def _shape(value: object) -> str:
    """The tree as text. Empty fields are left out: which there are differs between Python versions."""
    if isinstance(value, ast.AST):
        fields = ((name, part) for name, part in ast.iter_fields(value) if name != "kind" and part not in (None, []))
        return f"{type(value).__name__}({','.join(f'{name}={_shape(part)}' for name, part in fields)})"
    return f"[{','.join(map(_shape, value))}]" if isinstance(value, list) else repr(value)


def _registers(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value.func) in _REGISTRATIONS


def _name(node: ast.expr) -> str:
    """The last part of a dotted name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
