"""Tuples of codes: collisions, the prefix trie, and how they are kept."""
