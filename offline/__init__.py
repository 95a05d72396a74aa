"""Images where no registry answers: an engine that is unpacked, builds from package registries, a local registry."""
