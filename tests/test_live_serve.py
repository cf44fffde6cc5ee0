"""The HTTP door of a session: answers, errors, malformed requests, metrics, the demo."""

import json
import random
import re
import shutil
import socket
import subprocess
import threading

import numpy as np
import pytest

from jaxprice import live, policies
from tests import live_shop
from tests.live_shop import PRODUCTS, session

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from jaxprice.live import serve


@pytest.fixture
def shop(tmp_path):
    with session(tmp_path / "shop", policies.exp3(), guards=live.Guards(stock=5)) as made:
        yield made


@pytest.fixture
def client(shop):
    return TestClient(serve.app(shop, policies.exp3()), raise_server_exceptions=False)


def test_a_sale(client, shop):
    quote = client.post("/quote", json={"product": 3, "observation": [0.1, 0, 0]}).json()
    assert quote["id"] == 0 and quote["product"] == 3 and quote["propensity"] == pytest.approx(0.2)
    assert quote["price"] == pytest.approx(float(live_shop.problem().prices[quote["action"]]))
    report = {"quote_id": 0, "demand": 1, "next_observation": [0.2, quote["price"], 1]}
    assert client.post("/observe", json=report).json() == {"learned": True}
    assert client.post("/observe", json=report).json() == {"learned": False}
    state = client.get("/state/3").json()
    assert (state["quotes"], state["learned"], state["open"], state["stock"]) == (1, 1, 0, 4)
    assert state["history"] == [{"id": 0, "time": quote["time"], "price": quote["price"], "demand": 1, "guard": ""}]
    assert shop.seen(3).tolist() == pytest.approx([0.2, quote["price"], 1])
    text = client.get("/metrics").text
    assert "jaxprice_quotes_total 1\n" in text and 'jaxprice_requests_total{path="/observe",status="200"} 2\n' in text
    for line in text.splitlines():
        assert line.startswith("#") or np.isfinite(float(line.rpartition(" ")[2])), line
    assert client.get("/health").json()["status"] == "ok"
    page = client.get("/")
    assert page.status_code == 200 and "<h1>Prices and sales</h1>" in page.text
    assert "http" not in page.text.replace("http://www.w3.org/2000/svg", "")  # nothing is loaded from elsewhere


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("/quote", {"product": 99}, 400, "product must be an integer in [0, 15], got 99"),
        ("/quote", {"product": True}, 400, "product must be"),
        ("/quote", {"prodct": 1}, 400, "did you mean 'product'"),
        ("/quote", {}, 400, "the field 'product' is missing"),
        ("/quote", {"product": 1, "observation": ["a"]}, 400, "observation must be numbers of shape [3]"),
        ("/quote", {"product": 1, "observation": [1, 2]}, 400, "observation must have shape [3]"),
        ("/observe", {"quote_id": 10**30, "demand": 1}, 400, "quote_id must be"),
        ("/observe", {"quote_id": 0, "demand": -1}, 400, "demand must be in"),
        ("/observe", {"quote_id": 0, "demand": 6}, 400, "demand must be at most the stock of product 0, 5, got 6"),
        ("/observe", {"quote_id": 7, "demand": 1}, 400, "quote_id must be the number of a quote"),
        ("/observe", b'{"quote_id": 0, "demand": NaN}', 400, "NaN is no number"),
        ("/observe", b'{"quote_id": 0, "quote_id": 0, "demand": 1}', 400, "a field is given twice"),
        ("/observe", b"[" * 30_000, 400, "nested too deeply"),
        ("/observe", b"x" * 70_000, 413, "the body must be at most 65536 bytes"),
        ("/sell", {}, 404, "Not Found"),
    ],
)
def test_errors_are_clear_and_change_nothing(client, shop, path, content, status, said):
    client.post("/quote", json={"product": 0})
    before = shop.digest()
    answer = client.post(path, content=content if isinstance(content, bytes) else json.dumps(content))
    assert answer.status_code == status and said in answer.json()["error"]
    assert shop.digest() == before


def test_stock_disk_method_and_product(client, shop):
    assert client.get("/quote").status_code == 405
    for product in ("99", "-1", "1e3", "x", "%00", "٣"):
        assert client.get(f"/state/{product}").status_code == 404
    for _ in range(5):
        made = client.post("/quote", json={"product": 1}).json()
        client.post("/observe", json={"quote_id": made["id"], "demand": 1})
    assert client.post("/quote", json={"product": 1}).status_code == 409
    shop._journal.broken = "the disk is gone"
    answer = client.post("/quote", json={"product": 2})
    assert answer.status_code == 503 and answer.json() == {"error": "the journal could not be written, so nothing was done"}
    shop._journal.broken = ""


