"""Which demo pictures there are: what each shows, in which format, and what is expected of it.

A table; refuses to know pixels and files.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

ORDINARY = "ordinary"
FLAGGED = "flagged"


class Evasion(enum.StrEnum):
    """How a picture hides what it shows from a careless decoder."""

    LATE_FRAME = "late_frame"  # in one late frame of an animation
    ALPHA_ONLY = "alpha_only"  # as the alpha channel over one plain colour
    STRIP_END = "strip_end"  # at the end of a long strip
    EXIF_ROTATED = "exif_rotated"  # stored upside down, upright by its EXIF tag
    GREY16 = "grey16"  # 16-bit grey that a clipping conversion turns white
    CMYK = "cmyk"  # four inks


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One emoji on a backdrop, or a photograph alone."""

    emoji: str = ""  # emojibase's name; "" for the backdrop alone
    artist: str = "google"
    backdrop: str = "white"  # "photo:<file>", "smooth", or a colour name of Pillow's
    size: tuple[int, int] = (256, 256)  # width, height in px
    scale: float = 0.78  # the emoji's side as a share of the short side
    grey: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One file."""

    file: str  # its suffix is its format
    scene: Scene
    category: str = ""  # the policy's category; "" for ordinary ones
    evasion: Evasion | None = None
    transparent: bool = False  # the emoji alone, as a sticker

    @property
    def expected(self) -> str:
        """The label: ordinary, flagged, or evasion:<kind>."""
        if self.evasion:
            return f"evasion:{self.evasion.value}"
        return FLAGGED if self.category else ORDINARY


def _photo(file: str, name: str, size: tuple[int, int], grey: bool = False) -> Picture:
    return Picture(file=file, scene=Scene(backdrop=f"photo:{name}", size=size, grey=grey))


def _ordinary(
    file: str, emoji: str, artist: str, backdrop: str, transparent: bool = False
) -> Picture:
    scene = Scene(emoji=emoji, artist=artist, backdrop=backdrop)
    return Picture(file=file, scene=scene, transparent=transparent)


def _flagged(category: str, file: str, emoji: str, artist: str, backdrop: str) -> Picture:
    scene = Scene(emoji=emoji, artist=artist, backdrop=backdrop)
    return Picture(file=file, scene=scene, category=category)


def _evasion(kind: Evasion, category: str, file: str, scene: Scene) -> Picture:
    return Picture(file=file, scene=scene, category=category, evasion=kind)


PICTURES = (
    _photo("photo_cat.jpg", "chelsea.png", (400, 300)),
    _photo("photo_coffee.webp", "coffee.png", (400, 300)),
    _photo("photo_astronaut.jpg", "astronaut.png", (320, 320)),
    _photo("photo_galaxies.avif", "hubble_deep_field.jpg", (400, 350)),
    _photo("photo_rocket.jpg", "rocket.jpg", (480, 320)),
    _photo("photo_clock.png", "clock_motion.png", (240, 180), grey=True),
    _photo("photo_camera.jpg", "camera.png", (320, 320), grey=True),
    _photo("photo_gravel.webp", "gravel.png", (320, 320)),
    _photo("photo_bricks.avif", "brick.png", (320, 320)),
    _photo("photo_retina.jpg", "retina.jpg", (320, 320)),
    _ordinary("scene_dog.png", "dog face", "google", "smooth"),
    _ordinary("scene_pizza.jpg", "pizza", "twitter", "white"),
    _ordinary("scene_sunflower.webp", "sunflower", "google", "photo:grass.png"),
    _ordinary("scene_bicycle.gif", "bicycle", "twitter", "lightblue"),
    _ordinary("scene_guitar.avif", "guitar", "google", "white"),
    _ordinary("scene_football.jpg", "soccer ball", "twitter", "photo:grass.png"),
    _ordinary("scene_house.webp", "house with garden", "google", "lightblue"),
    _ordinary("scene_smile.png", "grinning face", "twitter", "white", transparent=True),
    _flagged("weapons", "weapons_dagger.jpg", "dagger", "twitter", "photo:grass.png"),
    _flagged("weapons", "weapons_bomb.png", "bomb", "google", "lightblue"),
    _flagged("weapons", "weapons_knife.webp", "kitchen knife", "google", "photo:brick.png"),
    _flagged("weapons", "weapons_swords.avif", "crossed swords", "twitter", "white"),
    _flagged("alcohol_tobacco", "alcohol_wine.jpg", "wine glass", "google", "white"),
    _flagged("alcohol_tobacco", "alcohol_beer.webp", "beer mug", "twitter", "photo:brick.png"),
    _flagged("alcohol_tobacco", "tobacco_cigarette.png", "cigarette", "twitter", "lightblue"),
    _flagged("drugs", "drugs_pill.jpg", "pill", "google", "white"),
    _flagged("drugs", "drugs_syringe.webp", "syringe", "twitter", "lightblue"),
    _flagged("gambling", "gambling_slots.jpg", "slot machine", "google", "smooth"),
    _flagged("gambling", "gambling_die.gif", "game die", "twitter", "white"),
    _flagged("gambling", "gambling_joker.avif", "joker", "google", "darkgreen"),
    _flagged("death", "death_skull.jpg", "skull", "google", "photo:gravel.png"),
    _flagged("death", "death_coffin.png", "coffin", "twitter", "white"),
    _flagged("insults", "insults_finger.jpg", "middle finger", "google", "white"),
    _flagged("insults", "insults_poo.webp", "pile of poo", "twitter", "smooth"),
    _evasion(
        Evasion.LATE_FRAME,
        "death",
        "evasion_late_frame.gif",
        Scene(emoji="skull", backdrop="lightblue", size=(128, 128)),
    ),
    _evasion(
        Evasion.ALPHA_ONLY,
        "weapons",
        "evasion_alpha_only.png",
        Scene(emoji="crossed swords", artist="twitter"),
    ),
    _evasion(
        Evasion.STRIP_END,
        "gambling",
        "evasion_strip_end.jpg",
        Scene(emoji="slot machine", backdrop="smooth", size=(3000, 200)),
    ),
    _evasion(
        Evasion.EXIF_ROTATED,
        "alcohol_tobacco",
        "evasion_exif_rotated.jpg",
        Scene(emoji="wine glass", artist="twitter"),
    ),
    _evasion(Evasion.GREY16, "weapons", "evasion_grey16.png", Scene(emoji="bomb")),
    _evasion(
        Evasion.CMYK,
        "insults",
        "evasion_cmyk.jpg",
        Scene(emoji="middle finger", artist="twitter"),
    ),
)
