"""The page is served to the person at this machine, and to nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from threading import Event, Thread

import pytest

from inn import InputError
from inn.explorer import server as servers
from inn.explorer.server import LocalServer, Superseded

pytestmark = pytest.mark.loopback

PAGE = "<p>the päge</p>"


def echo(asked):
    if asked.get("text") == "mistake":
        raise InputError("that was a mistake")
    if asked.get("text") == "old":
        raise Superseded
    return {"heard": asked}


@pytest.fixture
def questions():
    return {"echo": echo}


@pytest.fixture
def server(questions):
    with LocalServer(PAGE, questions) as one:
        thread = Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join(5)


def ask(server, method="GET", path=None, body=None, **headers):
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, f"/{server.token}/" if path is None else path, skip_host=True)
    headers = {"Host": f"127.0.0.1:{server.server_port}", **headers}
    if body is not None:
        headers = {"Content-Length": str(len(body)), **headers}
    for name, value in headers.items():
        if value is not None:
            connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    answer = connection.getresponse()
    read = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return read


def post(server, value, name="echo", **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    status, _, answer = ask(server, "POST", f"/{server.token}/{name}", body, **headers)
    return status, json.loads(answer)


def test_the_page(server):
    status, headers, body = ask(server)
    assert (status, body.decode()) == (200, PAGE)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32


def test_a_question(server):
    assert post(server, {"text": "héllo"}) == (200, {"heard": {"text": "héllo"}})
    assert post(server, {"text": "mistake"}) == (422, {"error": "that was a mistake"})
    assert post(server, {"text": "old"})[0] == 409
    assert post(server, {}, name="other")[0] == 404
    assert ask(server, path=f"/{server.token}/echo")[0] == 404
    assert ask(server, "PUT", body=b"")[0] == 501


@pytest.mark.parametrize("path", ["/", "/wrong/", "/%00/", "//", "/%C3%A9/", "/favicon.ico"])
def test_without_its_token_nothing_is_told(server, path):
    status, _, body = ask(server, path=path)
    assert status == 403
    assert b"lacks the token" in body
    assert server.token.encode() not in body
    assert ask(server, "POST", f"{path.rstrip('/')}/echo", b"{}")[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", None])
def test_another_host_is_refused(server, host):
    host = host and host.format(port=server.server_port)
    assert ask(server, Host=host)[0] == 403
    assert ask(server, "POST", f"/{server.token}/echo", b"{}", Host=host)[0] == 403


@pytest.mark.parametrize(
    "origin, status", [("https://evil.example", 403), ("null", 403), ("http://localhost:{port}", 200)]
)
def test_pages_of_others_may_not_ask(server, origin, status):
    assert post(server, {}, Origin=origin.format(port=server.server_port))[0] == status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_every_name_of_this_machine_will_do(server, name):
    assert ask(server, Host=f"{name}:{server.server_port}")[0] == 200


@pytest.mark.parametrize(
    "body, status, sentence",
    [
        (b"\xff\xfe", 400, "not JSON in UTF-8"),
        (b"{", 400, "not JSON in UTF-8"),
        (b"[" * 200_000, 400, "not JSON in UTF-8"),
        (b"[]", 400, "not a JSON object"),
        (b"", 400, "not JSON"),
    ],
)
def test_requests_that_are_none(server, body, status, sentence):
    found, answer = post(server, body)
    assert found == status
    assert sentence in answer["error"]


@pytest.mark.parametrize("length, status", [("1000001", 413), ("-1", 413), ("many", 411), (None, 411)])
def test_a_length_that_cannot_be(server, length, status):
    headers = {"Content-Length": length} if length else {}
    assert ask(server, "POST", f"/{server.token}/echo", **headers)[0] == status


def test_text_comes_as_it_is_written(server, questions):
    go = Event()

    def write(asked):
        yield "eins "
        assert go.wait(10)
        yield "zwei"

    questions["write"] = write
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("POST", f"/{server.token}/write", b"{}")
    answer = connection.getresponse()
    assert answer.read(5) == b"eins "  # before the rest is there
    go.set()
    assert answer.read() == b"zwei"


def test_a_mistake_in_a_stream_shows_as_one(server, questions):
    def write(asked):
        raise InputError("no such temperature")
        yield ""

    questions["write"] = write
    assert post(server, {}, name="write") == (422, {"error": "no such temperature"})


def test_someone_who_leaves_is_noticed(server, questions, capsys):
    left = Event()

    def write(asked):
        try:
            while True:
                yield "on and on " * 100
        finally:
            left.set()

    questions["write"] = write
    with socket.create_connection(("127.0.0.1", server.server_port)) as line:
        host = f"127.0.0.1:{server.server_port}"
        line.sendall(f"POST /{server.token}/write HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        assert line.recv(10)
    assert left.wait(10)
    assert ask(server)[0] == 200
    assert capsys.readouterr().err == ""


def test_an_older_text_ends_where_a_newer_one_was_asked_for(server, questions):
    def write(asked):
        yield "so far"
        raise Superseded

    questions["write"] = write
    status, _, body = ask(server, "POST", f"/{server.token}/write", b"{}")
    assert (status, body) == (200, b"so far")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org", ""])
def test_it_is_not_served_to_others(host):
    with pytest.raises(InputError, match=rf"host must be one of 127.0.0.1, ::1, localhost, not '{host}'; .* tunnel"):
        LocalServer(PAGE, {}, host)


def test_a_port_that_is_taken(server):
    with pytest.raises(
        InputError, match=f"port {server.server_port} cannot be listened on .*choose another one with --port"
    ):
        LocalServer(PAGE, {}, port=server.server_port)
    with pytest.raises(InputError, match="port 70000 cannot be listened on"):
        LocalServer(PAGE, {}, port=70000)


def test_tokens_differ():
    with LocalServer(PAGE, {}) as one, LocalServer(PAGE, {}) as other:
        assert one.token != other.token
    assert servers.LOOPBACK[0] == "127.0.0.1"
