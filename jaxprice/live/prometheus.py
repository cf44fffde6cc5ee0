"""Metrics of a server in Prometheus' text format (version 0.0.4): counters of the session, and times of requests."""

from jaxprice.live.session import Session

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0  # seconds
TEXTS = (
    ("quotes", "counter", "Quotes made."),
    ("sales", "counter", "Quotes whose sale became known."),
    ("expired", "counter", "Quotes that ran out and were learned as no sale."),
    ("interventions", "counter", "Quotes whose price a guard rail moved."),
    ("refused", "counter", "Products that were asked for without stock."),
    ("open", "gauge", "Quotes whose sale is not known yet."),
    ("products", "gauge", "Products of the session."),
)


class Requests:
    """Requests by path and status, and how long they took."""

    def __init__(self):
        self.counts: dict[tuple[str, int], int] = {}
        self.below = [0] * len(BOUNDS)
        self.number, self.seconds = 0, 0.0

    def add(self, path: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is that of the route, never what the client wrote."""
        self.counts[path, status] = self.counts.get((path, status), 0) + 1
        self.number, self.seconds = self.number + 1, self.seconds + seconds
        for k, bound in enumerate(BOUNDS):
            self.below[k] += seconds <= bound


def text(session: Session, requests: Requests) -> str:
    """The metrics of a session and its server."""
    lines, numbers = [], session.metrics()
    for name, kind, told in TEXTS:
        full = f"jaxprice_{name}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {full} {told}", f"# TYPE {full} {kind}", f"{full} {numbers[name]}"]
    lines += ["# HELP jaxprice_requests_total Requests by path and status.", "# TYPE jaxprice_requests_total counter"]
    for (path, status), count in sorted(requests.counts.items()):
        lines.append(f'jaxprice_requests_total{{path="{path}",status="{status}"}} {count}')
    name = "jaxprice_request_seconds"
    lines += [f"# HELP {name} Time to answer a request.", f"# TYPE {name} histogram"]
    lines += [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in zip(BOUNDS, requests.below, strict=True)]
    lines += [f'{name}_bucket{{le="+Inf"}} {requests.number}', f"{name}_sum {requests.seconds:.6f}"]
    return "\n".join([*lines, f"{name}_count {requests.number}"]) + "\n"
