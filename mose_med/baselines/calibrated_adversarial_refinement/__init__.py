"""Calibrated adversarial refinement (Kassapis et al., ICCV 2021): networks, loss and optimiser.

A calibration network learns the mean of all raters; a generator turns it into single, coherent masks that a
discriminator cannot tell from raters', and whose mean is the calibrated one.

Departure: the published calibration network starts from ImageNet's weights. Here all networks are trained from scratch,
on images of as many channels as the data have.
"""

from mose_med.baselines.calibrated_adversarial_refinement.loss import AdversarialRefinementLoss
from mose_med.baselines.calibrated_adversarial_refinement.network import (
    AdversarialOutput,
    CalibratedAdversarialRefinement,
)
from mose_med.baselines.calibrated_adversarial_refinement.optimizer import AdversarialAdam

__all__ = ["AdversarialAdam", "AdversarialOutput", "AdversarialRefinementLoss", "CalibratedAdversarialRefinement"]
