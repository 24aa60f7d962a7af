"""Adoption: the tables of the first system become those of this one, and nothing of them is lost.

`audit` says what is there and what will be done; `first` takes the two original tables in place;
`later` copies those of the later generation, and follows them until their programs are switched
off. `shape` knows what can be adopted, `kinds` what may be odd in it.
"""
