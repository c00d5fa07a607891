"""Files: written atomically, locked, and checked when they are read; formats of arrays."""
