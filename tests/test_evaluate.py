"""Evaluation: the estimator is asked in the data set's crops, and its report is that of the ruler alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sadinet.crops import Inference
from sadinet.data.person import Person
from sadinet.data.splits import Split
from sadinet.errors import DataError
from sadinet.evaluate import evaluate_split, predict_persons, reliability_of
from sadinet.geometry import Crop
from sadinet.metrics import LSP_PCK
from sadinet.presets import preset
from sadinet.reading import Reading
from sadinet.report import score_persons
from sadinet.skeleton import COCO, LSP, Skeleton


@pytest.fixture
def split(tmp_path) -> Split:
    """Five persons, each alone on a picture of its own grey."""
    rng = np.random.default_rng(8)
    persons = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40 + number, 60), (50 * number,) * 3).save(path)
        xy = rng.uniform(0, 40, (14, 2))
        labelled = np.ones(14, bool)
        labelled[number] = False
        xy[number] = np.nan
        crop = Crop((20.0 + number, 30.0), 50.0 + number)
        persons.append(Person(f"toy/{number}", path, xy, labelled, labelled, crop))
    for person in persons:  # everybody has a torso
        for name, place in (("left_shoulder", (30.0, 10.0)), ("right_hip", (10.0, 40.0))):
            person.xy[LSP.index(name)] = place
            person.labelled[LSP.index(name)] = True
    return Split("toy/val", tuple(persons), LSP, LSP_PCK)


class Oracle:
    """Knows the truth of ``split`` and misses it by ``miss`` [px]; notes what it was shown."""

    def __init__(self, split, miss=0.0, skeleton=LSP):
        self.split, self.miss, self.skeleton = split, miss, skeleton
        self.reading = Reading.of(preset("toy-t"))
        self.inference = Inference(flip=False)
        self.input_size = 64
        self.shown = []

    def keypoints(self, persons):
        for number, (image, crop) in enumerate(persons):
            self.shown.append((image.shape, int(image[0, 0, 0]), crop))
            xy = np.nan_to_num(self.split.persons[number].xy, nan=1.0)
            yield xy + np.array([self.miss, 0.0]), np.full(14, number / 10)


def test_each_person_is_shown_on_its_picture_in_its_crop(split):
    oracle = Oracle(split)
    xy, score = predict_persons(oracle, split.persons)
    assert oracle.shown == [((60, 40 + n, 3), 50 * n, split.persons[n].crop) for n in range(5)]
    assert xy.shape == (5, 14, 2)
    np.testing.assert_array_equal(score[:, 3], [0, 0.1, 0.2, 0.3, 0.4])


def test_nobody_is_nothing(split):
    xy, score = predict_persons(Oracle(split), [])
    assert (xy.shape, score.shape) == ((0, 14, 2), (0, 14))


@pytest.mark.parametrize(("miss", "mean"), [(0.0, 100.0), (7.0, 100.0), (7.3, 0.0)])
def test_the_score_is_that_of_the_protocol(split, miss, mean):
    """The torso is the diagonal of 20 x 30 px, so 0.2 of it are 7.2."""
    report = evaluate_split(Oracle(split, miss), split)
    assert report.mean == mean
    assert report.protocol == LSP_PCK
    assert report.persons == 5
    assert report.count == sum(int(person.labelled.sum()) for person in split.persons)


def test_saved_predictions_score_the_same(split, tmp_path):
    report = evaluate_split(Oracle(split, 5.0), split, save=tmp_path / "new" / "folder" / "x.npz")
    with np.load(tmp_path / "new" / "folder" / "x.npz") as saved:
        assert sorted(saved) == ["ids", "score", "xy"]
        assert tuple(saved["ids"]) == split.ids
        again = score_persons(saved["xy"], split.persons, LSP, LSP_PCK, report.metadata)
        believed = reliability_of(saved["xy"], saved["score"], split.persons, LSP)
    assert believed == report.reliability
    assert replace(again, reliability=believed) == report


def test_the_report_says_what_it_is_of(split):
    about = evaluate_split(Oracle(split), split, weights="mine").metadata
    assert about["data"] == "toy/val"
    assert about["persons hash"] == split.hash
    assert about["weights"] == "mine"
    assert about["test"] == "1 scale"
    assert about["input"] == "64 px"
    assert about["decoding"] == "quarter"
    assert evaluate_split(Oracle(split), split).metadata["weights"] == "toy-t"


def test_weights_for_other_keypoints_are_refused(split):
    with pytest.raises(DataError, match="14 keypoints of 'lsp', these weights the 17 of 'coco', with nose"):
        evaluate_split(Oracle(split, skeleton=COCO), split)


def test_a_missing_picture_is_told(split):
    split.persons[2].image.unlink()
    with pytest.raises(Exception, match=r"2\.png: no such file"):
        evaluate_split(Oracle(split), split)


def test_keypoints_are_compared_by_name_and_order(split):
    swapped = Skeleton("swapped", LSP.keypoints[::-1])
    with pytest.raises(DataError, match="14 of 'swapped', fewer, or in another order: they must"):
        evaluate_split(Oracle(split, skeleton=swapped), split)


def test_processes_that_share_the_persons_get_the_report_of_all(split):
    alone = evaluate_split(Oracle(split, 5.0), split)

    class Shared(Oracle):
        def keypoints(self, persons):
            for image, crop in persons:
                number = int(image[0, 0, 0]) // 50
                assert crop == self.split.persons[number].crop
                yield (
                    np.nan_to_num(self.split.persons[number].xy, nan=1.0) + np.array([self.miss, 0.0]),
                    np.full(14, number / 10),
                )

    oracle = Shared(split, 5.0)
    shares = [predict_persons(oracle, split.persons[rank::2]) for rank in range(2)]
    for rank in range(2):
        world = SimpleNamespace(rank=rank, size=2, gather=lambda _: shares)
        assert evaluate_split(oracle, split, world=world) == alone


def test_pictures_are_not_written_to(split, tmp_path):
    before = {file.name: file.read_bytes() for file in Path(tmp_path).iterdir()}
    evaluate_split(Oracle(split), split)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
