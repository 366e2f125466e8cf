"""The demo's pictures: about forty, drawn by this code from the two artists' emoji and photographs.

catalogue   which pictures there are and what is expected of each
drawing     art on backdrops, with Pillow
evasions    the six ways to hide an offence
make        the one command: files, labels.csv, LICENSES.md
"""
