"""Tables in the form of a paper, from scores of this package and from published ones."""
