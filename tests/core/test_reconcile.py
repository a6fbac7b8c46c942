"""What has to be done so that what is there becomes what is wanted."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hostports.core.reconcile import Actions, Observed, reconcile
from hostports.model.port import PortBinding, SocketAddress
from hostports.model.relay import HeldBinding, RelayCounters
from hostports.model.state import State
from tests.strategies import bridge_networks, endpoints, port_bindings

AT = datetime(2026, 11, 24, tzinfo=UTC)


@st.composite
def states(draw: st.DrawFn, *, inside: bool) -> State:
    """What may be recorded of a host, or of a daemon inside RootlessKit."""
    networks = draw(st.lists(bridge_networks(), min_size=1, max_size=4))
    wired = draw(st.lists(endpoints(st.sampled_from(networks)), max_size=4))
    drawn = draw(st.lists(port_bindings(), max_size=6, unique_by=lambda each: each.host_socket))
    bindings = [replace(each, child=_child(each) if inside else None) for each in drawn]
    return State(
        {each.name: each for each in networks},
        {each.name: each for each in wired},
        dict.fromkeys(bindings, AT),
    )


def _child(binding: PortBinding) -> SocketAddress | None:
    return None if binding.routed else binding.child or binding.host_socket


@st.composite
def observations(draw: st.DrawFn, wanted: State, *, inside: bool) -> Observed:
    """Some of what is wanted, and some that is not."""
    bindings = draw(st.lists(st.sampled_from([*wanted.bindings]))) if wanted.bindings else []
    held = dict.fromkeys([*bindings, *draw(st.lists(port_bindings(), max_size=3))])
    return Observed(
        frozenset(
            draw(st.sets(st.sampled_from([each.bridge for each in wanted.networks.values()])))
        ),
        frozenset(draw(st.sets(st.sampled_from([*wanted.endpoints, "stranger"])))),
        tuple(HeldBinding(each, RelayCounters(), draw(st.booleans())) for each in held),
        {each.host_socket: each.child for each in held if each.child} if inside else None,
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[State, Observed]:
    inside = draw(st.booleans())
    wanted = draw(states(inside=inside))
    return wanted, draw(observations(wanted, inside=inside))


def after(actions: Actions, there: Observed) -> Observed:
    """What is there when all has been done."""
    published = [HeldBinding(each, RelayCounters()) for each in actions.missing]
    kept = [each for each in there.held if each.binding not in actions.unwanted]
    forwardings = there.forwardings
    if forwardings is not None:
        forwardings = {each: to for each, to in forwardings.items() if each not in actions.stray}
        forwardings |= {each.host_socket: each.child for each in actions.missing if each.child}
    return Observed(
        there.interfaces | {each.bridge for each in actions.bridges},
        there.attached | {each.name for each in actions.cables},
        (*kept, *published),
        forwardings,
    )


@given(cases())
def test_once_done_nothing_is_left_to_do(case: tuple[State, Observed]) -> None:
    wanted, there = case
    done = reconcile(wanted, after(reconcile(wanted, there), there))
    assert done == Actions(adopted=dict(wanted.bindings))


@given(cases())
def test_every_wanted_binding_is_adopted_or_missing_and_no_other_is(
    case: tuple[State, Observed],
) -> None:
    wanted, there = case
    actions = reconcile(wanted, there)
    assert {**actions.adopted, **actions.missing} == wanted.bindings
    assert actions.adopted.keys().isdisjoint(actions.missing)
    assert actions.adopted.keys().isdisjoint(actions.unwanted)


@given(cases())
def test_what_is_served_as_it_shall_be_is_left_alone(case: tuple[State, Observed]) -> None:
    wanted, there = case
    actions = reconcile(wanted, there)
    for each in there.held:
        if not each.draining and each.binding in wanted.bindings and there.leads_to(each.binding):
            assert each.binding in actions.adopted
            assert each.binding.host_socket not in actions.stray


@given(cases())
def test_only_bridges_and_cables_that_are_not_there_are_made(case: tuple[State, Observed]) -> None:
    wanted, there = case
    actions = reconcile(wanted, there)
    assert {each.bridge for each in actions.bridges}.isdisjoint(there.interfaces)
    assert {each.name for each in actions.cables}.isdisjoint(there.attached)
    assert all(each.namespace for each in actions.cables)


@given(port_bindings())
def test_a_binding_that_drains_is_published_anew_if_it_is_wanted(binding: PortBinding) -> None:
    there = Observed(held=(HeldBinding(binding, RelayCounters(), draining=True),))
    wanted = reconcile(State(bindings={binding: AT}), there)
    assert (binding in wanted.missing) is not binding.routed
    assert reconcile(State(), there) == Actions()
