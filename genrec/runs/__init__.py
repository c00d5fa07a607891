"""What a run folder is: its files, its manifest, and what they are loaded into."""
