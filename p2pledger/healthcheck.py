"""`python -m p2pledger.healthcheck [URL]`: whether a node is in sync, by its own probe. Floor 8.

What a container's HEALTHCHECK runs every few seconds beside the node, so it imports the standard library and
nothing else. It ends with 0 when the probe answers 200, else with 1, and prints why: the engine keeps that
line (`docker inspect`).
"""

import http.client
import json
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

URL = "http://127.0.0.1:7100/healthz/ready"
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 16 * 1024
HEALTHY, UNHEALTHY = 0, 1


def check(url: str = URL) -> tuple[bool, str]:
    """Ask a probe; whether it answers 200, and in words what it said. Raises nothing."""
    parts = urlsplit(url)
    try:
        if parts.scheme != "http" or parts.hostname is None:
            return False, f"{url} is not the URL of a node's probe: write it like {URL}"
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
        try:
            connection.request("GET", parts.path or "/healthz/ready")
            answer = connection.getresponse()
            body = json.loads(answer.read(ANSWER_BYTES_MAX))
        finally:
            connection.close()
        reasons = "; ".join(map(str, body["reasons"]))
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer from {url}: {error}; see that the node runs"
    except (ValueError, KeyError, TypeError):
        return False, f"{url} does not answer as a node's probe does"
    return (True, "in sync") if answer.status == 200 else (False, reasons or f"status {answer.status}")


def main(arguments: Sequence[str]) -> int:
    """Check one URL and say what it said; the exit code."""
    is_healthy, said = check(*arguments[:1])
    print(said)
    return HEALTHY if is_healthy else UNHEALTHY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
