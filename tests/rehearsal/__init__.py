"""`make rehearsal`: what a newcomer sees on a fresh Debian 12, tried where nothing is cached."""
