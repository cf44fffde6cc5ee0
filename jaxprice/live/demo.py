"""A simulated shop that sells over HTTP, and the server it sells through, in one process.

    python -m jaxprice.live demo                                  # then open http://127.0.0.1:8000
    python -m jaxprice.live demo --products 50 --policy ucb1 --rate 100

Each product has a demand curve of its own, drawn at random. Buyers come one after the other to a random product, see the
quoted price, and buy with the probability of the curve. The shop tells the server some buyers later, as shops do. The true
curves are known here, so the page shows the regret.
"""

import dataclasses
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np

from jaxprice import checks, envs, policies
from jaxprice.live import serve
from jaxprice.live.guards import Guards
from jaxprice.live.session import Session


@dataclasses.dataclass(frozen=True)
class Options:
    """A simulated shop behind a server on this machine."""

    policy: str = "thompson"
    """Name of a policy."""
    products: int = 12
    """Number of products."""
    prices: int = 8
    """Size of the price grid."""
    rate: float = 25.0
    """Buyers a second."""
    late: int = 5
    """Buyers after which the server is told of a sale."""
    step: float | None = None
    """Largest change of a price, a guard rail."""
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = 8000
    """Port to listen at."""
    key: str | None = None
    """API key."""
    journal: Path | None = None
    """New file of the journal; by default a temporary one."""
    seconds: float | None = None
    """Time after which the demo ends; by default when it is interrupted."""
    seed: int = 0
    """Of curves, buyers and policy."""

    def __post_init__(self):
        checks.choice("policy", self.policy, policies.list())
        for name in ("products", "prices"):
            checks.positive_int(name, getattr(self, name))
        checks.positive("rate", self.rate)
        checks.whole("late", self.late, 0, 10_000)
        serve.checked_address(self.host, self.port, self.key)


class Market:
    """The true curves: mean demand and expected profit at every price of every product, float `[products, num_prices]`."""

    def __init__(self, options: Options):
        env, _ = envs.make("PostedPrice", num_prices=options.prices)
        keys = jax.random.split(jax.random.key(options.seed), options.products)
        params = jax.vmap(env.sample_params)(keys)
        self.prices = np.asarray(params.prices)[0] if np.ndim(params.prices) > 1 else np.asarray(params.prices)
        self.demand = np.asarray(jax.vmap(env.table)(params))
        one = env.default_params()
        self.problem = env.problem(one).with_observation(env.reset_env(keys[0], one)[0])
        self.profit = self.demand * (self.prices - float(one.cost))


class Shop(threading.Thread):
    """Buyers who come to the server."""

    def __init__(self, options: Options, market: Market):
        super().__init__(daemon=True)
        self.options, self.market, self.over = options, market, threading.Event()
        self.told, self.failed = 0, ""

    def run(self):
        """Sell until the shop closes."""
        rng, waiting = np.random.default_rng(self.options.seed), []
        server = http.client.HTTPConnection(self.options.host, self.options.port, timeout=30)
        try:
            while not self.over.wait(rng.exponential(1 / self.options.rate)):
                quote = self.ask(server, "/quote", {"product": int(rng.integers(self.options.products))})
                bought = rng.random() < self.market.demand[quote["product"], quote["action"]]
                waiting.append({"quote_id": quote["id"], "demand": int(bought)})
                if len(waiting) > self.options.late:
                    self.ask(server, "/observe", waiting.pop(int(rng.integers(len(waiting)))))
                    self.told += 1
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            self.failed = str(error)

    def ask(self, server, path, content):
        """The answer to a request.

        Raises:
          RuntimeError: it is an error.
        """
        headers = {"Content-Type": "application/json"}
        if self.options.key is not None:
            headers["Authorization"] = f"Bearer {self.options.key}"
        server.request("POST", path, json.dumps(content), headers)
        answer = server.getresponse()
        content = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(content["error"])
        return content


def main(options: Options) -> dict:
    """Run the demo; returns the counts of the session at its end."""
    import uvicorn

    market = Market(options)
    policy = getattr(policies, options.policy)()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.sqlite" if options.journal is None else options.journal
        guards = Guards(step=options.step)
        with Session(policy, market.problem, path, products=options.products, seed=options.seed, guards=guards) as session:
            session.warm()
            application = serve.app(session, policy, key=options.key, truth=market.profit)
            config = uvicorn.Config(application, options.host, options.port, log_level="warning", server_header=False)
            server, shop = uvicorn.Server(config), Shop(options, market)
            threading.Thread(target=_sell, args=(server, shop, options), daemon=True).start()
            print(
                f"a simulated shop: http://{options.host}:{options.port}  (journal: {path}; stop it with ctrl-c)", flush=True
            )
            server.run()
            shop.over.set()
            if shop.failed:
                print(f"the shop stopped: {shop.failed}")
            return session.metrics()


def _sell(server, shop, options):
    """Open the shop when the server has started, and stop both when the time is over."""
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    shop.start()
    if options.seconds is not None:
        shop.join(options.seconds)
        shop.over.set()
        shop.join(30)
        server.should_exit = True
