"""The two command lines, and what they print."""
