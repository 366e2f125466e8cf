"""The demo model: a small CLIP trained from scratch on the emoji of two artists.

Nobody has to see a harmful picture to develop or try the product. The model knows drawings and a
dozen photographs; it is never fit for moderation.

    emoji_art      the npm packages: names, keywords, 64 px art
    backdrops      the photographs behind and beside the art, with their licences
    captions       what is said about a picture, and which other pictures the words are true of
    scenes         art on a backdrop, at random scale, place and colour
    vocabulary     the first merges of CLIP's byte pair encoding
    architecture   open_clip's CLIP in a small size, and its checkpoint folder
    options        what one training run is made of
    batches        what each step sees
    train          the one command
    categories     which emoji show what the demo policy looks for
    measure        top-1 over names, AUC per category
    release        figures, model card, bundle
"""
