"""DIMSE messages, PS3.7: command sets, and messages out of and into P-DATA-TF PDUs. No I/O, no clock."""
