"""Work done before serving: exporting models, compiling policies, training the demo model.

torch and open_clip may be imported here and nowhere else, and only inside functions.
"""
