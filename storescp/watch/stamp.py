"""stamp: a time of day, as the log and the audit write it."""

import time


def stamp(now: float) -> str:
    """`now`, in seconds since the epoch, as ISO 8601 writes it, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
