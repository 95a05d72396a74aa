"""What test_delivery.py deploys, and where to."""
