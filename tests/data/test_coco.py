"""Data sets of one's own: every name, quirk and fault of an annotation in COCO's format."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadinet.data.check import check_data, format_report
from sadinet.data.coco import coco_splits, find_coco, own_datasets, read_coco, read_keypoints
from sadinet.data.sheet import some_persons
from sadinet.data.splits import default_split, read_skeleton, read_split
from sadinet.errors import ConfigError, DataError
from sadinet.metrics import BOX_PCK
from sadinet.skeleton import COCO

NAMES = ("nose", "L_ear", "R_ear", "tail")
DOG = {"id": 5, "name": "dog", "keypoints": list(NAMES), "skeleton": [[1, 2], [1, 3], [3, 4]]}
POINTS = [10, 11, 2, 20, 12, 1, 0, 0, 0, 40.5, 30.25, 2]


def dog(number=1, image=1, keypoints=POINTS, bbox=(5, 6, 40, 30), **more):
    return {"id": number, "image_id": image, "category_id": 5, "keypoints": keypoints, "bbox": list(bbox), **more}


def write(folder, name="annotations.json", annotations=None, pictures=("a.jpg",), categories=(DOG,), where="images"):
    """An annotation file with its pictures; the folder's."""
    images = [{"id": number, "file_name": picture} for number, picture in enumerate(pictures, 1)]
    annotations = [dog()] if annotations is None else annotations
    content = {"images": images, "annotations": annotations, "categories": list(categories)}
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    for number, picture in enumerate(pictures):
        path = folder / where / picture
        if picture and ".." not in picture and not Path(picture).is_absolute():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48), (number % 256, len(name), 0)).save(path)
    return folder


@pytest.fixture
def dogs(tmp_path):
    return tmp_path / "dogs"


