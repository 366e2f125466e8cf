"""Export of open_clip models to model bundles. torch and open_clip are imported only when used."""
