"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # tiny networks: threads would wait for each other longer than they compute


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository; skips where a checkout has none."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "shared" / "data" / "README.md").is_file():
            return parent / "shared"
    pytest.skip("no folder of real data (shared/data) beside this checkout")


@pytest.fixture(autouse=True)
def _nothing_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No detector that the user named or fetched decides what a test finds."""
    monkeypatch.delenv("SADINET_DETECTOR", raising=False)
    monkeypatch.setenv("SADINET_HOME", str(tmp_path_factory.getbasetemp() / "home"))
