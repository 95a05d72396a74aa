"""Does an image keep the contract of the Helm chart? `python -m keel.contract IMAGE` starts it and tries each point.

It needs Docker alone: the image runs as a pod of the chart would, with its ports on 127.0.0.1, and is removed.
"""
