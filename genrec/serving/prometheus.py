"""The metrics of the server, for Prometheus."""

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
        self.requests = Counter(
            "genrec_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "genrec_request_seconds",
            "From the head of a request to the end of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "genrec_batch_size",
            "Requests searched together.",
            buckets=[1 << n for n in range(8)],
            registry=registry,
        )
        self._searches = Histogram(
            "genrec_search_seconds", "A batch's search.", buckets=_SECONDS, registry=registry
        )
        queue = Gauge("genrec_queue_length", "Requests that wait.", registry=registry)
        queue.set_function(waiting)
        self._bundle = Gauge(
            "genrec_bundle_info",
            "The bundle that answers, 1.",
            ["checksum", "items"],
            registry=registry,
        )
        self.shapes = Gauge(
            "genrec_compiled_shapes", "Shapes of batches that can be used.", registry=registry
        )
        self.swaps = Counter(
            "genrec_bundle_swaps", "New bundles met.", ["outcome"], registry=registry
        )
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
