"""The documentation, read and done as its readers do."""
