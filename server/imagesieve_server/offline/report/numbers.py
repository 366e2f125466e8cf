"""How figures are written for people: as many digits as they deserve, with their interval."""

from __future__ import annotations

from imagesieve_server.offline.measures.figures import Figure

THIN = "\u202f"
"""A narrow space that does not break: before % and between thousands."""


def percent(share: float) -> str:
    """0.0432 → 4.3 %; two decimals below 1 %."""
    value = share * 100
    if value == round(value) and (value in (0.0, 100.0)):
        return f"{value:.0f}{THIN}%"
    if 0 < value < 0.01:
        return f"<0.01{THIN}%"
    digits = 2 if value < 1 or value > 99 else 1
    return f"{value:.{digits}f}{THIN}%"


def points(difference: float) -> str:
    """A difference of shares in points: +4.3; two decimals below one."""
    value = difference * 100
    text = f"{value:+.{2 if abs(value) < 1 else 1}f}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def index(value: float) -> str:
    """An AUC: .969; 1 as 1.000."""
    text = f"{value:.3f}"
    return text[1:] if text.startswith("0.") else text


def signed(value: float) -> str:
    """A difference of indices: +.012."""
    size = index(abs(value))
    if float(size) == 0:
        return "0"
    return ("−" if value < 0 else "+") + size


def count(number: int) -> str:
    """12345 → 12 345, with a narrow space."""
    return f"{number:,}".replace(",", THIN)


def with_interval(figure: Figure, *, share: bool) -> str:
    """The value and its interval: 84.8 % [83.6–86.0] or .969 [.961–.975]."""
    write = percent if share else index
    low, high = write(figure.low), write(figure.high)
    if share:
        low, high = low.removesuffix(f"{THIN}%"), high.removesuffix(f"{THIN}%")
    return f"{write(figure.value)} [{low}–{high}]"


def log_odds(value: float) -> str:
    """−2.31, with a true minus."""
    return f"{value:+.2f}".replace("-", "−")
