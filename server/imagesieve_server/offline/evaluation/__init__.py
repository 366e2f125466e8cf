"""How well a policy does on labelled pictures.

judging      verdicts and bands, by the server's own rule
results      what was found, as plain values
categories   one category: measures, current thresholds, mistakes
slices       the same by what else the label file says, gaps flagged
comparisons  what the policy's choices are worth
evaluate     all of it together
as_text, as_json, as_html   the three forms of a report
"""
