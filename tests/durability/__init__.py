"""What is acknowledged is stored, whatever happens: tests with real processes, disks and senders."""
