"""Items to vectors."""

from genrec.embedding.from_file import embed_file
from genrec.embedding.tfidf import embed_tfidf

__all__ = ["embed_file", "embed_tfidf"]
