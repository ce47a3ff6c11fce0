"""Tests of storescp.watch."""
