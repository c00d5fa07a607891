"""The metrics of the server, for Prometheus."""

import functools
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from genrec.serving.served_bundle import ServedBundle

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of one server.

    Args:
        waiting: how many requests wait to be searched.
    """

    def __init__(self, waiting: Callable[[], int]):
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        counter = functools.partial(Counter, registry=registry)
        gauge = functools.partial(Gauge, registry=registry)
        histogram = functools.partial(Histogram, registry=registry)
        self.requests = counter("genrec_requests", "Requests answered.", ["path", "status"])
        text = "From the head of a request to the end of its answer."
        self.seconds = histogram("genrec_request_seconds", text, ["path"], buckets=_SECONDS)
        sizes = [1 << n for n in range(8)]
        self._batches = histogram("genrec_batch_size", "Requests searched together.", buckets=sizes)
        self._searches = histogram("genrec_search_seconds", "A batch's search.", buckets=_SECONDS)
        gauge("genrec_queue_length", "Requests that wait.").set_function(waiting)
        labels = ["checksum", "items"]
        self._bundle = gauge("genrec_bundle_info", "The bundle that answers, 1.", labels)
        self.shapes = gauge("genrec_compiled_shapes", "Shapes of batches that can be used.")
        self.swaps = counter("genrec_bundle_swaps", "New bundles met.", ["outcome"])
        for outcome in ("taken", "refused"):
            self.swaps.labels(outcome)

    def batch(self, requests: int, seconds: float) -> None:
        """A batch was searched."""
        self._batches.observe(requests)
        self._searches.observe(seconds)

    def answers(self, served: ServedBundle) -> None:
        """This bundle answers from now on."""
        self._bundle.clear()
        self._bundle.labels(served.checksum, str(len(served.bundle.item_ids))).set(1)
