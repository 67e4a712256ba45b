"""What a cut horizon charges: against the sentence that defines it, and that it never makes a sequence look better."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mbrl_control.planning.risk import Risk, aggregate
from mbrl_control.rewards.terms import Rollout, Term
from mbrl_control.rewards.total import Total, total_cost

HORIZON, MEMBERS, SEQUENCES = 6, 2, 3
SIZE = (HORIZON, MEMBERS, SEQUENCES)
NUMBERS = st.floats(-10.0, 10.0, width=32)
COSTS = arrays(np.float64, (2, *SIZE), elements=NUMBERS)
SPREADS = arrays(np.float64, (HORIZON, 1, SEQUENCES), elements=st.floats(0.0, 1.0, width=32))
TRUSTS = arrays(np.float64, HORIZON, elements=st.floats(0.0, 1.0, width=32))
WEIGHTS = arrays(np.float64, 2, elements=st.floats(-3.0, 3.0, width=32))
RISKS = st.builds(
    Risk, st.sampled_from(["mean", "worst", "cvar", "mean_std"]), st.floats(0.1, 1.0), st.floats(0.0, 10.0)
)


@settings(deadline=None)
@given(COSTS, SPREADS, TRUSTS, WEIGHTS)
def test_cost_is_that_of_the_definition(costs, spreads, trust, weights) -> None:
    total = _total(costs, spreads, trust, weights)
    running, final = weights[0] * costs[0], weights[1] * costs[1]
    for b in range(SEQUENCES):
        beyond = np.flatnonzero(spreads[:, 0, b] > trust)
        cut = beyond[0] if len(beyond) else HORIZON
        free = running[:, :, b].mean(0) + final[-1, :, b]
        added = []
        for e in range(MEMBERS):
            charged = [float(running[t, e, b]) for t in range(HORIZON)]
            worst = -np.inf
            for t in range(HORIZON):
                if t >= cut - 1:
                    worst = max(worst, charged[t])
                    charged[t] = worst if t >= cut else charged[t]
            last = final[max(cut - 1, 0) :, e, b].max() if cut < HORIZON else final[-1, e, b]
            added.append(np.mean(charged) + last - free[e])
        np.testing.assert_allclose(total.cost[:, b], free + max(added), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(COSTS, SPREADS, TRUSTS, WEIGHTS, st.floats(0.0, 1.0), RISKS)
def test_neither_a_cut_nor_a_tighter_one_lowers_a_cost_or_a_score(costs, spreads, trust, weights, share, risk) -> None:
    free = _total(costs, spreads, np.full(HORIZON, 2.0), weights).cost.numpy()
    cut = _total(costs, spreads, trust, weights).cost.numpy()
    tighter = _total(costs, spreads, share * trust, weights).cost.numpy()
    for looser, stricter in ((free, cut), (cut, tighter)):
        assert (stricter >= looser - 1e-9).all()
        assert (aggregate(stricter, risk) >= aggregate(looser, risk) - 1e-7).all()


def test_a_cut_does_not_make_members_agree_that_do_not() -> None:
    """One member sees a gain behind the cut: charged alone it would come nearer to the others, and their std fall."""
    members = 5
    plain = np.full((HORIZON, members, SEQUENCES), 10.0)
    plain[3:, -1] = 6.0
    costs = np.stack([plain, np.zeros_like(plain)])
    spreads = np.zeros((HORIZON, 1, SEQUENCES))
    spreads[3:] = 1.0
    scores = [
        aggregate(_total(costs, spreads, np.full(HORIZON, trust), np.array([1.0, 0.0])).cost.numpy(), Risk("mean_std"))
        for trust in (2.0, 0.5)
    ]
    assert (scores[1] > scores[0] + 1.0).all()


@settings(deadline=None)
@given(COSTS, SPREADS, TRUSTS, WEIGHTS)
def test_the_terms_and_what_distrust_adds_make_up_the_cost(costs, spreads, trust, weights) -> None:
    total = _total(costs, spreads, trust, weights)
    np.testing.assert_allclose(total.terms.sum(0), total.cost.mean(0), rtol=1e-9, atol=1e-9)
    untouched = (spreads[:, 0] <= trust[:, None]).all(0)
    np.testing.assert_allclose(total.terms[-1][torch.from_numpy(untouched)], 0.0, atol=1e-9)


def test_the_spread_is_a_bonus_or_an_aversion_by_its_sign() -> None:
    """Directed exploration is the same term: of two sequences that differ in it alone, its sign chooses."""
    costs, spreads = np.zeros((2, *SIZE)), np.zeros((HORIZON, 1, SEQUENCES))
    spreads[:, 0, 1] = 0.5
    for weight, better in ((-1.0, 1), (1.0, 0)):
        rollout = _rollout(spreads)
        terms = (Term(lambda rollout: rollout.epistemic), Term(lambda _: torch.from_numpy(costs[1]), terminal=True))
        total = total_cost(rollout, terms, torch.tensor([weight, 1.0]).double(), torch.full((HORIZON,), 2.0).double())
        assert int(total.cost.mean(0)[:2].argmin()) == better


def _rollout(spreads: np.ndarray, members: int = MEMBERS) -> Rollout:
    nothing = torch.zeros(HORIZON, members, 1, SEQUENCES).double()
    one = torch.zeros(1, 1).double()
    goal = torch.zeros(HORIZON, 1, 1, 1).double()
    still = torch.zeros(HORIZON, 1, 1, SEQUENCES).double()
    epistemic = torch.from_numpy(spreads)
    return Rollout(nothing[:, :, 0], nothing, nothing, still, still[:1], goal, one, one, one, epistemic)


def _total(costs: np.ndarray, spreads: np.ndarray, trust: np.ndarray, weights: np.ndarray) -> Total:
    running, final = (torch.from_numpy(value) for value in costs)
    terms = (Term(lambda _: running), Term(lambda _: final, terminal=True))
    return total_cost(_rollout(spreads, costs.shape[2]), terms, torch.from_numpy(weights), torch.from_numpy(trust))
