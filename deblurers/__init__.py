"""One file, one deblurer: its name is the file's name, its constant ``SPEC`` says the rest."""
