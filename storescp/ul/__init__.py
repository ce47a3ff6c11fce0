"""The DICOM Upper Layer, PS3.8: bytes, PDUs, the state machine, negotiation. No I/O, no clock."""
