"""The one training loop, for the demo model and for fine-tuning.

    losses      InfoNCE with several true captions; the pairwise sigmoid loss
    schedule    warm-up, then a cosine
    loop        steps, saved states, going on after an interruption, the log

Knows nothing of what is learned from what: a learner (``loop.Learner``) does.
"""
