"""A session behind HTTP, with Starlette and uvicorn (`pip install jaxprice[serve]`).

| request | body | answer |
|---|---|---|
| `POST /quote` | `{"product": 3, "observation": [...]}` | `{"id", "product", "price", "action", "propensity", "time"}` |
| `POST /observe` | `{"quote_id": 17, "demand": 1, "reward": 2.5, "next_observation": [...]}` | `{"learned": true}` |
| `GET /state/{product}` | | counts, last price, stock, belief about demand, latest quotes |
| `GET /health` | | `{"status": "ok"}` |
| `GET /metrics` | | Prometheus' text format |
| `GET /` | | a page for people |

`observation`, `reward` and `next_observation` may be left out. Errors are `{"error": text}`: 400 for a bad request, 401
without the key, 404 for an unknown path, 405 for another method, 409 without stock, 413 for a long body, 503 if the journal
cannot be written. A client never sees more of an error than its text. With a key, every path but `/`, whose page holds no
data, and `/health` wants the header `Authorization: Bearer KEY`.

Requests are answered one after the other in one thread: a session has one journal.
"""

import dataclasses
import hmac
import importlib.resources
import ipaddress
import logging
import time
from typing import Any

from jaxprice import checks
from jaxprice.live import bodies, prometheus
from jaxprice.live.bodies import Refused
from jaxprice.live.guards import REASONS
from jaxprice.live.history import History
from jaxprice.live.journal import JournalError
from jaxprice.live.session import OutOfStock, Session

log = logging.getLogger("jaxprice.live")


@dataclasses.dataclass
class Server:
    """The answers to requests.

    Attributes:
      session: the session.
      policy: its policy, for beliefs.
      key: the API key, or None.
      limit: longest body, in bytes.
      history: latest quotes.
    """

    session: Session
    policy: Any
    key: str | None = None
    limit: int = bodies.LIMIT
    history: History = dataclasses.field(default_factory=History)
    requests: prometheus.Requests = dataclasses.field(default_factory=prometheus.Requests)

    async def quote(self, request):
        """`POST /quote`."""
        found = bodies.fields(await bodies.read(request, self.limit), ("product",), ("observation",))
        like = self.session.problem.observation
        made = self.session.quote(found["product"], bodies.observation("observation", found.get("observation"), like))
        self.history.quoted(made, REASONS[self.session.reason(made.id)])
        answer = made._asdict()
        return answer | {"propensity": None} if made.propensity != made.propensity else answer

    async def observe(self, request):
        """`POST /observe`."""
        body = await bodies.read(request, self.limit)
        found = bodies.fields(body, ("quote_id", "demand"), ("reward", "next_observation"))
        after = bodies.observation("next_observation", found.get("next_observation"), self.session.problem.observation)
        news = self.session.observe(found["quote_id"], found["demand"], found.get("reward"), after)
        if news:
            self.history.sold(found["quote_id"], found["demand"])
        return {"learned": news}

    async def state(self, request):
        """`GET /state/{product}`."""
        product = request.path_params["product"]
        if not (product.isascii() and product.isdigit() and len(product) < 12 and int(product) < self.session.products):
            raise Refused(404, f"the product must be an integer in [0, {self.session.products - 1}]")
        product = int(product)
        about = self.session.about_product(product)
        return about | {"belief": self.belief(product), "history": self.history.of(product)}

    def belief(self, product: int) -> dict | None:
        """What the policy believes of each price; None where it is not known."""
        from jaxprice import explain

        try:
            found = explain.belief(
                self.policy,
                self.session.state(product),
                self.session.problem,
                self.session.seen(product),
                chosen=False,
                draws=500,
            )
        except ValueError:
            return None
        columns = {name: getattr(found, name) for name in ("prices", "demand", "demand_std", "profit", "best")}
        return {name: None if x is None else [float(y) if y == y else None for y in x] for name, x in columns.items()}

    async def health(self, request):
        """`GET /health`."""
        return {"status": "ok", "policy": self.session.about["policy"], "products": self.session.products}

    async def metrics(self, request):
        """`GET /metrics`."""
        return prometheus.text(self.session, self.requests)

    def check_key(self, request):
        """Raise unless the request has the key."""
        given = request.headers.get("authorization", "")
        if self.key is not None and not hmac.compare_digest(given.encode(), f"Bearer {self.key}".encode()):
            raise Refused(401, "the header must be 'Authorization: Bearer KEY' with the key of this server")

    async def answer(self, request, path, handler, is_open):
        """`(status, content)` of a request, whatever happens."""
        start, status = time.perf_counter(), 500
        try:
            if not is_open:
                self.check_key(request)
            status, content = 200, await handler(request)
        except Refused as error:
            status, content = error.status, {"error": error.text}
        except OutOfStock as error:
            status, content = 409, {"error": str(error)}
        except (ValueError, OverflowError) as error:
            status, content = 400, {"error": str(error)[:500]}
        except JournalError:
            log.exception("the journal could not be written")
            status, content = 503, {"error": "the journal could not be written, so nothing was done"}
        except Exception:
            log.exception("a request failed")
            content = {"error": "internal error"}
        self.requests.add(path, status, time.perf_counter() - start)
        return status, content


