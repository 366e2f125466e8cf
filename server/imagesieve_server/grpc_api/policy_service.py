"""PolicyService: what is in force on this replica, and reading it again."""

# ruff: noqa: N802 -- the methods are named by the contract

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from imagesieve.v1 import policy_pb2, policy_pb2_grpc
from imagesieve_server.core.errors import UnknownPolicy
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.ports import PolicySource
from imagesieve_server.grpc_api.identity import Context
from imagesieve_server.grpc_api.wire import checks
from imagesieve_server.grpc_api.wire.policies import policy_of


class ReloadResult(Protocol):
    """What a reload came to."""

    @property
    def policies(self) -> Sequence[Policy]:
        """What is in force afterwards."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """One line per artefact that was refused."""
        ...


class PolicyReloader(Protocol):
    """Reads the compiled artefacts again."""

    def reload(self) -> ReloadResult:
        """Runs on the event loop, so that reloads never overlap: a few files, milliseconds.

        A bad artefact is a problem of the result, not an exception.
        """
        ...


class PolicyService(policy_pb2_grpc.PolicyServiceServicer):
    """The policy people's side."""

    def __init__(self, *, policies: PolicySource, reloader: PolicyReloader) -> None:
        self._policies = policies
        self._reloader = reloader

    async def GetPolicy(
        self, request: policy_pb2.GetPolicyRequest, context: Context
    ) -> policy_pb2.GetPolicyResponse:
        """One policy with its source text; the default one for an empty name."""
        policy = self._policies.get(checks.text("name", request.name, limit=checks.MAX_ID))
        return policy_pb2.GetPolicyResponse(
            policy=policy_of(policy, is_default=policy.name == self._default(), with_source=True)
        )

    async def ListPolicies(
        self, request: policy_pb2.ListPoliciesRequest, context: Context
    ) -> policy_pb2.ListPoliciesResponse:
        """Every policy in force, without source texts."""
        return policy_pb2.ListPoliciesResponse(policies=self._listed(self._policies.all()))

    async def ReloadPolicies(
        self, request: policy_pb2.ReloadPoliciesRequest, context: Context
    ) -> policy_pb2.ReloadPoliciesResponse:
        """Read the artefacts again."""
        result = self._reloader.reload()
        return policy_pb2.ReloadPoliciesResponse(
            policies=self._listed(result.policies), problems=result.problems
        )

    def _listed(self, policies: Sequence[Policy]) -> list[policy_pb2.Policy]:
        default = self._default()
        return [
            policy_of(policy, is_default=policy.name == default, with_source=False)
            for policy in policies
        ]

    def _default(self) -> str:
        """The default policy's name, "" where there is none."""
        try:
            return self._policies.get("").name
        except UnknownPolicy:
            return ""
