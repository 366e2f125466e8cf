"""A probe: logistic regression on embeddings, for one category of a policy.

examples     labelled pictures as examples, and what is refused or warned of
head         the regression, with several views a picture
folds        nested cross-validation: strength chosen inside, scores from outside
zero_shot    what the category's prompts say of the same pictures
learn        the order of it all, and the evaluation that travels with the probe
edit_policy  the probe put into a policy's YAML
"""
