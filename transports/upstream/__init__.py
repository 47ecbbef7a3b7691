"""The way to the upstreams: connections, pools, proxies, deadlines."""

from transports.upstream.client import Call, Upstream
from transports.upstream.pool import Census, PoolLimits
from transports.upstream.proxies import Proxies, Proxy

__all__ = ["Call", "Census", "PoolLimits", "Proxies", "Proxy", "Upstream"]
