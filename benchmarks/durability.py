#!/usr/bin/env python3
"""What each level of ``--durability`` costs on this machine's disk: ``python benchmarks/durability.py [DIRECTORY]``.

Starts a server for each level, on a directory made inside DIRECTORY (default: the current one, because /tmp is often
no disk), and sends it instances from several associations at once, each waiting for its answer before it sends the
next. The levels take turns, round by round, so that what else the machine does hits all of them; --ignore shows what
is left without a disk. Prints a table, and stops by itself.
"""

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storescp.dimse.commands import CStoreRQ
from storescp.dimse.messages import encode_message
from storescp.testing import CT_IMAGE_STORAGE, associate_rq

LEVELS = {
    "full": ["--durability", "full"],
    "file": ["--durability", "file"],
    "none": ["--durability", "none"],
    "(--ignore)": ["--ignore"],
}
PDU = 131072


class Sender(threading.Thread):
    """One association; keeps the seconds from the last byte of each instance to its answer."""

    def __init__(self, port: int, uids: list[str], data_set: bytes) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._messages = [self._message(uid, data_set) for uid in uids]
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(associate_rq().encode())
        self._receive()

    def _message(self, uid: str, data_set: bytes) -> bytes:
        command = CStoreRQ(affected_sop_class_uid=CT_IMAGE_STORAGE, message_id=1, affected_sop_instance_uid=uid)
        return encode_message(3, command.encode(), data_set, PDU)

    def _receive(self) -> bytes:
        header = self._socket.recv(6, socket.MSG_WAITALL)
        return self._socket.recv(int.from_bytes(header[2:6], "big"), socket.MSG_WAITALL)

    def run(self) -> None:
        for message in self._messages:
            self._socket.sendall(message)
            sent = time.perf_counter()
            response = self._receive()
            self.seconds.append(time.perf_counter() - sent)
            if bytes.fromhex("0000 0009 02000000 0000") not in response:
                raise SystemExit("an instance was not stored")
        self._socket.close()


@contextmanager
def server(directory: str, arguments: list[str]) -> Iterator[int]:
    """The port of a server that stores in `directory`."""
    command = [sys.executable, "-m", "storescp", "0", "-q", "-od", directory, "-pdu", str(PDU), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rsplit(" ", 1)[1])
        finally:
            process.terminate()


def measure(directory: str, arguments: list[str], options: argparse.Namespace) -> tuple[float, list[float]]:
    """Instances a second, and the seconds that each waited for its answer."""
    data_set = bytes(options.size)
    with (
        tempfile.TemporaryDirectory(prefix="durability-", dir=directory) as output,
        server(output, arguments) as port,
    ):
        uids = [[f"1.2.{sender}.{number}" for number in range(options.instances)] for sender in range(options.senders)]
        senders = [Sender(port, each, data_set) for each in uids]
        begin = time.perf_counter()
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        elapsed = time.perf_counter() - begin
        stored = sum(1 for path in Path(output).iterdir() if path.is_file())
    if stored not in (0, options.senders * options.instances):
        raise SystemExit(f"{stored} files are stored")
    return options.senders * options.instances / elapsed, [seconds for each in senders for seconds in each.seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", nargs="?", default=".")
    parser.add_argument("--senders", type=int, default=8, help="associations at once")
    parser.add_argument("--instances", type=int, default=50, help="of each association and round")
    parser.add_argument("--size", type=int, default=524288, help="bytes of a data set")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {level: [] for level in LEVELS}
    waits: dict[str, list[float]] = {level: [] for level in LEVELS}
    for _ in range(options.rounds):
        for level, arguments in LEVELS.items():
            rate, seconds = measure(options.directory, arguments, options)
            rates[level].append(rate)
            waits[level] += seconds
    print(f"{options.senders} associations, {options.size} bytes an instance, median of {options.rounds} rounds")
    print(f"{'level':12}{'instances/s':>12}{'of none':>9}{'answer, median':>16}{'99 %':>10}")
    for level in LEVELS:
        ratio = statistics.median(x / y for x, y in zip(rates[level], rates["none"], strict=True))
        hundredths = statistics.quantiles(waits[level], n=100)
        print(
            f"{level:12}{statistics.median(rates[level]):12.0f}{ratio:9.2f}"
            f"{1000 * hundredths[49]:13.1f} ms{1000 * hundredths[98]:7.1f} ms"
        )


if __name__ == "__main__":
    main()
