"""A policy to measure with, from the artefact that servers load or from its YAML.

A source is compiled in memory, so that an idea can be measured before anything is written
where a server would pick it up.
"""

from __future__ import annotations

from pathlib import Path

from imagesieve_server.core.errors import PolicyError
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.text import OnnxTextEncoder
from imagesieve_server.offline.compile_policy import compile_in_memory
from imagesieve_server.policy_files import compiled
from imagesieve_server.policy_files.compiled import CompiledPolicy


def read_policy(path: Path, *, bundle: Bundle) -> CompiledPolicy:
    """The policy at ``path``: a .policy.npz file, or anything else as a YAML source.

    Raises PolicyError, also where an artefact was compiled for another model.
    """
    if path.name.endswith(compiled.SUFFIX):
        found = compiled.read(path)
    else:
        encoder = OnnxTextEncoder(bundle=bundle)
        found = compile_in_memory(source_path=path, bundle=bundle, encode_texts=encoder.encode)
    made_for = found.policy.model_fingerprint
    if made_for != bundle.fingerprint:
        raise PolicyError(
            f"was compiled for another model ({made_for[:12]}…) than {bundle.manifest.name!r} "
            f"({bundle.fingerprint[:12]}…); name the right folder with --model, or compile the "
            "policy again: imagesieve-server policy compile SOURCE --model DIR",
            file=str(path),
        )
    return found
