"""What `genrec --help` prints: the commands in the order in which the data flow."""

MAP = """\
usage: genrec COMMAND …          genrec COMMAND --help tells all of its flags

From a log of who chose what to a recommender that writes the next item.

Make a run: a folder, runs/NAME, from a config or a known data set
  run           all stages below, in order; those that are done are skipped
  prepare       1 · read, clean, order and split the log      → dataset/
  embed         2 · items' texts to vectors                   → embeddings.npy
  tokenize      3 · vectors to semantic IDs                   → tokenizer/
  train         4 · histories to a model; resumes by itself   → checkpoints/
  evaluate      5 · held-out items, beside baselines          → metrics.json
  report        6 · all of it on one page                     → report.html

Use it
  recommend     items for a history, a file of them, or all users
  compare       runs with each other, and whether a difference is chance

Deploy it
  export        a bundle of a run, or its weights for other programs
  update        let items of a bundle come and go
  serve         answer from a bundle over HTTP

Help
  doctor        versions, devices, memory, disk, and what is missing
  completion    complete commands and flags in bash, zsh or fish

Examples
  genrec run configs/quickstart.yaml                     # MovieLens-100K
  genrec evaluate runs/quickstart --decoding.beam 100   # all settings are flags
  genrec recommend runs/quickstart --history "Star Wars (1977)" --k 5

All that a command makes is in the folder of the run: runs/ and the name of the
config or data set, or --out. Data sets that are fetched are kept in
~/.cache/genrec, or $GENREC_CACHE.

Every command takes --quiet (errors only), --verbose (more, on stderr) and, if
it has a result, --json (one document on stdout). NO_COLOR=1 leaves out colours.

Exit status: 0 done; 2 a mistake that you can mend; 130 interrupted, the same
command goes on from there; 1 anything else, such as a bug."""
