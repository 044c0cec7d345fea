"""A connection to a Ray cluster that is there already: silent, without usage reports, and one line where it fails."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from avq.errors import AvqError, UsageError

_REACH_SECONDS = 5.0
# Before Ray is imported: it sends no statistics, and neither reports scaling nor warns of coming changes.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

Resources = Mapping[str, float]
"""By Ray's names: `CPU`, `GPU` (numbers), `memory` (bytes)."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster; a connection that the program has already is used, and left as it is.

    Args:
        address: `host:port` of the head; None or `auto` for `$RAY_ADDRESS`, else the cluster of this machine.

    Raises:
        UsageError: Ray is missing, or an address that cannot be one.
        AvqError: nothing answers there.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--executor ray needs Ray: pip install 'avq-bench[ray]'")
    os.environ.update(_QUIET)
    import ray

    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray
    from ray._private import worker

    if address in (None, "auto"):
        address = os.environ.get("RAY_ADDRESS") or "auto"
    if address != "auto":
        _reach(str(address))
    # Ray's listener prints what befalls nodes on stdout, where tables go, and has no switch for it but this one.
    worker._worker_logs_enabled = False
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL", include_dashboard=False)
    except (Exception, SystemExit) as error:  # SystemExit: what listens at the address is not Ray
        if address == "auto" and isinstance(error, ConnectionError):
            raise AvqError(
                "no Ray cluster runs on this machine; start one (`ray start --head`), or name one's head with "
                "--address host:port."
            ) from None
        why = " ".join(str(error).split()).partition(". ")[0]
        raise AvqError(f"no Ray cluster can be used at {address}: {type(error).__name__}: {why}") from None


def _reach(address: str) -> None:
    """Knock at the head's door: Ray itself would try for two minutes, and end the program."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise UsageError(
            f"'{address}' is no address of a Ray cluster: give host:port of its head (as in 10.0.0.1:6379), from one "
            "of its nodes."
        )
    try:
        socket.create_connection((host, int(port)), _REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise AvqError(f"no Ray cluster answers at {address}: {why}; is its head running?") from None


def nodes() -> list[dict[str, Any]]:
    """The nodes that are alive, always in the same order."""
    import ray

    return sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: (_address(node), node["NodeID"]))


def _address(node: Mapping[str, Any]) -> str:
    return str(node["NodeManagerAddress"])


def fits(need: Resources, node: Mapping[str, Any]) -> bool:
    """Whether a node could ever satisfy a request."""
    return all(node["Resources"].get(name, 0.0) >= amount for name, amount in need.items())


def slots_of(need: Resources) -> int:
    """How many requests of that size the cluster satisfies at once."""
    return sum(min(int(node["Resources"].get(name, 0.0) // need[name]) for name in need) for node in nodes())


def nowhere(what: str, need: Resources) -> str:
    """The line for a request that no node can satisfy."""
    there = "; ".join(f"{_address(node)}: {_said(node['Resources'])}" for node in nodes()[:5])
    return (
        f"no node of the Ray cluster can carry out {what}, which needs {_said(need)} ({there or 'no node is left'}). "
        "Add a node that can, or ask for less: --device cpu, a smaller batch_size."
    )


def _said(resources: Resources) -> str:
    parts = [f"{resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU") if name in resources]
    if "memory" in resources:
        parts.append(f"{resources['memory'] / 2**30:.1f} GiB of memory")
    return ", ".join(parts) or "nothing"
