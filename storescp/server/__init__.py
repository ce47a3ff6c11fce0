"""Twisted: connections, clocks, and the service user that answers."""
