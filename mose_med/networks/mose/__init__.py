"""The mixture of stochastic experts: the network, its gating, its experts on a data set, the published weights."""
