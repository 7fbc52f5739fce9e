"""Experiments: every named one, the one way to change them, and the one way to write them down."""

import dataclasses
import json
import math
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sadinet.data.augment import AugmentConfig
from sadinet.errors import ConfigError, SadinetError
from sadinet.experiment import DataConfig, Experiment, TrainingConfig, from_json, to_json
from sadinet.heatmaps import Decoding
from sadinet.model.config import BackboneConfig, DistributionConfig, FusionConfig, LossConfig, NetworkConfig
from sadinet.presets import PRESETS, VARIANTS, preset
from sadinet.skeleton import COCO, LSP, MPII, Skeleton
from sadinet.values import from_dict, override, to_dict


class TestPresets:
    @pytest.mark.parametrize("name", PRESETS)
    def test_each_is_called_by_its_name_and_comes_back_from_json(self, name):
        experiment = preset(name)
        assert experiment.name == name
        assert from_json(to_json(experiment)) == experiment
        assert hash(experiment) == hash(preset(name))

    def test_no_two_are_the_same(self):
        anonymous = {dataclasses.replace(preset(name), name="") for name in PRESETS}
        assert len(anonymous) == len(PRESETS)

    def test_the_paper_s_has_the_widths_of_the_paper_and_the_small_ones_a_share_of_them(self):
        widths = {size: preset(f"lsp-{size}").network.backbone.channels for size in "bst"}
        assert widths == {"b": (64, 128, 256, 512), "s": (32, 64, 128, 256), "t": (16, 32, 64, 128)}
        assert preset("lsp-b").network.fusion.outputs == 2048
        assert preset("lsp-t").network.fusion.outputs == 512

    @pytest.mark.parametrize(("name", "skeleton", "dataset"), [("lsp-b", LSP, "lsp+lspet"), ("mpii-s", MPII, "mpii")])
    def test_each_data_set_has_its_keypoints(self, name, skeleton, dataset):
        experiment = preset(name)
        assert experiment.skeleton == skeleton
        assert experiment.network.keypoints == len(skeleton)
        assert experiment.data.dataset == dataset

    @pytest.mark.parametrize("name", ["lsp-x", "lsp-b-", "LSP-B", "", "mpii-b-nothing"])
    def test_an_unknown_name_is_refused_with_the_known_ones(self, name):
        with pytest.raises(ConfigError, match=rf"'{name}'.*lsp\|mpii\|toy.*b\|s\|t.*-hourglass, "):
            preset(name)

    def test_every_variant_says_what_it_is(self):
        assert all(text for text, _ in VARIANTS.values())


