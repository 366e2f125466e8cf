"""Labelled pictures as numbers: what every tool that measures or tunes a policy starts from.

label_rows    a CSV or JSON Lines file as rows of text, each with its line
label_file    rows as answers per category, and the other columns
pictures      the files the rows name: inside their folder, read and hashed
decoder_jobs  bytes to views and embeddings, with the server's own decoder and encoder
cache         embeddings kept between runs
labelled_set  all of it together, and log-odds of a policy over it
"""
