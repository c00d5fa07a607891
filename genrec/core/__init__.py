"""What all of genrec shares, and all that a bundle needs to answer: numpy and JAX, nothing else."""
