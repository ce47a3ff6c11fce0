"""What lies beside the program: units for systemd, completions for shells, the manual page."""
