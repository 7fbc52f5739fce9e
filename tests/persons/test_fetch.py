"""Fetching, from a server on this machine: what is kept, and above all what is not."""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sadinet.cli import main
from sadinet.errors import CheckpointError, ConfigError
from sadinet.persons import fetch as module
from sadinet.persons.fetch import KNOWN, RemoteFile, cache_folder, cached_file, fetch, others

CONTENT = bytes(range(256)) * 700
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirect/"))
            self.end_headers()
            return
        if self.path == "/absent.bin":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/endless.bin":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:-1000] if self.path == "/short.bin" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(running):
    running.asked = []
    running.url = f"http://127.0.0.1:{running.server_port}"
    return running


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SADINET_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody there: must not be asked about this machine
    return tmp_path / "home"


def remote(server, path="/net.bin", sha256=SHA256):
    return RemoteFile("net", server.url + path, sha256)


def content_of(folder):
    return sorted(path.name for path in folder.iterdir())


class TestFetch:
    def test_a_file_is_fetched_once(self, server, home):
        told = []
        file = fetch(remote(server), progress=lambda done, total: told.append((done, total)))
        assert file == home / "net.bin"
        assert file.read_bytes() == CONTENT
        assert content_of(home) == ["net.bin", "net.bin.sha256"]
        assert told[-1] == (len(CONTENT), len(CONTENT))
        assert fetch(remote(server)) == file
        assert server.asked == ["/net.bin"]

    def test_a_damaged_file_is_fetched_again(self, server, home):
        fetch(remote(server))
        (home / "net.bin").write_bytes(b"damaged")
        assert fetch(remote(server)).read_bytes() == CONTENT
        assert len(server.asked) == 2

    def test_a_length_that_is_not_told(self, server):
        told = []
        fetch(remote(server, "/endless.bin"), progress=lambda _, total: told.append(total))
        assert set(told) == {None}

    @pytest.mark.parametrize(
        ("path", "sha256", "limit", "why"),
        [
            ("/net.bin", "0" * 64, 10**6, f"its sha256 is not {'0' * 64}; nothing was kept"),
            ("/absent.bin", SHA256, 10**6, "cannot be fetched .*404"),
            ("/short.bin", SHA256, 10**6, f"cut short after {len(CONTENT) - 1000} of {len(CONTENT)} bytes"),
            ("/net.bin", SHA256, len(CONTENT) - 1, "more than 179199 bytes"),
            ("/endless.bin", SHA256, len(CONTENT) - 1, "more than 179199 bytes"),
        ],
    )
    def test_nothing_is_kept_of_what_is_wrong(self, server, home, path, sha256, limit, why):
        with pytest.raises(CheckpointError, match=why) as caught:
            fetch(remote(server, path, sha256), max_bytes=limit)
        assert server.url + path in str(caught.value)
        assert content_of(home) == []

    def test_an_older_file_stays_when_a_newer_one_is_wrong(self, server, home):
        fetch(remote(server))
        with pytest.raises(CheckpointError):
            fetch(remote(server, sha256="0" * 64))
        assert (home / "net.bin").read_bytes() == CONTENT

    def test_nobody_answers(self, home):
        with pytest.raises(CheckpointError, match=r"cannot be fetched \(.*refused\); .* put the file itself at"):
            fetch(RemoteFile("net", "http://127.0.0.1:9/net.bin", SHA256))
        assert content_of(home) == []


class TestAddresses:
    def test_a_redirection_on_this_machine_is_followed(self, server, home):
        target = f"/redirect/{server.url}/net.bin"
        assert fetch(remote(server, target)) == home / "net.bin"
        assert server.asked == [target, "/net.bin"]

    def test_a_redirection_to_http_elsewhere_is_refused(self, server, home):
        with pytest.raises(ConfigError, match=r"'http://example\.org/net\.bin' is refused: only https"):
            fetch(remote(server, "/redirect/http://example.org/net.bin"))
        assert content_of(home) == []

    def test_a_redirection_to_a_file_is_refused(self, server):
        with pytest.raises(CheckpointError, match=r"cannot be fetched .*not allowed"):
            fetch(remote(server, "/redirect/file:///etc/hostname"))

    def test_https_does_not_lead_back_to_this_machine(self):
        with pytest.raises(ConfigError, match="refused"):
            module._check_url("http://127.0.0.1/net.bin", only_https=True)
        module._check_url("https://example.org/net.bin", only_https=True)

    @pytest.mark.parametrize(
        "url", ["https://example.org/a", "http://127.0.0.1:80/a", "http://[::1]/a", "http://localhost/a"]
    )
    def test_accepted(self, url):
        assert RemoteFile("a", url, SHA256).url == url

    @pytest.mark.parametrize(
        "url",
        [
            *("http://example.org/a", "ftp://example.org/a", "file:///a", "/a", "", "https:///a"),
            *("http://127.0.0.1.example.org/a", "http://localhost@example.org/a", "http://192.168.0.1/a"),
        ],
    )
    def test_refused(self, url):
        with pytest.raises(ConfigError, match="is refused: only https"):
            RemoteFile("a", url, SHA256)

    @pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a.", "a b"])
    def test_names_that_are_refused(self, name):
        with pytest.raises(ConfigError, match="cannot name a file"):
            RemoteFile(name, "https://example.org/a", SHA256)

    @pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64])
    def test_a_sha256_is_needed(self, sha256):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            RemoteFile("a", "https://example.org/a", sha256)


