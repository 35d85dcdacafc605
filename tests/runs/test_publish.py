"""A model goes to the Hub whole, and nothing else goes: against a stand-in on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from inn.runs.publish import check_repo, contents, upload, without_folders
from inn.system.errors import InputError

pytest.importorskip("huggingface_hub")
TOKEN = "hf_a-token-of-nobody"
FILES = {
    "config.json": b'{"model_type": "inn"}',
    "model.safetensors": bytes(range(256)) * 50,
    "README.md": b"# A model\n\ntrained on `file:notes.txt`\n",
    "vocabulary.json": b'["/home/somebody/in/a/text"]',
}


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "exported"
    path.mkdir()
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    return path


class Hub(BaseHTTPRequestHandler):
    """What of the Hub an upload needs: it keeps what it is given, and checks what it is told about it."""

    protocol_version = "HTTP/1.1"
    refuse = 0
    repos: dict[str, dict]
    blobs: dict[str, bytes]
    seen: list[tuple[str, str, str | None]]

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, value, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body, path = self._body(), self.path.split("?")[0]
        self.seen.append(("POST", path, self.headers.get("Authorization")))
        if self.refuse:
            self._answer({"error": "no"}, self.refuse)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            known = name in self.repos
            private = asked.get("visibility", "private" if asked.get("private") else "public") == "private"
            self.repos.setdefault(name, {"private": private, "files": {}})
            self._answer(
                {"url": f"http://{self.headers['Host']}/{name}", "id": name, "name": name}, 409 if known else 200
            )
        elif path == "/api/validate-yaml":
            self._answer({"warnings": [], "errors": []})
        elif "/preupload/" in path:
            self._answer(
                {
                    "files": [
                        {"path": f["path"], "shouldIgnore": False, "oid": None,
                         "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                        for f in json.loads(body)["files"]
                    ]
                }
            )  # fmt: skip
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {"oid": o["oid"], "size": o["size"],
                 "actions": {"upload": {"href": f"http://{self.headers['Host']}/blob/{o['oid']}", "header": {}}}}
                for o in json.loads(body)["objects"]
            ]  # fmt: skip
            self._answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            repo = "/".join(path.split("/")[3:5])
            files = self.repos[repo]["files"]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.blobs[value["oid"]]
            self._answer({"commitUrl": f"http://{self.headers['Host']}/{repo}/commit/1", "commitOid": "1"})
        else:
            self._answer({"error": f"unexpected {path}"}, 404)

    def do_PUT(self) -> None:
        content = self._body()
        self.blobs[hashlib.sha256(content).hexdigest()] = content
        self.seen.append(("PUT", self.path, self.headers.get("Authorization")))
        self._answer({})

    def do_GET(self) -> None:
        self.seen.append(("GET", self.path, self.headers.get("Authorization")))
        self._answer({"error": "no"}, self.refuse or 404)

    do_HEAD = do_GET

    def log_message(self, format: str, *args) -> None:
        pass


@pytest.fixture
def hub():
    """The stand-in: `address`, and what it holds."""

    class Fresh(Hub):
        repos, blobs, seen = {}, {}, []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    serving = Thread(target=server.serve_forever)
    serving.start()
    Fresh.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield Fresh
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def token(monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.mark.loopback
@pytest.mark.parametrize("public", [False, True])
def test_every_file_arrives_byte_for_byte_and_no_other(folder, hub, token, public):
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("secret")
    (folder / ".env").write_text("SECRET=1")
    address = upload(folder, "somebody/model", public=public, endpoint=hub.address)
    assert "somebody/model" in address
    assert hub.repos == {"somebody/model": {"private": not public, "files": FILES}}
    assert {authorization for method, _, authorization in hub.seen if method == "POST"} == {f"Bearer {TOKEN}"}
    upload(folder, "somebody/model", endpoint=hub.address)  # a repository that is there is added to
    assert hub.repos["somebody/model"]["files"] == FILES


@pytest.mark.loopback
@pytest.mark.parametrize(
    "status, sentence",
    [(401, "does not let your token write to 'a/b' (401)"), (403, "(403)"), (500, "refused 'a/b' (500")],
)
def test_a_hub_that_says_no(folder, hub, token, status, sentence):
    hub.refuse = status
    with pytest.raises(InputError) as error:
        upload(folder, "a/b", endpoint=hub.address)
    assert sentence in str(error.value)
    assert hub.repos == {}


@pytest.mark.loopback
def test_a_hub_that_is_not_there(folder, token):
    with pytest.raises(
        InputError, match=r"http://127\.0\.0\.1:9 cannot be reached \(ConnectError\); check the network"
    ):
        upload(folder, "a/b", endpoint="http://127.0.0.1:9")


def test_without_a_token_nothing_is_tried(folder, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(InputError, match="there is no token for the Hub; log in by `hf auth login`, or set HF_TOKEN"):
        upload(folder, "a/b", endpoint="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["a/b/c", "", "-a", "a--b", "a b/c", "a/.b", "ü/b", "a/b.git", "a/" + "b" * 97])
def test_names_that_no_repository_can_have(folder, name):
    for call in (lambda: check_repo(name), lambda: upload(folder, name)):
        with pytest.raises(InputError, match="cannot be the name of a repository; give NAME or OWNER/NAME"):
            call()


@pytest.mark.parametrize(
    "place", ["/home/somebody/notes.txt", "file:/tmp/x/notes.txt", "C:\\Users\\somebody\\notes", "/root/notes.txt"]
)
@pytest.mark.parametrize("name", ["README.md", "config.json", "more/notes.txt"])
def test_a_file_that_tells_where_it_was_made_is_not_published(folder, name, place):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"corpus": place}))
    with pytest.raises(InputError, match=f"'{name}' names a folder of this machine"):
        contents(folder)


def test_the_card_names_a_text_by_its_name(folder):
    (folder / "README.md").write_text("trained on `file:/home/me/notes.txt`")
    without_folders(folder, "file:/home/me/notes.txt")
    assert (folder / "README.md").read_text() == "trained on `file:notes.txt`"
    assert contents(folder)["README.md"] == len("trained on `file:notes.txt`")


def test_what_is_no_exported_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no exported model; write one by `inn export RUN"):
        contents(tmp_path)


def inn(*argv: object, **environ: str) -> subprocess.CompletedProcess:
    command = "import sys; from inn.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", command, *map(str, argv)], capture_output=True, text=True, timeout=120,
        env={**os.environ, "HF_HUB_DISABLE_XET": "1", **environ},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.loopback
def test_the_command_uploads_to_the_hub_that_the_environment_names(folder, hub, tmp_path):
    done = inn("push", folder, "somebody/model", HF_ENDPOINT=hub.address, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    assert "uploaded " in done.stdout
    assert hub.repos["somebody/model"] == {"private": True, "files": FILES}
    assert TOKEN not in done.stdout + done.stderr
    none = inn("push", folder, "a/b", HF_ENDPOINT=hub.address, HF_TOKEN="", HF_HOME=str(tmp_path / "nobody"))
    assert (none.returncode, none.stdout) == (2, "")
    assert none.stderr.startswith("inn: there is no token for the Hub")
    assert "a/b" not in hub.repos
