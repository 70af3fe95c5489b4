import base64
import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_eval.benchmark import PublishedData, PublishedFile
from mmevol_eval.benchmarks import find
from mmevol_eval.fetch import fetch, verify
from mmevol_eval.grading.tsv import write_tsv

BODY = bytes(range(256)) * 1000


class Host:
    """A web server on the loopback: its bodies, the byte at which it cuts each connection, what it was asked."""

    def __init__(self):
        self.bodies, self.cuts, self.asked, self.ranges = {}, [], [], True
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                host.asked.append(asked)
                body = host.bodies.get(self.path)
                if body is None:
                    return self.send_error(404)
                start = int(re.search(r"\d+", asked)[0]) if asked and host.ranges else 0
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                end = host.cuts.pop(0) if host.cuts else len(body)
                self.wfile.write(body[start:end])
                self.close_connection = True

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def host():
    running = Host()
    yield running
    running.server.shutdown()
    running.server.server_close()


def published(host, md5=None, path="/x.tsv", save="x.tsv", unpack=None, **changes):
    file = PublishedFile(url=host.address + path, save=save, md5=md5, unpack=unpack)
    return PublishedData(**{"name": "MME", "data": save, "where": "there", "files": (file,)} | changes)


MD5 = hashlib.md5(BODY).hexdigest()


def run(data, folder):
    said = []
    return fetch(data, folder, said.append, pause_seconds=0), said


def test_a_file_is_brought_checked_and_not_brought_again(host, tmp_path):
    host.bodies["/x.tsv"] = BODY
    for _ in range(2):
        path, _ = run(published(host, MD5), tmp_path)
        assert path.read_bytes() == BODY
    assert host.asked == [None]
    assert [file.name for file in tmp_path.iterdir()] == ["x.tsv"]


def test_a_cut_connection_goes_on_where_it_stopped(host, tmp_path):
    host.bodies["/x.tsv"], host.cuts = BODY, [1000, 50_000]
    path, said = run(published(host, MD5), tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [None, "bytes=1000-", "bytes=50000-"]
    assert said[0] == "the connection was cut at byte 1000; going on"


def test_a_stopped_command_goes_on_and_a_host_without_ranges_begins_again(host, tmp_path):
    host.bodies["/x.tsv"] = BODY
    (tmp_path / "x.tsv.part").write_bytes(BODY[:777])
    assert run(published(host, MD5), tmp_path)[0].read_bytes() == BODY
    assert host.asked == ["bytes=777-"]
    (tmp_path / "x.tsv").rename(tmp_path / "x.tsv.part")
    (tmp_path / "x.tsv.part").write_bytes(BODY[:777])
    host.ranges = False
    assert run(published(host, MD5), tmp_path)[0].read_bytes() == BODY


def test_a_part_of_another_version_is_thrown_away_and_a_whole_one_is_kept(host, tmp_path):
    host.bodies["/x.tsv"] = BODY
    for part, requests in ((b"other" * 100, 2), (BODY, 1), (BODY + b"longer", 2)):
        (tmp_path / "x.tsv").unlink(missing_ok=True)
        (tmp_path / "x.tsv.part").write_bytes(part)
        host.asked.clear()
        assert run(published(host, MD5), tmp_path)[0].read_bytes() == BODY
        assert len(host.asked) == requests


def test_a_wrong_checksum_keeps_nothing_and_a_file_in_place_with_one_is_brought_again(host, tmp_path):
    host.bodies["/x.tsv"] = BODY + b"!"
    with pytest.raises(UserError, match=f"published is {MD5}; nothing was kept"):
        run(published(host, MD5), tmp_path)
    assert list(tmp_path.iterdir()) == []
    host.bodies["/x.tsv"] = BODY
    (tmp_path / "x.tsv").write_bytes(b"old")
    assert run(published(host, MD5), tmp_path)[0].read_bytes() == BODY


def test_what_cannot_be_had_is_one_line_that_says_how_to_go_on(host, tmp_path):
    with pytest.raises(UserError, match="404"):
        run(published(host), tmp_path)
    host.bodies["/x.tsv"], host.cuts = BODY, [1000] * 9
    with pytest.raises(UserError, match=r"5 tries in a row.*goes on at byte 1000"):
        run(published(host), tmp_path)
    with pytest.raises(UserError, match="no address to download from; get it from there"):
        run(published(host, files=()), tmp_path)
    host.server.shutdown()
    host.server.server_close()
    with pytest.raises(UserError, match=r"cannot download http.*refused"):
        run(published(host), tmp_path)


def test_an_archive_is_unpacked_once_and_may_not_leave_its_folder(host, tmp_path):
    def zipped(name):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, "x")
        return buffer.getvalue()

    host.bodies = {"/a.zip": zipped("val2014/1.jpg"), "/b.zip": zipped("../1.jpg"), "/c.zip": b"no zip"}
    for _ in range(2):
        run(published(host, path="/a.zip", save="V/a.zip", unpack="V/images"), tmp_path)
    assert (tmp_path / "V/images/val2014/1.jpg").read_text() == "x"
    assert host.asked == [None]
    assert not (tmp_path / "V/a.zip").exists()
    with pytest.raises(UserError, match="leaves"):
        run(published(host, path="/b.zip", save="V/b.zip", unpack="V"), tmp_path)
    with pytest.raises(UserError, match="no whole zip"):
        run(published(host, path="/c.zip", save="V/c.zip", unpack="V"), tmp_path)
    assert not (tmp_path / "V/c.zip").exists()


def test_verify_counts_items_and_looks_at_checksum_and_pictures(host, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    good, bad = base64.b64encode(buffer.getvalue()).decode(), "A" * 80
    row = {"question": "?", "answer": "Yes", "category": "OCR", "image_path": "a"}
    rows = [row | {"index": "1", "image": good}, row | {"index": "2", "image": bad}]
    path, mme = tmp_path / "MME.tsv", find("MME")
    write_tsv(path, rows)
    checked, wrong = verify(published(host, "0" * 32, save="MME.tsv", items=2), mme, path)
    assert checked == ["2 items"]
    assert wrong[0].endswith(f"published {'0' * 32}")
    assert wrong[1] == "1 items with an image that cannot be read (first: 2)"
    write_tsv(path, rows[:1])
    right = hashlib.md5(path.read_bytes()).hexdigest()
    assert verify(published(host, right, save="MME.tsv", items=3), mme, path)[1] == ["1 items, published 3"]
    assert verify(published(host, right, save="MME.tsv", items=1), mme, path)[1] == []
    with pytest.raises(UserError, match="mmevol fetch MME --to FOLDER"):
        verify(published(host), mme, tmp_path / "no.tsv")
