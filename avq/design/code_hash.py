"""What the code *does*, as a hash: syntax trees, so that comments, formatting and words for people do not count."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from avq.errors import UsageError

_ROOT = Path(__file__).resolve().parent.parent
# These judge a trained model and do not make it: their change calls for evaluation, not for training.
_EVALUATION_ROOMS = ("metrics", "evaluation", "profiling")
# What measures costs; and what it imports that only says how a number is called and printed.
_COSTS, _SCALING, _NAMES = "profiling/cost.py", "profiling/scaling.py", "metrics/registry.py"
_WORDS = ("help", "summary")  # keywords whose text a person reads and no code acts upon


def source_hash(source: str) -> str:
    """The hash of one file's syntax tree; comments, formatting, docstrings and texts of `_WORDS` do not enter."""
    return hashlib.sha256(_shape(ast.parse(source)).encode()).hexdigest()


def _shape(value: object) -> str:
    """The tree as text. Empty fields are left out: which there are differs between Python versions."""
    if isinstance(value, ast.AST):
        fields = ((name, part) for name, part in ast.iter_fields(value) if name != "kind" and part not in (None, []))
        return f"{type(value).__name__}({','.join(f'{name}={_shape(part)}' for name, part in fields)})"
    if isinstance(value, list):
        # `pass` and a bare string (a docstring, wherever it stands) do nothing.
        return f"[{','.join(_shape(part) for part in value if not _is_idle(part))}]"
    return repr(value)


def _is_idle(node: object) -> bool:
    bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return bare or isinstance(node, ast.Pass) or _is_words(node)


def _is_words(node: object) -> bool:
    """Whether it is `help="..."` or such in a call, with the text written there."""
    if not isinstance(node, ast.keyword) or node.arg not in _WORDS:
        return False
    text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return text or isinstance(node.value, ast.JoinedStr)


def files_hash(files: Iterable[tuple[str, Path]]) -> str:
    """The hash of several files, each under the name by which it is imported; 16 hex digits."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{name} {_file_hash(path, path.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _file_hash(path: Path, _changed: int) -> str:
    return source_hash(path.read_text(encoding="utf-8"))


def _room(*rooms: str, root: Path) -> list[tuple[str, Path]]:
    paths = (path for room in rooms for path in (root / room).rglob("*.py"))
    return [(path.relative_to(root).as_posix(), path) for path in paths]


def training_hash(plugins: Sequence[str] = (), root: Path = _ROOT) -> str:
    """The code that trains: models, training and data, and that of plug-ins.

    Of a plug-in in a package, all of its top-level package; of one in a file of its own, the other files of that
    folder too, as far as they are imported (but not of the folder where packages are installed).

    Raises:
        UsageError: a plug-in that cannot be found.
    """
    files = _room("models", "training", "data", root=root)
    for plugin in plugins:
        files += _plugin_files(plugin)
    return files_hash(files)


def evaluation_hash(root: Path = _ROOT) -> str:
    """The code that measures a trained model: metrics, and the evaluation that calls them."""
    return files_hash(_room(*_EVALUATION_ROOMS, root=root))


def cost_hash(root: Path = _ROOT) -> str:
    """The code that measures what a model costs: `evaluation/cost.py`, and what it imports of these two rooms."""
    return files_hash(_imported_from(_COSTS, root))


def scaling_hash(whole: bool, root: Path = _ROOT) -> str:
    """The code that `avq-bench scale` measures, and measures with.

    Args:
        whole: that of whole variants, whose models and training steps count; else of the attention layer.
        root: folder of the package.
    """
    models = _room("models", "training", root=root) if whole else _room("models", root=root)
    measured = [item for item in models if whole or item[0].startswith("models/attention")]
    return files_hash([*measured, *_imported_from(_SCALING, root)])


def _imported_from(file: str, root: Path) -> list[tuple[str, Path]]:
    """A file of the rooms that measure, and what it imports of these rooms, through any number of others."""
    found: dict[str, Path] = {}
    waiting = [file]
    while waiting:
        name = waiting.pop()
        path = root / name
        if name not in found and name != _NAMES and path.is_file():
            found[name] = path
            waiting += _imports(path)
    return list(found.items())


def _imports(path: Path) -> list[str]:
    """Files of the rooms that measure which a file imports, wherever in it; some that do not exist among them."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    rooms = tuple(f"avq.{room}" for room in _EVALUATION_ROOMS)
    parts = [module.removeprefix("avq.").replace(".", "/") for module in modules if module.startswith(rooms)]
    return [file for part in parts for file in (f"{part}.py", f"{part}/__init__.py")]


@cache
def code_of_training(plugins: tuple[str, ...] = ()) -> str:
    """`training_hash` as this process first saw it: modules are loaded once, so a later edit does not run."""
    return training_hash(plugins)


@cache
def code_of_evaluation() -> str:
    """`evaluation_hash` as this process saw it first."""
    return evaluation_hash()


@cache
def code_of_costs() -> str:
    """`cost_hash` as this process saw it first."""
    return cost_hash()


def _plugin_files(module: str) -> list[tuple[str, Path]]:
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module in `sys.modules` that was made by hand
        spec = None
    if spec is None or (spec.origin is None and spec.submodule_search_locations is None):
        raise UsageError(f"no module '{module}' to take variants from; is its folder on PYTHONPATH?")
    if spec.submodule_search_locations is not None:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        files = [(path.relative_to(folder), path) for folder in folders for path in folder.rglob("*.py")]
        return [(f"plugin {top}/{name.as_posix()}", path) for name, path in files]
    origin = Path(str(spec.origin))
    return [(f"plugin {top}", origin), *((f"plugin {path.stem}", path) for path in _imported_siblings(origin))]


def _imported_siblings(origin: Path) -> list[Path]:
    """Modules beside a plug-in's file that are loaded, the program itself apart."""
    if str(origin.parent) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return []
    loaded = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    paths = {Path(path) for module in loaded if isinstance(path := getattr(module, "__file__", None), str)}
    return sorted(path for path in paths if path.parent == origin.parent and path.suffix == ".py" and path != origin)
