"""One encoder for several processes of a machine: rows in shared memory, fixed records beside.

``remote`` is the Encoder port in a front end, ``service`` answers for it in the encoder's process.
"""
