"""Writes `obp_values.json`: what Open Bandit Pipeline 0.4.1 estimates on arrays that `arrays` makes.

Run it with the package unpacked next to nothing else (`pip install --no-deps --target DIR obp==0.4.1`):

    python tests/references/obp_values.py DIR

The package imports torch at its head, for estimators of tensors that are not used here; an empty module stands in for it.

Source: Saito, Aihara, Matsutani, Narita (2021), Open Bandit Dataset and Pipeline, NeurIPS Datasets and Benchmarks,
arXiv:2008.07146. https://github.com/st-tech/zr-obp
"""

import json
import sys
import types
from pathlib import Path

import numpy as np


def arrays(seed: int, decisions: int, actions: int) -> dict:
    """Logged rewards, actions and probabilities, two targets (random and deterministic), and predicted rewards."""
    rng = np.random.default_rng(seed)
    logging = rng.dirichlet(np.full(actions, 0.7), size=decisions)
    logging = 0.9 * logging + 0.1 / actions
    action = np.array([rng.choice(actions, p=row) for row in logging])
    return {
        "action": action,
        "propensity": logging[np.arange(decisions), action],
        "probabilities": logging,
        "reward": rng.uniform(0, 2, decisions) * (rng.uniform(size=decisions) < 0.4 + 0.1 * action / actions),
        "target": rng.dirichlet(np.full(actions, 0.5), size=decisions),
        "deterministic": np.eye(actions)[rng.integers(actions, size=decisions)],
        "model": rng.uniform(0, 1, (decisions, actions)),
    }


cases = {"small": (1, 40, 3), "middle": (2, 500, 7), "wide": (3, 300, 40)}
thresholds, shrinkages = (0.0, 0.5, 2.0, 10.0), (0.1, 1.0, 30.0, 1e4)


def main(folder: str) -> None:
    torch = types.ModuleType("torch")
    torch.Tensor = type("Tensor", (), {})
    sys.modules["torch"] = torch
    sys.path.insert(0, folder)
    package = types.ModuleType("obp")
    package.__path__ = [f"{folder}/obp"]
    ope = types.ModuleType("obp.ope")
    ope.__path__ = [f"{folder}/obp/ope"]
    sys.modules |= {"obp": package, "obp.ope": ope}
    from obp.ope import estimators as obp

    found = {}
    for name, size in cases.items():
        data = arrays(*size)
        given = {
            "reward": data["reward"],
            "action": data["action"],
            "pscore": data["propensity"],
            "action_dist": data["target"][..., None],
            "estimated_rewards_by_reg_model": data["model"][..., None],
            "position": np.zeros(size[1], int),
        }
        runs = {
            "ips": obp.InverseProbabilityWeighting(),
            "snips": obp.SelfNormalizedInverseProbabilityWeighting(),
            "direct_method": obp.DirectMethod(),
            "doubly_robust": obp.DoublyRobust(),
            "self_normalised_dr": obp.SelfNormalizedDoublyRobust(),
            **{f"switch_dr {tau}": obp.SwitchDoublyRobust(tau=tau) for tau in thresholds},
            **{f"shrunk_dr {lam}": obp.DoublyRobustWithShrinkage(lambda_=lam) for lam in shrinkages},
        }
        rounds = {key: run._estimate_round_rewards(**given) for key, run in runs.items()}
        rounds["replay"] = obp.ReplayMethod()._estimate_round_rewards(
            **{**given, "action_dist": data["deterministic"][..., None]}
        )
        found[name] = {key: {"value": terms.mean(), "first": terms[:8].tolist()} for key, terms in rounds.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps({"obp": "0.4.1", "values": found}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