def app(session: Session, policy: Any, *, key: str | None = None, limit: int = bodies.LIMIT, truth: Any = None) -> Any:
    """The Starlette application of a session.

    Args:
      session: an open `Session`.
      policy: its policy, which explains its beliefs on the page.
      key: API key; None: anybody who reaches the server may ask.
      limit: longest body of a request, in bytes.
      truth: expected profit of every action, float `[products, num_prices]`, where the market is a simulated one.

    Raises:
      ValueError: the key is shorter than 8 characters or not printable ASCII.
    """
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
    from starlette.routing import Route

    if key is not None and not (isinstance(key, str) and len(key) >= 8 and key.isascii() and key.isprintable()):
        raise ValueError("key must be a text of at least 8 printable ASCII characters")
    server = Server(session, policy, key, checks.positive_int("limit", limit), History(truth))

    def route(path, handler, method, is_open=False):
        async def endpoint(request):
            status, content = await server.answer(request, path, handler, is_open)
            if isinstance(content, str):
                return PlainTextResponse(content, status, media_type=prometheus.TYPE)
            return JSONResponse(content, status)

        return Route(path, endpoint, methods=[method])

    content = (importlib.resources.files("jaxprice.live") / "page.html").read_text()

    async def page(request):
        del request
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        return HTMLResponse(content, headers={"Content-Security-Policy": policy})

    async def lost(request, error):
        server.requests.add("other", error.status_code, 0.0)
        return JSONResponse({"error": error.detail}, error.status_code)

    routes = [
        route("/quote", server.quote, "POST"),
        route("/observe", server.observe, "POST"),
        route("/state/{product}", server.state, "GET"),
        route("/health", server.health, "GET", is_open=True),
        route("/metrics", server.metrics, "GET"),
        Route("/", page, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: lost, 405: lost})


def run(application: Any, *, host: str = "127.0.0.1", port: int = 8000, key: str | None = None) -> None:
    """Serve an application until it is interrupted.

    Raises:
      ValueError: a host that others can reach, without a key; or a port out of range.
    """
    checked_address(host, port, key)
    import uvicorn

    uvicorn.run(application, host=host, port=port, log_level="warning", server_header=False)


def checked_address(host: str, port: int, key: str | None) -> None:
    """Raise for an address that others can reach while there is no key.

    Raises:
      ValueError: such a host, or a port out of range.
    """
    checks.whole("port", port, 1, 65535)
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and key is None:
        raise ValueError(f"key must be given where others can reach the server (host {host!r}); 127.0.0.1 needs none")
