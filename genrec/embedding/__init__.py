"""Item vectors: from text, from a file, and from which items are consumed together."""

from genrec.embedding.cooccurrence import embed_cooccurrence, fuse, lend
from genrec.embedding.from_file import embed_file, load_vectors
from genrec.embedding.tfidf import TextEmbedder, embed_tfidf

__all__ = [
    "TextEmbedder",
    "embed_cooccurrence",
    "embed_file",
    "embed_tfidf",
    "fuse",
    "lend",
    "load_vectors",
]
