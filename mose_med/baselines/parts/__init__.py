"""What several of the other methods share: layers, Gaussians, likelihoods, and how the networks are called."""
