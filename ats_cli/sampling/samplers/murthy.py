"""An exponential race with the weights of Murthy's estimator, whose variance is never above that of Des Raj's.

`--adaptive` and `--extend` draw by it.
"""

from ats_cli.sampling.murthy_weights import murthy_unseen, murthy_variance, murthy_weights
from ats_cli.sampling.race import RaceSampler

SAMPLER = RaceSampler(
    "murthy", "in race order: can stop early and be extended", murthy_weights, murthy_variance, murthy_unseen
)
