"""``python -m imagesieve_server`` is the ``imagesieve-server`` command."""

from imagesieve_server.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
