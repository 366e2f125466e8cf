"""A small ViT, trained to measure with: what decoding and precision do to verdicts.

    towers      open_clip's ViT at 64 px, and the text tower of the demo bundle
    deployed    what uploading does to a picture: grain, JPEG, resampling
    batches     scenes as uploaded, in pairs
    train       the one command

Needs the extra [export], as the demo model's training does.
"""
