"""The page in a real browser: where there is one (Chromium, and the package playwright to drive it)."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import sadinet

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium here", allow_module_level=True)

QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
MORE = (
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "sadinet", "serve", "--port", "0", "--detector", "none", "--device", "cpu", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().split()[0]
        process.terminate()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *MORE])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page; what the browser complains about is collected, and must be nothing."""
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    until(page, "document.getElementById('model').textContent.includes('keypoints')")
    page.complaints = complaints
    yield page
    page.close()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "someone.png"
    Image.fromarray(np.random.default_rng(1).integers(60, 200, (300, 200, 3), dtype=np.uint8)).save(path)
    return path


def until(page, condition):
    """Waits for a condition in JavaScript; Playwright's own way needs eval, which the page forbids."""
    for _ in range(600):
        if page.evaluate(f"() => {condition}"):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def show(page, picture):
    page.set_input_files("#file", picture)
    until(page, "document.getElementById('status').textContent.includes('person')")


def test_a_picture_is_shown_with_its_poses(page, picture):
    show(page, picture)
    assert page.evaluate("() => [canvas.width, canvas.height]") == [200, 300]
    with page.expect_download() as download:
        page.click("#save-json")
    assert download.value.suggested_filename == "someone.json"
    saved = json.loads(download.value.path().read_text())
    poses = sadinet.load(device="cpu").predict(picture)
    assert saved["people"] == poses.to_json()["people"]
    assert page.locator("#table tbody tr").count() == 14
    assert page.complaints == []


def test_the_drawing_is_where_the_keypoints_are(page, picture):
    show(page, picture)
    page.uncheck("#picture")
    page.uncheck("#limbs")
    page.fill("#score", "0")
    person = sadinet.load(device="cpu").predict(picture)
    with page.expect_download() as download:
        page.click("#save-picture")
    drawn = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    assert drawn.shape == (300, 200, 3)
    inside = ((person.xy[0] > 4) & (person.xy[0] < [195, 295])).all(1)
    assert inside.sum() >= 5
    for x, y in np.rint(person.xy[0][inside]).astype(int):
        assert drawn[y - 1 : y + 2, x - 1 : x + 2].max() > 150  # a dot
    assert (drawn.max(2) == 0).mean() > 0.8  # black elsewhere
    page.fill("#score", "1")
    with page.expect_download() as download:
        page.click("#save-picture")
    assert not np.asarray(Image.open(download.value.path()).convert("RGB")).any()
    assert page.complaints == []


def test_persons_are_looked_for_where_one_drags(page, picture):
    show(page, picture)
    seen = page.locator("#canvas").bounding_box()
    scale = seen["width"] / 200
    for number, (x0, y0, x1, y1) in enumerate([(20, 30, 120, 200), (190, 290, 60, 100)], 1):
        page.mouse.move(seen["x"] + x0 * scale, seen["y"] + y0 * scale)
        page.mouse.down()
        page.mouse.move(seen["x"] + x1 * scale, seen["y"] + y1 * scale, steps=3)
        page.mouse.up()
        many = "1 person," if number == 1 else f"{number} persons,"
        until(page, f"poses.people.length === {number} && boxes.length === {number}")
        until(page, f"document.getElementById('status').textContent.startsWith('{many}')")
    boxes = np.array(page.evaluate("() => poses.people.map((person) => person.box)"))
    np.testing.assert_allclose(boxes, [[19.5, 29.5, 119.5, 199.5], [59.5, 99.5, 189.5, 289.5]], atol=1.01)
    page.click("#clear")
    until(page, "poses.people.length === 1 && document.getElementById('clear').disabled")
    assert page.complaints == []


def test_what_is_no_picture_is_told(page, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    page.set_input_files("#file", tmp_path / "bad.jpg")
    until(page, "document.getElementById('status').classList.contains('error')")
    assert "not a picture" in page.text_content("#status")


def test_the_camera_is_followed_until_it_is_stopped(page):
    page.click("#camera")
    until(page, "document.getElementById('status').textContent.startsWith('live')")
    assert page.text_content("#camera") == "Stop camera"
    page.click("#camera")
    assert page.evaluate("() => stream === null && video.srcObject === null")
    assert page.complaints == []
