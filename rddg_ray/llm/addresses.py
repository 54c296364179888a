"""Whose server an endpoint is, as far as its address tells."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from rddg_ray.config import EndpointSettings

_OWN_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan", ".svc")


def is_self_hosted(settings: EndpointSettings) -> bool:
    """Return whether the endpoint is on this machine or in a network of one's own.

    So are the embedded endpoint and recordings; loopback and private addresses; names without a
    dot, as containers and clusters have them, and names below domains that the public system
    does not know. A public name is taken for another's, whatever it leads to.
    """
    if settings.kind != "openai" or settings.base_url is None:
        return True
    host = (urlsplit(settings.base_url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_OWN_NAMES)
    return address.is_private or address.is_loopback or address.is_link_local
