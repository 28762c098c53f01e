"""Downloads from a server on the loopback address, a bad one at times."""

import errno
import hashlib
import multiprocessing
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest

from skrnd.datasets import _download
from skrnd.datasets._download import ChecksumError, download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`, breaking off after `server.cuts` bytes while there are any."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if server.knows_ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        body = server.content[start:]
        n_bytes = server.cuts.pop(0) if server.cuts else len(body)
        # What is cut off ends the connection, and so does all else.
        self.send_header("Connection", "close")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n" % len(body) + body[:n_bytes])
            if n_bytes == len(body):
                self.wfile.write(b"\r\n0\r\n\r\n")
        else:
            self.send_header("Content-Length", server.length or str(len(body)))
            self.end_headers()
            self.wfile.write(body[:n_bytes])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(serve):
    """A server with knobs."""
    server = serve(Handler)
    server.content, server.status, server.knows_ranges = CONTENT, 200, True
    server.cuts, server.ranges, server.chunked = [], [], False
    server.location = server.length = None
    server.url = f"http://127.0.0.1:{server.server_address[1]}/file.bin"
    return server


def get(server, path, **kwargs):
    return download(server.url, path, sha256=SHA256, delay=0, progress=False, **kwargs)


def only(folder):
    """Name of the one file in a folder."""
    (file,) = folder.iterdir()
    return file.name


def test_downloads_once(server, tmp_path):
    path = tmp_path / "cache" / "file.bin"
    assert get(server, path) == path
    assert path.read_bytes() == CONTENT
    assert only(path.parent) == "file.bin"
    get(server, path)
    assert server.ranges == [None]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_goes_on_where_the_connection_broke(server, tmp_path, knows_ranges):
    server.knows_ranges, server.cuts = knows_ranges, [100_000, 50_000]
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    second_start = 150_000 if knows_ranges else 50_000
    assert server.ranges == [None, "bytes=100000-", f"bytes={second_start}-"]


def test_goes_on_where_a_chunk_broke(server, tmp_path):
    server.chunked, server.cuts = True, [100_000]
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges[0] is None
    assert len(server.ranges) == 2


def test_goes_on_where_an_earlier_call_was_interrupted(server, tmp_path):
    server.cuts = [100_000]
    with pytest.raises(OSError, match="ended after 100000 of 300000 bytes"):
        get(server, tmp_path / "file.bin", n_retries=0)
    assert only(tmp_path) == "file.bin.part"
    get(server, tmp_path / "file.bin")
    assert server.ranges == [None, "bytes=100000-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert only(tmp_path) == "file.bin"


def test_finishes_what_only_lacked_its_name(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    get(server, tmp_path / "file.bin")
    assert only(tmp_path) == "file.bin"


@pytest.mark.parametrize(
    "content", [CONTENT[:-1] + b"?", CONTENT[:1000], b"<html>not found</html>", b""]
)
def test_a_wrong_file_is_not_kept(server, tmp_path, content):
    server.content = content
    with pytest.raises(ChecksumError, match=f"SHA-256 is {hashlib.sha256(content).hexdigest()}"):
        get(server, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_beginning_is_not_kept(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"something else")
    with pytest.raises(ChecksumError):
        get(server, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_replaced(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"damaged")
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_damaged_file_stays_if_there_is_no_better(server, tmp_path):
    server.status = 404
    (tmp_path / "file.bin").write_bytes(b"damaged")
    with pytest.raises(OSError, match="404"):
        get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == b"damaged"


@pytest.mark.parametrize(("status", "n_tries"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_tries_again_only_where_that_can_help(server, tmp_path, status, n_tries):
    server.status = status
    with pytest.raises(OSError, match=rf"file.bin could not be downloaded: .*{status}"):
        get(server, tmp_path / "file.bin", n_retries=2)
    assert len(server.ranges) == n_tries
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_no_broken_connection(server, tmp_path):
    (tmp_path / "file.bin.part").mkdir()
    with pytest.raises(IsADirectoryError):
        get(server, tmp_path / "file.bin", n_retries=2)
    assert len(server.ranges) == 1


@pytest.mark.parametrize(
    "location", ["http://[::1", "file:///etc/hostname", "ftp://127.0.0.1:1/file.bin"]
)
def test_a_redirection_to_what_is_no_server_is_refused(server, tmp_path, location):
    server.location = location
    with pytest.raises(OSError, match=r"file.bin could not be downloaded: "):
        get(server, tmp_path / "file.bin", n_retries=0)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_no_number(server, tmp_path):
    server.length = "much"
    with pytest.raises(OSError, match=r"file.bin could not be downloaded: .*much"):
        get(server, tmp_path / "file.bin", n_retries=0)


@pytest.mark.parametrize("length", [None, str(10**12)])
def test_a_file_without_an_end_is_not_kept(server, tmp_path, length, monkeypatch):
    monkeypatch.setattr(_download, "_MOST_BYTES", 10**6)
    server.content, server.length = 100 * CONTENT, length
    sizes = []

    def size_and_digest(path):
        sizes.append(path.stat().st_size)
        return "another"

    monkeypatch.setattr(_download, "_sha256_of", size_and_digest)
    with pytest.raises(ChecksumError, match="is not the file it should be"):
        get(server, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []
    assert len(sizes) == len(server.ranges) == 1
    assert 10**6 < sizes[0] < 2 * 10**6


def test_nobody_answers(server, tmp_path):
    server.server_close()
    with pytest.raises(OSError, match="could not be downloaded"):
        get(server, tmp_path / "file.bin", n_retries=1)


def test_several_processes_get_it_once(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(download_in_process, [(server.url, tmp_path / "file.bin")] * 6)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert only(tmp_path) == "file.bin"
    assert server.ranges == [None]


def download_in_process(url, path):
    """At module level, for spawn."""
    download(url, path, sha256=SHA256, progress=False)


def test_a_file_system_without_locks(server, tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", refuse)
    get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_bar_shows_what_is_done(server, tmp_path, monkeypatch):
    shown = []

    @contextmanager
    def bar(name, wanted):
        assert (name, wanted) == ("file.bin", True)
        yield lambda n_done, total: shown.append((n_done, total))

    monkeypatch.setattr(_download, "_bar", bar)
    server.cuts = [100_000]
    download(server.url, tmp_path / "file.bin", sha256=SHA256, delay=0)
    assert [total for _, total in shown] == [300_000] * len(shown)
    assert (100_000, 300_000) in shown
    assert shown[-1] == (300_000, 300_000)


def test_the_real_bar(server, tmp_path, capsys):
    download(server.url, tmp_path / "file.bin", sha256=SHA256)
    shown = capsys.readouterr()
    assert "file.bin" in shown.err
    assert shown.out == ""


def test_no_bar_without_rich(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "rich.progress", None)
    download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert capsys.readouterr() == ("", "")
