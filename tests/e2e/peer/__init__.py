"""podinfo, to which a reader may compare: its image, its own chart, and what it takes to run it on ours."""
