"""Where instances go. Knows no network."""
