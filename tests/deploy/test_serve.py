"""The local web page, over the loopback."""

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer import Classifier
from cxrtransfer.deploy import make_server, serve as module

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")

Answer = tuple[int, dict[str, str], bytes]


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.status, dict(response.headers), response.read()
        connection.close()
        return answer


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> Iterator[Client]:
    with make_server(classifier, port=0, device="cpu") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Client(server.server_port)
        server.shutdown()
        thread.join()


@pytest.fixture
def image(kermany_tree: Path) -> Path:
    return min((kermany_tree / "test" / "NORMAL").iterdir())


def error_of(answer: Answer) -> tuple[int, str]:
    return answer[0], json.loads(answer[2])["error"]


def test_an_image_is_predicted_like_by_the_classifier(
    client: Client, classifier: Classifier, image: Path
) -> None:
    status, headers, body = client("POST", "/predict", image.read_bytes())
    values, expected = json.loads(body), classifier.predict(image)

    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert list(values["probabilities"].values()) == expected.probabilities[0].tolist()
    assert values["label"] == classifier.class_names[expected.predicted_list[0]]
    assert values["warning"] == expected.warnings()[0]
    plain, overlay = (
        Image.open(io.BytesIO(base64.b64decode(values[name]))) for name in ("plain", "overlay")
    )
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(Image.open(image)))
    assert (overlay.mode, overlay.size) == ("RGB", (32, 32))


def test_the_page_names_the_decision_and_loads_nothing_from_elsewhere(
    client: Client, classifier: Classifier
) -> None:
    status, headers, body = client("GET", "/")
    page = body.decode()

    assert status == 200
    assert f"{classifier.threshold.threshold:.3g} ({classifier.threshold.rule})" in page
    assert "not a medical device" in page
    assert "http" not in page
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1", ""])
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/predict")])
def test_another_name_for_this_address_is_refused(
    client: Client, image: Path, host: str, method: str, path: str
) -> None:
    body = image.read_bytes() if method == "POST" else None

    assert error_of(client(method, path, body, Host=host))[0] == 403


def test_a_page_of_another_origin_is_refused(client: Client, image: Path) -> None:
    body = image.read_bytes()
    own = f"http://127.0.0.1:{client.port}"

    assert client("POST", "/predict", body, Origin="http://evil.example")[0] == 403
    assert client("POST", "/predict", body, Origin="null")[0] == 403
    assert client("POST", "/predict", body, Origin=own)[0] == 200


def test_only_this_machine_is_served(classifier: Classifier) -> None:
    with make_server(classifier, port=0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_file_that_is_too_large_is_not_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2**20)

    # Only the size is sent: a server that read it would wait for the rest.
    answer = client("POST", "/predict", b"", **{"Content-Length": str(2**20 + 1)})
    assert error_of(answer) == (413, "an image must have at most 1 MB")
    unknown = client("POST", "/predict", b"", **{"Content-Length": "-1"})
    assert unknown[0] == 411


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(client: Client, content: bytes) -> None:
    status, message = error_of(client("POST", "/predict", content))

    assert status == 422
    assert message.startswith("the image cannot be read: ")


def test_other_paths_do_not_exist(client: Client, image: Path) -> None:
    assert client("GET", "/etc/passwd")[0] == 404
    assert client("GET", f"/..{image}")[0] == 404
    assert client("POST", "/", b"x")[0] == 404


def test_no_file_is_written(
    client: Client, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    client("POST", "/predict", image.read_bytes())

    assert list(tmp_path.iterdir()) == []


def test_browsers_leave_out_the_default_port() -> None:
    assert module.host_names(8000) == {"127.0.0.1:8000", "localhost:8000"}
    assert {"127.0.0.1", "localhost"} <= module.host_names(80)
