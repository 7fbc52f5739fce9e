"""Published predictions must give their published scores."""

import numpy as np
import pytest
import scipy.io

from sadinet.errors import ConfigError, DataError
from sadinet.score import score_file


@pytest.fixture(scope="module")
def data(shared):
    return shared / "data"


def test_cpm_on_lsp(data):
    report = score_file(data / "golden" / "lsp_cpm_lsp_only.mat", dataset="lsp", data=data, one_based=True)
    assert report.mean == pytest.approx(84.3, abs=0.05)
    assert report.mean_pooled == pytest.approx(report.mean_parts)
    assert (report.persons, report.count, report.notes) == (1000, 14000, ())
    assert report.metadata["predictions"] == "lsp_cpm_lsp_only.mat, pixels counted from 1"


def test_a_matlab_file_read_from_zero_by_mistake_gets_a_note(data):
    report = score_file(data / "golden" / "lsp_cpm_lsp_only.mat", dataset="lsp", data=data)
    assert report.mean == pytest.approx(83.96, abs=0.005)
    assert len(report.notes) == 1
    assert "read so (--one-based), the mean would be 84.32 instead of 83.96" in report.notes[0]
    assert report.notes[0] in report.table()


def test_hourglass_on_mpii(data):
    pytest.importorskip("h5py")
    report = score_file(data / "golden" / "mpii_val_pytorch_pose_hg8.mat", dataset="mpii", data=data, one_based=True)
    assert report.mean == report.mean_pooled == pytest.approx(89.08, abs=0.05)
    assert report.mean_keypoints == pytest.approx(88.64, abs=0.05)  # as its authors average
    columns = {part.title: part.percent for part in report.parts}
    limbs = [columns[title] for title in ("Sho.", "Elb.", "Wri.", "Hip", "Knee", "Ank.")]
    np.testing.assert_allclose(limbs, [95.19, 90.08, 85.32, 87.48, 84.26, 80.75], atol=0.05)
    assert (report.persons, report.count) == (2958, 38430)


def test_tompson_on_mpii(data):
    pytest.importorskip("h5py")
    report = score_file(data / "golden" / "mpii_val_tompson.h5", dataset="mpii", data=data, one_based=True)
    assert report.mean == pytest.approx(82.31, abs=0.05)


def test_the_truth_itself_scores_full_marks(data, tmp_path):
    joints = scipy.io.loadmat(data / "lsp" / "joints.mat")["joints"][:, :, 1000:]
    np.save(tmp_path / "truth.npy", joints)
    report = score_file(tmp_path / "truth.npy", dataset="lsp", data=data, one_based=True)
    assert (report.mean, report.auc) == (100, 100)
    np.save(tmp_path / "truth.npy", scipy.io.loadmat(data / "lsp" / "joints.mat")["joints"][:, :, :1000])
    report = score_file(tmp_path / "truth.npy", dataset="lsp", split="train", data=data, one_based=True)
    assert (report.mean, report.metadata["split"]) == (100, "train")


def test_predictions_of_other_persons_are_refused(data, tmp_path):
    np.save(tmp_path / "few.npy", np.ones((7, 14, 2)))
    with pytest.raises(DataError, match="1000 persons x 14 keypoints"):
        score_file(tmp_path / "few.npy", dataset="lsp", data=data)


def test_a_data_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no data set 'coco'; there are: lsp, lspet"):
        score_file(tmp_path / "x.npy", dataset="coco", data=tmp_path)
