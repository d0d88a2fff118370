"""One card, in under 8 minutes: how fast the network, flow, training and extraction are on it, and whether they agree
with a CPU. Each subject is a module, and runs in a process of its own."""