def test_key_and_address(shop):
    client = TestClient(serve.app(shop, policies.exp3(), key="a long secret"))
    assert client.get("/metrics").status_code == 401 and client.post("/quote", json={"product": 0}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a long secreT"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a long secret"}).status_code == 200
    assert client.get("/health").status_code == 200 and shop.metrics()["quotes"] == 0
    with pytest.raises(ValueError, match="at least 8 printable"):
        serve.app(shop, policies.exp3(), key="short")
    serve.checked_address("127.0.0.1", 8000, None)
    serve.checked_address("::1", 8000, None)
    serve.checked_address("0.0.0.0", 8000, "a long secret")
    for host in ("0.0.0.0", "192.168.1.7", "example.com", ""):
        with pytest.raises(ValueError, match="key must be given where others can reach"):
            serve.checked_address(host, 8000, None)


def malformed(draw):
    """A request that is wrong, or at least odd: method, path, headers, content."""
    odd = [
        None,
        True,
        -1,
        0,
        1,
        3.5,
        1e400,
        10**40,
        "",
        "0",
        "\0",
        "é",
        [],
        [[]],
        {},
        {"a": 1},
        [1] * 50,
        float("nan"),
        "x" * 900,
    ]

    def value(depth=0):
        if depth < 3 and draw.random() < 0.3:
            return [value(depth + 1) for _ in range(draw.randrange(4))]
        return draw.choice(odd)

    names = ["product", "quote_id", "demand", "reward", "observation", "next_observation", "__class__", "", "products"]
    content = json.dumps({draw.choice(names): value() for _ in range(draw.randrange(5))}).encode()
    way = draw.randrange(5)
    if way == 0:
        content = content[: draw.randrange(len(content) + 1)]
    elif way == 1:
        content = bytes(draw.randrange(256) for _ in range(draw.randrange(60)))
    elif way == 2:
        places = bytearray(content)
        for _ in range(3):
            places[draw.randrange(len(places))] = draw.randrange(256)
        content = bytes(places)
    paths = [
        "/quote",
        "/observe",
        "/observe",
        "/state/0",
        "/state/..%2f..%2fetc",
        "/metrics",
        "/%ff",
        "//",
        "/quote?product=1",
    ]
    headers = {
        "content-type": draw.choice(["application/json", "text/html", ""]),
        "authorization": draw.choice(["", "x", "é"]),
    }
    headers = {name: text.encode("latin-1") for name, text in headers.items()}
    return draw.choice(["GET", "POST", "POST", "POST", "PUT", "DELETE"]), draw.choice(paths), headers, content


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_malformed_requests(client, shop, count):
    draw, open_before = random.Random(count), shop.quote(0)
    for _ in range(count):
        method, path, headers, content = malformed(draw)
        answer = client.request(method, path, headers=headers, content=content)
        assert answer.status_code in (200, 400, 404, 405, 413), (method, path, content, answer.text)
        assert "Traceback" not in answer.text and ".py" not in answer.text
        if answer.status_code != 200:
            assert list(answer.json()) == ["error"]
    digest = shop.digest()
    live_shop.crash(shop)
    with live_shop.reopened(shop._journal.path, policies.exp3()) as again:
        assert again.digest() == digest
        assert again.quote(1).id > open_before.id


def test_the_demo_sells(tmp_path, capsys):
    pytest.importorskip("uvicorn")
    from jaxprice.live import demo

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = demo.Options(
        policy="ucb1", products=PRODUCTS, prices=5, rate=200.0, port=port, seconds=1.5, journal=tmp_path / "shop"
    )
    counts = demo.main(options)
    assert counts["quotes"] > 5 and counts["sales"] > 0 and counts["open"] <= options.late + 1
    assert f"http://127.0.0.1:{port}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="did you mean 'ucb1'"):
        demo.Options(policy="ucb")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a headless Chromium")
def test_the_page_in_a_browser(shop):
    uvicorn = pytest.importorskip("uvicorn")
    truth = np.tile(np.arange(5.0), (PRODUCTS, 1))
    application = serve.app(shop, policies.exp3(), truth=truth)
    client = TestClient(application)
    for number in range(20):
        quote = client.post("/quote", json={"product": 2}).json()
        client.post("/observe", json={"quote_id": quote["id"], "demand": int(number % 5 == 0)})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(application, "127.0.0.1", port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
        found = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/#2"], capture_output=True, text=True, timeout=120, check=True
        ).stdout
    finally:
        server.should_exit = True
        thread.join(10)
    charts = dict(re.findall(r'<svg id="(\w+)"[^>]*>(.*?)</svg>', found, re.S))
    assert charts["prices"].count("<circle") == 20 and charts["prices"].count('fill="#1a7f5a"') == 4
    assert "<polyline" in charts["sales"] and "<polyline" in charts["regret"]
    assert "<b>20</b>quotes" in found and '<span id="error" role="alert"></span>' in found
