"""`python -m genrec` is `genrec`."""

from genrec.cli.main import main

main()
