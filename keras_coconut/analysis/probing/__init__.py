"""What linear probes read from thoughts."""
