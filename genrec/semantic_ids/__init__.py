"""Semantic IDs: collisions, the prefix trie, the file that holds them."""
