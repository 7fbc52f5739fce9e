"""Imports go down: a module uses only what lies on lower floors."""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sadinet

# A name stands for the module and everything in it; of several that fit, the longest counts.
FLOORS: dict[str, float] = {
    "errors": 0,
    "skeleton": 0.5,
    "geometry": 1,
    "heatmaps": 1.5,
    "training.distributed": 1,
    "files": 1,
    "images": 1.5,
    "metrics": 1.5,
    "calibration": 1.5,
    "poses": 1.5,
    "persons.boxes": 1.5,
    "ahead": 2,
    "timing": 2,
    "media.video": 2,
    "media.recording": 2.2,
    "media.sources": 2.2,
    "predicting.results": 2.2,
    "data": 2,
    "persons.fetch": 2,
    "model": 2,
    "model.config": 0.8,
    "persons.detect": 3.1,
    "draw": 3,
    "values": 0.5,
    "experiment": 3,
    "presets": 3.1,
    "predictions": 3,
    "report": 3,
    "persons.smooth": 3,
    "persons.track": 3,
    "persons.finding": 3.2,
    "persons.following": 3.3,
    "persons.streaming": 3.4,
    "reading": 3.2,
    "backend": 3,
    "submission": 5,
    "serving": 5,
    "studies.gallery": 5,
    "breakdown": 3.5,
    "crops": 3.4,
    "estimator": 3.5,
    "exporting.graph": 4.3,
    "exporting.quantize": 4,
    "checkpoint": 4.2,
    "stored": 4,
    "torch_backend": 3.2,
    "evaluate": 4,
    "calibrate": 4.5,
    "training.curves": 4,
    "training.learner": 4.5,
    "training.folder": 4.8,
    "models": 4.6,
    "predicting.job": 4.5,
    "predicting.film": 4.8,
    "doctor": 5,
    "predicting.predict": 5,
    "exporting.export": 5,
    "score": 5,
    "training.train": 5,
    "studies.tables": 3.5,
    "studies.summary": 4,
    "studies.report": 4.5,
    "studies.running": 5.5,
    "cli": 6,
    **dict.fromkeys(("exporting", "media", "persons", "predicting", "studies", "training"), 0),
    "__init__": 7,
    "__main__": 7,
}
# Members of these import each other, in no circle.
PACKAGES = {"cli", "data", "exporting", "media", "model", "persons", "predicting", "serving", "studies", "training"}
# May import the package's own modules inside functions too; floors hold there all the same.
# TensorBoard's writer (folder) needs tensorboard; crops and models load torch only where torch computes.
LAZY: set[str] = {"calibration", "cli", "crops", "models", "persons.track", "training.folder"}
REQUIRED = {"PIL", "numpy", "safetensors", "scipy", "torch", "tqdm"}
# Needed for one purpose only, so imported where that purpose is.
EXTRAS = {"av", "h5py", "matplotlib", "onnx", "onnxruntime", "onnxscript", "pandas", "skimage", "supervision"}
# Packages that are there for an extra: nothing imports them but the command that asks for it first.
WHOLE = {"serving": {"python_multipart", "starlette", "uvicorn"}}

Import = tuple[str, int, bool]
"""What is imported (``.x`` for the package's own module x), in which line, and whether inside a function."""


def read_sources() -> dict[str, str]:
    """The text of every module, by its name within the package: ``data.person``, ``model.__init__``."""
    root = Path(sadinet.__file__).parent
    return {".".join(p.relative_to(root).with_suffix("").parts): p.read_text("utf-8") for p in root.rglob("*.py")}


def find_imports(module: str, text: str, modules: set[str]) -> Iterator[Import]:
    """Everything that ``module`` imports."""

    def own(path: str, name: str) -> str:
        member = f"{path}.{name}".lstrip(".")
        if member in modules or f"{member}.__init__" in modules:
            return f".{member}"
        return f".{path}" if path else ".__init__"

    def visit(node: ast.AST, inside: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, _, rest = alias.name.partition(".")
                yield (f".{rest or '__init__'}" if first == "sadinet" else first), node.lineno, inside
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            path = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                if alias.name == "__version__":
                    continue  # a fact, although it is written in __init__
                if node.level:
                    yield own(path, alias.name), node.lineno, inside
                elif path.split(".")[0] == "sadinet":
                    yield own(path.removeprefix("sadinet").strip("."), alias.name), node.lineno, inside
                else:
                    yield path.split(".")[0], node.lineno, inside
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(text), False)


