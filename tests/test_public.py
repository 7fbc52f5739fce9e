"""What users see first: the names of the package, its version, its documentation."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sadinet

ROOT = Path(sadinet.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))


def test_all_is_what_dir_offers():
    assert sorted(sadinet.__all__) == [name for name in dir(sadinet) if not name.startswith("__")]
    assert len(set(sadinet.__all__)) == len(sadinet.__all__)


@pytest.mark.parametrize("name", sadinet.__all__)
def test_everything_in_it_can_be_imported_and_is_documented(name):
    value = getattr(sadinet, name)
    assert value is getattr(sadinet, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__name__ == name
        assert value.__module__.startswith("sadinet.")
        assert inspect.getdoc(value)


def test_star_imports_the_same():
    names: dict[str, object] = {}
    exec("from sadinet import *", names)
    assert set(names) - {"__builtins__"} == set(sadinet.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sadinet' has no attribute 'frobnicate'"):
        _ = sadinet.frobnicate
    with pytest.raises(ImportError, match="frobnicate"):
        from sadinet import frobnicate  # noqa: F401


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, sadinet; dir(sadinet); print({'torch', 'numpy', 'PIL', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_the_errors_are_one_family():
    for name in ("CheckpointError", "ConfigError", "DataError", "ImageError"):
        assert issubclass(getattr(sadinet, name), sadinet.SadinetError)
    assert not issubclass(sadinet.SadinetError, OSError | ValueError)


def test_the_version_is_that_of_the_project():
    project = ROOT.parents[1] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("not run from a checkout: no pyproject.toml beside src")
    assert tomllib.loads(project.read_text("utf-8"))["project"]["version"] == sadinet.__version__


def undocumented(body, prefix=""):
    """Public classes, functions, methods and properties in ``body`` without a first line."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        documentation = ast.get_docstring(node) or ""
        if not documentation.split("\n")[0].strip():
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_is_documented(path):
    tree = ast.parse(path.read_text("utf-8"))
    inherited = {"backward", "forward", "setup_context"}  # torch says what these are
    missing = [name for name in undocumented(tree.body) if name.split(".")[-1] not in inherited]
    assert missing == []
    if tree.body:
        assert ast.get_docstring(tree), "the module does not say what it is for"


def test_what_is_undocumented_is_found():
    source = 'class A:\n    """Doc."""\n    def f(self): ...\n    def _g(self): ...\ndef h():\n    """\n    Late."""\n'
    assert list(undocumented(ast.parse(source).body)) == ["A.f"]
    assert list(undocumented(ast.parse("def f(): ...").body)) == ["f"]
