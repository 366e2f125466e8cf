"""The rules of imagesieve, without I/O, clock or logging: standard library and numpy only.

May not live here: files, sockets, time, protobuf messages, image codecs, model runtimes.
"""