class TestPersons:
    def test_one_on_paper(self, dogs):
        (person,), skeleton = read_coco(write(dogs, "train.json"), "train")
        assert person.id == "dogs/train/1"
        assert person.image == dogs / "images" / "a.jpg"
        np.testing.assert_array_equal(person.xy, [[10, 11], [20, 12], [np.nan, np.nan], [40.5, 30.25]])
        assert person.labelled.tolist() == [True, True, False, True]
        assert person.visible.tolist() == [True, False, False, True]
        assert person.crop.center == (5 + 20 - 0.5, 6 + 15 - 0.5)  # corners become centres of pixels
        assert person.crop.side == 1.25 * 40
        assert skeleton.keypoints == NAMES
        assert skeleton.edges == (("nose", "L_ear"), ("nose", "R_ear"), ("R_ear", "tail"))
        assert skeleton.mirror_pairs == (("L_ear", "R_ear"),)
        assert skeleton.parts == (("nose", ("nose",)), ("ear", ("L_ear", "R_ear")), ("tail", ("tail",)))
        assert person.read().shape == (48, 64, 3)

    def test_crowds_the_unlabelled_and_other_categories_are_left_out(self, dogs):
        records = [
            dog(1, iscrowd=1),
            dog(2, keypoints=[0] * 12),
            {**dog(3), "category_id": 9},
            {"id": 4, "image_id": 1, "category_id": 5, "bbox": [0, 0, 9, 9]},
            dog(6, keypoints=[3, 4, 2] + [0] * 9),
        ]
        cat = {"id": 9, "name": "cat"}
        persons, _ = read_coco(write(dogs, "val.json", records, categories=(DOG, cat)), "val")
        assert [person.id for person in persons] == ["dogs/val/6"]

    @pytest.mark.parametrize("bbox", [(), (1, 2, 0, 5), (1, 2, 5, -1), (float("nan"), 0, 5, 5)])
    def test_without_a_box_it_is_around_the_keypoints(self, dogs, bbox):
        (person,), _ = read_coco(write(dogs, "train.json", [dog(bbox=bbox)]), "train")
        assert person.crop.center == pytest.approx((25.25, 20.625))
        assert person.crop.side == pytest.approx(1.25 * 30.5 * 1.2)

    def test_a_single_keypoint_without_a_box_has_a_window(self, dogs):
        single = dog(bbox=(), keypoints=[3, 4, 2] + [0] * 9)
        (person,), _ = read_coco(write(dogs, "train.json", [single]), "train")
        assert person.crop.center == (3, 4)

    def test_persons_of_coco_itself(self, tmp_path):
        whole = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints), "skeleton": []}
        record = {**dog(keypoints=[1, 2, 2] * 17), "category_id": 1}
        folder = write(tmp_path / "c", "annotations/person_keypoints_val2017.json", [record], categories=[whole])
        _, skeleton = read_coco(folder, "val")
        assert skeleton == COCO
        assert read_keypoints(folder) == COCO


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("train.json", "train"),
            ("valid.json", "val"),
            ("annotations/test.json", "test"),
            ("annotations/person_keypoints_Train.json", "train"),
            ("annotations/person_keypoints_val2017.json", "val"),
            ("valid/_annotations.coco.json", "val"),
            ("test/_annotations.coco.json", "test"),
        ],
    )
    @pytest.mark.parametrize("where", ["images", ".", "beside", "split", "images/split"])
    def test_the_names_and_places_that_tools_use(self, dogs, name, split, where):
        places = {"beside": str(Path(name).parent), "split": f"{split}2017", "images/split": f"images/{split}"}
        write(dogs, name, where=places.get(where, where))
        assert coco_splits(dogs) == (split,)
        (person,), _ = read_coco(dogs, split)
        assert person.read().shape == (48, 64, 3)
        assert find_coco("dogs", dogs.parent) == dogs
        assert own_datasets(dogs.parent) == ["dogs"]

    def test_an_archive_of_cvat(self, dogs):
        write(
            dogs,
            "annotations/person_keypoints_default.json",
            [dog(i, i) for i in range(1, 31)],
            [f"{i}.jpg" for i in range(30)],
            where="images/default",
        )
        assert coco_splits(dogs) == ("train", "val", "test")
        assert sum(len(read_coco(dogs, split)[0]) for split in coco_splits(dogs)) == 30

    def test_pictures_of_one_name_are_those_of_their_split(self, dogs):
        for split in ("train", "val"):
            write(dogs, f"{split}.json", where=f"images/{split}")
            Image.new("RGB", (len(split), 7)).save(dogs / "images" / split / "a.png")
            write(dogs, f"{split}.json", pictures=("a.png",), where=f"other/{split}")
        for split in ("train", "val"):
            (person,), _ = read_coco(dogs, split)
            assert person.read().shape[1] == len(split)

    def test_one_file_is_divided_by_picture_and_stays_so(self, dogs):
        pictures = [f"{number}.jpg" for number in range(60)]
        records = [dog(100 + number, 1 + number // 2) for number in range(120)]
        sides = {}
        for count in (60, 40):
            for split in coco_splits(write(dogs, "annotations.json", records[: 2 * count], pictures[:count])):
                persons, _ = read_coco(dogs, split)
                names = {Path(str(person.image)).name for person in persons}
                assert len(persons) == 2 * len(names)  # both of a picture
                assert all(person.id.count("/") == 1 for person in persons)
                assert names >= sides.get(split, set()) if count == 60 else names <= sides[split]
                sides[split] = names
        assert len(sides["train"] | sides["val"] | sides["test"]) == 40
        assert 25 <= len(sides["train"]) <= 37

    @pytest.mark.parametrize("path", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "C:\\a.jpg", "..\\a.jpg", ""])
    def test_a_picture_outside_is_refused(self, dogs, path):
        with pytest.raises(DataError, match="give its path below the data set"):
            read_coco(write(dogs, "train.json", pictures=(path,)), "train")

    def test_missing_pictures_are_told_unless_they_are_not_needed(self, dogs):
        (write(dogs, "train.json") / "images" / "a.jpg").unlink()
        with pytest.raises(DataError, match=r"dogs: '.*train\.json' refers to 1 pictures, of which 1 are missing"):
            read_coco(dogs, "train")
        assert len(read_coco(dogs, "train", need_images=False)[0]) == 1

    def test_a_data_set_is_a_folder_of_that_name(self, dogs):
        write(dogs)
        for name in ("cats", "dogs/images", "../dogs", ".", ""):
            assert find_coco(name, dogs.parent) is None
        assert own_datasets(dogs.parent / "nothing") == []

    def test_what_has_several_files_for_a_split_is_refused(self, dogs):
        write(dogs, "val.json")
        write(dogs, "valid.json")
        with pytest.raises(DataError, match=r"several annotation files for 'val': .*val\.json, .*valid\.json"):
            read_coco(dogs, "val")

    def test_a_split_without_a_file_is_told(self, dogs):
        with pytest.raises(DataError, match=r"has no 'val', only train: add val\.json, or name a single file"):
            read_coco(write(dogs, "train.json"), "val")


class TestKeypointsFile:
    def told(self, dogs, **content):
        write(dogs, "train.json")
        (dogs / "keypoints.json").write_text(json.dumps(content))
        return read_keypoints(dogs)

    def test_it_says_what_the_annotation_does_not(self, dogs):
        skeleton = self.told(
            dogs,
            keypoints=["muzzle", "port", "starboard", "tail"],
            pairs=[["port", "starboard"]],
            edges=[["muzzle", "tail"]],
            parts=[["Ears", ["port", "starboard"]]],
            unscored=["tail"],
        )
        assert skeleton.name == "dogs"
        assert skeleton.keypoints == ("muzzle", "port", "starboard", "tail")
        assert skeleton.flip_index == (0, 2, 1, 3)
        assert skeleton.edges == (("muzzle", "tail"),)
        assert skeleton.parts == (("Ears", ("port", "starboard")),)

    def test_a_part_of_it_is_enough(self, dogs):
        skeleton = self.told(dogs, unscored=["nose"])
        assert skeleton.keypoints == NAMES
        assert [title for title, _ in skeleton.parts] == ["ear", "tail"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"keypoints": ["a", "b"]}, "2 keypoints, but .*train.json' has 4"),
            ({"color": "red"}, "unknown field 'color'"),
            ({"pairs": [["nose", "chin"]]}, "refers to chin"),
            ({"keypoints": 4}, "keypoints.json': "),
            ({"category": "cat"}, "has the categories dog, and of none of them are keypoints named"),
        ],
    )
    def test_nonsense_is_refused(self, dogs, content, message):
        with pytest.raises(DataError, match=message):
            self.told(dogs, **content)

    def test_which_of_several_categories(self, dogs):
        cat = {"id": 9, "name": "cat", "keypoints": ["a", "b", "c"]}
        write(
            dogs, "train.json", [dog(), {**dog(2), "category_id": 9, "keypoints": [1, 2, 2] * 3}], categories=(DOG, cat)
        )
        with pytest.raises(DataError, match="has the categories dog, cat, and their keypoints differ: say in"):
            read_coco(dogs, "train")
        (dogs / "keypoints.json").write_text('{"category": "cat"}')
        persons, skeleton = read_coco(dogs, "train")
        assert skeleton.keypoints == ("a", "b", "c")
        assert [person.id for person in persons] == ["dogs/train/2"]

    def test_categories_with_the_same_keypoints_are_one_set(self, dogs):
        puppy = {**DOG, "id": 6, "name": "puppy"}
        write(dogs, "train.json", [dog(), {**dog(2), "category_id": 6}], categories=(DOG, puppy))
        assert len(read_coco(dogs, "train")[0]) == 2

    def test_names_may_be_missing_in_the_annotation(self, dogs):
        bare = {"id": 5, "name": "dog"}
        write(dogs, "train.json", categories=(bare,))
        with pytest.raises(DataError, match=r'say in .*keypoints\.json\' \{"category'):
            read_keypoints(dogs)
        (dogs / "keypoints.json").write_text(json.dumps({"keypoints": list(NAMES)}))
        assert read_keypoints(dogs).keypoints == NAMES


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "cannot be read as JSON"),
            ("[]", "holds a list, not a table"),
            ('{"images": []}', "is not in COCO's keypoint format"),
            ('{"images": [1], "annotations": [], "categories": []}', "is not in COCO's keypoint format"),
            ('{"images": [], "annotations": [3], "categories": []}', "is not in COCO's keypoint format"),
            ('{"images": [], "annotations": [], "categories": []}', r"has the categories \(none\)"),
            ("[" * 100_000, "cannot be read as JSON"),
        ],
    )
    def test_a_file_that_is_none(self, dogs, text, message):
        write(dogs, "train.json")
        (dogs / "train.json").write_text(text)
        with pytest.raises(DataError, match=message):
            read_coco(dogs, "train")

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            (dog(keypoints=[1, 2, 2]), "annotation 1 does not have x, y and a flag for each of the 4 keypoints"),
            (dog(keypoints=["x"] * 12), "annotation 1 does not have"),
            (dog(bbox=(1, 2, 3)), "annotation 1 does not have"),
            (dog(image=8), "annotation 1 is of a picture that is not listed"),
        ],
    )
    def test_a_record_that_contradicts_its_file(self, dogs, record, message):
        with pytest.raises(DataError, match=message):
            read_coco(write(dogs, "train.json", [record]), "train")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"keypoints": ["nose", "left_ear", "tail"], "skeleton": []}, "refers to right_ear"),
            ({"keypoints": ["a", "a"], "skeleton": None}, "names a more than once"),
            ({"skeleton": [[1, 5]]}, "a limb of 'skeleton' is not among 4 keypoints"),
        ],
    )
    def test_a_category_that_contradicts_itself(self, dogs, change, message):
        with pytest.raises(DataError, match=message):
            read_keypoints(write(dogs, "train.json", categories=({**DOG, **change},)))

    def test_limbs_counted_from_zero_are_understood(self, dogs):
        skeleton = read_keypoints(write(dogs, "train.json", categories=({**DOG, "skeleton": [[0, 1], [2, 3]]},)))
        assert skeleton.edges == (("nose", "L_ear"), ("R_ear", "tail"))


