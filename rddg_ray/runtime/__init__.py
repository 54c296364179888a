"""Where chains meet the world: disk, clock, event loop and Ray."""
