"""What a change of a policy would have done to kept uploads.

judge     verdicts of many images at once, exactly those of ``core.scoring`` and ``core.verdict``
tally     what two policies say of each image, counted
forecast  reviews a day, with an interval
changes   what differs between two policies as they were written
diff      all of it over a store
text, as_json  the report
"""
