"""The HTTP service, asked as clients good and bad would."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from importlib import resources

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from sadinet.cli import main
from sadinet.crops import Inference
from sadinet.draw import draw_poses
from sadinet.errors import ConfigError
from sadinet.estimator import Estimator
from sadinet.geometry import DETECTED_MARGIN
from sadinet.model.network import SadiNet
from sadinet.persons.detect import Detections
from sadinet.presets import preset
from sadinet.serving.asking import Limits
from sadinet.serving.guard import HEADERS
from sadinet.serving.serve import serve
from sadinet.serving.service import Service

from ..micro import micro


@pytest.fixture(scope="module")
def estimator():
    experiment = micro("network.learn_distribution=false", "loss.kind=mse")
    return Estimator(SadiNet(experiment.network), experiment, device="cpu", inference=Inference(flip=False))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(3).integers(0, 255, (60, 84, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


class Two:
    """A detector that finds the same two persons everywhere, and a third one less sure."""

    boxes = np.array([[4.0, 5, 40, 50], [30, 10, 80, 55], [1, 1, 9, 9]])

    def detect(self, _):
        return Detections(self.boxes, np.array([0.9, 0.8, 0.3]))


def ask(app, path="/predict", body=b"", *, method="POST", query="", headers=(), pause=0.0):
    """Status, headers and body of the answer of an ASGI application; ``pause``: before the last part of the body."""
    parts = [body] if isinstance(body, bytes) else list(body)
    sent = []

    async def receive():
        if not parts:
            return {"type": "http.disconnect"}
        if len(parts) == 1:
            await asyncio.sleep(pause)
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    fields = {"host": "localhost:8000", **{name.lower(): value for name, value in dict(headers).items()}}
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""},
        **{"headers": [(name.encode(), value.encode()) for name, value in fields.items()]},
        **{"client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8000)},
    }
    asyncio.run(app(scope, receive, send))
    answer = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answer, b"".join(message.get("body", b"") for message in sent[1:])


def form(boundary="xyz", **parts):
    """A form with files (bytes) and fields (text): body and headers."""
    body = b""
    for name, value in parts.items():
        file = '; filename="a.png"\r\nContent-Type: image/png' if isinstance(value, bytes) else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def without_time(poses):
    return {key: value for key, value in poses.items() if key != "timing"}


@pytest.fixture(scope="module")
def app(estimator):
    return Service(estimator, None, weights="mine").app()


class TestAnswers:
    def test_a_picture_gets_the_poses_that_predict_gives(self, app, estimator, picture):
        wanted = without_time(estimator.predict(picture).to_json())
        status, headers, body = ask(app, body=picture, headers={"content-type": "image/png"})
        assert (status, headers["content-type"]) == (200, "application/json")
        told = json.loads(body)
        assert without_time(told) == wanted
        assert told["timing"]["network"] > 0
        for kind in (
            {},
            {"content-type": "application/octet-stream"},
            {"content-type": "application/x-www-form-urlencoded"},
        ):
            assert without_time(json.loads(ask(app, body=[picture[:50], picture[50:]], headers=kind)[2])) == wanted

    def test_a_form_is_the_same(self, app, estimator, picture):
        boxes = [[4, 5, 40, 50], [30.5, 10, 80, 55]]
        wanted = without_time(estimator.predict(picture, boxes).to_json())
        body, headers = form(image=picture, boxes=json.dumps(boxes))
        assert without_time(json.loads(ask(app, body=body, headers=headers)[2])) == wanted
        query = f"boxes={json.dumps(boxes)}".replace(" ", "")
        assert without_time(json.loads(ask(app, body=picture, query=query)[2])) == wanted
        assert json.loads(ask(app, body=picture, query="boxes=[]")[2])["people"] == []
        single = json.loads(ask(app, body=picture, query="boxes=[4,5,40,50]")[2])
        assert single["people"] == wanted["people"][:1]

    @pytest.mark.parametrize("kind", ["png", "jpg"])
    def test_it_draws(self, app, estimator, picture, pixels, kind):
        status, headers, body = ask(app, body=picture, query=f"format={kind}&min_score=0.1")
        assert (status, headers["content-type"]) == (200, {"png": "image/png", "jpg": "image/jpeg"}[kind])
        drawn = np.asarray(Image.open(io.BytesIO(body)))
        wanted = draw_poses(pixels, estimator.predict(pixels), min_score=0.1)
        if kind == "png":
            np.testing.assert_array_equal(drawn, wanted)
        assert drawn.shape == wanted.shape

    def test_the_detector_finds_the_persons(self, estimator, picture):
        app = Service(estimator, Two(), limits=Limits(persons=2)).app()
        wanted = estimator.predict(picture, Two.boxes[:2], margin=DETECTED_MARGIN).to_json()
        assert without_time(json.loads(ask(app, body=picture)[2])) == without_time(wanted)
        whole = json.loads(ask(app, body=picture, query="detect=false")[2])
        assert [person["box"] for person in whole["people"]] == [[-0.5, -0.5, 83.5, 59.5]]
        given = json.loads(ask(app, body=picture, query="boxes=[[1,2,30,40]]")[2])
        assert [person["box"] for person in given["people"]] == [[1, 2, 30, 40]]
        assert json.loads(ask(app, "/model", method="GET")[2])["detector"] is True

    def test_it_says_what_it_is(self, app):
        told = json.loads(ask(app, "/model", method="GET")[2])
        assert (told["weights"], told["detector"], told["calibrated"]) == ("mine", False, False)
        assert len(told["skeleton"]["keypoints"]) == len(told["skeleton"]["sides"]) == 14
        assert json.loads(ask(app, "/health", method="GET")[2]) == {"status": "ok"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "status", "message"),
        [
            ("boxes=[[1,2,3]]", 422, "give [[x0, y0, x1, y1], ...]"),
            ("boxes=nonsense", 422, "boxes=nonsense"),
            ("boxes=" + "[" * 3000, 422, "boxes=[[["),
            ("boxes=[[1,2,null,4]]", 422, "not finite"),
            ("boxes=[[1e999,2,3,4]]", 422, "not finite"),
            ("boxes=[[5,5,2,9]]", 422, "is empty"),
            ("boxes=[[900,5,990,9]]", 422, "outside the picture"),
            ("boxes=" + json.dumps([[1, 2, 3, 4]] * 101).replace(" ", ""), 422, "101 boxes: give at most 100"),
            ("boxes={}", 422, "boxes={}"),
            ("detect=maybe", 422, "give true or false"),
            ("format=gif", 422, "give json, jpg or png"),
            ("min_score=nan", 422, "from 0 to 1"),
            ("min_score=2", 422, "from 0 to 1"),
            ("min_score=x", 422, "from 0 to 1"),
            ("box=1,2,3,4", 422, "unknown option 'box': there are boxes, detect, format, min_score"),
        ],
    )
    def test_options_that_make_no_sense(self, app, picture, query, status, message):
        answered, _, body = ask(app, body=picture, query=query)
        assert answered == status
        assert message in json.loads(body)["error"]

    @pytest.mark.parametrize(
        ("body", "kind", "status", "message"),
        [
            (b"", "image/png", 422, "no picture"),
            (b"GIF89a", "image/gif", 400, "damaged"),
            (b"nothing", "image/png", 400, "not a picture"),
            (b"{}", "application/json", 415, "send the picture itself"),
            (b"hello", "text/plain", 415, "a body of text/plain"),
            (b"hello", "multipart/form-data", 422, "not a form"),
            (b"hello", "multipart/form-data; boundary=a", 422, "not a form, or cut short"),
            (b"hello--a--", "multipart/form-data; boundary=a", 422, "not a form with a file 'image'"),
            (b"--a--", "multipart/form-data; boundary=a", 422, "no picture"),
            (*form(other=b"1")[:1], "multipart/form-data; boundary=xyz", 422, "unknown field 'other'"),
            (*form(image="text")[:1], "multipart/form-data; boundary=xyz", 422, "unknown field 'image'"),
            (*form(image=b"1", color="red")[:1], "multipart/form-data; boundary=xyz", 422, "unknown field 'color'"),
            (
                form("xyz", image=b"1")[0].replace(b"--xyz--", b""),
                "multipart/form-data; boundary=xyz",
                422,
                "cut short",
            ),
        ],
    )
    def test_bodies_that_are_no_picture(self, app, body, kind, status, message):
        answered, _, told = ask(app, body=body, headers={"content-type": kind})
        assert answered == status
        assert message in json.loads(told)["error"]

    def test_forms_with_too_much_in_them(self, app, picture):
        fields = {f"f{number}": "1" for number in range(9)}
        body, headers = form(**fields)
        assert ask(app, body=body, headers=headers)[0] == 422
        body, headers = form(image=picture, boxes="1" * 200_000)
        assert ask(app, body=body, headers=headers)[0] == 422
        body, headers = form(image=picture, second=picture)
        assert ask(app, body=body, headers=headers)[0] == 422

    def test_large_requests_are_not_read(self, estimator, picture):
        app = Service(estimator, None, limits=Limits(bytes=1000)).app()
        read = []

        def parts():
            for _ in range(50):
                read.append(1)
                yield b"x" * 100

        status, headers, body = ask(app, body=b"", headers={"content-length": "1001"})
        assert (status, headers["connection"]) == (413, "close")
        assert "more than 1000 bytes" in json.loads(body)["error"]
        assert ask(app, body=parts())[0] == 413
        assert ask(app, body=b"x", headers={"content-length": "many"})[0] == 413
        assert ask(app, body=b"x", headers={"content-length": "9" * 400})[0] == 413
        assert ask(app, body=picture[:1000])[0] == 400  # read, and damaged

    def test_slow_requests_are_ended(self, estimator, picture):
        app = Service(estimator, None, limits=Limits(seconds=0.05)).app()
        status, _, body = ask(app, body=[picture[:20], picture[20:]], pause=5)
        assert status == 408
        assert "within 0.05 s" in json.loads(body)["error"]

    def test_a_bomb_is_refused_before_it_is_decoded(self, estimator):
        def chunk(kind, content):
            return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

        header = (40_000).to_bytes(4) + (40_000).to_bytes(4) + bytes([1, 0, 0, 0, 0])
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        status, _, body = ask(Service(estimator, None, limits=Limits(pixels=10**6)).app(), body=bomb)
        assert status == 400
        assert "40000 x 40000 is more than 1000000 pixels" in json.loads(body)["error"]

    def test_too_many_at_once_are_sent_away(self, estimator, picture):
        service = Service(estimator, None, limits=Limits(requests=1))
        service._busy = 1
        status, headers, body = ask(service.app(), body=picture)
        assert (status, headers["retry-after"]) == (503, "1")
        assert "try again" in json.loads(body)["error"]
        service._busy = 0
        assert ask(service.app(), body=picture)[0] == 200
        assert ask(service.app(), body=b"no")[0] == 400
        assert service._busy == 0

    def test_what_goes_wrong_inside_is_not_told(self, estimator, picture, caplog):
        class Broken:
            def detect(self, _):
                raise RuntimeError("a secret")

        sent = []
        service = Service(estimator, Broken())
        with pytest.raises(RuntimeError, match="a secret"):  # for the server's log
            sent.append(ask(service.app(), body=picture))
        assert "RuntimeError('a secret')" in caplog.text
        assert service._busy == 0

    @pytest.mark.parametrize(
        ("path", "method", "status"), [("/x", "GET", 404), ("/predict", "GET", 405), ("/", "POST", 405)]
    )
    def test_other_ways_in(self, app, path, method, status):
        answered, _, body = ask(app, path, method=method)
        assert answered == status
        assert json.loads(body)["error"]


class TestGuard:
    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost:8000", 200),
            ("LOCALHOST", 200),
            ("127.0.0.1:9", 200),
            ("[::1]:8000", 200),
            ("poses.example", 200),
            ("evil.example", 421),
            ("localhost.evil.example", 421),
            ("[::1", 421),
            ("", 421),
        ],
    )
    def test_only_its_own_names_are_answered(self, estimator, host, status):
        app = Service(estimator, None).app(("localhost", "127.0.0.1", "::1", "poses.example"))
        answered, headers, _ = ask(app, "/health", method="GET", headers={"host": host})
        assert answered == status
        assert {name: headers[name] for name in HEADERS} == HEADERS

    @pytest.mark.parametrize(
        ("origin", "status"),
        [("http://localhost:8000", 200), ("http://localhost:8001", 403), ("https://evil.example", 403), ("null", 403)],
    )
    def test_pages_of_other_sites_are_not_answered(self, app, picture, origin, status):
        assert ask(app, body=picture, headers={"origin": origin})[0] == status


class TestPage:
    @pytest.mark.parametrize(("path", "kind"), [("/", "html"), ("/page.css", "css"), ("/page.js", "javascript")])
    def test_its_files_are_there(self, app, path, kind):
        status, headers, body = ask(app, path, method="GET")
        assert status == 200
        assert kind in headers["content-type"]
        assert len(body) > 500

    def test_it_needs_nothing_from_elsewhere_and_nothing_inline(self):
        for name in ("page.html", "page.css", "page.js"):
            text = (resources.files("sadinet.serving") / name).read_text("utf-8")
            assert not re.findall(r"https?://(?!127)|//cdn|@import|url\(", text)
        html = (resources.files("sadinet.serving") / "page.html").read_text("utf-8")
        assert not re.findall(r"<style|<script>|\son\w+=|style=", html)

    def test_the_elements_that_its_script_names_exist(self):
        html, script = (
            (resources.files("sadinet.serving") / f"page.{kind}").read_text("utf-8") for kind in ("html", "js")
        )
        named = set(re.findall(r'at\("([\w-]+)"\)', script)) | {
            "another",
            "save-picture",
            "save-json",
            "limbs",
            "names",
        }
        assert named <= set(re.findall(r'id="([\w-]+)"', html))


def test_the_description_is_of_this_service(app, picture):
    tree = json.loads(ask(app, "/openapi.json", method="GET")[2])
    routes = {route.path for route in app.routes}
    assert set(tree["paths"]) == routes - {"/", "/page.css", "/page.js", "/openapi.json"}
    options = [parameter["name"] for parameter in tree["paths"]["/predict"]["post"]["parameters"]]
    body, headers = form(image=picture, nonsense="1")
    assert (
        f"there are a file 'image' and {', '.join(options)}"
        in json.loads(ask(app, body=body, headers=headers)[2])["error"]
    )
    schemas = tree["components"]["schemas"]
    assert set(schemas["Poses"]["properties"]) == set(json.loads(ask(app, body=picture)[2]))
    assert set(schemas["Model"]["required"]) == set(json.loads(ask(app, "/model", method="GET")[2]))
    assert tree["info"]["version"]


class TestCommand:
    def test_a_server_of_its_own(self, picture):
        """Started, asked, stopped: as a user does."""
        command = [
            sys.executable,
            "-m",
            "sadinet",
            "serve",
            "--port",
            "0",
            "--detector",
            "none",
            "--device",
            "cpu",
            "-q",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                address = process.stdout.readline().split()[0]
                request = urllib.request.Request(f"{address}/predict", picture, {"Content-Type": "image/png"})
                with urllib.request.urlopen(request, timeout=60) as answer:
                    assert len(json.load(answer)["people"][0]["keypoints"]) == 14
                    assert "server" not in answer.headers
                with pytest.raises(urllib.error.HTTPError, match="400"):
                    urllib.request.urlopen(
                        urllib.request.Request(f"{address}/predict", b"x", {"Content-Type": "image/png"})
                    )
            finally:
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in errors

    def test_a_port_that_is_taken_is_told(self, capsys):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["serve", "--port", str(port), "--detector", "none", "-q", "--backend", "torch"]) == 2
        assert f"cannot listen at 127.0.0.1, port {port}" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["--max-mb", "0"], ["--max-requests", "0"], ["--max-persons", "-1"]])
    def test_limits_that_let_nothing_through_are_refused(self, words, capsys):
        assert main(["serve", "--detector", "none", *words]) == 2
        assert "limits must be positive" in capsys.readouterr().err

    def test_an_address_that_is_none(self, estimator):
        with pytest.raises(ConfigError, match=r"cannot listen at 192\.0\.2\.1"):
            serve(Service(estimator, None), host="192.0.2.1")
        with pytest.raises(ConfigError, match="there is no port 99999"):
            serve(Service(estimator, None), port=99999)

    def test_what_is_missing_is_named(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "uvicorn", None)
        assert main(["serve"]) == 2
        assert 'pip install "sadinet[serve]"' in capsys.readouterr().err


def test_keypoints_have_their_sides():
    experiment = preset("toy-t-rfm")
    told = json.loads(
        ask(
            Service(Estimator(SadiNet(experiment.network), experiment, device="cpu"), None).app(),
            "/model",
            method="GET",
        )[2]
    )
    assert told["skeleton"]["sides"][:3] == ["right"] * 3
    assert told["weights"] == "toy-t-rfm"
