"""The server, asked by the client that people use, and by people who mean no good."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from inn.models.generate import generate
from inn.server import answers
from inn.server.draws import Draws
from inn.server.settings import ServerSettings
from inn.server.streams import Ask
from inn.system.errors import InputError

openai = pytest.importorskip("openai", reason="openai is not installed; it comes with [dev]")
serving = pytest.importorskip("inn.server.serving", reason="what [serve] brings is not installed", exc_type=ImportError)

pytestmark = pytest.mark.loopback


@pytest.fixture(scope="module")
def model(model_of):
    return model_of(slots=64)


@pytest.fixture(scope="module")
def server(model):
    pytest_socket = pytest.importorskip("pytest_socket")
    pytest_socket.enable_socket()
    settings = ServerSettings(port=0, streams=8, queue=64, tokens=20_000, choices=20, body=100_000, seconds=60)
    with serving.Server(model, "demo", settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def raw(server, request: bytes, wait: float = 10.0) -> bytes:
    """What a server answers to some bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def post(
    server, body: bytes, path: str = "/v1/completions", host: str = "localhost", kind: str = "application/json"
) -> tuple[int, dict]:
    """The status and the JSON that are answered to a body."""
    head = "\r\n".join(
        [
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: close",
            f"Content-Length: {len(body)}",
            f"Content-Type: {kind}",
        ]
    )
    head, _, rest = raw(server, head.encode() + b"\r\n\r\n" + body).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(rest)


def quiet(server) -> bool:
    """Whether nothing is left of any request, within a few seconds."""
    end, engine = time.monotonic() + 10, server.app.engine
    while time.monotonic() < end:
        if (engine.active, engine.waits, engine.rows.count, len(engine._talking)) == (0, 0, 0, 0):
            return True
        time.sleep(0.01)
    return False


def test_the_official_client_gets_what_the_library_writes(model, client, server):
    assert [one.id for one in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"
    whole = client.completions.create(model="demo", prompt="abc", max_tokens=50, seed=3, temperature=0.7, top_p=0.9)
    text = "".join(generate(model, "abc", 50, seed=3, temperature=0.7, top_p=0.9))
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (text, "length")
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 50)
    options = {"prompt": "abc", "max_tokens": 50, "seed": 3, "temperature": 0.7, "top_p": 0.9, "echo": True}
    parts = list(
        client.completions.create(model="demo", stream=True, stream_options={"include_usage": True}, **options)
    )
    assert len(parts) > 5
    assert "".join(part.choices[0].text for part in parts[:-1]) == "abc" + text
    assert [part.choices[0].finish_reason for part in parts[-3:-1]] == [None, "length"]
    assert parts[-1].usage.total_tokens == 53
    stopped = client.completions.create(model="demo", stop=[text[10:13], "never there"], **options).choices[0]
    assert (stopped.text, stopped.finish_reason) == ("abc" + text[: text.index(text[10:13])], "stop")
    several = client.completions.create(model="demo", prompt=["abc", ""], n=2, max_tokens=9, seed=3)
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    wanted = [(prompt, seed) for prompt in ("abc", "") for seed in (3, 4)]
    assert [c.text for c in several.choices] == ["".join(generate(model, p, 9, seed=s)) for p, s in wanted]
    ids = model.vocabulary.encode("abc").tolist()
    assert (
        client.completions.create(model="demo", prompt=ids, max_tokens=9, seed=3).choices[0].text
        == several.choices[0].text
    )
    greedy = client.completions.create(model="demo", prompt="abc", max_tokens=9, temperature=0).choices[0].text
    assert greedy == "".join(generate(model, "abc", 9, top_k=1))


def test_scores(model, client):
    text = "hello world"
    answer = client.completions.create(model="demo", prompt=text, max_tokens=0, echo=True, logprobs=2).choices[0]
    assert answer.text == text
    assert answer.logprobs.tokens == list(text)
    assert answer.logprobs.text_offset == list(range(len(text)))
    ids = torch.as_tensor(model.vocabulary.encode(text).astype("int64"))
    with torch.no_grad():
        logprobs = model(ids[None], model.experience)[0][0].log_softmax(-1)
    own = [None, *logprobs[:-1].gather(-1, ids[1:, None])[:, 0].tolist()]
    assert answer.logprobs.token_logprobs == [None, *(pytest.approx(p, abs=1e-4) for p in own[1:])]
    assert answer.logprobs.top_logprobs[0] is None
    assert all(len(top) == 2 for top in answer.logprobs.top_logprobs[1:])
    written = client.completions.create(model="demo", prompt="abc", max_tokens=5, logprobs=0, seed=1).choices[0]
    assert "".join(written.logprobs.tokens) == written.text
    assert all(p < 0 for p in written.logprobs.token_logprobs)


