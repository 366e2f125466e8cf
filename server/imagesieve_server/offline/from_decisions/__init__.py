"""What reviewers decided, turned into precision and recall: flags show how often the filter is
right when it speaks, audit samples what it missed."""
