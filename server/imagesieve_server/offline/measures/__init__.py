"""How well scores tell pictures apart, and what a count is worth: numpy, over numbers alone.

ranking    scores from the highest down, ties in one step, any number of weightings at once
quality    AUC, average precision, precision at a recall, recall at a false-positive rate
figures    a value with its 95 % interval
bootstrap  the same measures over resampled pictures, and paired differences
fisher     whether two shares differ by more than chance
needed     how many labelled pictures a figure needs
"""