def test_a_conversation_is_kept(client, server):
    def say(prompt, **more):
        answer = client.completions.create(
            model="demo", prompt=prompt, max_tokens=20, seed=1, extra_body={"conversation": "a", **more}
        )
        return answer.choices[0].text, answer.conversation["continued"], answer.usage.prompt_tokens

    assert say("abc ")[1:] == (False, 4)
    text, continued, read = say("xyz")
    assert (continued, read) == (True, 3)
    assert text != client.completions.create(model="demo", prompt="xyz", max_tokens=20, seed=1).choices[0].text
    parts = list(
        client.completions.create(model="demo", prompt="", max_tokens=5, stream=True, extra_body={"conversation": "a"})
    )
    assert parts[-1].conversation == {"id": "a", "continued": True}
    assert len(server.app.engine.conversations) == 1


def test_many_clients_get_their_own_text(model, client, server):
    def one(seed):
        how = {"prompt": "abc xyz"[: 1 + seed % 7], "max_tokens": 1 + seed % 40, "seed": seed}
        if seed % 2:
            return "".join(p.choices[0].text for p in client.completions.create(model="demo", stream=True, **how))
        return client.completions.create(model="demo", **how).choices[0].text

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(one, range(60)))
    assert texts == ["".join(generate(model, "abc xyz"[: 1 + s % 7], 1 + s % 40, seed=s)) for s in range(60)]
    assert quiet(server)


FINE = {"prompt": "abc", "max_tokens": 3}
HOSTILE = [
    (b"", "is not JSON"),
    (b"[1]", "holds no fields"),
    (b"\xff\xfe{}", "not UTF-8"),
    (b'{"prompt": NaN}', "no number"),
    (b"[" * 50_000, "nested too deeply"),
    (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deeply"),
    (b'{"n": ' + b"9" * 5000 + b"}", "whole number of 5,000 digits"),
    ({"prompt": {}}, "prompt must be"),
    ({"prompt": []}, "prompt must be"),
    ({"prompt": [1, "a"]}, "not both"),
    ({"prompt": [True]}, "not both"),
    ({"prompt": [99]}, "symbol 99"),
    ({"prompt": [-1]}, "symbol -1"),
    ({"prompt": [["a"]]}, "not both"),
    ({"prompt": ["a"] * 21}, "more than 20"),
    ({"prompt": "Ü"}, 'send "unknown": "skip"'),
    ({"prompt": "\ud800"}, "lacks"),
    ({"max_tokens": "9"}, "max_tokens must be"),
    ({"max_tokens": 10**19}, "max_tokens must be"),
    ({"max_tokens": -1}, "max_tokens must be"),
    ({"max_tokens": 1.5}, "max_tokens must be"),
    ({"temperature": -1}, "temperature must be"),
    ({"temperature": True}, "temperature must be"),
    (b'{"temperature": 1e999}', "temperature must be"),
    ({"top_p": 0}, "top-p must be"),
    ({"top_p": 2}, "top-p must be"),
    ({"top_k": 0}, "top_k must be"),
    ({"seed": -1}, "seed must be"),
    ({"n": 0}, "n must be"),
    ({"n": 10, "prompt": ["a", "b", "c"]}, "more than 20 choices"),
    ({"best_of": 3}, "best_of"),
    ({"stop": [""]}, "stop must be"),
    ({"stop": 1}, "stop must be"),
    ({"stop": ["a"] * 17}, "stop must be"),
    ({"stream": 1}, "stream must be"),
    ({"stream_options": 3}, "stream_options must be"),
    ({"echo": "yes"}, "echo must be"),
    ({"logprobs": True}, "logprobs must be"),
    ({"logit_bias": {"1": 2}}, "logit_bias is not supported"),
    ({"presence_penalty": 1}, "presence_penalty is not supported"),
    ({"unknown": "what"}, "unknown cannot be"),
    ({"user": []}, "user must be"),
    ({"conversation": "a" * 129}, "at most 128"),
    ({"conversation": "\ud800"}, "printable"),
    ({"model": "\ud800"}, "there is no model"),
    ({"prompt": "abc " * 9000, "echo": True, "logprobs": 20, "n": 2}, "more than 1,000,000"),
    ({"conversation": "a", "n": 2}, "one prompt"),
    ({"conversation": "new", "prompt": ""}, "nothing to go on from"),
    ({"temprature": 1}, "did you mean"),
]


def test_what_is_wrong_is_answered_in_a_sentence(server):
    for body, sentence in HOSTILE:
        data = body if isinstance(body, bytes) else json.dumps({**FINE, **body}).encode()
        status, answer = post(server, data)
        assert status == (404 if isinstance(body, dict) and "model" in body else 400), (body, answer)
        assert sentence in answer["error"]["message"], answer
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert len(answer["error"]["message"]) < 300
    fine = json.dumps(FINE).encode()
    for status, found in [
        (404, post(server, json.dumps({**FINE, "model": "gpt"}).encode())),
        (404, post(server, fine, path="/v1/chat/completions")),
        (405, post(server, fine, path="/v1/models")),
        (413, post(server, b'"' + b"a" * 100_001)),
        (415, post(server, fine, kind="text/plain")),
        (403, post(server, fine, host="evil.example")),
    ]:
        assert found[0] == status, found
        assert found[1]["error"]["message"]
    assert quiet(server)


def test_a_long_answer_is_made_beside_the_others(client, monkeypatch):
    text, threads, whole = "hello world" * 100, [], answers.Answer.whole

    def watched(*args):
        threads.append(threading.current_thread().name)
        return whole(*args)

    monkeypatch.setattr(answers.Answer, "whole", watched)
    for count in (1, len(text)):
        how = {"prompt": text[:count], "max_tokens": 0, "echo": True, "logprobs": 20}
        answer = client.completions.create(model="demo", **how).choices[0]
        assert answer.logprobs.tokens == list(text[:count])
    assert threads[0] == "inn-server"
    assert threads[1] != "inn-server"


def test_a_request_that_asks_for_another_protocol(server):
    body = json.dumps(FINE)
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall((head + body).encode())
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200") or b"send HTTP/1.1 without a header 'Upgrade'" in answer


def test_clients_that_go_and_bytes_that_are_no_request(model, server, client):
    slow = json.dumps({**FINE, "max_tokens": 20_000}).encode()
    for stream in (b"false", b"true"):
        body = slow[:-1] + b', "stream": ' + stream + b"}"
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head.encode() + body)
            while not server.app.engine.active:
                time.sleep(0.005)
        assert quiet(server)
    assert server.app.engine.ended["cancelled"] >= 2
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf")
    assert raw(server, b"\x00\xff\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert client.completions.create(model="demo", **FINE, seed=1).choices[0].text == "".join(
        generate(model, "abc", 3, seed=1)
    )


