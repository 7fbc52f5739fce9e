"""Streams of frames: the same poses as one by one, whatever is batched, read ahead, left out or stopped."""

import dataclasses
import logging
import threading
import weakref

import numpy as np
import pytest
import torch

from sadinet.calibration import Calibration
from sadinet.crops import Inference
from sadinet.errors import ConfigError, DataError
from sadinet.estimator import Estimator
from sadinet.geometry import DETECTED_MARGIN, overlap
from sadinet.media.sources import Failure, Frame
from sadinet.persons import finding
from sadinet.persons.detect import Detections
from sadinet.persons.finding import Finder, Place, boxes_between, place_persons
from sadinet.persons.following import as_score
from sadinet.persons.streaming import stream_frames
from sadinet.presets import preset

from ..videos import walkers, write_video


class Bright(torch.nn.Module):
    """Keypoint k is where the window is brightest in its third colour channel; slow if asked to be."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def backbone_heatmaps(self, images):
        self.batches.append(len(images))
        maps = torch.nn.functional.avg_pool2d(images, 4)
        return maps[:, [k % 3 for k in range(14)]]


class Spread(torch.nn.Module):
    """Sees keypoints all over the middle of any window."""

    def backbone_heatmaps(self, images):
        side = images.shape[-1] // 4
        maps = torch.zeros(len(images), 14, side, side)
        for k in range(14):
            maps[:, k, side // 8 + (k % 5) * side // 6, side // 4 + (k % 3) * side // 4] = 0.9
        return maps


class Scripted:
    """A detector that knows all boxes, by the brightness of the first pixel."""

    def __init__(self, boxes):
        self.boxes, self.asked = boxes, []

    def detect(self, image):
        number = int(image[0, 0, 0])
        self.asked.append(number)
        found = np.asarray(self.boxes[number % len(self.boxes)], dtype=np.float64).reshape(-1, 4)
        return Detections(found, np.linspace(0.9, 0.5, len(found)))


def make(network=None, **inference):
    network = network or Bright()
    estimator = Estimator(network, preset("toy-t"), device="cpu", inference=Inference(flip=False, **inference))
    return estimator, network


def pictures(count, size=(60, 40)):
    """Dark noise with a bright spot that trembles; the first pixel is the number."""
    rng = np.random.default_rng(3)
    found = rng.integers(0, 60, (count, size[1], size[0], 3), dtype=np.uint8)
    for picture, (x, y) in zip(found, rng.integers(-2, 3, (count, 2)), strict=True):
        picture[16 + y : 24 + y, 18 + x : 26 + x] = (250, 240, 230)
    found[:, 0, 0, 0] = np.arange(count)
    return found


def frames(count, live=False, rate=25.0):
    """Frames of a video."""
    return [Frame(p, "clip", i, i / rate, live) for i, p in enumerate(pictures(count))]


def box(number, width=20.0):
    return [5.0 + number, 4.0, 5.0 + number + width, 36.0]


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sadinet")]


def same(poses, other):
    np.testing.assert_allclose(poses.xy, other.xy, atol=1e-9)
    np.testing.assert_allclose(poses.score, other.score, atol=1e-9)
    np.testing.assert_array_equal(poses.boxes, other.boxes)
    assert poses.image_size == other.image_size


class TestPictures:
    @pytest.mark.parametrize(("batch_size", "most"), [(1, 3), (2, 3), (5, 3), (16, 3)])
    def test_a_stream_is_predict_one_by_one(self, batch_size, most):
        given = pictures(9)
        script = [[box(n + p) for p in range(n % (most + 1))] for n in range(9)]  # nobody, one, two, three, nobody ...
        estimator, network = make(batch_size=batch_size)
        streamed = list(estimator.stream(list(given), detector=Scripted(script)))
        assert max(network.batches) <= batch_size
        assert sum(network.batches) == sum(map(len, script))
        assert len(network.batches) <= -(-sum(network.batches) // batch_size) + 1  # over the borders of pictures
        for picture, boxes, poses in zip(given, script, streamed, strict=True):
            same(poses, estimator.predict(picture, boxes, margin=DETECTED_MARGIN))
            assert (poses.ids, poses.frame, poses.time) == (None, None, None)

    def test_whole_pictures_where_there_is_no_detector(self):
        estimator, _ = make()
        streamed = list(estimator.stream(list(pictures(4)), detector="none"))
        for picture, poses in zip(pictures(4), streamed, strict=True):
            same(poses, estimator.predict(picture))

    def test_nobody_in_any_of_many_pictures(self):
        estimator, network = make(batch_size=4)
        stream = estimator.stream(iter(pictures(40)), detector=Scripted([[]]))
        first = next(stream)
        assert (first.xy.shape, first.score.shape, first.boxes.shape) == ((0, 14, 2), (0, 14), (0, 4))
        assert len(list(stream)) == 39
        assert network.batches == []

    def test_answers_do_not_wait_for_persons_who_never_come(self):
        """A batch is given up after as many frames as it has room for persons."""
        made = []

        def source():
            for i, picture in enumerate(pictures(200)):
                made.append(i)
                yield picture

        estimator, _ = make(batch_size=4)
        stream = estimator.stream(source(), detector=Scripted([[box(1)]] + [[]] * 255))
        next(stream)
        assert len(made) < 30
        stream.close()

    def test_sixty_persons_on_one_picture(self):
        estimator, network = make(batch_size=16)
        boxes = np.array([box(n / 3, 15.0) for n in range(60)])
        (poses,) = estimator.stream(pictures(1)[0], boxes=boxes)
        assert network.batches == [16, 16, 16, 12]
        same(poses, estimator.predict(pictures(1)[0], boxes))
        (few,) = estimator.stream(pictures(1)[0], boxes=boxes, max_persons=7)
        np.testing.assert_array_equal(few.boxes, boxes[:7])

    @pytest.mark.parametrize("size", [(1, 1), (12000, 300)])
    def test_extreme_pictures(self, size):
        estimator, _ = make()
        picture = np.full((size[1], size[0], 3), 80, np.uint8)
        (poses,) = estimator.stream(picture, detector="none")
        same(poses, estimator.predict(picture))
        assert np.isfinite(poses.xy).all()

    def test_bad_ones_are_told_and_left_out(self, caplog):
        estimator, _ = make()
        streamed = list(estimator.stream([pictures(1)[0], b"no picture", pictures(2)[1]], detector="none"))
        assert len(streamed) == 2
        assert "skipped: the picture of 10 bytes: not a picture" in caplog.text
        kinds = [type(item) for item in stream_frames(estimator, [b"x", pictures(1)[0]], detector="none")]
        assert kinds[0] is Failure
        assert len(kinds) == 2

    def test_boxes_by_name(self, tmp_path):
        from sadinet.images import write_image

        for name in ("a.png", "b.png", "c.png"):
            write_image(pictures(1)[0], tmp_path / name)
        estimator, _ = make()
        boxes = {"a.png": np.array([box(3), box(9)]), "b.png": np.zeros((0, 4))}
        a, b, c = stream_frames(estimator, tmp_path, boxes=boxes)
        np.testing.assert_array_equal(a.poses.boxes, boxes["a.png"])
        assert len(b.poses) == 0
        assert "c.png: the file of boxes does not mention this picture" in c.error
        (refused,) = stream_frames(estimator, frames(1), boxes=boxes)
        assert "not for frames of a video" in refused.error

    def test_a_box_outside_is_a_failure_of_that_picture(self):
        estimator, _ = make()
        found = list(
            stream_frames(estimator, [pictures(1)[0], np.zeros((400, 400, 3), np.uint8)], boxes=[[90, 90, 120, 130]])
        )
        assert "outside the picture of 60 x 40" in found[0].error
        assert len(found[1].poses) == 1

    def test_stages_are_timed(self):
        estimator, _ = make()
        (poses,) = estimator.stream(pictures(1)[0], detector=Scripted([[box(2)]]))
        assert set(poses.timing) == {"read", "detect", "crop", "network", "decode"}
        assert all(ms >= 0 for ms in poses.timing.values())
        assert set(estimator.predict(pictures(1)[0], [box(2)]).timing) == {"read", "crop", "network", "decode"}
        assert set(estimator.predict(pictures(1)[0], detector=Scripted([[]])).timing) == {"read", "detect"}


class TestVideo:
    def test_one_of_so_many_frames_is_detected_on_and_boxes_go_evenly_between(self):
        script = [[box(n), box(n + 25, 9.0)] for n in range(13)]
        detector = Scripted(script)
        estimator, _ = make()
        streamed = list(estimator.stream(frames(13), detector=detector, detect_every=5, smooth="none"))
        assert detector.asked == [0, 5, 10, 12]
        for poses, boxes in zip(streamed, script, strict=True):
            np.testing.assert_allclose(poses.boxes, boxes, atol=1e-9)
        assert [poses.ids.tolist() for poses in streamed] == [[0, 1]] * 13
        assert [poses.frame for poses in streamed] == list(range(13))
        assert [poses.time for poses in streamed] == [n / 25 for n in range(13)]

    @pytest.mark.parametrize("every", [1, 3, 5, 50])
    def test_every_frame_is_answered_once_whatever_the_interval(self, every):
        detector = Scripted([[box(3)]])
        estimator, _ = make(batch_size=3)
        for count in (1, 2, 5, 6, 11):
            detector.asked.clear()
            streamed = list(estimator.stream(frames(count), detector=detector, detect_every=every))
            assert [poses.frame for poses in streamed] == list(range(count))
            assert detector.asked == sorted({*range(0, count, every), count - 1})

    def test_who_comes_or_goes_between_detections_is_there_for_half_of_the_time(self):
        early, late = frames(5)[0], frames(5)[4]
        stays = np.array([box(0.0)])
        both = np.concatenate([stays, [box(35.0, 9.0)]])
        for there, here in ((1, (2, 2, 1)), (2, (1, 2, 2))):
            start, end = (
                (Place(early, both), Place(late, stays)) if there == 1 else (Place(early, stays), Place(late, both))
            )
            counts = [len(boxes_between(start, end, frame)) for frame in frames(5)[1:4]]
            assert counts == ([2, 1, 1] if there == 1 else [1, 2, 2]), here

    def test_another_video_begins_anew(self):
        detector = Scripted([[box(3)]])
        estimator, _ = make()
        second = [Frame(f.pixels, "other", f.index, f.time) for f in frames(4)]
        streamed = list(estimator.stream([*frames(4), pictures(5)[4], *second], detector=detector, detect_every=3))
        assert detector.asked == [0, 3, 4, 0, 3]
        assert [None if p.ids is None else p.ids.tolist() for p in streamed] == [[0]] * 4 + [None] + [[0]] * 4

    def test_smoothing_is_on_with_ids_and_can_be_left(self):
        estimator, _ = make()
        given = {"boxes": [box(10)]}
        raw = np.stack([p.xy for p in estimator.stream(frames(12), smooth="none", **given)])
        smooth = np.stack([p.xy for p in estimator.stream(frames(12), **given)])
        np.testing.assert_array_equal(smooth[0], raw[0])
        assert np.abs(np.diff(smooth, axis=0)).mean() < 0.8 * np.abs(np.diff(raw, axis=0)).mean()
        unfollowed = list(estimator.stream(frames(12), track=False, **given))
        assert {poses.ids is None for poses in unfollowed} == {True}
        np.testing.assert_array_equal(np.stack([p.xy for p in unfollowed]), raw)
        stack = list(estimator.stream(pictures(4), track=True, **given))
        assert [p.ids.tolist() for p in stack] == [[0]] * 4
        assert [(p.frame, p.time) for p in stack] == [(n, None) for n in range(4)]

    def test_a_real_video_with_walkers_keeps_their_ids(self, tmp_path):
        pytest.importorskip("av")
        moving, boxes = walkers(30)
        path = write_video(tmp_path / "x.mp4", moving)
        places = iter(range(30))

        class Exact:
            def detect(self, _):
                return Detections(boxes[next(places)], np.array([0.9, 0.8]))

        estimator, _ = make()
        streamed = list(estimator.stream(path, detector=Exact(), detect_every=1))
        assert [p.ids.tolist() for p in streamed] == [[0, 1]] * 30
        assert streamed[0].source == str(path)
        assert "track" in streamed[5].timing

    def test_heatmaps_come_on_request(self):
        estimator, _ = make()
        (answer,) = stream_frames(estimator, pictures(1)[0], boxes=[box(5)], heatmaps=True)
        side = estimator.input_size // 4
        assert answer.found[0].heatmap.shape == (side, side)
        assert answer.found[0].heatmap.max() == pytest.approx(answer.poses.score.max())
        (bare,) = stream_frames(estimator, pictures(1)[0], boxes=[box(5)])
        assert bare.found[0].heatmap is None


class TestCamera:
    def test_an_answer_does_not_wait_for_the_next_frame(self):
        gate = threading.Event()

        def camera():
            first, second, third = frames(3, live=True)
            yield first
            gate.wait(10)
            yield second
            yield third

        estimator, _ = make(batch_size=16)
        stream = estimator.stream(camera(), boxes=[box(3)])
        assert next(stream).frame == 0
        assert not gate.is_set()
        gate.set()
        assert [poses.frame for poses in stream] == [1, 2]

    def test_between_detections_boxes_follow_the_keypoints(self):
        detector = Scripted([[box(n)] for n in range(9)])
        estimator, _ = make(Spread())
        streamed = list(estimator.stream(iter(frames(9, live=True)), detector=detector, detect_every=4))
        assert detector.asked == [0, 4, 8]
        assert all(len(poses) == 1 for poses in streamed)
        assert streamed[1].boxes.tolist() != streamed[0].boxes.tolist()
        assert overlap(streamed[1].boxes, streamed[0].boxes)[0, 0] > 0.2

    def test_while_nobody_is_there_every_frame_is_detected_on(self):
        detector = Scripted([[], [], [], [box(3)]])
        estimator, _ = make(Spread())
        list(estimator.stream(iter(frames(6, live=True)), detector=detector, detect_every=4))
        assert detector.asked == [0, 1, 2, 3]

    def test_one_that_is_not_there_is_told(self, caplog):
        pytest.importorskip("av")
        estimator, _ = make()
        assert list(estimator.stream(77, detector="none")) == []
        assert "skipped: camera 77: cannot be opened" in caplog.text


class TestThreads:
    @pytest.mark.parametrize("how", ["close", "break", "error"])
    def test_who_stops_early_leaves_none(self, how):
        estimator, _ = make()
        ended = []

        def source():
            try:
                yield from pictures(250)
            finally:
                ended.append(True)

        stream = estimator.stream(source(), detector=Scripted([[box(2)]]))
        next(stream)
        assert alive()
        if how == "close":
            stream.close()
        elif how == "error":
            with pytest.raises(GeneratorExit):
                stream.throw(GeneratorExit)
        else:
            for _ in stream:
                break
            del stream
        assert alive() == []
        assert ended == [True]

    def test_what_a_detector_raises_arrives_and_ends_all(self):
        class Broken:
            def detect(self, _):
                raise RuntimeError("out of order")

        estimator, _ = make()
        with pytest.raises(RuntimeError, match="out of order"):
            list(estimator.stream(iter(pictures(9)), detector=Broken()))
        assert alive() == []

    def test_frames_are_let_go(self):
        """Of 120 frames, no more are alive at any moment than wait on the way."""
        seen = []

        def source():
            for frame in frames(120):
                seen.append(weakref.ref(frame.pixels))
                yield Frame(frame.pixels.copy(), "clip", frame.index, frame.time)

        born = []

        def counted():
            for frame in source():
                born.append(weakref.ref(frame))
                yield frame
                del frame

        estimator, _ = make(batch_size=4)
        most = 0
        for poses in estimator.stream(
            counted(), detector=Scripted([[box(2)], [], [box(3), box(30, 9.0)]]), detect_every=5
        ):
            most = max(most, sum(ref() is not None for ref in born))
            del poses
        assert len(born) == 120
        assert most <= 4 + 2 + 2 * 5 + 2 * 4 + 4  # read ahead, placed ahead, between detections, two batches, in hands
        assert not any(ref() is not None for ref in born)

    def test_two_streams_of_one_estimator_are_as_one_after_the_other(self):
        estimator, _ = make(batch_size=3)
        jobs = [(frames(20), [box(3)]), (frames(20)[::-1], [box(9), box(30, 12.0)])]

        def run(source, boxes):
            return [p.xy for p in estimator.stream(source, boxes=boxes, track=False)]

        alone = [run(*job) for job in jobs]
        together = [None, None]
        workers = [
            threading.Thread(target=lambda i=i, job=job: together.__setitem__(i, run(*job)))
            for i, job in enumerate(jobs)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(np.concatenate(other), np.concatenate(one), atol=1e-6)

    def test_the_detector_works_while_the_network_does(self):
        class Slow(Scripted):
            def detect(self, image):
                where.add(threading.current_thread().name)
                return super().detect(image)

        where = set()
        estimator, _ = make()
        list(estimator.stream(iter(pictures(6)), detector=Slow([[box(2)]])))
        assert where == {"sadinet-ahead"}


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"detect_every": 0}, "count from 1"),
            ({"max_persons": 0}, "count from 1"),
            ({"track": False, "smooth": "one-euro"}, "who is who"),
            ({"smooth": "offline"}, "give 'one-euro' or 'none'"),
            ({"detector": "gone.onnx"}, "detector 'gone.onnx': neither"),
        ],
    )
    def test_nonsense_is_refused_at_once(self, options, message):
        estimator, _ = make()
        with pytest.raises(ConfigError, match=message):
            estimator.stream(frames(1), **options)

    def test_what_does_not_exist_is_raised_before_anything_is_predicted(self):
        estimator, network = make()
        with pytest.raises(DataError, match=r"gone\.jpg: no such file"):
            list(estimator.stream("gone.jpg", detector="none"))
        assert network.batches == []

    def test_without_a_detector_the_way_to_one_is_told_once(self, monkeypatch, caplog):
        monkeypatch.setattr(finding, "find_detector", lambda _: None)
        finding._tell_once.cache_clear()
        caplog.set_level(logging.INFO)
        estimator, _ = make()
        for _ in range(3):
            assert len(list(estimator.stream(pictures(2)))) == 2
        assert caplog.text.count("no person detector") == 1
        assert "sadinet fetch" in caplog.text

    def test_a_detector_that_is_found_is_used(self, monkeypatch):
        monkeypatch.setattr(finding, "find_detector", lambda spec: Scripted([[box(4)]]) if spec is None else None)
        estimator, _ = make()
        poses, _ = estimator.stream(pictures(2))
        np.testing.assert_array_equal(poses.boxes, [box(4)])

    def test_predict_asks_a_detector_too(self):
        estimator, _ = make()
        poses = estimator.predict(pictures(1)[0], detector=Scripted([[box(4), box(30, 9.0)]]))
        same(poses, estimator.predict(pictures(1)[0], [box(4), box(30, 9.0)], margin=DETECTED_MARGIN))
        assert len(estimator.predict(pictures(1)[0], detector=Scripted([[]]))) == 0


def test_placing_closes_its_source():
    ended = []

    def source():
        try:
            yield from frames(9)
        finally:
            ended.append(True)

    placed = place_persons(source(), Finder(detector=Scripted([[box(2)]])), 3)
    next(placed)
    placed.close()
    assert ended == [True]


def test_empty_sources_give_nothing():
    estimator, _ = make()
    assert list(estimator.stream([], detector="none")) == []


def test_heights_of_peaks_are_told_as_scores():
    estimator, _ = make()
    assert as_score(estimator.reading, 0.3) == pytest.approx(0.3)
    calibrated = dataclasses.replace(estimator.reading, calibration=Calibration((0.0, 0.2, 1.0), (0.1, 0.6, 0.9)))
    assert as_score(calibrated, 0.2) == pytest.approx(0.6)
    assert as_score(calibrated, 0.3) == pytest.approx(0.6 + 0.3 / 8)
