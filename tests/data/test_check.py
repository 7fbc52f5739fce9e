"""Looking data over: each fault planted is found, and only these; and the contact sheet shows keypoints in place."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from sadinet.data.check import check_data, format_report
from sadinet.data.lsp import read_lspet
from sadinet.data.person import Person
from sadinet.data.sheet import contact_sheet
from sadinet.data.toy import read_toy, write_toy
from sadinet.errors import DataError, ImageError
from sadinet.geometry import Crop
from sadinet.skeleton import LSP


def write_lspet(data: Path, count: int) -> Path:
    """LSPET with ``count`` sound persons on grey pictures of 90 x 120 px."""
    k = np.arange(14.0)
    joints = np.repeat(np.stack([10 + 5 * k, 20 + 6 * k, np.ones(14)], axis=1)[:, :, None], count, axis=2)
    folder = data / "lspet"
    (folder / "images").mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (90, 120), (128, 128, 128)).save(folder / "images" / f"im{i + 1:05d}.jpg")
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": joints})
    return folder


def test_sound_data_have_no_problems(tmp_path: Path) -> None:
    write_toy(tmp_path, 6, seed=0)
    report = check_data(tmp_path)
    (toy,) = report.datasets
    assert (toy.name, toy.persons, toy.images, toy.problems, toy.notes) == ("toy", 6, 6, (), ())
    assert set(toy.labelled.values()) == {1.0}
    assert json.loads(json.dumps(dataclasses.asdict(report)))["datasets"][0]["persons"] == 6
    assert "problems: none" in format_report(report)


def test_every_planted_fault_is_found_and_nothing_else(tmp_path: Path) -> None:
    folder = write_lspet(tmp_path, 8)
    joints = scipy.io.loadmat(str(folder / "joints.mat"))["joints"]
    joints[0, 0, 1] = np.nan
    joints[1:, 2, 2] = 0
    joints[4, :2, 3] = joints[1, :2, 3]
    joints[11, 1, 4] = 120 + 40
    joints[1, 0, 5] = 500
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": joints})
    (folder / "images" / "im00001.jpg").unlink()
    broken = folder / "images" / "im00007.jpg"
    broken.write_bytes(broken.read_bytes()[:-100])
    (folder / "images" / "im00008.jpg").write_bytes(b"no picture")

    (found,) = check_data(tmp_path).datasets
    why = {(problem.index, problem.why.split(":")[0]) for problem in found.problems}
    assert why == {
        (1, "the picture is missing"),
        (2, "right_ankle is not a number"),
        (3, "1 labelled keypoints"),
        (4, "right_knee and left_knee are the same point"),
        (5, "left_wrist lies 40 px outside of the picture"),
        (6, "right_knee is absurdly far from the others"),
        (6, "right_knee lies 410 px outside of the picture"),
        (7, "the picture cannot be read"),
        (8, "the picture cannot be read"),
    }
    assert (found.persons, found.images) == (8, 7)
    assert found.labelled["right_ankle"] == 7 / 8
    assert any("10000 were published" in note for note in found.notes)
    (hasty,) = check_data(tmp_path, quick=True).datasets
    assert {p.index for p in found.problems} - {p.index for p in hasty.problems} == {7}


def test_a_turned_picture_is_reported(tmp_path: Path) -> None:
    folder = write_lspet(tmp_path, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 120)).save(folder / "images" / "im00002.jpg", exif=exif)
    (found,) = check_data(tmp_path).datasets
    assert [(p.index, "EXIF" in p.why) for p in found.problems] == [(2, True)]


def test_a_damaged_annotation_is_a_problem_of_its_data_set(tmp_path: Path) -> None:
    write_toy(tmp_path, 3, seed=0)
    (write_lspet(tmp_path, 2) / "joints.mat").write_bytes(b"")
    (tmp_path / "mpii").mkdir()
    (tmp_path / "mpii" / "mpii_annotations.json").write_text("[")
    report = check_data(tmp_path)
    assert [(d.name, d.persons, len(d.problems)) for d in report.datasets] == [
        ("lspet", 0, 1),
        ("toy", 3, 0),
        ("mpii", 0, 1),
    ]


def test_the_text_spells_out_a_few_problems(tmp_path: Path) -> None:
    folder = write_lspet(tmp_path, 5)
    for file in (folder / "images").iterdir():
        file.unlink()
    text = format_report(check_data(tmp_path), most=3)
    assert text.count("the picture is missing") == 3 + 1  # and the note
    assert "... and 2 more" in text
    assert "5 of 5 pictures: the picture is missing" in text


def test_nothing_to_check_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set in"):
        check_data(tmp_path)


def test_the_sheet_shows_keypoints_where_they_are(tmp_path: Path) -> None:
    picture = Image.new("RGB", (50, 40))
    picture.putpixel((30, 20), (255, 255, 255))
    picture.save(tmp_path / "dot.png")
    xy = np.full((14, 2), np.nan)
    none = np.zeros(14, dtype=np.bool_)
    blank = Person("dot", tmp_path / "dot.png", xy, none, none, Crop((27.0, 19.0), 20.0))
    contact_sheet([(blank, LSP)], tmp_path / "sheet.png", cell=100)
    with Image.open(tmp_path / "sheet.png") as sheet:
        light = np.asarray(sheet.convert("L")).astype(float)
    assert light.shape == (100, 100)
    light[:20] = 0  # the id
    y, x = (float((light * axis).sum() / light.sum()) for axis in np.indices(light.shape))
    # The pixel is 3 right of and 1 below the window's centre, 5 px of the sheet each.
    assert (x, y) == pytest.approx((49.5 + 15, 49.5 + 5), abs=0.2)


def test_the_sheet_has_a_cell_per_person_and_colours_by_side(tmp_path: Path) -> None:
    write_toy(tmp_path, 7, seed=0)
    persons = read_toy(tmp_path)
    contact_sheet([(person, LSP) for person in persons], tmp_path / "sheet.png", columns=3, cell=64)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 64, 3 * 64)
    folder = write_lspet(tmp_path, 1)
    contact_sheet([(person, LSP) for person in read_lspet(folder.parent)], tmp_path / "one.png", columns=5, cell=200)
    with Image.open(tmp_path / "one.png") as sheet:
        assert sheet.size == (200, 200)
        crop = read_lspet(folder.parent)[0].crop
        for name, warm in (("right_ankle", True), ("left_wrist", False)):
            k = LSP.index(name)
            at = (np.array([9 + 5 * k, 19 + 6 * k]) - crop.center) * 200 / crop.side + 99.5
            red, _, blue = np.asarray(sheet.convert("RGB"))[round(at[1]), round(at[0])]
            assert (red > blue) == warm


def test_the_sheet_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no persons"):
        contact_sheet([], tmp_path / "sheet.png")
    write_toy(tmp_path, 1, seed=0)
    (person,) = read_toy(tmp_path)
    person.image.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"im0001\.jpg"):
        contact_sheet([(person, LSP)], tmp_path / "sheet.png")


def test_real_lspet_has_the_known_fault(shared: Path, tmp_path: Path) -> None:
    real = shared / "data" / "lspet"
    (tmp_path / "lspet" / "images").mkdir(parents=True)
    (tmp_path / "lspet" / "joints.mat").symlink_to(real / "joints.mat")
    for index in range(8070, 8080):  # opening all of them takes a while
        (tmp_path / "lspet" / "images" / f"im{index:05d}.jpg").symlink_to(real / "images" / f"im{index:05d}.jpg")
    (lspet,) = check_data(tmp_path).datasets
    assert (lspet.persons, lspet.images) == (9500, 10)
    outside = [p for p in lspet.problems if "outside of the picture" in p.why]
    assert [p.index for p in outside] == [8075]
    assert "right_knee" in outside[0].why
    assert sum("absurdly far" in p.why for p in lspet.problems) == 1
