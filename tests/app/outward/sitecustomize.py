"""Writes down whom a process asks over the network, but for this machine; see `recorded` in conftest.py."""

import ipaddress
import os
import sys
from pathlib import Path

OUTWARD = Path(os.environ["RECORD_OUTWARD"])


def is_here(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def record(event, details):
    if event == "socket.getaddrinfo":
        host = details[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(details[1], tuple):
        host = details[1][0]
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        host = details[0]
    else:
        return
    if not is_here(host):
        with OUTWARD.open("a", encoding="utf-8") as out:
            out.write(f"{event} {details[1:] if event == 'socket.connect' else details}\n")


OUTWARD.touch()
sys.addaudithook(record)