class TestOverride:
    @pytest.mark.parametrize(
        ("change", "read"),
        [
            ("training.epochs=5", lambda e: e.training.epochs == 5),
            ("training.learning_rate=3e-4", lambda e: e.training.learning_rate == 3e-4),
            ("training.learning_rate=1", lambda e: type(e.training.learning_rate) is float),
            ("training.milestones=3,7,11", lambda e: e.training.milestones == (3, 7, 11)),
            (" training.milestones = 3 , 7 ", lambda e: e.training.milestones == (3, 7)),
            ("training.milestones=9", lambda e: e.training.milestones == (9,)),
            ("training.milestones=", lambda e: e.training.milestones == ()),
            ("data.augment.scale=0.5,2", lambda e: e.data.augment.scale == (0.5, 2.0)),
            ("data.keep_duplicates=true", lambda e: e.data.keep_duplicates is True),
            ("data.keep_duplicates=False", lambda e: e.data.keep_duplicates is False),
            ("network.backbone.block=basic", lambda e: e.network.backbone.block == "basic"),
            ("network.input_size=128", lambda e: e.network.input_size == 128),
            ("decoding=dark", lambda e: e.decoding == "dark"),
            ("name=a=b", lambda e: e.name == "a=b"),
            ("name=17", lambda e: e.name == "17"),
            ("skeleton.torso=null", lambda e: e.skeleton.torso is None),
        ],
    )
    def test_a_field_gets_the_value_in_its_own_type(self, change, read):
        before = preset("toy-t")
        assert not read(before) or "False" in change or "learning_rate=1" in change
        assert read(override(before, [change]))

    def test_nothing_else_changes_and_the_original_not_at_all(self):
        before = preset("lsp-s")
        kept = to_json(before)
        after = override(before, ["training.epochs=5", "loss.sigma=3"])
        assert to_json(before) == kept
        assert override(after, [f"training.epochs={before.training.epochs}", "loss.sigma=2"]) == before

    def test_the_last_of_two_changes_counts(self):
        assert override(preset("toy-t"), ["training.seed=3", "training.seed=4"]).training.seed == 4

    def test_no_change_is_the_same(self):
        assert override(preset("mpii-b"), []) == preset("mpii-b")

    def test_a_whole_part_may_be_given_as_json(self):
        after = override(preset("toy-t"), ['data.augment={"rotation": 12, "flip": 0}'])
        assert after.data.augment == AugmentConfig(rotation=12.0, flip=0.0)

    @pytest.mark.parametrize(
        ("change", "known"),
        [
            ("training.epoch=5", "epochs"),
            ("trainings.epochs=5", "training"),
            ("network.backbone.depth=5", "channels"),
            ("name.x=1", "no fields"),
            ("=3", "decoding"),
        ],
    )
    def test_an_unknown_field_is_refused_with_the_known_ones(self, change, known):
        with pytest.raises(ConfigError, match=f"unknown field '{change.split('=')[0]}'.*{known}"):
            override(preset("toy-t"), [change])

    @pytest.mark.parametrize("change", ["training.epochs", "", "training.epochs:5"])
    def test_without_an_equals_sign_it_says_how_to_write(self, change):
        with pytest.raises(ConfigError, match=r"write part\.field=value"):
            override(preset("toy-t"), [change])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("training.epochs=5.0", r"training.epochs=5.0: expected int"),
            ("training.epochs=true", r"training.epochs=True: expected int"),
            ("training.epochs=many", r"training.epochs='many': expected int"),
            ("training.epochs=" + "9" * 5000, r"training.epochs='999.*expected int"),
            ("training.learning_rate=fast", r"training.learning_rate='fast': expected float"),
            ("training.learning_rate=NaN", r"training.learning_rate=nan: expected float"),
            ("training.learning_rate=Infinity", r"training.learning_rate=inf: expected float"),
            ("training.learning_rate=1" + "0" * 400, r"training.learning_rate=1000.*expected float"),
            ("training.milestones=3,x", r"training.milestones\[1\]='x': expected int"),
            ("data.augment.scale=1", r"data.augment.scale=\[1\]: expected tuple"),
            ("data.augment.scale=1,2,3", r"data.augment.scale=\[1, 2, 3\]: expected tuple"),
            ("data.keep_duplicates=yes", r"data.keep_duplicates='yes': expected bool"),
            ("data.keep_duplicates=1", r"data.keep_duplicates=1: expected bool"),
            ("network.backbone.block=fancy", r"network.backbone.block='fancy': expected 'rfm' \| 'basic'"),
            ("decoding=", r"decoding='': expected 'argmax' \| 'quarter' \| 'dark'"),
            ("network=3", r"network: expected fields, got 3"),
        ],
    )
    def test_the_wrong_type_is_refused_with_the_field_and_what_was_expected(self, change, message):
        with pytest.raises(ConfigError, match=message):
            override(preset("toy-t"), [change])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("network.keypoints=9", "network.keypoints=9 but the keypoint set 'lsp' has 14"),
            ("network.input_size=65", "input_size=65: give a positive multiple of 32"),
            ("network.input_size=0", "input_size=0: give a positive multiple of 32"),
            ("network.backbone.channels=8,16", "backbone.channels"),
            ("network.backbone.blocks=1,2", "backbone.blocks"),
            ("network.fusion.widths=1,2,3", "fusion.widths"),
            ("network.distribution.sigma_min=0.5", "sigma_min < sigma_init"),
            ("training.epochs=0", "epochs >= 1"),
            ("training.batch_size=1", "batch_size >= 2"),
            ("training.ema=1", "ema < 1"),
            ("training.learning_rate=-1", "learning_rate > 0"),
            ("training.seed=-1", "0 <= seed"),
            ("training.weight_decay=-0.1", "weight_decay"),
            ("loss.sigma=0", "sigma > 0"),
            ("data.augment.scale=1.5,0.5", r"scale\[0\] <= scale\[1\]"),
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, change, message):
        with pytest.raises(ConfigError, match=message):
            override(preset("toy-t"), [change])

    @pytest.mark.parametrize(
        ("changes", "multiple"),
        [
            ((), 32),
            (("network.backbone.kind=classic",), 64),
            (("network.backbone.channels=8,16,32,64,64", "network.backbone.blocks=1,1,1,1,1"), 64),
        ],
    )
    def test_the_side_of_the_input_is_a_multiple_of_what_the_hourglass_halves_by(self, changes, multiple):
        experiment = override(preset("lsp-t"), changes)
        assert experiment.network.size_multiple == multiple
        assert override(experiment, [f"network.input_size={3 * multiple}"]).network.input_size == 3 * multiple
        with pytest.raises(ConfigError, match=f"multiple of {multiple}"):
            override(experiment, [f"network.input_size={3 * multiple - 32 // (64 // multiple)}"])


