"""The programs and the Python blocks of the documentation, run as they are printed."""

import json
import os
import re
import socket
import sqlite3
import sys
import urllib.request
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

from tests.servers import ROOT, Server

CT = str(get_testdata_file("CT_small.dcm"))


def send(port: int, path: str) -> int:
    """Send the file with pynetdicom. The status of the response."""
    ae = AE(ae_title="MODALITY")
    ae.add_requested_context(CTImageStorage)
    association = ae.associate("127.0.0.1", port)
    status = association.send_c_store(path)
    association.release()
    return int(status.Status)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class ProgramTests(SynchronousTestCase):
    """docs/examples."""

    def start(self, name: str, *arguments: str) -> Server:
        directory = self.mktemp()
        os.mkdir(directory)
        command = (sys.executable, str(ROOT / "docs" / "examples" / name))
        server = Server(*arguments, directory=directory, command=command)
        self.addCleanup(server.kill)
        self.directory = directory
        return server

    def test_own_storage(self) -> None:
        """An instance is in the database, as a DICOM file, when Success has come."""
        server = self.start("own_storage.py", "0", "instances.db")
        self.assertEqual(0x0000, send(server.port, CT))
        with sqlite3.connect(os.path.join(self.directory, "instances.db")) as database:
            ((uid, file),) = database.execute("select uid, file from instance").fetchall()
        database.close()
        sent = dcmread(CT)
        self.assertEqual((sent.SOPInstanceUID, sent), (uid, dcmread(BytesIO(file))))
        self.assertEqual("", server.stderr)

    def test_beside_web(self) -> None:
        """The web page in the same process counts the instance; the instance is a file."""
        web = free_port()
        server = self.start("beside_web.py", "0", str(web))
        self.assertEqual(0x0000, send(server.port, CT))
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/", timeout=10) as page:
            self.assertEqual({"MODALITY": 1}, json.load(page))
        self.assertEqual(1, len(list(Path(self.directory).glob("CT.*"))))
        self.assertEqual((0, ""), (server.stop().code, server.stderr))


class BlockTests(SynchronousTestCase):
    """``code-block:: python`` in the documentation."""

    def test_embedding(self) -> None:
        """Those of docs/embedding.rst run by themselves."""
        text = (ROOT / "docs" / "embedding.rst").read_text()
        blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
        self.assertEqual(1, len(blocks))
        for block in blocks:
            exec(compile(re.sub(r"(?m)^   ", "", block), "embedding.rst", "exec"), {})

    def test_readme(self) -> None:
        """That of the README listens and stores, at another port and in another directory."""
        text = (ROOT / "README.rst").read_text()
        (block,) = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text)
        code = re.sub(r"(?m)^    ", "", block)
        for wanted, here in (("/srv/images", "."), ("tcp:11112", f"tcp:{free_port()}:interface=127.0.0.1")):
            self.assertEqual(1, code.count(wanted))
            code = code.replace(wanted, here)
        directory = self.mktemp()
        os.mkdir(directory)
        announce = 'print("storescp: listening on port 0", flush=True)'
        server = Server(
            directory=directory,
            command=(
                sys.executable,
                "-c",
                code.replace("await defer.Deferred()", f"{announce}; await defer.Deferred()"),
            ),
        )
        self.addCleanup(server.kill)
        port = int(re.findall(r"tcp:(\d+)", code)[0])
        self.assertEqual(0x0000, send(port, CT))
        self.assertEqual(1, len(list(Path(directory).glob("CT.*"))))
