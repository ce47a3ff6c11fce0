"""Makes ``twistd storescp`` known."""

from twisted.application.service import ServiceMaker

storescp = ServiceMaker("storescp", "storescp.program.tap", "A DICOM Storage SCP", "storescp")