def floor_of(module: str) -> float | None:
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in FLOORS:
            return FLOORS[".".join(parts[:n])]
    return None


def find_problems(sources: dict[str, str], lazy: set[str]) -> list[str]:
    """What is wrong with the imports of the modules in ``sources``, one line each; ``lazy`` may import in functions."""
    problems = []
    within: dict[str, set[str]] = {}
    for module, text in sorted(sources.items()):
        floor = floor_of(module)
        if floor is None:
            problems.append(f"{module}: has no floor; add it to FLOORS")
            continue
        may_be_late = module in lazy or module.split(".")[0] in lazy
        for target, line, inside in find_imports(module, text, set(sources)):
            where = f"{module}:{line}: imports {target}"
            if not target.startswith("."):
                if target in WHOLE.get(module.split(".")[0], ()):
                    continue
                if target in EXTRAS:
                    if not inside:
                        problems.append(f"{where}, an extra, for everyone; import it in the function that needs it")
                elif target not in REQUIRED and target not in sys.stdlib_module_names:
                    problems.append(f"{where}, which is no dependency")
                elif inside and not may_be_late:
                    problems.append(f"{where} inside a function")
                continue
            if inside and not may_be_late:
                problems.append(f"{where} inside a function")
            name = target[1:]
            package = name.split(".")[0]
            target_floor = floor_of(name)
            if package in PACKAGES and module.split(".")[0] == package:
                member = f"{name}.__init__" if f"{name}.__init__" in sources else name
                within.setdefault(module, set()).add(member)
            elif target_floor is None or target_floor >= floor:
                problems.append(f"{where}, which is not below it ({floor:g} -> {target_floor})")
    try:
        TopologicalSorter(within).prepare()
    except CycleError as error:
        problems.append(f"a circle of imports: {' -> '.join(error.args[1])}")
    return list(dict.fromkeys(problems))  # one import of many names is one problem


def test_imports_go_down():
    sources = read_sources()
    assert "geometry" in sources
    assert find_problems(sources, LAZY) == []


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ({"geometry": "from .images import warp", "images": ""}, "geometry:1: imports .images, which is not below"),
        ({"images": "from . import heatmaps", "heatmaps": ""}, "images:1: imports .heatmaps, which is not below"),
        ({"data.a": "from ..model import net", "model.net": ""}, "data.a:1: imports .model.net, which is not below"),
        ({"model.net": "import sadinet.data.person"}, "model.net:1: imports .data.person, which is not below"),
        ({"errors": "from . import Poses"}, "errors:1: imports .__init__, which is not below"),
        ({"data.a": "from .b import x", "data.b": "\nfrom . import a"}, "a circle of imports: data."),
        (
            {"cli": "def f():\n    from .errors import DataError", "errors": ""},
            "cli:2: imports .errors inside a function",
        ),
        ({"cli": "def f():\n    import torch"}, "cli:2: imports torch inside a function"),
        ({"report": "import matplotlib.pyplot as plt"}, "report:1: imports matplotlib, an extra, for everyone"),
        ({"report": "from yaml import load"}, "report:1: imports yaml, which is no dependency"),
        ({"utils": ""}, "utils: has no floor"),
        ({"report": "from starlette.routing import Route"}, "report:1: imports starlette, which is no dependency"),
    ],
)
def test_what_goes_up_is_found(sources, problem):
    (found,) = find_problems(sources, lazy=set())
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "sources",
    [
        {"cli": "from . import __version__, report", "report": "from .geometry import Crop", "geometry": ""},
        {"data.b": "from .a import x\nfrom ..errors import DataError", "data.a": "", "errors": ""},
        {"data.__init__": "from .a import x", "data.a": "", "report": "from .data import x"},
        {"report": "def plot():\n    import matplotlib.pyplot as plt"},
        {"serving.guard": "from starlette.routing import Route"},
        {"report": "import json\nfrom collections.abc import Sequence\nimport numpy as np"},
    ],
)
def test_what_goes_down_is_allowed(sources):
    assert find_problems(sources, lazy=set()) == []


def test_a_lazy_module_may_import_in_functions_but_only_downwards():
    down = {"cli": "def f():\n    from .errors import DataError", "errors": ""}
    assert find_problems(down, lazy={"cli"}) == []
    up = {"report": "def f():\n    from . import cli", "cli": ""}
    (found,) = find_problems(up, lazy={"report"})
    assert found.startswith("report:2: imports .cli, which is not below it")
