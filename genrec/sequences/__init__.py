"""Histories, and how they are laid out for the encoder."""
