"""What the tools share: processes, progress, programs and their versions. Knows of no cluster, and of no service."""
