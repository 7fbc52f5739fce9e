"""How a network is asked, and on what."""

import pytest
import torch

from sadinet.crops import SIX_SCALES, CropEstimator, Inference
from sadinet.errors import ConfigError
from sadinet.presets import preset
from sadinet.torch_backend import find_device


class TestInference:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"scales": ()},
            {"scales": (1.0, 0.0)},
            {"scales": (-1.0,)},
            {"scales": (float("nan"),)},
            {"scales": (float("inf"),)},
            {"batch_size": 0},
            {"threads": 0},
        ],
    )
    def test_nonsense_is_refused(self, wrong):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Inference(**wrong)

    def test_it_describes_itself(self):
        assert Inference(flip=True).describe() == "1 scale + flip"
        assert Inference(flip=False, scales=SIX_SCALES).describe() == "6 scales"

    @pytest.mark.parametrize("name", ["toaster", "cuda:99", "cpu:x"])
    def test_a_device_that_is_not_there_is_refused(self, name):
        with pytest.raises(ConfigError, match=f"device '{name}' cannot be used"):
            CropEstimator(torch.nn.Identity(), preset("toy-t"), device=name)

    def test_the_device_may_be_named_or_left_to_be_found(self):
        assert find_device("cpu") == torch.device("cpu")
        assert find_device(None).type in ("cpu", "cuda")