class TestCache:
    def test_where_it_is(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "home"
        monkeypatch.delenv("SADINET_HOME")
        assert cache_folder() == tmp_path / "xdg" / "sadinet"
        monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        monkeypatch.setattr(sys, "platform", "linux")
        assert cache_folder() == tmp_path / ".cache" / "sadinet"
        monkeypatch.setattr(sys, "platform", "darwin")
        assert cache_folder() == tmp_path / "Library" / "Caches" / "sadinet"
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
        assert cache_folder() == tmp_path / "local" / "sadinet" / "cache"

    def test_files_by_name(self, home):
        assert cached_file("net") is None
        home.mkdir()
        for name in ("net.onnx", "net.sha256", "net.onnx.sha256", "net.more.onnx"):
            (home / name).touch()
        assert cached_file("net") == home / "net.onnx"
        assert cached_file("net.onnx") == home / "net.onnx"
        assert cached_file("net.more") == home / "net.more.onnx"
        assert cached_file("ne") is None

    def test_a_name_that_has_its_suffix_keeps_it(self, home):
        assert RemoteFile("a.onnx", "https://example.org/b.onnx?c=1", SHA256).file == home / "a.onnx"
        assert RemoteFile("a", "https://example.org/b", SHA256).file == home / "a"

    def test_others_are_told_with_their_sha256(self, server, home):
        assert others() == []
        fetch(remote(server))
        assert others() == [(home / "net.bin", SHA256)]

    def test_the_known_file_is_the_one_that_is_here(self, shared):
        file = shared / "models" / "yolox_nano.onnx"
        if not file.is_file():
            pytest.skip("no real detector (shared/models/yolox_nano.onnx)")
        assert module.is_whole(file, KNOWN["yolox-nano"].sha256)


class TestCommand:
    @pytest.fixture
    def run(self, capsys):
        def run(*words):
            return main(["fetch", *words]), *capsys.readouterr()

        return run

    def test_by_address_and_listed(self, run, server, home):
        by_address = ("--url", f"{server.url}/net.onnx", "--sha256", SHA256.upper(), "--name", "mine")
        assert run("-q", *by_address) == (0, f"{home / 'mine.onnx'}\n", "")
        code, out, _ = run("--json")
        rows = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [(row["name"], row["state"]) for row in rows] == [("yolox-nano", "absent"), ("mine", "whole")]
        assert rows[1]["sha256"] == SHA256
        (home / "mine.onnx").write_bytes(b"damaged")
        code, out, _ = run()
        assert code == 1
        assert out.splitlines()[1].split()[:3] == ["mine", "DAMAGED", str(home / "mine.onnx")]

    def test_by_name(self, run, server, home, monkeypatch):
        monkeypatch.setitem(KNOWN, "yolox-nano", RemoteFile("yolox-nano", f"{server.url}/y.onnx", SHA256, "a detector"))
        code, out, _ = run("-q", "yolox-nano", "--json")
        assert (code, json.loads(out)["state"]) == (0, "whole")
        assert run()[1].split()[:3] == ["yolox-nano", "whole", str(home / "yolox-nano.onnx")]

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (["frobnicate"], "not known here (yolox-nano)"),
            (["--url", "https://example.org/a"], "--url, --sha256 and --name together"),
            (["yolox-nano", "--name", "a"], "either a name that is known, or"),
            (["--url", "http://example.org/a", "--sha256", SHA256, "--name", "a"], "only https"),
        ],
    )
    def test_what_makes_no_sense(self, run, words, why):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert why in err

    def test_the_progress_is_shown_only_to_people(self, run, server):
        code, _, err = run("--url", f"{server.url}/a.bin", "--sha256", SHA256, "--name", "a")
        assert (code, err) == (0, "")
