"""The policy's YAML on disk: read as it is, written atomically with an outcome's changes."""

from __future__ import annotations

import os
from pathlib import Path

from imagesieve_server.core.errors import ConfigError, PolicyError
from imagesieve_server.core.policy import Policy, Scale, Threshold
from imagesieve_server.offline.calibration.edit_policy import Change, edited
from imagesieve_server.offline.calibration.outcome import CategoryOutcome, Outcome
from imagesieve_server.offline.policy_text.written import threshold_text
from imagesieve_server.policy_files.compiled import SUFFIX
from imagesieve_server.policy_files.fitted_on import fitted_on
from imagesieve_server.policy_files.source import parse_policy


def read(path: Path) -> str:
    """The text with its line ends as they are. Raises PolicyError."""
    if path.name.endswith(SUFFIX):
        raise PolicyError("is compiled; name the YAML that it was made of", file=str(path))
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise PolicyError("is not UTF-8 text", file=str(path)) from None


def changed(text: str, outcome: Outcome, path: Path, fingerprint: str, policy: Policy) -> str:
    """The text with the outcome's thresholds and calibrations.

    ``fingerprint`` is the model's; ``policy`` is the text compiled. Raises PolicyError.
    """
    source = parse_policy(text, file=str(path))
    written = {category.id: category for category in source.categories}
    heads = {category.id: category.probe for category in policy.categories}
    changes = []
    for one in outcome.categories:
        name = one.category.id
        fitted = one.calibrated.fitted
        _check_block(one, str(path))
        changes.append(
            Change(
                category=name,
                review_at=one.review_at,
                views=one.views,
                calibration=fitted.calibration if fitted else None,
                fitted_on=fitted_on(
                    source, written[name], model_fingerprint=fingerprint, probe=heads[name]
                ),
            )
        )
    return edited(text, changes, file=str(path))


def _check_block(one: CategoryOutcome, file: str) -> None:
    """Refuse a review_at above block_at: pictures between them would be blocked, not reviewed."""
    block = one.category.thresholds.block_at
    limits = [one.review_at, *one.views.values()]
    if block is None or all(_place(limit) <= _place(block) for limit in limits):
        return
    raise PolicyError(
        f"the goal asks for a review_at of {threshold_text(max(limits, key=_place))}, above its "
        f"block_at of {threshold_text(block)}; raise or remove block_at and run this again",
        file=file,
        field=f"category {one.category.id!r}",
    )


def _place(threshold: Threshold) -> float:
    """Comparable across scales; a cosine as it is."""
    if threshold.scale is Scale.LOGIT or not 0.0 < threshold.value < 1.0:
        return threshold.value
    return threshold.log_odds()


def write(path: Path, text: str) -> None:
    """Replace the file atomically; mode and owner stay as far as they may. Raises ConfigError."""
    target = path.resolve()  # a link stays a link
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as out:
            os.fchmod(out.fileno(), target.stat().st_mode & 0o777)
            out.write(text.encode("utf-8"))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
