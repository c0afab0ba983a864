"""Against a server on this machine that behaves, and misbehaves, as asked."""

import hashlib
import io
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.data import Records, download_kermany, download_pneumonia_mnist
from cxrtransfer.data.sources.download import RemoteFile, fetch, unzip

CONTENT = np.random.default_rng(0).bytes(300_000)


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.mood`` says how."""

    def do_GET(self) -> None:
        content, mood = self.server.content, self.server.mood
        self.server.requests.append(self.headers["Range"])
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if mood == "no range":
            start = 0
        if mood == "broken":
            self.send_error(503)
            return
        if mood == "gone":
            self.send_error(404)
            return
        if start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        length = len(body)
        if mood == "cut":
            body = body[:50_000]
        if mood == "cut at the same place":
            body = body[: max(0, 50_000 - start)]
        if mood == "claims less":
            length = max(1, length // 2)
            body = body[:length]
        if mood == "claims more":
            length += 1000
        if mood == "garbage":
            body = bytes(length)
        self.send_response(200 if mood == "no range" or not start else 206)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if mood != "endless":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        if mood == "endless":
            try:
                for _ in range(1000):
                    self.wfile.write(bytes(2**20))
            except OSError:
                self.server.hung_up = True
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing waits for them
    server.content, server.mood, server.requests = CONTENT, "well", []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def remote(server: ThreadingHTTPServer, content: bytes = CONTENT) -> RemoteFile:
    url = f"http://127.0.0.1:{server.server_port}/file.zip"
    return RemoteFile(url, "sha256", hashlib.sha256(content).hexdigest(), 2**20)


def get(server: ThreadingHTTPServer, target: Path) -> Path:
    return fetch(remote(server), target, wait_s=0, progress=False)


@pytest.mark.parametrize("mood", ["well", "no range", "cut", "claims less", "claims more"])
def test_the_file_arrives_whole(server: ThreadingHTTPServer, tmp_path: Path, mood: str) -> None:
    server.mood = mood

    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_cut_download_goes_on_where_it_was(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.mood = "cut"

    get(server, tmp_path / "file")

    assert server.requests == [f"bytes={start}-" for start in range(0, 300_000, 50_000)]


def test_another_call_goes_on_too(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.mood = "cut at the same place"
    with pytest.raises(OSError, match="call again to resume after 50,000 bytes"):
        get(server, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file.part"]
    server.mood, server.requests = "well", []

    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == ["bytes=50000-"]


def test_a_server_that_ignores_where_to_go_on_is_asked_once(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    server.mood = "no range"
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])

    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]


@pytest.mark.parametrize("mood", ["garbage", "endless"])
def test_what_is_not_the_file_is_not_kept(
    server: ThreadingHTTPServer, tmp_path: Path, mood: str
) -> None:
    server.mood = mood

    with pytest.raises(ValueError, match="must have the sha256 digest"):
        get(server, tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


def test_a_beginning_left_by_another_file_is_replaced(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "file.part").write_bytes(bytes(1000))

    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_asked_for(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(CONTENT)

    get(server, tmp_path / "file")

    assert server.requests == []


def test_a_server_in_trouble_is_tried_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.mood = "broken"

    with pytest.raises(OSError, match="in 5 attempts: HTTP Error 503"):
        get(server, tmp_path / "file")

    assert len(server.requests) == 5


def test_a_file_that_is_gone_is_not_tried_again(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    server.mood = "gone"

    with pytest.raises(OSError, match="404"):
        get(server, tmp_path / "file")

    assert len(server.requests) == 1


def test_only_the_web_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be http or https, got 'file:///etc/passwd'"):
        fetch(RemoteFile("file:///etc/passwd", "md5", "0", 9), tmp_path / "file")


def packed(members: dict[str, bytes], *, link: str | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link is not None:
            member = zipfile.ZipInfo(link)
            member.external_attr = 0o120777 << 16
            archive.writestr(member, "/etc")
    return file.getvalue()


def small_kermany() -> bytes:
    names = ["NORMAL/IM-0001-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg"]
    members = {f"chest_xray/{split}/{name}": b"x" for split in ("train", "test") for name in names}
    return packed(members | {"__MACOSX/chest_xray/train/._x": b"", "chest_xray/.DS_Store": b""})


def test_the_data_set_is_downloaded_and_unpacked(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    server.content = small_kermany()
    source = remote(server, server.content)

    records = download_kermany(tmp_path / "xrays", source=source, progress=False)
    again = download_kermany(tmp_path / "xrays", source=source, progress=False)

    assert again == records
    assert len(server.requests) == 1
    assert sorted(records.ids) == sorted(
        f"{split}/{name}"
        for split in ("train", "test")
        for name in ("NORMAL/IM-0001-0001.jpeg", "PNEUMONIA/person1_virus_6.jpeg")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["xrays"]


def test_pneumonia_mnist_is_downloaded_and_unpacked(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    file = io.BytesIO()
    images, labels = np.zeros((2, 28, 28), dtype=np.uint8), np.array([[0], [1]])
    np.savez(
        file,
        **{f"{split}_images": images for split in ("train", "val", "test")},
        **{f"{split}_labels": labels for split in ("train", "val", "test")},
    )
    server.content = file.getvalue()

    records = download_pneumonia_mnist(
        tmp_path / "mnist", source=remote(server, server.content), progress=False
    )

    assert len(records) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]


def test_there_is_no_other_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"size must be one of \[28, 64, 128, 224\], got 32"):
        download_pneumonia_mnist(tmp_path / "mnist", size=32)


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "C:\\out.png"])
def test_no_member_gets_outside(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.zip").write_bytes(packed({"a/good.png": b"x", name: b"x"}))

    with pytest.raises(ValueError, match="must be inside the folder"):
        unzip(tmp_path / "x.zip", tmp_path / "deep" / "xrays")

    assert not list(tmp_path.rglob("*.png"))
    assert not (tmp_path / "deep" / "xrays").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed({"a.png": b"x"}, link="etc"))

    with pytest.raises(ValueError, match="must not be links, got 'etc'"):
        unzip(tmp_path / "x.zip", tmp_path / "xrays")


def test_bombs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed({"big.png": bytes(2_000_000)}))

    with pytest.raises(ValueError, match="got 1 files and 2,000,000 bytes"):
        unzip(tmp_path / "x.zip", tmp_path / "xrays", max_bytes=1_000_000)
    assert not (tmp_path / "xrays").exists()


def test_a_bomb_that_lies_about_its_size_is_broken(tmp_path: Path) -> None:
    data = packed({"big.png": bytes(2_000_000)})
    honest, lie = (2_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data.replace(honest, lie))

    with pytest.raises(ValueError, match=r"big.png is damaged"):
        unzip(tmp_path / "x.zip", tmp_path / "xrays", max_bytes=1_000_000)
    assert not (tmp_path / "xrays").exists()


def damaged(kind: str) -> bytes:
    data = packed({"a/big.png": np.random.default_rng(0).bytes(5000) + bytes(50_000)})
    match kind:
        case "no archive":
            return b"not an archive"
        case "empty":
            return b""
        case "cut":
            return data[:-100]
        case "stream":
            return data[:60] + bytes(1000) + data[1060:]
        case "dot":
            return packed({".": b"x"})
        case "encrypted":
            flags = data.index(b"PK\x01\x02") + 8
            return data[:flags] + b"\1" + data[flags + 1 :]
        case "method":
            method = data.index(b"PK\x01\x02") + 10
            return data[:method] + b"\x63" + data[method + 1 :]
        case "file and folder":
            return packed({"a": b"x", "a/b": b"y"})
        case "folder and file":
            return packed({"a/b": b"y", "a": b"x"})
        case "long name":
            return packed({"x" * 300: b"x"})
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "no archive", "empty", "cut", "stream", "dot", "encrypted", "method", "file and folder",
        "folder and file", "long name",
    ],
)  # fmt: skip
def test_every_damage_is_a_value_error_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.zip").write_bytes(damaged(kind))

    with pytest.raises(ValueError, match=r"x\.zip|got '\.'"):
        unzip(tmp_path / "x.zip", tmp_path / "xrays")
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_members_are_not_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(packed({f"{i}.png": bytes(60_000_000) for i in range(2)}))
    tracemalloc.start()

    unzip(tmp_path / "x.zip", tmp_path / "xrays")

    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("download", [download_kermany, download_pneumonia_mnist])
@pytest.mark.parametrize("below", ["", "new"])
def test_a_file_in_the_way_is_noticed_before_the_download(
    server: ThreadingHTTPServer, tmp_path: Path, download: Callable[..., Records], below: str
) -> None:
    (tmp_path / "notes.txt").write_text("notes")

    with pytest.raises(FileExistsError, match=r"must be a folder.*notes\.txt is a file"):
        download(tmp_path / "notes.txt" / below, source=remote(server), progress=False)

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert not server.requests


def test_a_folder_in_use_is_noticed_before_the_download(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("notes")

    with pytest.raises(FileExistsError, match="must be empty"):
        download_pneumonia_mnist(tmp_path / "mine", source=remote(server), progress=False)

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert not server.requests
