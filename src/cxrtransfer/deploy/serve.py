"""A local web page to try a classifier: drop an image, see probability, overlay and warnings."""

import json
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import jinja2
import torch
from PIL import Image

from cxrtransfer.data import decode_image
from cxrtransfer.explain import overlay

from .classifier import Classifier
from .images import ImageSource
from .prediction import compute_heatmaps, predict_chunk
from .sheet import describe_image, picture_data

__all__ = ["make_server"]

ADDRESS = "127.0.0.1"
MAX_BYTES = 64 * 2**20  # of an image file
COVERAGE, FALSE_ALARM_RATE = 0.9, 0.01
_TIMEOUT_S = 30  # for a client to send its request


class PageServer(ThreadingHTTPServer):
    """Serves one classifier to the browser of this machine.

    Args:
        classifier: The classifier.
        port: Port of the loopback interface; 0 selects a free one.
        device: Device to run on.
    """

    daemon_threads = True

    def __init__(self, classifier: Classifier, port: int, device: str | torch.device) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.classifier = classifier
        self.device = device
        self.nonce = secrets.token_urlsafe(16)
        self.hosts = host_names(self.server_port)
        self.page = _render(classifier, self.nonce)
        self._one_at_a_time = threading.Lock()

    def predict(self, content: bytes) -> dict[str, Any]:
        """Predict the content of one image file, which is held in memory only.

        Raises:
            ValueError: If it cannot be decoded.
        """
        classifier, spec = self.classifier, self.classifier.input_spec
        options: dict[str, Any] = {"fit": classifier.fit, "interpolation": spec.interpolation}
        try:
            pixels = decode_image(content, spec.size, **options)
        except Exception as error:  # decoders raise any exception on damaged files
            raise ValueError(f"the image cannot be read: {error}") from error
        run: dict[str, Any] = {"batch_size": 1, "device": self.device}
        with self._one_at_a_time:
            source = ImageSource("image", pixels, "image")
            predictions, data = predict_chunk(
                classifier, [source], coverage=COVERAGE, false_alarm_rate=FALSE_ALARM_RATE, **run
            )
            heatmap = compute_heatmaps(classifier, data, predictions.predicted_list, **run)[0]
        return {
            **describe_image(predictions, 0),
            "probabilities": dict(
                zip(classifier.class_names, predictions.probabilities[0].tolist(), strict=True)
            ),
            "plain": picture_data(pixels),
            "overlay": picture_data(Image.fromarray(overlay(pixels, heatmap))),
            "is_empty": not heatmap.any(),
        }


def host_names(port: int) -> set[str]:
    """Return how browsers name this machine; they leave out the default port."""
    names = {ADDRESS, "localhost"}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = _TIMEOUT_S

    def log_message(self, *arguments: object) -> None:
        """Log nothing: standard error is for warnings."""

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        if self.path != "/":
            self._answer({"error": "no such page"}, HTTPStatus.NOT_FOUND)
        else:
            self._send(self.server.page, "text/html; charset=utf-8", HTTPStatus.OK)

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/predict":
            self._answer({"error": "no such page"}, HTTPStatus.NOT_FOUND)
        elif not length.isascii() or not length.isdigit():
            self._answer({"error": "the size must be stated"}, HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > MAX_BYTES:
            message = f"an image must have at most {MAX_BYTES // 2**20} MB"
            self._answer({"error": message}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            try:
                result = self.server.predict(self.rfile.read(int(length)))
            except ValueError as error:
                self._answer({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
            else:
                self._answer(result, HTTPStatus.OK)

    def _is_allowed(self) -> bool:
        """Refuse pages of other origins, also those whose name resolves to this address."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if host in self.server.hosts and origin in (None, f"http://{host}"):
            return True
        self._answer({"error": "open the address that was printed"}, HTTPStatus.FORBIDDEN)
        return False

    def _answer(self, values: dict[str, Any], status: HTTPStatus) -> None:
        self._send(json.dumps(values).encode(), "application/json", status)

    def _send(self, content: bytes, kind: str, status: HTTPStatus) -> None:
        nonce = f"'nonce-{self.server.nonce}'"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; img-src data:; connect-src 'self'; style-src {nonce}; "
            f"script-src {nonce}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        )
        self.end_headers()
        self.wfile.write(content)


def make_server(
    classifier: Classifier, *, port: int = 8000, device: str | torch.device = "auto"
) -> ThreadingHTTPServer:
    """Create a server of a page on which images are dropped and predicted.

    It listens on 127.0.0.1 only, answers only requests that name this address, so that no other
    web page can use it, and writes no file. Images are limited to 64 MB.

    Args:
        classifier: The classifier.
        port: Port to listen on; 0 selects a free one.
        device: Device to run on.

    Returns:
        The server, whose ``serve_forever`` runs it and whose ``server_port`` is its port.

    Raises:
        OSError: If the port is not free.
    """
    return PageServer(classifier, port, device)


def _render(classifier: Classifier, nonce: str) -> bytes:
    template = files("cxrtransfer.deploy").joinpath("serve.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(template).render(
        class_names=classifier.class_names,
        positive=classifier.class_names[classifier.positive_index],
        threshold=classifier.threshold,
        flags_images=classifier.reference is not None
        and classifier.reference.calibration.num_patients + 1 >= 1 / FALSE_ALARM_RATE,
        coverage=COVERAGE,
        max_bytes=MAX_BYTES,
        nonce=nonce,
    )
    return html.encode()
