"""The parts of the system, from low to high: encoder, index, projection, atlas, search, panels, pages."""
