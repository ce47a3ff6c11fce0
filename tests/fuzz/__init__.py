"""Whole connections on which anything may come: recorded sessions, and what becomes of them when they are damaged.

``corpus`` has sessions, each the bytes that one TCP connection brought from a client to the server. They were recorded
from real programs that talked to storescp with ``--accept-all-syntaxes``, and stored files of pydicom's 3.0 test data:

- ``echoscu-*``, ``storescu-*``, ``dcmsend-*``, ``findscu``, ``movescu``: DCMTK 3.6.7 of that name; "fragments" and
  "sends" say how long its PDUs are; ``echoscu-tls`` is a TLS hello, ``storescu-user-refuses-answer`` the request of one
  that is not content with the answer;
- ``pynetdicom-*``: pynetdicom 3.0.4; in ``pynetdicom-fragments-of-*`` the answer that it got announced so small a PDU,
  ``pynetdicom-not-called`` was rejected where it was recorded, for the AE title that it called;
- ``curl-http``: curl 7.88.1, which asked for ``/``;
- ``made-*``: what no program sends, put together by hand, most of it from ``echoscu``: PDUs out of place, requests for
  an association that are rejected, messages that are refused, HL7.

Passcodes, tickets and assertions in them are made up, and have the word SECRET in them.

``harness`` runs one connection and checks the server after it; ``test_mutations`` damages sessions with Hypothesis;
``coverage_guided`` is a program that does it with atheris, guided by what code is reached.
"""

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def recorded() -> dict[str, bytes]:
    """The sessions by name."""
    return {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))}
