"""The hub, against a stand-in server on the loopback, in another process with its own cache."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer import Classifier

TOKEN = "hf_secretsecretsecret"  # noqa: S105  (of a server that is not one)


class StandIn(BaseHTTPRequestHandler):
    """The few routes of the hub that an upload and a download need."""

    files: dict[str, bytes] = {}  # noqa: RUF012  (shared on purpose)
    created: list[dict[str, object]] = []  # noqa: RUF012
    validated: list[str] = []  # noqa: RUF012  (cards)

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, value: object, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        here = f"http://{self.headers['Host']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "no access"}, 401)
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            return self.answer({"url": f"{here}/user/name"})
        if "/preupload/" in self.path:
            names = [part["path"] for part in json.loads(body)["files"]]
            return self.answer({"files": [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]})  # fmt: skip
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            return self.answer({"commitUrl": f"{here}/user/name/commit/{'1' * 40}",
                                "commitOid": "1" * 40, "hookOutput": ""})  # fmt: skip
        if self.path == "/api/validate-yaml":
            self.validated.append(json.loads(body)["content"])
            return self.answer({"errors": [], "warnings": []})
        return self.answer({})

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            data = self.files.get(self.path.rpartition("/")[2])
            if data is None:
                return self.answer(b"", 404, X_Error_Code="EntryNotFound")
            return self.answer(data, ETag=hashlib.sha1(data).hexdigest(),  # noqa: S324
                               X_Repo_Commit="1" * 40)  # fmt: skip
        if self.path.startswith("/api/models/user/name"):
            siblings = [{"rfilename": name} for name in self.files]
            if "/tree/" in self.path:
                return self.answer([
                    {"type": "file", "path": name, "size": len(data), "oid": "1" * 40}
                    for name, data in self.files.items()
                ])  # fmt: skip
            return self.answer(
                {
                    "id": "user/name",
                    "sha": "1" * 40,
                    "siblings": siblings,
                    "private": True,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
            )
        return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()


@pytest.fixture
def server() -> Iterator[str]:
    StandIn.files.clear()
    StandIn.created.clear()
    StandIn.validated.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def run(code: str, endpoint: str, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", code, *map(str, words)],
        env={**clean, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": TOKEN,
             "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


_PUSH_AND_PULL = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from cxrtransfer import Classifier
name = Classifier.from_pretrained(sys.argv[1]).push_to_hub("user/name")
np.save(sys.argv[3], Classifier.from_pretrained(name).predict(sys.argv[2]).probabilities)
"""
_PULL = """
from cxrtransfer.cli import main
raise SystemExit(main(["predict", "hf-hub:user/name", __file__ if False else "/dev/null"]))
"""


@pytest.mark.slow
def test_what_is_pushed_is_pulled_and_predicts_the_same(
    server: str, classifier: Classifier, saved: Path, kermany_tree: Path, tmp_path: Path
) -> None:
    images = kermany_tree / "test"
    done = run(_PUSH_AND_PULL, server, tmp_path / "hf", saved, images, tmp_path / "p.npy")

    assert done.returncode == 0, done.stderr
    created = StandIn.created[0]  # newer clients send a visibility
    assert created.get("private") is True or created.get("visibility") == "private"
    assert set(StandIn.validated) == {(saved / "README.md").read_text("utf-8")}
    assert set(StandIn.files) == {path.name for path in saved.iterdir()}
    np.testing.assert_array_equal(
        np.load(tmp_path / "p.npy"), classifier.predict(images).probabilities
    )
    assert TOKEN not in done.stdout + done.stderr


def test_a_repository_with_a_pickle_is_refused(server: str, tmp_path: Path) -> None:
    StandIn.files.update({"pytorch_model.bin": b"pickle", "config.json": b"{}"})

    done = run(_PULL, server, tmp_path / "hf")

    assert done.returncode == 1
    assert "it holds pytorch_model.bin, and pickled weights are refused" in done.stderr
    assert not [path for path in (tmp_path / "hf").rglob("*") if path.suffix == ".bin"]


def test_without_a_connection_the_error_is_one_sentence(tmp_path: Path) -> None:
    done = run(_PULL, "http://127.0.0.1:9", tmp_path / "hf")

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("cxrtransfer: hf-hub:user/name is not in the cache and the hub cannot")
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


@pytest.mark.slow
def test_an_upload_that_fails_does_not_print_the_token(saved: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom cxrtransfer import Classifier\n"
        "c = Classifier.from_pretrained(sys.argv[1])\n"
        "try: c.push_to_hub('user/name', token='" + TOKEN + "')\n"
        "except OSError as error: print(error)"
    )
    done = run(code, "http://127.0.0.1:9", tmp_path / "hf", saved)

    assert done.stdout.startswith("the upload to 'user/name' failed: ")
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["hf-hub:name", "hf-hub:a/b/c", "hf-hub:../x"])
def test_a_name_that_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be named 'user/name'"):
        Classifier.from_pretrained(name)