def test_health_and_metrics(server, client):
    client.completions.create(model="demo", **FINE)
    get = "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert b'{"status":"ok"}' in raw(server, get.format("/healthz").encode())
    page = raw(server, get.format("/metrics").encode()).decode()
    from prometheus_client.parser import text_string_to_metric_families

    found = {s.name: s.value for f in text_string_to_metric_families(page.partition("\r\n\r\n")[2]) for s in f.samples}
    assert found["inn_symbols_written_total"] >= 3
    assert found["inn_streams_active"] == 0
    assert 'inn_requests_total{status="200"}' in page
    assert "inn_conversation_bytes" in found


def test_limits_of_time_and_of_the_queue_and_the_token(model):
    settings = ServerSettings(port=0, token="a" * 16, streams=1, queue=0, tokens=10**6, seconds=0.5)
    with serving.Server(model, "demo", settings) as server:
        right, wrong = (
            openai.OpenAI(base_url=f"{server.url}/v1", api_key=key * 16, max_retries=0).completions for key in "ab"
        )
        much = {"model": "demo", "prompt": "abc", "max_tokens": 10**6}
        with pytest.raises(openai.AuthenticationError, match="Bearer TOKEN"):
            wrong.create(**much)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(right.create, **much)
            while not server.app.engine.active:
                time.sleep(0.005)
            with pytest.raises(openai.RateLimitError, match="wait already"):
                right.create(**much)
            with pytest.raises(openai.InternalServerError, match=r"longer than .* seconds"):
                first.result()
        with pytest.raises(openai.APIError, match=r"longer than .* seconds"):
            list(right.create(**much, stream=True))
        last = right.create(**much, stream=True)
        next(last)
    with pytest.raises(openai.APIError, match="stopping"):
        list(last)


@pytest.mark.parametrize("threads, cores, taken", [(3, 8, 3), (0, 4, 3), (0, 1, 1)])
def test_a_core_is_left_to_the_requests(model, monkeypatch, threads, cores, taken):
    monkeypatch.setattr(serving, "good_threads", lambda: cores)
    before, found = torch.get_num_threads(), []
    with serving.Server(model, "demo", ServerSettings(port=0, threads=threads)) as server:
        server.app.engine.deliver = lambda told: found.append(torch.get_num_threads())  # in the engine's thread
        server.app.engine.submit(Ask([1], 1, Draws())).cancelled = True
        assert quiet(server)
    assert set(found) == {taken}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"host": "0.0.0.0"}, "a token is needed"),
        ({"host": "example.org"}, "a token is needed"),
        ({"token": ""}, "at least 16"),
        ({"token": "with a space in it"}, "without spaces"),
        ({"port": 65536}, "port must be"),
        ({"streams": 0}, "streams must be"),
        ({"seconds": float("nan")}, "seconds must be"),
        ({"tables": "mine"}, "tables must be"),
        ({"threads": 1025}, "threads must be"),
        ({"conversation_bytes": -1}, "0 or more"),
    ],
)
def test_settings_that_cannot_be(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        ServerSettings(**wrong)


def test_an_address_that_is_taken(model, server):
    with pytest.raises(InputError, match="cannot be listened on"):
        serving.Server(model, "demo", ServerSettings(port=server.port))