class TestJson:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[",
            "[]",
            "null",
            "3",
            '"lsp-t"',
            "{}",
            '{"name": "x"}',
            '{"format": "torch", "epoch": 3}',
            '{"name": 1, "skeleton": {}, "network": {}}',
            '{"name": "x", "skeleton": {}, "network": {}}',
            '{"name": "x", "skeleton": "lsp", "network": {}}',
            '{"name": "x", "skeleton": {"name": "a", "keypoints": "b"}, "network": {}}',
            '{"name": "x", "skeleton": {"name": "a", "keypoints": ["b"]}, "network": {"keypoints": "1"}}',
            "[" * 100_000,
            "9" * 5000,
        ],
    )
    def test_what_is_no_experiment_is_refused(self, text):
        with pytest.raises(ConfigError):
            from_json(text, "some.json")

    def test_what_is_no_json_is_refused_by_the_file_s_name(self):
        with pytest.raises(ConfigError, match=r"^some\.json: not JSON"):
            from_json("not json", "some.json")

    @pytest.mark.parametrize("length", range(0, 3000, 97))
    def test_text_cut_short_is_refused(self, length):
        text = to_json(preset("lsp-b-rle"))
        assert length < len(text)
        with pytest.raises(ConfigError):
            from_json(text[:length])

    def test_a_missing_field_keeps_its_default_and_an_unknown_one_is_named(self):
        tree = to_dict(preset("toy-t"))
        del tree["training"]["ema"], tree["decoding"]
        tree["training"]["epochs"] = 77
        read = from_json(json.dumps(tree))
        assert (read.training.epochs, read.training.ema, read.decoding) == (77, 0.0, Experiment.decoding)
        tree["network"]["backbone"]["colour"] = "red"
        with pytest.raises(ConfigError, match=r"unknown field 'network\.backbone\.colour'.*channels"):
            from_json(json.dumps(tree))

    def test_every_field_is_written(self):
        tree = to_dict(preset("mpii-b"))
        assert list(tree) == [f.name for f in dataclasses.fields(Experiment)]
        assert list(tree["network"]["backbone"]) == [f.name for f in dataclasses.fields(BackboneConfig)]

    def test_what_is_written_is_strict_json(self):
        def refuse(word):
            raise AssertionError(word)

        assert json.loads(to_json(preset("lsp-b")), parse_constant=refuse)["name"] == "lsp-b"

    def test_any_keypoint_set_can_be_written(self):
        mine = Skeleton("mine", ("left_ear", "right_ear", "nose"), edges=(("nose", "left_ear"),))
        network = dataclasses.replace(preset("toy-t").network, keypoints=3)
        experiment = Experiment("mine", mine, network)
        assert from_json(to_json(experiment)) == experiment


class TestAnswer:
    def test_a_regressed_mean_must_be_trained_and_heatmaps_too(self):
        with pytest.raises(ConfigError, match=r"answer=mean is not trained by loss\.kind=mse: give loss\.kind=rle"):
            override(preset("lsp-t-regression"), ["loss.kind=mse"])
        with pytest.raises(ConfigError, match=r"loss\.kind=rle trains no heatmaps: give network\.answer=mean"):
            override(preset("lsp-t"), ["loss.kind=rle"])
        assert override(preset("lsp-t-regression"), ["loss.kind=mse+rle"]).network.answer == "mean"

    def test_baselines_have_the_sizes_of_their_papers_and_shares_of_them(self):
        shapes = {
            name: preset(f"lsp-{name}").network.backbone for name in ("b-hrnet", "t-hrnet", "b-simple", "s-simple")
        }
        assert shapes["b-hrnet"].channels == (32, 64, 128, 256)
        assert (shapes["t-hrnet"].channels, shapes["t-hrnet"].features) == ((8, 16, 32, 64), 64)
        assert shapes["b-simple"].blocks == shapes["s-simple"].blocks == (3, 4, 6, 3)
        assert (shapes["s-simple"].channels, shapes["s-simple"].features) == ((32, 64, 128, 256), 128)
        assert preset("lsp-b-newell8").network.backbone.channels == (256,)
        assert preset("mpii-b-newell2").network.backbone.stacks == 2


PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
words = st.text('aé☃ .=/"\n', max_size=9)


def positive(most=1e6):
    return st.floats(1e-6, most, allow_nan=False)


def whole(most=4096):
    return st.integers(4, most)


def literals(kind, name):
    return st.sampled_from(get_args({f.name: f.type for f in dataclasses.fields(kind)}[name]))


backbones = (
    st.integers(4, 5)
    .flatmap(
        lambda levels: st.builds(
            BackboneConfig,
            kind=literals(BackboneConfig, "kind") if levels == 4 else st.sampled_from(["pyramid", "classic"]),
            block=literals(BackboneConfig, "block"),
            channels=st.tuples(*[whole()] * levels),
            blocks=st.tuples(*[whole(9)] * levels),
            features=whole(),
            dilation=st.one_of(st.tuples(st.integers(0, 9)), st.tuples(*[st.integers(0, 9)] * levels)),
            merge=literals(BackboneConfig, "merge"),
            gate=literals(BackboneConfig, "gate"),
            taps=literals(BackboneConfig, "taps"),
        )
    )
    .map(lambda config: dataclasses.replace(config, taps="decoder") if config.kind == "hrnet" else config)
)
fusions = st.builds(
    FusionConfig,
    attention=literals(FusionConfig, "attention"),
    residual=st.booleans(),
    features=whole(),
    widths=st.tuples(*[whole()] * 4),
    outputs=whole(),
    detach=st.booleans(),
)
distributions = st.builds(
    DistributionConfig,
    kind=literals(DistributionConfig, "kind"),
    standardize=st.booleans(),
    table_size=st.integers(3, 999),
    padding=st.floats(0, 2),
    sigma_init=st.floats(0.01, 0.99),
)
trainings = st.builds(
    TrainingConfig,
    epochs=whole(10**9),
    batch_size=st.integers(2, 9999),
    learning_rate=positive(),
    schedule=literals(TrainingConfig, "schedule"),
    milestones=st.lists(st.integers(), max_size=5).map(tuple),
    warmup_epochs=st.floats(0, 99),
    ema=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**63 - 1),
)
augments = st.builds(
    AugmentConfig,
    rotation=st.floats(-180, 180),
    scale=st.tuples(st.floats(0.1, 1), st.floats(1, 9)),
    flip=st.floats(0, 1),
    distribution=literals(AugmentConfig, "distribution"),
)


@st.composite
def experiments(draw):
    skeleton = draw(st.sampled_from([LSP, MPII, COCO, Skeleton("ünïcode ☃", ("nose", "left_a", "right_a"))]))
    loss = draw(literals(LossConfig, "kind"))
    network = NetworkConfig(
        keypoints=len(skeleton),
        input_size=64 * draw(st.integers(1, 9)),
        backbone=draw(backbones),
        learn_distribution=loss == "rle" or draw(st.booleans()),
        answer="mean" if loss == "rle" else "heatmaps",
        fusion=draw(fusions),
        distribution=draw(distributions),
    )
    return Experiment(
        draw(words),
        skeleton,
        network,
        LossConfig(kind=loss, sigma=draw(positive())),
        DataConfig(draw(words), draw(st.booleans()), draw(augments)),
        draw(trainings),
        draw(st.sampled_from(get_args(Decoding))),
    )


class TestAnyExperiment:
    @settings(PATIENT, max_examples=60)
    @given(experiments())
    def test_comes_back_exactly(self, experiment):
        tree = to_dict(experiment)
        assert from_dict(Experiment, tree) == experiment
        assert from_json(to_json(experiment)) == experiment
        assert to_dict(from_dict(Experiment, json.loads(json.dumps(tree)))) == tree

    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=5,
    )

    @settings(PATIENT, max_examples=150)
    @given(data=st.data(), value=junk)
    def test_with_any_value_anywhere_is_read_or_refused_politely(self, data, value):
        tree = to_dict(preset("toy-t"))
        node, keys = tree, []
        while isinstance(node, dict) and node:
            keys.append(data.draw(st.sampled_from(sorted(node))))
            parent, node = node, node[keys[-1]]
            if data.draw(st.booleans()):
                break
        parent[keys[-1]] = value
        try:
            read = from_dict(Experiment, tree)
        except SadinetError:
            return
        again = to_dict(read)
        assert from_dict(Experiment, again) == read
        assert all(math.isfinite(v) for v in scalars(again) if isinstance(v, float))


def scalars(tree):
    """All that is no list or dict in ``tree``."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [leaf for branch in tree for leaf in scalars(branch)]
    return [tree]
