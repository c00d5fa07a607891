"""What answers requests, be it a run or a bundle: by name, with NumPy and JAX alone."""
