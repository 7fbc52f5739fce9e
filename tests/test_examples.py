"""Every example runs as it stands, in an empty folder."""

import importlib.util
import json
import runpy
from pathlib import Path

import pytest

from sadinet.models import DEFAULT, embedded_models

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


ALONE = [example for example in EXAMPLES if "sys.argv" not in example.read_text("utf-8")]  # others: tests of their own


@pytest.mark.parametrize("example", ALONE, ids=lambda path: path.name)
def test_example(example, tmp_path, monkeypatch, capsys):
    if "sadinet.load()" in example.read_text("utf-8") and DEFAULT not in embedded_models():
        pytest.skip(f"this checkout has no weights '{DEFAULT}' in src/sadinet/weights")
    if "skimage" in example.read_text("utf-8") and importlib.util.find_spec("skimage") is None:
        pytest.skip("scikit-image is not installed: pip install sadinet[demo]")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out
    for answer in tmp_path.rglob("*.json"):
        assert json.loads(answer.read_text())["people"]


def test_there_are_examples_and_they_are_short():
    assert EXAMPLES
    assert all(len(example.read_text("utf-8").splitlines()) <= 40 for example in EXAMPLES)
