"""One verdict explained: look as the server looks, then tell it as text, JSON or a picture."""
