"""PolicyService over a real server: what is in force, and reloading it."""

from __future__ import annotations

import grpc

from helpers.grpc_rig import ask, refused, running
from imagesieve.v1 import policy_pb2 as pb
from imagesieve_server.testing import BLUE, FINGERPRINT, colour_policy

Code = grpc.StatusCode
BLUES = colour_policy(name="blues", flagged=(("blue", BLUE),))


async def test_policies_are_listed_without_and_got_with_their_source() -> None:
    async with running(policies=[colour_policy(), BLUES]) as rig:
        listed = (await rig.policy.ListPolicies(pb.ListPoliciesRequest())).policies
        got = (await rig.policy.GetPolicy(pb.GetPolicyRequest(name="blues"))).policy
        default = (await rig.policy.GetPolicy(pb.GetPolicyRequest())).policy
    assert [(p.name, p.is_default, p.source) for p in listed] == [
        ("blues", False, ""),
        ("colours", True, ""),
    ]
    assert (got.name, got.is_default, got.source) == ("blues", False, "name: blues\n")
    assert got.model_version == FINGERPRINT
    assert (default.name, default.is_default) == ("colours", True)


async def test_an_unknown_policy_is_not_found() -> None:
    async with running() as rig:
        error = await refused(rig.policy.GetPolicy(pb.GetPolicyRequest(name="none")))
    assert (error.code, error.reason) == (Code.NOT_FOUND, "UNKNOWN_POLICY")


async def test_a_reload_says_what_is_in_force_and_what_was_refused() -> None:
    async with running() as rig:
        rig.reloader.next = (colour_policy(version="v2"),)
        rig.reloader.problems = ("blues.policy.npz: made for another model",)
        got = await rig.policy.ReloadPolicies(pb.ReloadPoliciesRequest())
        answer = await rig.moderation.Moderate(ask())
    assert [(p.name, p.version) for p in got.policies] == [("colours", "v2")]
    assert list(got.problems) == ["blues.policy.npz: made for another model"]
    assert answer.policy_version == "v2"


async def test_without_any_policy_none_is_the_default() -> None:
    async with running() as rig:
        rig.policies.policies = ()
        got = await rig.policy.ListPolicies(pb.ListPoliciesRequest())
        error = await refused(rig.policy.GetPolicy(pb.GetPolicyRequest()))
    assert list(got.policies) == []
    assert error.reason == "UNKNOWN_POLICY"
