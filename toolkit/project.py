"""What this project is called: the tools' folders, labels, cluster and registry derive their names from it."""

NAME = "shipshape"
LOCAL = f"{NAME}.local"
"""What the nodes of the local cluster call the registry that this host reaches at a port of 127.0.0.1."""