class TestSplits:
    def test_a_split_knows_how_it_is_scored(self, dogs):
        write(dogs, "train.json")
        write(dogs, "val.json")
        split = read_split("dogs", "val", dogs.parent)
        assert (split.name, len(split), split.protocol, split.skeleton.keypoints) == ("dogs/val", 1, BOX_PCK, NAMES)
        assert default_split("dogs", dogs.parent) == "val"
        assert default_split("lsp", dogs.parent) == "test"
        assert default_split("lspet", dogs.parent) == "train"
        assert read_skeleton("dogs", dogs.parent) == split.skeleton

    def test_what_is_not_there_is_told(self, dogs):
        write(dogs, "train.json", [dog(iscrowd=1)])
        with pytest.raises(ConfigError, match=r"no data set 'cats'; there are: lsp, .*toy, dogs, and any folder"):
            read_split("cats", "train", dogs.parent)
        with pytest.raises(ConfigError, match="data set 'dogs' has no split 'val'; it has: train"):
            read_split("dogs", "val", dogs.parent)
        with pytest.raises(DataError, match=r"'dogs' in .* has no persons in 'train': pictures with"):
            read_split("dogs", "train", dogs.parent)


class TestCheck:
    def test_sound_data_have_no_problems(self, dogs):
        write(dogs, "train.json")
        write(dogs, "val.json", pictures=("b.jpg",))
        (report,) = check_data(dogs.parent).datasets
        assert (report.name, report.persons, report.images, report.problems) == ("dogs", 2, 2, ())
        assert report.notes == ("train: 1 persons", "val: 1 persons", "mirror pairs: L_ear - R_ear")
        assert report.labelled == {"nose": 1.0, "L_ear": 1.0, "R_ear": 0.0, "tail": 1.0}
        assert [(person.id, skeleton.name) for person, skeleton in some_persons(dogs.parent)] == [
            ("dogs/train/1", "dogs"),
            ("dogs/val/1", "dogs"),
        ]

    def test_pictures_in_two_splits_are_told_whatever_their_names(self, dogs):
        write(dogs, "train.json")
        write(dogs, "val.json", pictures=("b.jpg",))
        (dogs / "images" / "b.jpg").write_bytes((dogs / "images" / "a.jpg").read_bytes())
        (report,) = check_data(dogs.parent).datasets
        assert [problem.why for problem in report.problems] == [
            "1 pictures of val are also in another split: scores on them mean little"
        ]
        assert not check_data(dogs.parent, quick=True).datasets[0].problems

    def test_splits_of_different_keypoints_are_told(self, dogs):
        write(dogs, "train.json")
        write(
            dogs, "val.json", [dog(keypoints=[1, 2, 2])], categories=({**DOG, "keypoints": ["nose"], "skeleton": []},)
        )
        (report,) = check_data(dogs.parent).datasets
        assert "different keypoints or limbs (train: nose, L_ear, R_ear, tail; val: nose)" in report.problems[0].why

    def test_missing_mirror_pairs_are_noted(self, dogs):
        write(dogs, categories=({**DOG, "keypoints": ["a", "b", "c", "d"]},))
        assert "mirror pairs: none; if there are a left and a right" in format_report(check_data(dogs.parent))

    def test_faults_are_found(self, dogs):
        write(dogs, "train.json", [dog(keypoints=[10, 11, 2, 500, 12, 1, 0, 0, 0, 40, 30, 2])], pictures=("a.jpg",))
        write(dogs.parent / "cats", "train.json", [dog(keypoints=[1])])
        cats, dogs_report = check_data(dogs.parent).datasets
        assert [problem.why for problem in dogs_report.problems] == ["L_ear lies 436 px outside of the picture"]
        assert "annotation 1 does not have x, y" in cats.problems[0].why

    def test_real_pictures(self, shared: Path, tmp_path: Path):
        real = shared / "data" / "coco"
        (tmp_path / "street").symlink_to(real)
        persons, skeleton = read_coco(tmp_path / "street", "train")
        assert skeleton == COCO
        others = [person for split in ("val", "test") for person in read_coco(tmp_path / "street", split)[0]]
        assert len(persons) + len(others) == 154
        inside = [
            (np.abs((person.xy - person.crop.center) / person.crop.side)[person.labelled] <= 0.5).all()
            for person in persons
        ]
        assert np.mean(inside) > 0.95
