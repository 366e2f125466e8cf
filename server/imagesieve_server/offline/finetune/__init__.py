"""Contrastive fine-tuning of a model's projections, everything below them frozen.

    pairs        a file of pictures and captions
    projections  where a tower's last linear map lies, and what goes into it
    features     what goes into it for every picture and caption, computed once
    learner      the two maps, InfoNCE or the sigmoid loss
    figures      retrieval and zero-shot accuracy, before and after
    checkpoint   the folder that ``model export`` takes
    finetune     the order of it all

The loop is ``offline/training``'s.
"""
