"""``python -m benchmarks``: storescp and other Storage SCPs under the same load, side by side."""
