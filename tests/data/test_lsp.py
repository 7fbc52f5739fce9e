"""Reading LSP and LSPET: the frame, the two meanings of the third number, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from sadinet.data.lsp import LSP_LAYOUT, LSPET_LAYOUT, Layout, read_joints, read_lsp, read_lspet
from sadinet.errors import DataError
from sadinet.geometry import bounding_box
from sadinet.skeleton import LSP


def spread(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Keypoints ``(count, 14, 3)`` as in a file, 1-based: person n's keypoint k at (10 + 2 k + n, 20 + 5 k); flag 1."""
    k, n = np.meshgrid(np.arange(14.0), np.arange(float(count)))
    return np.stack([10 + 2 * k + n, 20 + 5 * k, np.ones_like(k)], axis=-1)


def write(folder: Path, layout: Layout, joints: np.ndarray[Any, Any], axes: str | None = None) -> Path:
    """A data set in ``folder`` with empty pictures (reading never opens them)."""
    (folder / "images").mkdir(parents=True)
    order = ["nkc".index(axis) for axis in axes or layout.axes]
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": joints.transpose(order)})
    for i in range(len(joints)):
        (folder / "images" / f"{layout.stem(i + 1)}.jpg").touch()
    return folder


def test_lsp_is_moved_to_0_based_pixels_and_flag_1_is_occluded(tmp_path: Path) -> None:
    joints = spread(2)
    joints[1, :, 2] = 0
    joints[1, LSP.index("left_knee"), 2] = 1
    write(tmp_path / "lsp", LSP_LAYOUT, joints)
    first, second = read_lsp(tmp_path)
    assert (first.id, second.id) == ("lsp/im0001", "lsp/im0002")
    assert second.image == tmp_path / "lsp" / "images" / "im0002.jpg"
    np.testing.assert_array_equal(second.xy[3], [10 + 6 + 1 - 1, 20 + 15 - 1])
    assert first.labelled.all()
    assert second.labelled.all()
    assert not first.visible.any()
    assert [LSP.keypoints[k] for k in np.flatnonzero(~second.visible)] == ["left_knee"]
    assert np.isnan(first.head_size)


def test_lspet_flag_0_is_unlabelled_and_never_touches_the_window(tmp_path: Path) -> None:
    joints = spread(3)
    joints[2, 5] = [-400.0, -30.0, 0.0]
    joints[2, 13] = [0.0, 0.0, 0.0]
    write(tmp_path / "hr_lspet", LSPET_LAYOUT, joints)
    person = read_lspet(tmp_path)[2]
    assert person.id == "lspet/im00003"
    assert np.flatnonzero(~person.labelled).tolist() == [5, 13]
    assert np.isnan(person.xy[[5, 13]]).all()
    assert (person.visible == person.labelled).all()
    # Keypoints 0 to 12 span x 11 to 35 and y 19 to 79.
    assert person.crop.center == (23.0, 49.0)
    assert person.crop.side == pytest.approx(60 * 1.25)


@pytest.mark.parametrize("axes", ["ckn", "kcn", "nkc", "nck", "cnk", "knc"])
@pytest.mark.parametrize("layout", [LSP_LAYOUT, LSPET_LAYOUT], ids=lambda layout: str(layout.name))
def test_axes_in_any_order_read_the_same(tmp_path: Path, layout: Layout, axes: str) -> None:
    joints = spread(4)
    folder = write(tmp_path / layout.name, layout, joints, axes)
    np.testing.assert_array_equal(read_joints(layout, folder), joints - [1, 1, 0])


@pytest.mark.parametrize("layout", [LSP_LAYOUT, LSPET_LAYOUT], ids=lambda layout: str(layout.name))
def test_a_single_image_as_matlab_saves_it(tmp_path: Path, layout: Layout) -> None:
    joints = spread(1)
    folder = write(tmp_path / layout.name, layout, joints)
    scipy.io.savemat(
        str(folder / "joints.mat"), {"joints": joints.transpose(["nkc".index(a) for a in layout.axes])[..., 0]}
    )
    np.testing.assert_array_equal(read_joints(layout, folder), joints - [1, 1, 0])


