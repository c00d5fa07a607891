"""The settings of `genrec serve`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServingOptions:
    """How to answer; see the help of `genrec serve`."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of the machine's."""
    port: int = 8000
    """Port to listen at; 0 for a free one."""
    max_batch: int = 32
    """Most requests that are searched together; fewer where more do not pay; 1 for no batching."""
    wait_ms: float = 0.0
    """How long a request waits for others to share its search. Without it those are batched that
    came while the last batch was searched."""
    queue: int = 256
    """Most requests that may wait; the next one is answered 503."""
    timeout: float = 5.0
    """Seconds after which a request that still waits is answered 503."""
    max_history: int = 1000
    """Most items that a history may name; of them the model reads the last few."""
    max_body: int = 1_000_000
    """Largest body of a request, in bytes."""
    read_timeout: float = 10.0
    """Seconds that a client may take to send the body of a request."""
    keep_alive: int = 65
    """Seconds that a connection is kept after an answer, for the next request."""
    connections: int = 1000
    """Most connections; those above are answered 503."""
    watch: float = 1.0
    """Seconds between looks at whether the folder holds a new bundle; 0 to look at SIGHUP alone."""
    cache: Path | None = None
    """Folder for compiled programs, which makes the next start a quick one; only for one kind of
    machine."""
    access_log: bool = True
    """Print a line for each request."""