def test_ambiguous_axes_follow_the_official_file(tmp_path: Path) -> None:
    joints = spread(3)
    folder = write(tmp_path / "lsp", LSP_LAYOUT, joints)
    np.testing.assert_array_equal(read_joints(LSP_LAYOUT, folder), joints - [1, 1, 0])
    folder = write(tmp_path / "lspet", LSPET_LAYOUT, joints, "nkc")
    with pytest.raises(DataError, match=r"shape \(3, 14, 3\), expected \(14, 3, N\)"):
        read_joints(LSPET_LAYOUT, folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_coordinates_that_are_no_numbers_are_unlabelled(tmp_path: Path, bad: float) -> None:
    joints = spread(2)
    joints[0, 4, 1] = bad
    write(tmp_path / "lsp", LSP_LAYOUT, joints)
    person = read_lsp(tmp_path)[0]
    assert np.flatnonzero(~person.labelled).tolist() == [4]
    assert not person.visible[4]
    assert np.isnan(person.xy[4]).all()


def test_a_stray_keypoint_is_unlabelled_and_a_stretched_limb_is_not(tmp_path: Path) -> None:
    joints = spread(2)  # the others' box is 65 px high
    joints[0, 0, 1] = 20 + 65 + 2.1 * 65
    joints[1, 0, 1] = 20 + 65 + 1.9 * 60
    write(tmp_path / "lspet", LSPET_LAYOUT, joints)
    stray, stretched = read_lspet(tmp_path)
    assert np.flatnonzero(~stray.labelled).tolist() == [0]
    assert stretched.labelled.all()


def test_persons_without_a_window_are_left_out_and_keep_the_others_ids(tmp_path: Path) -> None:
    joints = spread(4)
    joints[0, 1:, 2] = 0  # one keypoint
    joints[1, :, 2] = 0  # none
    joints[2, :, :2] = 7  # all in one place
    write(tmp_path / "lspet", LSPET_LAYOUT, joints)
    assert [person.id for person in read_lspet(tmp_path)] == ["lspet/im00004"]


def test_a_flat_box_still_has_a_window(tmp_path: Path) -> None:
    joints = spread(2)
    joints[1, :, 1] = 50
    write(tmp_path / "lsp", LSP_LAYOUT, joints)
    crop = read_lsp(tmp_path)[1].crop
    assert crop.center == (23.0, 49.0)
    assert crop.side == pytest.approx(26 * 1.25)


@pytest.mark.parametrize("name", ["lsp", "lsp_dataset", "lsp_dataset_original"])
def test_the_folder_goes_by_several_names_or_is_given_itself(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / name, LSP_LAYOUT, spread(2))
    assert [p.id for p in read_lsp(tmp_path)] == [p.id for p in read_lsp(folder)] == ["lsp/im0001", "lsp/im0002"]


def test_one_set_is_not_taken_for_the_other(tmp_path: Path) -> None:
    folder = write(tmp_path / "anything", LSP_LAYOUT, spread(2))
    with pytest.raises(DataError, match="no lspet data"):
        read_lspet(folder)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no lsp data in .*bring your own copy"):
        read_lsp(tmp_path)
    folder = write(tmp_path / "lsp", LSP_LAYOUT, spread(9))
    for index in (2, 3, 5, 6, 7, 8):
        (folder / "images" / f"im000{index}.jpg").unlink()
    with pytest.raises(DataError, match=r"9 pictures, of which 6 are missing .*im0002\.jpg, .*im0007\.jpg, \.\.\."):
        read_lsp(tmp_path)
    for file in (folder / "images").iterdir():
        file.unlink()
    (folder / "images").rmdir()
    with pytest.raises(DataError, match="9 are missing"):
        read_lsp(tmp_path)
    (folder / "joints.mat").unlink()
    with pytest.raises(DataError, match=r"no annotation file .*joints\.mat"):
        read_lsp(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a MATLAB file at all" * 20])
def test_a_damaged_annotation_is_the_packages_own_error(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path / "lsp", LSP_LAYOUT, spread(2))
    (folder / "joints.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"joints\.mat"):
        read_lsp(tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_annotation_is_the_packages_own_error(tmp_path: Path, compressed: bool) -> None:
    folder = write(tmp_path / "lsp", LSP_LAYOUT, spread(2))
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": spread(2)}, do_compression=compressed)
    content = (folder / "joints.mat").read_bytes()
    for length in range(0, len(content), 37):
        (folder / "joints.mat").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"joints"):
            read_lsp(tmp_path)


@pytest.mark.parametrize("joints", [np.zeros((3, 15)), np.zeros((3, 13, 2)), {"x": 1.0}, "text"])
def test_joints_of_another_shape_or_kind_are_refused(tmp_path: Path, joints: object) -> None:
    folder = write(tmp_path / "lsp", LSP_LAYOUT, spread(2))
    scipy.io.savemat(str(folder / "joints.mat"), {"joints": joints})
    with pytest.raises(DataError, match=r"has the shape .*, expected"):
        read_lsp(tmp_path)


def test_another_variable_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "lsp", LSP_LAYOUT, spread(2))
    scipy.io.savemat(str(folder / "joints.mat"), {"pred": np.zeros((3, 14, 2))})
    with pytest.raises(DataError, match="no variable 'joints'"):
        read_lsp(tmp_path)


def test_real_lsp(shared: Path) -> None:
    persons = read_lsp(shared / "data")
    assert len(persons) == 2000
    assert persons[-1].id == "lsp/im2000"
    assert all(p.labelled.all() for p in persons)
    assert 0.7 < np.mean([p.visible for p in persons]) < 0.95
    for person in persons[::50]:
        box = bounding_box(person.xy)
        assert person.crop.side == pytest.approx(1.25 * (box[2:] - box[:2]).max())


def test_real_lspet(shared: Path) -> None:
    persons = read_lspet(shared / "data")
    assert len(persons) == 9500
    assert sum(int(p.labelled.sum()) for p in persons) == 117002 - 1  # one stray keypoint in all of them
    assert not next(p for p in persons if p.id == "lspet/im08075").labelled[LSP.index("right_knee")]
